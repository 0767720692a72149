import { registry } from "@web/core/registry";

registry.category("web_tour.tours").add("stock_event_ledger_onboarding", {
    steps: () => [
        {
            trigger: ".o_form_view h1:contains(Get Started)",
        },
        {
            content: "test the connection",
            trigger: "button[name=action_test]",
            run: "click",
        },
        {
            content: "a message went to the broker and back",
            trigger: ".alert-success:contains(and back)",
        },
        {
            content: "publish",
            trigger: "button[name=action_publish]",
            run: "click",
        },
        {
            trigger: "p:contains(Each change of stock is an event now)",
        },
        {
            content: "the first movement",
            trigger: "button[name=action_count]:visible",
            run: "click",
        },
        {
            trigger: ".o_breadcrumb:contains(Physical Inventory)",
        },
        {
            trigger: ".o_list_view",
        },
    ],
});
