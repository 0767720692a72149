from markupsafe import Markup

from odoo import api, fields, models


class StockMoveExplanation(models.TransientModel):
    """Says why a move is not, or only partly, reserved, and helps where the user may."""

    _name = "stock.move.explanation"
    _description = "Why a Move Is Not Reserved"

    move_id = fields.Many2one("stock.move", required=True, readonly=True, ondelete="cascade")
    picking_id = fields.Many2one(related="move_id.picking_id")
    summary = fields.Html(readonly=True, sanitize=False)
    can_check = fields.Boolean(readonly=True)
    holder_ids = fields.One2many(
        "stock.move.explanation.line", "explanation_id", domain=[("kind", "=", "holder")]
    )
    awaited_ids = fields.One2many(
        "stock.move.explanation.line", "explanation_id", domain=[("kind", "=", "awaited")]
    )
    incoming_ids = fields.One2many(
        "stock.move.explanation.line", "explanation_id", domain=[("kind", "=", "incoming")]
    )

    @api.model
    def _create_for_move(self, move):
        """Return the explanation of what holds up a move's reservation."""
        data = move._explain_reservation()
        explanation = self.create(
            {
                "move_id": move.id,
                "summary": self._make_summary(data["sentences"]),
                "can_check": self._can_check(move, data),
            }
        )
        lines = self.env["stock.move.explanation.line"]
        for kind, rows in (
            ("holder", data["holders"]),
            ("awaited", data["waits_for"]),
            ("incoming", data["incoming"]),
        ):
            lines.create(
                [
                    lines._prepare_line_vals(explanation, kind, row)
                    for row in rows
                    # Others are told of in a sentence only.
                    if row["move_id"]
                ]
            )
        if move._is_chained():
            # Taking it from others does not help a move that takes only what is brought for it.
            explanation.holder_ids.can_unreserve = False
        return explanation

    @api.model
    def _make_summary(self, sentences):
        first, *others = sentences
        items = Markup().join(Markup("<li>%s</li>") % sentence for sentence in others)
        return Markup("<p class='fw-bold'>%s</p><ul class='ps-3 mb-0'>%s</ul>") % (first, items)

    @api.model
    def _can_check(self, move, data):
        may_write = move.has_access("write")
        return bool(may_write and data["missing"] and "picked" not in data["reasons"])

    def action_check_availability(self):
        """Reserve the move, as Check Availability does.

        :return: an action that says what came of it
        """
        self.ensure_one()
        move = self.move_id
        move.check_access("write")
        self.env["stock.quant"]._decide(move._action_assign, move)
        return self._get_outcome()

    def _get_outcome(self):
        """Return the action that explains what is missing still, or says that nothing is."""
        move = self.move_id
        if move.state != "assigned":
            return move.action_explain_reservation()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "message": self.env._("%s is reserved.", move.product_id.display_name),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }
