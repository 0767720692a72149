import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

const openReport = (name) => [
    {
        content: "Open the Stock Ledger menu",
        trigger: ".o_menu_sections button:contains(Stock Ledger)",
        run: "click",
    },
    {
        content: `Open the ${name} report`,
        trigger: `.o-dropdown--menu a[data-menu-xmlid='stock_event_ledger.menu_stock_ledger_report_${name}']`,
        run: "click",
    },
];

const openMenu = (name) => [
    {
        content: "Open the Stock Ledger menu",
        trigger: ".o_menu_sections button:contains(Stock Ledger)",
        run: "click",
    },
    {
        content: `Open ${name}`,
        trigger: `.o-dropdown--menu a:contains(${name})`,
        run: "click",
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_delivery", {
    steps: () => [
        {
            content: "Reserve the delivery",
            trigger: "button[name=action_assign]",
            run: "click",
        },
        {
            content: "It is reserved: validate it",
            trigger: ".o_arrow_button_current:contains(Ready)",
        },
        {
            trigger: "button[name=button_validate].oe_highlight, button[name=button_validate].btn-primary",
            run: "click",
        },
        {
            content: "It is done: open its ledger entries",
            trigger: ".o_arrow_button_current:contains(Done)",
        },
        {
            trigger: "button[name=action_view_ledger_entries]",
            run: "click",
        },
        {
            content: "The sale takes from stock what was reserved",
            trigger: ".o_data_row:contains(Sale) td[name=quantity]:contains(-3.00)",
        },
        {
            trigger: ".o_data_row:contains(Reserve) td[name=reserved_quantity]:contains(3.00)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_menus", {
    steps: () => [
        stepUtils.showAppsMenuItem(),
        {
            content: "Open Inventory",
            trigger: ".o_app[data-menu-xmlid='stock.menu_stock_root']",
            run: "click",
        },
        ...openMenu("Ledger Entries"),
        {
            content: "Movements are there: open one",
            trigger: ".o_data_row:contains(Tour Product) td[name=reference]",
            run: "click",
        },
        {
            content: "It says what, when and why, and cannot be edited",
            trigger: ".o_form_readonly, .o_form_view",
        },
        {
            trigger: ".o_form_view .o_field_widget[name=effective_date]",
        },
        ...openReport("stock"),
        {
            content: "Physical, reserved and available are apart",
            trigger: ".o_data_row:contains(Tour Product) td[name=physical_quantity]:contains(10.00)",
        },
        {
            trigger: ".o_data_row:contains(Tour Product) td[name=available_quantity]:contains(10.00)",
        },
        {
            content: "Look at it as a pivot",
            trigger: ".o_switch_view.o_pivot",
            run: "click",
        },
        {
            trigger: ".o_pivot_cell_value",
        },
        {
            trigger: ".o_switch_view.o_graph",
            run: "click",
        },
        {
            trigger: ".o_graph_canvas_container canvas",
        },
        {
            trigger: ".o_switch_view.o_list",
            run: "click",
        },
        {
            content: "Drill down to the ledger",
            trigger: ".o_data_row:contains(Tour Product) button[name=action_view_entries]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Receipt) td[name=quantity]:contains(10.00)",
        },
        ...openReport("movement"),
        {
            content: "Movements by category and month",
            trigger: ".o_pivot_cell_value:contains(10.00)",
        },
        {
            trigger: ".o_switch_view.o_graph",
            run: "click",
        },
        {
            trigger: ".o_graph_canvas_container canvas",
        },
        {
            trigger: ".o_switch_view.o_list",
            run: "click",
        },
        {
            content: "Drill down to the transfers",
            trigger: ".o_data_row:contains(Tour Product) button[name=action_view_transfers]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(LWH/IN) td[name=state]:contains(Done)",
        },
    ],
});
