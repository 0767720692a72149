import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

registry.category("web_tour.tours").add("stock_event_ledger_stock_card", {
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
            trigger: ".o-dropdown--menu a:contains(Stock Card)",
            run: "click",
        },
        {
            content: "Choose the product",
            trigger: ".modal .o_field_widget[name=product_id] input",
            run: "edit Tour Product",
        },
        {
            trigger: ".o-autocomplete--dropdown-item:contains(Tour Product)",
            run: "click",
        },
        {
            trigger: ".modal button[name=action_open]",
            run: "click",
        },
        {
            content: "The card begins with the opening balance and ends with the closing one",
            trigger:
                ".o_data_row:first-child:contains(Opening Balance) td[name=balance_quantity]:contains(0.00)",
        },
        {
            trigger:
                ".o_data_row:contains(Closing Balance) td[name=balance_quantity]:contains(10.00)",
        },
        {
            trigger: ".o_breadcrumb:contains(Stock Card: Tour Product)",
        },
        {
            content: "Newest first: it turns round",
            trigger: "th[data-name=effective_date]",
            run: "click",
        },
        {
            trigger: "th[data-name=effective_date]",
            run: "click",
        },
        {
            trigger: ".o_data_row:first-child:contains(Closing Balance)",
        },
        {
            trigger: ".o_data_row:contains(Receipt) td[name=in_quantity]:contains(10.00)",
        },
        {
            content: "Look at it as a pivot",
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
            content: "A movement opens its transfer",
            trigger: ".o_data_row:contains(Receipt) td[name=reference]",
            run: "click",
        },
        {
            trigger: ".o_form_view .o_arrow_button_current:contains(Done)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_availability", {
    steps: () => [
        {
            content: "The chart is loaded when it is looked at",
            trigger: ".o_notebook_headers a[name=stock_availability]",
            run: "click",
        },
        {
            trigger: ".o_availability_summary:contains(10 Units today, 7 Units expected)",
        },
        {
            trigger: ".o_availability_chart canvas[aria-label^='10 Units today']",
        },
        {
            content: "Another period and one warehouse",
            trigger: ".o_availability_chart select[name=period]",
            run: "select 90",
        },
        {
            trigger: ".o_availability_chart select[name=warehouse]",
            run: "selectByLabel Other Ledger Warehouse",
        },
        {
            trigger: ".o_availability_summary:contains(0 Units today, 0 Units expected)",
        },
        {
            trigger: ".o_availability_chart select[name=warehouse]",
            run: "selectByLabel All warehouses",
        },
        {
            trigger: ".o_availability_summary:contains(10 Units today, 7 Units expected)",
        },
        {
            content: "It is a table as well",
            trigger: ".o_availability_chart details summary",
            run: "click",
        },
        {
            trigger: ".o_availability_chart td:contains(7)",
        },
        {
            content: "The stock card is two clicks away",
            trigger: ".o-form-buttonbox .o_button_more",
            run: "click",
        },
        {
            trigger: ".o-dropdown--menu button[name=action_view_stock_card]",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=product_id]",
        },
    ],
});
