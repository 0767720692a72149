import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

const press = (name, state) => [
    {
        content: `Press ${name}`,
        trigger: `.o_statusbar_buttons button[name=${name}]`,
        run: "click",
    },
    {
        content: `The transfer is ${state}`,
        trigger: `.o_arrow_button_current:contains(${state})`,
    },
];

const openMenu = (section, xmlid) => [
    {
        content: `Open the menu ${section}`,
        trigger: `.o_menu_sections button:contains(${section})`,
        run: "click",
    },
    {
        content: `Open ${xmlid}`,
        trigger: `.o-dropdown--menu a[data-menu-xmlid='${xmlid}']`,
        run: "click",
    },
];

const openTransfer = (menu, origin) => [
    ...openMenu("Operations", `stock.${menu}_picking`),
    {
        content: `Open ${origin}`,
        trigger: `.o_list_view .o_data_row:contains(${origin}) td[name=origin]`,
        run: "click",
    },
];

const receive = [
    ...openTransfer("in", "Chain Receipt"),
    ...press("action_confirm", "Ready"),
    ...press("button_validate", "Done"),
];

const promiseAll = [
    ...openTransfer("out", "Chain One"),
    ...press("action_confirm", "Ready"),
    {
        trigger: ".o_field_widget[name=move_ids] .o_data_row td[name=quantity]:contains(7.00)",
    },
    ...openTransfer("out", "Chain Two"),
    ...press("action_confirm", "Ready"),
    {
        content: "Only a part was left: ask why",
        trigger:
            ".o_field_widget[name=move_ids] .o_data_row:has(td[name=quantity]:contains(3.00)) button[name=action_explain_reservation]",
        run: "click",
    },
    {
        trigger: ".modal .o_field_widget[name=summary]:contains(2 Units missing)",
    },
    {
        content: "Take it from the other delivery",
        trigger:
            ".modal .o_field_widget[name=holder_ids] .o_data_row:has(td[name=quantity]:contains(7.00)) button[name=action_unreserve]",
        run: "click",
    },
    {
        content: "It asks first, and its button says what it does",
        trigger:
            ".modal:contains(loses its reservation) .modal-footer .btn-primary:contains(Unreserve)",
        run: "click",
    },
    {
        trigger:
            "body:not(:has(.modal)) .o_field_widget[name=move_ids] .o_data_row td[name=quantity]:contains(5.00)",
    },
];

const deliverAndReturn = [
    ...press("button_validate", "Done"),
    {
        trigger: ".o_statusbar_buttons button:contains(Return)",
        run: "click",
    },
    {
        trigger: ".modal button[name=action_create_returns_all]",
        run: "click",
    },
    {
        content: "The return is another transfer",
        trigger:
            "body:not(:has(.modal)) .o_field_widget[name=origin]:has(input:value(Return of)), body:not(:has(.modal)) .o_field_widget[name=origin]:contains(Return of)",
    },
    ...press("button_validate", "Done"),
];

const count = [
    ...openMenu("Operations", "stock.menu_action_inventory_tree"),
    {
        content: "One is missing",
        trigger: ".o_data_row:contains(Chained Product) td[name=inventory_quantity]",
        run: "click",
    },
    {
        trigger: "div[name=inventory_quantity] input",
        run: "edit 9 && click .o_list_button_save",
    },
    {
        trigger:
            ".o_data_row:contains(Chained Product) td[name=inventory_diff_quantity]:contains(-1.00)",
    },
    {
        trigger: ".o_data_row:contains(Chained Product) .o_list_record_selector input",
        run: "click",
    },
    {
        trigger: ".o_control_panel button:contains(Apply):not(:contains(All))",
        run: "click",
    },
    {
        trigger: ".modal .o_field_widget[name=inventory_adjustment_name] input",
        run: "edit Broken in the chain",
    },
    {
        trigger: ".modal button[name=action_apply]",
        run: "click",
    },
    {
        trigger: "body:not(:has(.modal)) .o_list_view",
    },
    ...openMenu("Stock Ledger", "stock_event_ledger.menu_stock_ledger_count"),
    {
        trigger:
            ".o_data_row:contains(Chained Product):contains(Broken in the chain) td[name=difference_quantity]:contains(-1.00)",
    },
];

const prove = [
    ...openMenu("Stock Ledger", "stock_event_ledger.stock_ledger_reconcile_menu"),
    {
        trigger: ".modal button[name=action_reconcile]",
        run: "click",
    },
    {
        content: "All figures agree",
        trigger: ".o_arrow_button_current:contains(Clean)",
    },
    ...openMenu("Stock Ledger", "stock_event_ledger.menu_stock_ledger_entry"),
    ...[
        ["Receipt", "quantity", "10.00"],
        ["Unreserve", "reserved_quantity", "-7.00"],
        ["Sale", "quantity", "-5.00"],
        ["Customer Return", "quantity", "5.00"],
        ["Adjustment", "quantity", "-1.00"],
    ].map(([type, field, value]) => ({
        content: `The ledger has it: ${type}`,
        trigger: `.o_data_row:contains(Chained Product):contains(${type}) td[name=${field}]:contains(${value})`,
    })),
];

registry.category("web_tour.tours").add("stock_event_ledger_chain", {
    steps: () => [
        stepUtils.showAppsMenuItem(),
        {
            content: "Open Inventory",
            trigger: ".o_app[data-menu-xmlid='stock.menu_stock_root']",
            run: "click",
        },
        {
            trigger: ".o_kanban_view",
        },
        ...receive,
        ...promiseAll,
        ...deliverAndReturn,
        ...count,
        ...prove,
    ],
});
