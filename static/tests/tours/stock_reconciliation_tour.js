import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

const openMenu = (xmlid) => [
    {
        content: "Open the Stock Ledger menu",
        trigger: ".o_menu_sections button:contains(Stock Ledger)",
        run: "click",
    },
    {
        content: `Open ${xmlid}`,
        trigger: `.o-dropdown--menu a[data-menu-xmlid='stock_event_ledger.${xmlid}']`,
        run: "click",
    },
];

const reconcile = [
    ...openMenu("stock_ledger_reconcile_menu"),
    {
        trigger: ".modal button[name=action_reconcile]",
        run: "click",
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_reconciliation", {
    steps: () => [
        stepUtils.showAppsMenuItem(),
        {
            content: "Open Inventory",
            trigger: ".o_app[data-menu-xmlid='stock.menu_stock_root']",
            run: "click",
        },
        ...reconcile,
        {
            content: "A difference was found",
            trigger: ".o_arrow_button_current:contains(Drift)",
        },
        {
            trigger: ".oe_stat_button[name=action_view_drifts]:contains(1)",
            run: "click",
        },
        {
            content: "Both sides are there, and what it may come from",
            trigger:
                ".o_data_row:contains(Drifting Product):contains(changed by SQL) td[name=difference]:contains(2.00)",
            run: "click",
        },
        {
            content: "So are the last entries",
            trigger: ".o_field_widget[name=entry_ids] .o_data_row:contains(Reserve)",
        },
        {
            content: "And the quants",
            trigger: ".o_notebook .nav-link:contains(Quants Now)",
            run: "click",
        },
        {
            trigger: ".o_field_widget[name=quant_ids] .o_data_row:contains(12.00)",
        },
        {
            content: "Correct it",
            trigger: ".o_form_view button[name=action_correct]",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=way] label:contains(The quants follow the ledger)",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=reason] input",
            run: "edit Counted again",
        },
        {
            trigger: ".modal button[name=action_correct]",
            run: "click",
        },
        {
            content: "It asks first",
            trigger: ".modal:contains(cannot be undone) .modal-footer .btn-primary:not([name])",
            run: "click",
        },
        {
            content: "It is corrected",
            trigger: "body:not(:has(.modal)) .o_arrow_button_current:contains(Corrected)",
        },
        ...reconcile,
        {
            content: "All is well",
            trigger: ".o_arrow_button_current:contains(Clean)",
        },
        ...openMenu("stock_ledger_reconciliation_menu"),
        {
            content: "Runs are kept",
            trigger: ".o_data_row:has(td[name=state]:contains(Drift))",
        },
        {
            content: "Look at the trend",
            trigger: ".o_switch_view.o_graph",
            run: "click",
        },
        {
            trigger: ".o_graph_renderer canvas",
        },
        ...openMenu("stock_ledger_drift_menu"),
        {
            trigger: ".o_view_nocontent:contains(All figures agree)",
        },
    ],
});
