import { rpc } from "@web/core/network/rpc";
import { delay } from "@web/core/utils/concurrency";
import { registry } from "@web/core/registry";

const reserveElsewhere = () =>
    rpc("/web/dataset/call_kw/stock.picking/reserve_elsewhere", {
        model: "stock.picking",
        method: "reserve_elsewhere",
        args: [],
        kwargs: {},
    });

const queuedForm = [
    {
        content: "The transfer says that it is queued, and since when",
        trigger: ".o_form_statusbar .o_reservation_queued:contains(Reservation queued 5 hr)",
    },
    {
        trigger: ".alert:contains(reserved automatically)",
    },
    {
        content: "So does its move",
        trigger: ".o_field_widget[name=move_ids] .o_data_row .o_reservation_queued",
    },
];

const reservedForm = [
    {
        content: "It is reserved, without a reload of the page",
        trigger: ".o_arrow_button_current:contains(Ready)",
    },
    {
        trigger: ".o_data_row td[name=quantity]:contains(3.00)",
    },
    {
        trigger: ".o_form_view:not(:has(.o_reservation_queued, .alert:contains(automatically)))",
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_badge_form", {
    steps: () => [
        ...queuedForm,
        {
            content: "Somebody else reserves it",
            trigger: "body",
            run: reserveElsewhere,
        },
        ...reservedForm,
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_badge_dirty_form", {
    steps: () => [
        ...queuedForm,
        {
            content: "Type something",
            trigger: ".o_field_widget[name=origin] input",
            run: "edit Mine",
        },
        {
            content: "Somebody else reserves it, and the notification arrives",
            trigger: "body",
            run: async () => {
                await reserveElsewhere();
                await delay(2000);
            },
        },
        {
            content: "What was typed is still there",
            trigger: ".o_field_widget[name=origin] input:value(Mine)",
        },
        {
            trigger: ".o_form_statusbar .o_reservation_queued",
        },
        {
            trigger: ".o_form_button_save",
            run: "click",
        },
        ...reservedForm,
        {
            trigger: ".o_field_widget[name=origin] input:value(Mine)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_badge_list", {
    steps: () => [
        {
            content: "Find it with the filter",
            trigger: ".o_list_view:has(.o_data_row:contains(LWH/IN))",
        },
        {
            trigger: ".o_searchview_dropdown_toggler",
            run: "click",
        },
        {
            trigger: ".o_filter_menu .o_menu_item:contains(/^Reservation Queued$/)",
            run: "click",
        },
        {
            trigger: ".o_list_view:not(:has(.o_data_row:contains(LWH/IN)))",
        },
        {
            trigger: ".o_data_row:contains(Badge Tour) .o_reservation_queued:contains(5 hr)",
        },
        {
            content: "Select it",
            trigger: ".o_data_row:contains(Badge Tour) .o_list_record_selector",
            run: "click",
        },
        {
            content: "Somebody else reserves it",
            trigger: ".o_data_row:contains(Badge Tour) .o_list_record_selector input:checked",
            run: reserveElsewhere,
        },
        {
            content: "The row changes, and is still selected",
            trigger: ".o_data_row:contains(Badge Tour):contains(Ready):not(:has(.o_reservation_queued))",
        },
        {
            trigger: ".o_data_row:contains(Badge Tour) .o_list_record_selector input:checked",
        },
        {
            trigger: ".o_data_row:contains(Badge Tour) .o_list_record_selector",
            run: "click",
        },
        {
            content: "Somebody else does something with it again",
            trigger: ".o_data_row:contains(Badge Tour) .o_list_record_selector input:not(:checked)",
            run: reserveElsewhere,
        },
        {
            content: "With nothing selected, the list is reloaded, and its filter holds",
            trigger: ".o_list_view:not(:has(.o_data_row:contains(Badge Tour)))",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_picking_type_option", {
    steps: () => [
        {
            trigger: ".o_field_widget[name=reservation_policy] input[data-value=contended]:checked",
        },
        {
            trigger: ".o_field_widget[name=reservation_policy] input[data-value=always]",
            run: "click",
        },
        {
            trigger: ".o_form_button_save",
            run: "click",
        },
        {
            trigger: ".o_form_saved",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_warehouse_option", {
    steps: () => [
        {
            trigger: ".o_field_widget[name=negative_stock] input:value(Allowed, as in Odoo)",
            run: "click",
        },
        {
            trigger: ".o_select_menu_item:contains(Refused)",
            run: "click",
        },
        {
            content: "Odoo loads the page again when a warehouse is saved",
            trigger: ".o_form_button_save",
            run: "click",
            expectUnloadPage: true,
        },
        {
            trigger: ".o_field_widget[name=negative_stock] input:value(Refused)",
        },
    ],
});

const setLockTimeout = (value, save = {}) => [
    {
        trigger: ".o_field_widget[name=stock_lock_timeout_seconds] input",
        run: `edit ${value}`,
    },
    {
        trigger: ".o_control_panel .o_form_button_save",
        run: "click",
        ...save,
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_settings", {
    steps: () => [
        {
            trigger: ".o_field_widget[name=stock_lock_timeout_seconds] input:value(10.00)",
        },
        ...setLockTimeout("0"),
        {
            content: "No operation can wait for no time at all",
            trigger: ".modal:contains(at most 60 seconds) .modal-footer button",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal))",
        },
        ...setLockTimeout("25", {
            content: "Odoo loads the page again when settings are saved",
            expectUnloadPage: true,
        }),
        {
            trigger: ".o_field_widget[name=stock_lock_timeout_seconds] input:value(25.00)",
        },
    ],
});
