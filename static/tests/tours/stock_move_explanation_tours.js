import { registry } from "@web/core/registry";

const whyInTransfer = [
    {
        content: "The delivery is reserved in part: ask why",
        trigger:
            ".o_field_widget[name=move_ids] .o_data_row:contains(Wanted Product) button[name=action_explain_reservation]",
        run: "click",
    },
    {
        content: "It says how much is missing",
        trigger: ".modal .o_field_widget[name=summary]:contains(5 Units wanted, 3 Units reserved)",
    },
    {
        content: "And who holds the rest",
        trigger:
            ".modal .o_field_widget[name=holder_ids] .o_data_row:contains(Holding Customer) td[name=quantity]:contains(7.00)",
    },
    {
        content: "And what is to come",
        trigger:
            ".modal .o_field_widget[name=incoming_ids] .o_data_row:contains(Late Supplier) td[name=quantity]:contains(20.00)",
    },
];

registry.category("web_tour.tours").add("stock_event_ledger_why", {
    steps: () => [
        ...whyInTransfer,
        {
            content: "Look at the transfer that holds it",
            trigger:
                ".modal .o_field_widget[name=holder_ids] .o_data_row button[name=action_open]",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal)) .o_field_widget[name=partner_id] input:value(Holding Customer)",
        },
        {
            content: "It is reserved: nobody asks why",
            trigger:
                ".o_field_widget[name=move_ids] .o_data_row:not(:has(button[name=action_explain_reservation]))",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_why_unreserve", {
    steps: () => [
        ...whyInTransfer,
        {
            content: "Take what it holds",
            trigger:
                ".modal .o_field_widget[name=holder_ids] .o_data_row button[name=action_unreserve]",
            run: "click",
        },
        {
            content: "It asks first",
            trigger: ".modal:contains(loses its reservation) .modal-footer .btn-primary:not([name])",
            run: "click",
        },
        {
            content: "The delivery is ready",
            trigger: "body:not(:has(.modal)) .o_arrow_button_current:contains(Ready)",
        },
        {
            trigger: ".o_notification:contains(Wanted Product is reserved)",
        },
        {
            trigger:
                ".o_field_widget[name=move_ids] .o_data_row:not(:has(button[name=action_explain_reservation])) td[name=quantity]:contains(5.00)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_why_in_move", {
    steps: () => [
        {
            trigger: ".o_switch_view.o_list",
            run: "click",
        },
        {
            content: "Ask in the list of moves",
            trigger: ".o_data_row:contains(Wanted Product) button[name=action_explain_reservation]",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=summary]:contains(2 Units missing)",
        },
        {
            content: "Try again to reserve it",
            trigger: ".modal button[name=action_check_availability]",
            run: "click",
        },
        {
            content: "Nothing is free: it says so again",
            trigger: ".modal .o_field_widget[name=summary]:contains(0 Units are free)",
        },
        {
            trigger: ".modal .modal-footer button:contains(Close)",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal)) .o_list_view",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_why_move_form", {
    steps: () => [
        {
            trigger: ".o_form_view button[name=action_explain_reservation]",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=summary]:contains(2 Units missing)",
        },
        {
            trigger: ".modal .modal-footer button:contains(Close)",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal)) button[name=action_view_ledger_entries]",
            run: "click",
        },
        {
            content: "The entries of the move",
            trigger: ".o_data_row:contains(Reserve) td[name=reserved_quantity]:contains(3.00)",
        },
    ],
});

registry.category("web_tour.tours").add("stock_event_ledger_why_small", {
    steps: () => [
        {
            content: "On a phone, moves are cards: ask why",
            trigger:
                ".o_field_widget[name=move_ids] .o_kanban_record:contains(Wanted Product) button[name=action_explain_reservation]",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=summary]:contains(2 Units missing)",
        },
        {
            content: "So are those who hold it",
            trigger:
                ".modal .o_field_widget[name=holder_ids] .o_kanban_record:contains(Holding Customer) button[name=action_unreserve]",
        },
        {
            trigger: ".modal .o_field_widget[name=incoming_ids] .o_kanban_record:contains(20.00)",
        },
        {
            trigger: ".modal button:contains(Close)",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal)) .o_form_view",
        },
    ],
});
