from odoo import api, fields, models
from odoo.exceptions import UserError

from ..locking import working_off_queue


class StockMoveExplanationLine(models.TransientModel):
    """A transfer that an explanation names."""

    _name = "stock.move.explanation.line"
    _description = "Transfer in the Explanation of a Move"
    _order = "id"

    explanation_id = fields.Many2one(
        "stock.move.explanation", required=True, readonly=True, ondelete="cascade", index=True
    )
    kind = fields.Selection(
        [("holder", "Holder"), ("awaited", "Awaited"), ("incoming", "Incoming")],
        required=True,
        readonly=True,
    )
    move_id = fields.Many2one("stock.move", readonly=True, ondelete="cascade")
    picking_id = fields.Many2one("stock.picking", readonly=True, ondelete="cascade")
    name = fields.Char("Transfer", readonly=True)
    partner_id = fields.Many2one("res.partner", "Contact", readonly=True)
    date = fields.Datetime("Scheduled", readonly=True)
    priority = fields.Selection([("0", "Normal"), ("1", "Urgent")], readonly=True)
    quantity = fields.Float(digits="Product Unit", readonly=True)
    total = fields.Float(
        digits="Product Unit", readonly=True, help="What has come when this one has"
    )
    since_date = fields.Datetime("Held Since", readonly=True)
    user_id = fields.Many2one("res.users", "Reserved By", readonly=True)
    can_unreserve = fields.Boolean(readonly=True)

    @api.model
    def _prepare_line_vals(self, explanation, kind, row):
        return {
            "explanation_id": explanation.id,
            "kind": kind,
            "since_date": row.get("since"),
            "can_unreserve": row.get("can_unreserve"),
            **{
                name: row.get(name)
                for name in (
                    "move_id",
                    "picking_id",
                    "name",
                    "partner_id",
                    "date",
                    "priority",
                    "quantity",
                    "total",
                    "user_id",
                )
            },
        }

    @api.readonly
    def action_open(self):
        """Open the transfer, or the move where there is none.

        :return: a window action
        """
        self.ensure_one()
        document = self.move_id._get_explained_document()
        return {
            "type": "ir.actions.act_window",
            "res_model": document._name,
            "res_id": document.id,
            "views": [[False, "form"]],
        }

    def action_unreserve(self):
        """Take the reservation of this transfer for the move; what is left over goes back.

        :return: an action that says what came of it
        :raises AccessError: unless the user may change both transfers
        :raises UserError: when it holds nothing that can be taken
        """
        self.ensure_one()
        move, holder = self.explanation_id.move_id, self.move_id
        (move | holder).check_access("write")
        (move | holder).picking_id.check_access("write")
        self.env["stock.quant"]._decide(lambda: self._hand_over(holder, move))
        if holder.picking_id:
            holder.picking_id.message_post(
                body=self.env._(
                    "The reservation of %(product)s was taken for %(reference)s.",
                    product=move.product_id.display_name,
                    reference=move.reference or move.display_name,
                )
            )
        return self.explanation_id._get_outcome()

    def _hand_over(self, holder, move):
        """Reserve for one move what another one holds, in the place of that one."""
        if holder.picked or holder.state not in ("assigned", "partially_available"):
            raise UserError(
                self.env._("%s holds nothing any more that could be taken. Look again.", self.name)
            )
        # Locked first: what is given up here can be nobody else's in between.
        if not self._get_held_quants(holder)._claim():
            raise UserError(self.env._("Somebody else is deciding on this stock. Try again."))
        holder._do_unreserve()
        # Past the queue, since this is somebody's decision for this move.
        with working_off_queue():
            move._action_assign()
            holder._action_assign()

    def _get_held_quants(self, holder):
        """Return the quants that a move has reserved, and perhaps others of the same lots."""
        lines = holder.move_line_ids
        # sudo: like core, for whoever may reserve without rights on quants.
        return (
            self.env["stock.quant"]
            .sudo()
            .search(
                [
                    ("product_id", "=", holder.product_id.id),
                    ("location_id", "in", lines.location_id.ids),
                    ("lot_id", "in", [False, *lines.lot_id.ids]),
                    ("package_id", "in", [False, *lines.package_id.ids]),
                    ("owner_id", "in", [False, *lines.owner_id.ids]),
                ]
            )
        )
