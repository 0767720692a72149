import { Component, onWillStart, useEffect, useState } from "@odoo/owl";

import { browser } from "@web/core/browser/browser";
import { Domain } from "@web/core/domain";
import { deserializeDateTime, formatDate, formatDateTime, formatDuration } from "@web/core/l10n/dates";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { KeepLast } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { useSetupAction } from "@web/search/action_hook";
import { Layout } from "@web/search/layout";
import { formatInteger } from "@web/views/fields/formatters";
import { standardActionServiceProps } from "@web/webclient/actions/action_service";

const { DateTime } = luxon;

// However often figures change, they are not loaded more often than that.
const THROTTLE_MS = 3000;
// Ages grow, and where no worker runs nobody tells of changes.
const REFRESH_MS = 60000;
const NOTIFICATIONS = ["stock_event_ledger/dashboard", "stock_event_ledger/reservation"];

// Shapes as well as colours, which not everybody can tell apart.
const STATUS_CLASSES = {
    success: "fa-check-circle text-success",
    warning: "fa-exclamation-circle text-warning",
    danger: "fa-exclamation-triangle text-danger",
    muted: "fa-circle-o text-muted",
};

/**
 * Reload when the server says that figures have changed, and now and then by itself; while
 * nobody sees the page, not before somebody looks at it again.
 *
 * @param {() => Promise<void>} reload
 */
function useLiveFigures(reload) {
    const busService = useService("bus_service");
    let timeout = null;
    let loadedAt = Date.now();
    let isOutdated = false;

    const isVisible = () => document.visibilityState === "visible";
    const run = () => {
        timeout = null;
        isOutdated = !isVisible();
        if (!isOutdated) {
            loadedAt = Date.now();
            return reload();
        }
    };
    const onChange = () => {
        timeout ??= browser.setTimeout(run, Math.max(loadedAt + THROTTLE_MS - Date.now(), 0));
    };
    const onVisibilityChange = () => {
        if (isOutdated && isVisible()) {
            onChange();
        }
    };
    useEffect(
        () => {
            NOTIFICATIONS.forEach((name) => busService.subscribe(name, onChange));
            document.addEventListener("visibilitychange", onVisibilityChange);
            const interval = browser.setInterval(onChange, REFRESH_MS);
            return () => {
                NOTIFICATIONS.forEach((name) => busService.unsubscribe(name, onChange));
                document.removeEventListener("visibilitychange", onVisibilityChange);
                browser.clearInterval(interval);
                browser.clearTimeout(timeout);
            };
        },
        () => []
    );
}

/** What the stock ledger tells today, on tiles that open the lists behind them. */
export class StockLedgerDashboard extends Component {
    static template = "stock_event_ledger.Dashboard";
    static components = { Layout };
    static props = { ...standardActionServiceProps };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.keepLast = new KeepLast();
        this.display = { controlPanel: {} };
        const { warehouseId } = this.props.state ?? {};
        this.state = useState({
            today: "",
            warehouses: [],
            warehouse_id: warehouseId ?? false,
            tiles: [],
        });
        // Who comes back from a list finds the warehouse that was chosen.
        useSetupAction({ getLocalState: () => ({ warehouseId: this.state.warehouse_id }) });
        onWillStart(() => this.load());
        useLiveFigures(() => this.load());
    }

    async load() {
        const figures = await this.keepLast.add(
            this.orm.silent.call("stock.ledger.dashboard", "get_figures", [
                this.state.warehouse_id,
            ])
        );
        Object.assign(this.state, figures);
    }

    onChangeWarehouse(ev) {
        this.state.warehouse_id = Number(ev.target.value) || false;
        return this.load();
    }

    /** Open the list behind a tile or one of its rows. */
    async open({ xmlid, name, view, domain, context }) {
        const action = await this.action.loadAction(xmlid);
        await this.action.doAction(
            {
                ...action,
                name: name ?? action.name,
                domain: Domain.and([action.domain || [], domain || []]).toString(),
                context: context ?? action.context,
            },
            { viewType: view }
        );
    }

    get today() {
        return formatDate(DateTime.fromISO(this.state.today));
    }

    getHeadline(tile) {
        return tile.headline ?? ("value" in tile ? formatInteger(tile.value) : "");
    }

    getStatusClass(status) {
        return STATUS_CLASSES[status];
    }

    getTileLabel(tile) {
        return [`${tile.title}:`, this.getHeadline(tile), tile.caption].filter(Boolean).join(" ");
    }

    getFigure(row) {
        const figures = [];
        if ("value" in row) {
            figures.push(formatInteger(row.value));
        }
        if (row.date) {
            figures.push(this.getAge(row.date));
        }
        if (row.text) {
            figures.push(row.text);
        }
        if (row.seconds) {
            figures.push(_t("for %s", formatDuration(row.seconds, false)));
        }
        return figures.join(" ");
    }

    getAge(date) {
        const then = deserializeDateTime(date);
        // Also where this computer's clock is behind the server's.
        return then.diffNow("minutes").minutes > -1
            ? _t("just now")
            : then.toRelative({ style: "short" });
    }

    getTooltip(row) {
        return row.date ? formatDateTime(deserializeDateTime(row.date)) : undefined;
    }
}

registry.category("actions").add("stock_ledger_dashboard", StockLedgerDashboard);
