from odoo import api, fields, models


class StockLedgerOnboarding(models.TransientModel):
    """Takes an administrator from the installation to the first confirmed event.

    It has no state of its own: what is done is read from the database each time, so that it
    can be left and opened again, and tells the truth when somebody undoes a step.
    """

    _name = "stock.ledger.onboarding"
    _description = "Get Started with the Stock Ledger"

    entry_count = fields.Integer(compute="_compute_entry_count")
    channel_id = fields.Many2one(
        "stock.event.channel",
        required=True,
        default=lambda self: self._default_channel_id(),
    )
    host = fields.Char(related="channel_id.host", readonly=False)
    port = fields.Integer(related="channel_id.port", readonly=False)
    virtual_host = fields.Char(related="channel_id.virtual_host", readonly=False)
    username = fields.Char(related="channel_id.username", readonly=False)
    use_tls = fields.Boolean(related="channel_id.use_tls", readonly=False)
    has_password = fields.Boolean(compute="_compute_has_password")
    is_connected = fields.Boolean(readonly=True)
    connection_text = fields.Char("Connection", readonly=True)
    is_publishing = fields.Boolean(related="channel_id.active")
    is_worker_ok = fields.Boolean(compute="_compute_worker")
    worker_text = fields.Char("Worker", compute="_compute_worker")
    event_id = fields.Many2one("stock.event.outbox", compute="_compute_event_id")
    pending_count = fields.Integer(related="channel_id.pending_count")
    event_error = fields.Char(related="channel_id.last_error")

    def _compute_display_name(self):
        self.display_name = self.env._("Get Started")

    @api.model
    def _default_channel_id(self):
        channels = self.env["stock.event.channel"].with_context(active_test=False)
        return channels.search([], order="active desc, id", limit=1)

    def _compute_entry_count(self):
        """Count the first entries: whether there are any is what matters."""
        count = self.env["stock.ledger.entry"].search_count([], limit=1000)
        self.entry_count = count

    @api.depends("channel_id")
    def _compute_has_password(self):
        for step in self:
            step.has_password = bool(step.channel_id and step.channel_id._get_password())

    def _compute_worker(self):
        # sudo: a manager may know whether the scheduled actions run.
        check = self.env["stock.ledger.self.check"].sudo()._check_worker()
        self.is_worker_ok = check.is_ok
        self.worker_text = check.text

    @api.depends("channel_id")
    def _compute_event_id(self):
        for step in self:
            step.event_id = self.env["stock.event.outbox"].search(
                [("channel_id", "=", step.channel_id.id), ("state", "=", "confirmed")],
                order="confirmed_date desc, id desc",
                limit=1,
            )

    def action_test(self):
        """Send a message to the broker and back, with what is entered, and say how it went."""
        self.ensure_one()
        self.is_connected, self.connection_text = self.channel_id._try_connection()
        return self.action_refresh()

    def action_publish(self):
        """Publish events from now on."""
        self.ensure_one()
        self.channel_id.active = True
        return self.action_refresh()

    def action_refresh(self):
        """Look again at what is done.

        :return: the window action of this same page
        """
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.stock_ledger_onboarding_action"
        )
        return {**action, "res_id": self.id}

    def action_count(self):
        """Open the physical inventory, where a count makes the first movement."""
        return self.env["stock.quant"].action_view_inventory()

    def action_view_event(self):
        """Open the newest confirmed event's ledger entry."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "stock.ledger.entry",
            "res_id": self.event_id.entry_id.id,
            "view_mode": "form",
        }
