import { useEffect } from "@odoo/owl";

import { browser } from "@web/core/browser/browser";
import { useBus, useService } from "@web/core/utils/hooks";
import { patch } from "@web/core/utils/patch";
import { FormController } from "@web/views/form/form_controller";
import { KanbanController } from "@web/views/kanban/kanban_controller";
import { ListController } from "@web/views/list/list_controller";

// The moves of a transfer are reserved one by one: one reload for all of them.
const COLLECT_MS = 500;

/**
 * Tell a component which transfers have moves that joined or left the reservation queue.
 *
 * @param {(pickingIds: Set<number>) => void} callback
 */
function useReservationNotifications(callback) {
    const busService = useService("bus_service");
    const pickingIds = new Set();
    let timeout = null;

    const notify = () => {
        timeout = null;
        const collected = new Set(pickingIds);
        pickingIds.clear();
        callback(collected);
    };
    const onNotification = ({ picking_ids }) => {
        picking_ids.forEach((id) => pickingIds.add(id));
        timeout ??= browser.setTimeout(notify, COLLECT_MS);
    };
    useEffect(
        () => {
            busService.subscribe("stock_event_ledger/reservation", onNotification);
            return () => {
                busService.unsubscribe("stock_event_ledger/reservation", onNotification);
                browser.clearTimeout(timeout);
            };
        },
        () => []
    );
}

/**
 * Reload a transfer's form, as soon as that loses nothing of what the user is doing.
 *
 * @param {FormController} controller
 */
function useLiveForm(controller) {
    let outdatedId = false;

    const isBusy = async () => {
        const root = controller.model.root;
        return (
            controller.formInDialog > 0 ||
            Boolean(root.data.move_ids?.editedRecord) ||
            (await root.isDirty())
        );
    };
    const reload = async () => {
        if (outdatedId && outdatedId === controller.model.root.resId && !(await isBusy())) {
            outdatedId = false;
            await controller.model.root.load();
        }
    };
    useReservationNotifications((pickingIds) => {
        const { resId } = controller.model.root;
        if (pickingIds.has(resId)) {
            outdatedId = resId;
            return reload();
        }
    });
    useBus(controller.env.bus, "FORM-CONTROLLER:FORM-IN-DIALOG:REMOVE", reload);
    useEffect(
        () => {
            reload();
        },
        () => [controller.model.root.dirty, controller.model.root.data.move_ids?.editedRecord]
    );
}

/**
 * Reload a list or kanban in which notified transfers are shown.
 *
 * @param {ListController|KanbanController} controller
 */
function useLiveList(controller) {
    useReservationNotifications((pickingIds) => {
        const { root, useSampleModel } = controller.model;
        const records = root.records.filter((record) => pickingIds.has(record.resId));
        if (useSampleModel || !records.length) {
            return;
        }
        if (root.selection.length || root.editedRecord) {
            // Each on its own, which keeps the selection and what is being edited.
            const untouched = records.filter((record) => !record.isInEdition);
            return Promise.all(untouched.map((record) => record.load()));
        }
        return root.load();
    });
}

// Patched like this, also the views with a js_class of their own are live.
patch(FormController.prototype, {
    setup() {
        super.setup(...arguments);
        if (this.props.resModel === "stock.picking") {
            useLiveForm(this);
        }
    },
});

patch(ListController.prototype, {
    setup() {
        super.setup(...arguments);
        if (this.props.resModel === "stock.picking") {
            useLiveList(this);
        }
    },
});

patch(KanbanController.prototype, {
    setup() {
        super.setup(...arguments);
        if (this.props.resModel === "stock.picking") {
            useLiveList(this);
        }
    },
});
