import { Component, useEffect } from "@odoo/owl";

import { browser } from "@web/core/browser/browser";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

const REFRESH_AGE_MS = 30000;

/** Since when a move, or the first move of a transfer, waits to be reserved. */
export class ReservationQueuedField extends Component {
    static template = "stock_event_ledger.ReservationQueuedField";
    static props = {
        ...standardFieldProps,
        compact: { type: Boolean, optional: true },
        short: { type: Boolean, optional: true },
    };

    setup() {
        useEffect(
            (queued) => {
                if (queued) {
                    const interval = browser.setInterval(() => this.render(), REFRESH_AGE_MS);
                    return () => browser.clearInterval(interval);
                }
            },
            () => [Boolean(this.date)]
        );
    }

    get date() {
        return this.props.record.data[this.props.name];
    }

    get age() {
        // Also where this computer's clock is behind the server's.
        if (this.date.diffNow("minutes").minutes > -1) {
            return _t("just now");
        }
        return this.date.toRelative({ style: "short" });
    }

    get label() {
        return _t("Reservation queued %s", this.age);
    }

    get text() {
        return this.props.short ? _t("Queued %s", this.age) : this.label;
    }
}

export const reservationQueuedField = {
    component: ReservationQueuedField,
    displayName: _t("Reservation Queued"),
    supportedTypes: ["datetime"],
    listViewWidth: ({ options }) => (options.compact ? 25 : [110, 170]),
    extractProps: ({ options, viewType }) => ({
        compact: Boolean(options.compact),
        // The column's title says what is queued.
        short: viewType === "list",
    }),
};

registry.category("fields").add("reservation_queued", reservationQueuedField);
