import { registry } from "@web/core/registry";

registry.category("web_tour.tours").add("stock_event_ledger_seals", {
    steps: () => [
        {
            content: "Open a seal",
            trigger: ".o_data_row td[name=hash]",
            run: "click",
        },
        {
            content: "Its hash can be copied",
            trigger: ".o_form_view .o_field_widget[name=hash] button",
        },
        {
            trigger: ".o_breadcrumb a:contains(Seals), .o_back_button",
            run: "click",
        },
        {
            content: "Seal what is new",
            trigger: ".o_control_panel button:contains(Seal Now)",
            run: "click",
        },
        {
            trigger: ".o_notification:contains(being sealed)",
        },
        {
            content: "Verify",
            trigger: ".o_control_panel button:contains(Verify Seals)",
            run: "click",
        },
        {
            trigger: ".modal button[name=action_verify]",
            run: "click",
        },
        {
            content: "The changed entry is named",
            trigger: ".modal .alert-danger:contains(not what was sealed)",
        },
        {
            trigger: ".modal .o_data_row:contains(Entry Changed) td[name=entry_id]",
        },
        {
            content: "Look at it",
            trigger: ".modal button[name=action_view_entries]",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains(Receipt) td[name=quantity]:contains(9.00)",
        },
    ],
});
