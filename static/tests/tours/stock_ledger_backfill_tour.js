import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

const openHistory = () => [
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
        trigger: ".o-dropdown--menu a[data-menu-xmlid='stock_event_ledger.menu_stock_ledger_backfill']",
        run: "click",
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_backfill_start", {
    steps: () => [
        ...openHistory(),
        {
            content: "It says what it is about: begin",
            trigger: ".alert:contains(The ledger began with what was in stock)",
        },
        {
            trigger: "button[name=action_start]:contains(Enter History)",
            run: "click",
        },
        {
            content: "It cannot be undone",
            trigger: ".modal-footer .btn-primary",
            run: "click",
        },
        {
            content: "It has begun: pause it",
            trigger: "button[name=action_pause]",
            run: "click",
        },
        {
            trigger: ".o_arrow_button_current:contains(Paused)",
        },
        {
            trigger: "button[name=action_resume]",
            run: "click",
        },
        {
            trigger: ".o_arrow_button_current:contains(Running)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_backfill_result", {
    steps: () => [
        ...openHistory(),
        {
            trigger: ".o_arrow_button_current:contains(Done)",
        },
        {
            content: "There is stock that history does not explain: which?",
            trigger: "button[name=action_view_unexplained]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Found Product) td[name=quantity]:contains(5.00)",
        },
        {
            content: "All that the ledger knows about it",
            trigger: ".o_data_row:contains(Found Product) button[name=action_view_entries]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Opening) td[name=quantity]:contains(5.00)",
        },
    ],
});
