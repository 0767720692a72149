import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

const openInventory = [
    stepUtils.showAppsMenuItem(),
    {
        content: "Open Inventory",
        trigger: ".o_app[data-menu-xmlid='stock.menu_stock_root']",
        run: "click",
    },
];

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

const openPage = (name, field) => [
    {
        content: `Open the page ${name}`,
        trigger: `.o_notebook .nav-link:contains(${name})`,
        run: "click",
    },
    {
        trigger: `.o_notebook .tab-pane.active .o_field_widget[name=${field}]`,
    },
];

const confirm = (text) => [
    {
        content: "Confirm",
        trigger: `.modal:contains(${text}) .modal-footer .btn-primary`,
        run: "click",
    },
    {
        trigger: "body:not(:has(.modal))",
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_event_channel", {
    steps: () => [
        ...openInventory,
        ...openMenu("stock_event_channel_menu"),
        {
            content: "Open the channel",
            trigger: ".o_data_row td[name=name]:contains(Test)",
            run: "click",
        },
        ...openPage("Messages and Queues", "routing_key_pattern"),
        ...openPage("Server", "host"),
        {
            content: "Send a message to the broker and back",
            trigger: "button[name=action_test_connection]",
            run: "click",
        },
        {
            trigger: ".o_notification:has(.bg-success):contains(and back in)",
        },
        {
            content: "Pause",
            trigger: "button[name=action_pause]",
            run: "click",
        },
        {
            trigger: ".o_arrow_button_current:contains(Paused)",
        },
        {
            content: "Resume",
            trigger: "button[name=action_resume]",
            run: "click",
        },
        {
            trigger: ".o_arrow_button_current:contains(Running)",
        },
        ...openPage("Filter", "event_type_ids"),
        {
            content: "Choose an event type",
            trigger: ".o_field_widget[name=event_type_ids] input",
            run: "edit Receipt",
        },
        {
            trigger: ".o-autocomplete--dropdown-item:contains(/^Receipt$/)",
            run: "click",
        },
        {
            trigger: ".o_field_widget[name=event_type_ids] .o_tag:contains(Receipt)",
        },
        {
            trigger: ".o_form_button_save",
            run: "click",
        },
        {
            trigger: ".o_form_saved",
        },
        {
            content: "Send events again",
            trigger: "button[name=action_replay]",
            run: "click",
        },
        {
            content: "There is no period yet",
            trigger: ".modal .o_field_widget[name=date_from] input",
            run: "edit 01/01/2020 00:00:00 && press Tab",
        },
        {
            content: "It says how many, all of them with their numbers",
            trigger: ".modal .alert:has([name=numbered_count]:contains(/^1$/)) [name=event_count]:contains(/^1$/)",
        },
        {
            trigger: ".modal button[name=action_replay]",
            run: "click",
        },
        {
            content: "Confirm",
            trigger: ".modal:contains(get these events again) .modal-footer .btn-primary",
            run: "click",
        },
        {
            trigger: ".o_notification:contains(1 events are being sent again)",
        },
        {
            trigger: "body:not(:has(.modal))",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_blocked_events", {
    steps: () => [
        ...openInventory,
        ...openMenu("stock_event_blocked_menu"),
        {
            content: "Both are there, with the reason",
            trigger: ".o_data_row:contains(Skipped Product) td[name=error]:contains(NO_ROUTE)",
        },
        {
            content: "Retry one",
            trigger: ".o_data_row:contains(Retried Product) button[name=action_retry]",
            run: "click",
        },
        {
            trigger: ".o_list_view:not(:has(.o_data_row:contains(Retried Product)))",
        },
        {
            content: "Skip the other one, but think again",
            trigger: ".o_data_row:contains(Skipped Product) button[name=action_skip]",
            run: "click",
        },
        {
            trigger: ".modal:contains(never be delivered) .modal-footer .btn-secondary",
            run: "click",
        },
        {
            content: "Skip it",
            trigger:
                "body:not(:has(.modal)) .o_data_row:contains(Skipped Product) button[name=action_skip]",
            run: "click",
        },
        ...confirm("never be delivered"),
        {
            trigger: ".o_view_nocontent:contains(No event is blocked)",
        },
        ...openMenu("stock_event_outbox_menu"),
        {
            content: "They are to be sent, the skipped one as a GAP",
            trigger: ".o_data_row:contains(Skipped Product) td[name=state]:contains(Pending)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_event_pages", {
    steps: () => [
        ...openInventory,
        ...openMenu("stock_event_worker_menu"),
        {
            trigger: ".o_view_nocontent:contains(No worker is running)",
        },
        ...openMenu("menu_stock_ledger_entry"),
        {
            content: "Open an entry",
            trigger: ".o_data_row:contains(Tour Product) td[name=reference]",
            run: "click",
        },
        {
            content: "Its events are there",
            trigger: ".o_field_widget[name=event_ids] .o_data_row:contains(Test):contains(Confirmed)",
        },
    ],
});
