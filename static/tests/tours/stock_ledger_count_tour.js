import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

registry.category("web_tour.tours").add("stock_event_ledger_count", {
    steps: () => [
        {
            content: "Count one less than there is",
            trigger: ".o_data_row:contains(Tour Product) td[name=inventory_quantity]",
            run: "click",
        },
        {
            trigger: "div[name=inventory_quantity] input",
            run: "edit 9 && click .o_list_button_save",
        },
        {
            trigger:
                ".o_data_row:contains(Tour Product) td[name=inventory_diff_quantity]:contains(-1.00)",
        },
        {
            content: "Apply it with a reason",
            trigger: ".o_data_row:contains(Tour Product) .o_list_record_selector input",
            run: "click",
        },
        {
            trigger: ".o_control_panel button:contains(Apply):not(:contains(All))",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=inventory_adjustment_name] input",
            run: "edit Broken in the aisle",
        },
        {
            trigger: ".modal button[name=action_apply]",
            run: "click",
        },
        {
            content: "The user has nothing left to count: see it in the report",
            trigger:
                "body:not(:has(.modal)) .o_list_view:not(:has(.o_data_row:contains(Tour Product)))",
        },
        stepUtils.showAppsMenuItem(),
        {
            trigger: ".o_app[data-menu-xmlid='stock.menu_stock_root']",
            run: "click",
        },
        {
            trigger: ".o_menu_sections button:contains(Stock Ledger)",
            run: "click",
        },
        {
            trigger:
                ".o-dropdown--menu a[data-menu-xmlid='stock_event_ledger.menu_stock_ledger_count']",
            run: "click",
        },
        {
            trigger:
                ".o_data_row:contains(Tour Product):contains(Broken in the aisle) td[name=difference_quantity]:contains(-1.00)",
        },
        {
            content: "Look at it by reason and user",
            trigger: ".o_switch_view.o_pivot",
            run: "click",
        },
        {
            trigger: ".o_pivot th:contains(Broken in the aisle)",
        },
        {
            trigger: ".o_pivot_cell_value:contains(0%)",
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
            trigger: ".o_data_row:contains(Adjustment) td[name=quantity]:contains(-1.00)",
        },
        {
            trigger: ".breadcrumb-item a:contains(Adjustments), .o_back_button",
            run: "click",
        },
        {
            content: "And to the move",
            trigger: ".o_data_row:contains(Tour Product) button[name=action_view_move_lines]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Tour Product):contains(Broken in the aisle)",
        },
    ],
});
