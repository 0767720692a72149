import { registry } from "@web/core/registry";
import { queryOne } from "@odoo/hoot-dom";

const searchFor = (text) => [
    {
        content: `Scan ${text}`,
        trigger: ".o_searchview_input",
        run: `edit ${text}`,
    },
    {
        trigger: `.o_searchview_autocomplete .o-dropdown-item:first:contains(${text})`,
        run: () => queryOne(".o_searchview_input").focus(),
    },
    {
        trigger: ".o_searchview_input",
        run: "press Enter",
    },
];

const removeFacets = [
    {
        trigger: ".o_searchview_facet .o_facet_remove",
        run: "click",
    },
    {
        trigger: "body:not(:has(.o_searchview_facet))",
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_list", {
    steps: () => [
        {
            content: "What is in stock is shown first",
            trigger: ".o_searchview_facet:contains(In Warehouses)",
        },
        {
            trigger: ".o_data_row:contains(Listed Product) td[name=event_type] .badge:contains(Receipt)",
        },
        {
            content: "Goods that go are red",
            trigger: ".o_data_row:contains(Sale) td[name=quantity].text-danger:contains(-2.00)",
        },
        ...removeFacets,
        ...searchFor("4006381333931"),
        {
            content: "Only the product with this barcode",
            trigger:
                ".o_list_view:not(:has(.o_data_row:contains(Lot Product))) .o_data_row:contains(Listed Product)",
        },
        ...removeFacets,
        ...searchFor("LOT-LIST-1"),
        {
            trigger:
                ".o_list_view:not(:has(.o_data_row:contains(Listed Product))) .o_data_row:contains(LOT-LIST-1)",
        },
        ...removeFacets,
        {
            content: "A favourite of everybody",
            trigger: ".o_searchview_dropdown_toggler",
            run: "click",
        },
        {
            trigger: ".o_favorite_menu .o-dropdown-item:contains(Deliveries Today)",
            run: "click",
        },
        {
            trigger:
                ".o_list_view:not(:has(.o_data_row:contains(Receipt))) .o_data_row:contains(Sale)",
        },
        ...removeFacets,
        ...searchFor("nothing of this name"),
        {
            content: "It says what to do",
            trigger: ".o_view_nocontent:contains(remove a filter)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_export", {
    steps: () => [
        {
            trigger: ".o_data_row:contains(Listed Product)",
        },
        {
            content: "Choose all",
            trigger: "thead .o_list_record_selector input",
            run: "click",
        },
        {
            trigger: ".o_cp_action_menus .dropdown-toggle",
            run: "click",
        },
        {
            trigger: ".o-dropdown--menu .o-dropdown-item:contains(Export)",
            run: "click",
        },
        {
            content: "The columns of the list are proposed",
            trigger: ".o_export_data_dialog .o_fields_list .o_export_field:contains(Event Type)",
        },
        {
            trigger: ".o_export_data_dialog .o_fields_list .o_export_field:contains(Reserved Change)",
        },
        {
            trigger: ".o_export_data_dialog footer .o_form_button_cancel, .modal .o_form_button_cancel",
            run: "click",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_list_small", {
    steps: () => [
        {
            content: "On a phone, entries are cards",
            trigger: ".o_kanban_record:contains(Listed Product):contains(Receipt)",
            run: "click",
        },
        {
            trigger: ".o_form_view .o_field_widget[name=effective_date]",
        },
    ],
});

const pressStatButton = (name) => [
    {
        content: `Press ${name}`,
        trigger: `.oe_stat_button[name=${name}], .o_button_more`,
        run: () => {
            const button = document.querySelector(`.oe_stat_button[name=${name}]`);
            (button || document.querySelector(".o_button_more")).click();
        },
    },
];

const openSubject = (name, check) => [
    ...pressStatButton(name),
    {
        // Behind "More" where there is no room.
        trigger: `body:has(${check}), .o-dropdown--menu .oe_stat_button[name=${name}]`,
        run: () =>
            document.querySelector(`.o-dropdown--menu .oe_stat_button[name=${name}]`)?.click(),
    },
    {
        trigger: check,
    },
];

const goBack = [
    {
        trigger: ".o_breadcrumb .o_back_button, .breadcrumb-item:last a",
        run: "click",
    },
    {
        trigger: ".o_form_view .o-form-buttonbox",
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_product_buttons", {
    steps: () => [
        {
            trigger: ".o_form_view .o-form-buttonbox",
        },
        ...openSubject(
            "action_view_ledger_entries",
            ".o_list_view .o_data_row:contains(Receipt) td[name=quantity]:contains(10.00)"
        ),
        ...goBack,
        ...openSubject(
            "action_view_reservations",
            ".o_list_view .o_data_row td[name=quantity_product_uom]:contains(3.00)"
        ),
        ...goBack,
        ...openSubject("action_view_events", ".o_view_nocontent:contains(events)"),
        ...goBack,
        ...openSubject("action_view_stock_card", ".modal .o_field_widget[name=date_from]"),
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_lot_buttons", {
    steps: () => [
        ...openSubject(
            "action_view_ledger_entries",
            ".o_list_view .o_data_row:contains(LOT-LIST-1) td[name=quantity]:contains(4.00)"
        ),
        ...goBack,
        ...openSubject(
            "action_view_stock_card",
            ".modal .o_field_widget[name=lot_id] input:value(LOT-LIST-1)"
        ),
        {
            trigger: ".modal button[name=action_open]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Closing Balance) td[name=balance_quantity]:contains(4.00)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_location_buttons", {
    steps: () => [
        ...openSubject(
            "action_view_ledger_entries",
            ".o_list_view .o_data_row:contains(Listed Product)"
        ),
        ...goBack,
        ...openSubject(
            "action_view_stock",
            ".o_list_view .o_data_row:contains(Listed Product) td[name=physical_quantity]:contains(8.00)"
        ),
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_product_list", {
    steps: () => [
        {
            content: "Choose a product in the list",
            trigger: ".o_data_row:contains(Listed Product) .o_list_record_selector input",
            run: "click",
        },
        {
            trigger: ".o_cp_action_menus .dropdown-toggle",
            run: "click",
        },
        {
            trigger: ".o-dropdown--menu .o-dropdown-item:contains(Ledger)",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Listed Product) td[name=quantity]:contains(10.00)",
        },
    ],
});
