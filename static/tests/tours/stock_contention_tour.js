import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

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
    {
        trigger: `.o_breadcrumb:contains(${name})`,
    },
];

const switchTo = (type) => ({
    content: `Look at it as a ${type}`,
    trigger: `.o_switch_view.o_${type}`,
    run: "click",
});

registry.category("web_tour.tours").add("stock_event_ledger_contention", {
    steps: () => [
        stepUtils.showAppsMenuItem(),
        {
            content: "Open Inventory",
            trigger: ".o_app[data-menu-xmlid='stock.menu_stock_root']",
            run: "click",
        },
        ...openMenu("Contention"),
        {
            content: "How it went over time",
            trigger: ".o_graph_canvas_container canvas",
        },
        {
            trigger: ".o_facet_value:contains(Last 24 Hours)",
        },
        switchTo("pivot"),
        {
            trigger: ".o_pivot th:contains(Reservation Queued)",
        },
        switchTo("list"),
        {
            content: "Each meeting, with who was in the way",
            trigger: ".o_data_row:contains(Hot Product) td[name=holder]:contains(Somebody)",
        },
        ...openMenu("Hottest Products"),
        {
            trigger: ".o_graph_canvas_container canvas",
        },
        switchTo("pivot"),
        {
            content: "The most contended product is the first",
            trigger: ".o_pivot tbody tr:nth-child(2) th:contains(Hot Product)",
        },
        {
            content: "One that was deleted is there too",
            trigger: ".o_pivot tbody th:contains(Deleted)",
        },
        ...openMenu("Queued Reservations"),
        {
            content: "Open the transfer that waits",
            trigger: ".o_data_row:contains(Hot Product) td[name=product_id]",
            run: "click",
        },
        {
            trigger: ".o_form_view button[name=action_view_ledger_entries]",
        },
    ],
});
