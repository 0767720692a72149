import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

registry.category("web_tour.tours").add("stock_event_ledger_at_date", {
    steps: () => [
        stepUtils.showAppsMenuItem(),
        {
            content: "Open Inventory",
            trigger: ".o_app[data-menu-xmlid='stock.menu_stock_root']",
            run: "click",
        },
        {
            trigger: ".o_menu_sections button:contains(Stock Ledger)",
            run: "click",
        },
        {
            trigger: ".o-dropdown--menu a:contains(Stock at a Date)",
            run: "click",
        },
        {
            content: "It is about now, compared with the beginning of the month",
            trigger: ".modal .o_field_widget[name=compare_date]",
        },
        {
            trigger: ".modal button[name=action_open]",
            run: "click",
        },
        {
            content: "The title names the dates",
            trigger: ".o_breadcrumb:contains(Stock at):contains(compared with)",
        },
        {
            trigger: ".o_data_row:contains(Tour Product) td[name=difference_quantity]:contains(10.00)",
        },
        {
            trigger: ".o_switch_view.o_pivot",
            run: "click",
        },
        {
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
            content: "Look at the transfers between the dates",
            trigger: ".o_data_row:contains(Tour Product) button[name=action_view_transfers]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(/IN/)",
        },
        {
            trigger: ".o_back_button, .breadcrumb-item a:contains(Stock at)",
            run: "click",
        },
        {
            content: "and at the ledger",
            trigger: ".o_data_row:contains(Tour Product) button[name=action_view_entries]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Receipt) td[name=quantity]:contains(10.00)",
        },
    ],
});
