import { rpc } from "@web/core/network/rpc";
import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

const receiveElsewhere = () =>
    rpc("/web/dataset/call_kw/stock.ledger.dashboard/receive_elsewhere", {
        model: "stock.ledger.dashboard",
        method: "receive_elsewhere",
        args: [],
        kwargs: {},
    });

const tile = (name) => `.o_stock_ledger_tile[data-tile=${name}]`;

const goBack = [
    {
        content: "Back to the dashboard",
        trigger: ".o_breadcrumb .breadcrumb-item a:contains(Stock Ledger), .o_back_button",
        run: "click",
    },
    {
        trigger: tile("worker"),
    },
];

const visit = (name, title) => [
    {
        content: `Open the list of ${name}`,
        trigger: `${tile(name)} .stretched-link`,
        run: "click",
    },
    {
        trigger: `.o_control_panel .o_breadcrumb:contains(${title})`,
    },
    {
        trigger: ".o_list_view, .o_view_nocontent",
    },
    ...goBack,
];

registry.category("web_tour.tours").add("stock_event_ledger_dashboard", {
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
            trigger:
                ".o-dropdown--menu a[data-menu-xmlid='stock_event_ledger.menu_stock_ledger_dashboard']",
            run: "click",
        },
        {
            content: "One reservation is queued, since when is told",
            trigger: `${tile("queue")}:has(.o_stock_ledger_value:contains(/^1$/)) [data-key=oldest]:contains(5 hr)`,
        },
        {
            trigger: `${tile("contention")} [data-key=wait]:contains(1)`,
        },
        {
            trigger: `${tile("events")} .o_stock_ledger_row:contains(Test):contains(Running)`,
        },
        {
            content: "What is not there says what to do",
            trigger: `${tile("stockouts")} .o_stock_ledger_empty:contains(looked for every hour)`,
        },
        {
            trigger: `${tile("products")}:not(:contains(Live Product))`,
        },
        {
            content: "Somebody else receives something",
            trigger: ".o_stock_ledger_dashboard",
            run: receiveElsewhere,
        },
        {
            content: "It is there, without a reload of the page",
            trigger: `${tile("products")} .o_stock_ledger_row:contains(Live Product)`,
            timeout: 60000,
        },
        {
            content: "A row opens its own list",
            trigger: `${tile("movements")} [data-key=RECEIPT]`,
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Live Product) td[name=in_quantity]:contains(7.00)",
        },
        ...goBack,
        ...visit("movements", "Today's Movements"),
        ...visit("products", "Today's Movements"),
        ...visit("stockouts", "Stock-outs"),
        ...visit("queue", "Queued Reservations"),
        ...visit("contention", "Contention"),
        ...visit("drift", "Drifts"),
        ...visit("events", "Event Channels"),
        ...visit("worker", "Workers"),
        {
            content: "Nothing is queued in the other warehouse",
            trigger: ".o_control_panel select[name=warehouse]",
            run: "selectByLabel Second Warehouse",
        },
        {
            trigger: `${tile("queue")}:has(.o_stock_ledger_value:contains(/^0$/)) .o_stock_ledger_empty`,
        },
        {
            trigger: `${tile("queue")} .stretched-link`,
            run: "click",
        },
        {
            trigger: ".o_view_nocontent:contains(No reservation is waiting)",
        },
        ...goBack,
        {
            content: "The choice is still there",
            trigger: ".o_control_panel select[name=warehouse]:has(option:contains(Second):checked)",
        },
        {
            trigger: `${tile("queue")}:has(.o_stock_ledger_value:contains(/^0$/))`,
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_dashboard_user", {
    steps: () => [
        {
            content: "Contention is for managers",
            trigger: `.o_stock_ledger_dashboard:has(${tile("worker")}):not(:has(${tile("contention")}))`,
        },
        {
            content: "All that can be pressed has a name",
            trigger: ".o_stock_ledger_dashboard:not(:has(.stretched-link:not([aria-label])))",
        },
        {
            content: "Each tile can be reached by the keyboard",
            trigger: `${tile("queue")} .stretched-link`,
            run: ({ anchor }) => {
                anchor.focus();
                if (document.activeElement !== anchor || anchor.tabIndex < 0) {
                    throw new Error("The tile cannot be reached");
                }
            },
        },
        {
            trigger: `${tile("queue")} .stretched-link:focus`,
            run: "press Enter",
        },
        {
            trigger: ".o_list_view .o_data_row:contains(Plain)",
        },
        ...goBack,
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_dashboard_mobile", {
    steps: () => [
        {
            content: "The tiles are below each other, and none is wider than the screen",
            trigger: tile("worker"),
            run: () => {
                const tiles = [...document.querySelectorAll(".o_stock_ledger_tile")];
                const boxes = tiles.map((el) => el.getBoundingClientRect());
                const isColumn = boxes.every((box) => box.left === boxes[0].left);
                if (!isColumn || boxes.some((box) => box.right > window.innerWidth)) {
                    throw new Error("The tiles do not fit on the screen");
                }
            },
        },
        {
            trigger: `${tile("queue")} .stretched-link`,
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Plain), .o_kanban_record:contains(Plain)",
        },
        ...goBack,
    ],
});
