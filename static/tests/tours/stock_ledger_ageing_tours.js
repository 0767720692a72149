import { registry } from "@web/core/registry";

registry.category("web_tour.tours").add("stock_event_ledger_ageing", {
    steps: () => [
        {
            content: "It has lain for some months, and lasts for some more",
            trigger:
                ".o_data_row:contains(Tour Product) td[name=physical_quantity]:contains(6.00)",
        },
        {
            trigger: ".o_data_row:contains(Tour Product) td[name=stockout_count]:contains(1)",
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
            content: "Drill down to the transfers",
            trigger: ".o_data_row:contains(Tour Product) button[name=action_view_transfers]",
            run: "click",
        },
        {
            trigger: ".o_list_view .o_data_row:contains(Done)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_stockouts", {
    steps: () => [
        {
            content: "It ran out once",
            trigger: ".o_data_row:contains(Tour Product) td[name=day_count]:contains(2)",
        },
        {
            trigger: ".o_switch_view.o_graph",
            run: "click",
        },
        {
            trigger: ".o_graph_canvas_container canvas",
        },
        {
            trigger: ".o_switch_view.o_pivot",
            run: "click",
        },
        {
            trigger: ".o_pivot_cell_value",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_archive", {
    steps: () => [
        {
            content: "Archive the ledger",
            trigger: ".o_control_panel button:contains(Archive the Ledger)",
            run: "click",
        },
        {
            content: "The wizard says how much there is",
            trigger: ".modal .alert:contains(stock keys)",
        },
        {
            trigger: ".modal button[name=action_archive]",
            run: "click",
        },
        {
            content: "It asks first",
            trigger: ".modal:contains(do not come back) .modal-footer .btn-primary:not([name])",
            run: "click",
        },
        {
            content: "Each month is queued: take one back",
            trigger: ".o_data_row:contains(Queued) button[name=action_cancel]",
            run: "click",
        },
        {
            trigger: ".modal:contains(its request is deleted) .modal-footer .btn-primary",
            run: "click",
        },
        {
            content: "The one that is done has a file",
            trigger: ".o_data_row:contains(Done) td[name=entry_count]",
            run: "click",
        },
        {
            trigger: ".o_form_view button[name=action_download]",
        },
    ],
});
