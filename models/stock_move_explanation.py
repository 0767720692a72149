from odoo import api, models
from odoo.fields import Domain
from odoo.tools import SQL

from .stock_move import OPEN_STATES, QUEUED_STATES

# A hot product has thousands of reservations; nobody reads more than a page of them.
MOST_LISTED = 40
# Whose lines hold stock: open moves, and drafts that somebody entered quantities in.
HOLDING_STATES = ("draft", *OPEN_STATES)
STOCK_USAGES = ("internal", "transit")


class StockMove(models.Model):
    """Why a move is not, or only partly, reserved.

    Quantities are in the product's unit. What it says is what the user may see; of transfers
    that the user may not see, it tells how much they hold and no more.
    """

    _inherit = "stock.move"

    @api.readonly
    def explain_reservation(self):
        """Return why this move is not, or only partly, reserved.

        Quantities are in the product's unit of measure, dates are in UTC.

        :return: dictionary of

            - ``sentences``: list of strings in the user's language, which say all of it;
            - ``reasons``: list of codes: ``done``, ``cancelled``, ``draft``, ``bypassed``,
              ``reserved``, ``picked``, ``queued``, ``failed``, ``waiting``, ``manual``,
              ``by_date``, ``whole_packs``, ``free`` (enough is free), ``held`` (others hold it),
              ``orphaned`` (reserved for no transfer), ``short`` (too little is there);
            - ``wanted``, ``reserved``, ``missing``, ``on_hand``, ``free``: numbers; the last two
              at the move's source location and the locations in it;
            - ``stock``: list by location: ``location_id``, ``location``, ``on_hand``, ``reserved``;
            - ``holders``: who holds the rest, the least urgent first: ``move_id``, ``picking_id``,
              ``name``, ``partner_id``, ``partner``, ``date``, ``priority``, ``quantity``, ``since``
              (False where the ledger does not know), ``user_id``, ``user``, ``can_unreserve``;
            - ``held``, ``holder_count``: by all others, also those that are not listed;
            - ``hidden``: what is held by transfers that the user may not see;
              ``hidden_company``: those of other companies among it; ``orphaned``: what is
              reserved and no transfer holds;
            - ``incoming``: what is to come, like holders, with ``total`` (up to and with it);
            - ``ahead``: what moves want that are to be reserved before this one;
            - ``enough_date``: when there will be enough for those and for this one, or False;
            - ``waits_for``: the moves that bring the goods, like holders;
            - ``elsewhere``: list of ``warehouse_id``, ``warehouse``, ``free`` at other places.
        :raises AccessError: unless the user may read the move and the ledger
        """
        self.ensure_one()
        self.check_access("read")
        self.env["stock.ledger.entry"].check_access("read")
        return self._explain_reservation()

    def action_explain_reservation(self):
        """Open the explanation of what holds up this move's reservation.

        :return: a window action
        """
        self.ensure_one()
        self.check_access("read")
        explanation = self.env["stock.move.explanation"]._create_for_move(self)
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Why is it not reserved?"),
            "res_model": explanation._name,
            "res_id": explanation.id,
            "views": [[False, "form"]],
            "target": "new",
        }

    def _explain_reservation(self):
        """Return the dictionary that ``explain_reservation`` describes."""
        data = self._explain_demand()
        if self._is_reservable():
            data |= self._explain_source()
            data |= self._explain_holders(data["reserved_there"])
        if data["missing"] and self._is_reservable():
            data |= self._explain_incoming(data)
            data["elsewhere"] = self._explain_elsewhere()
        data["reasons"] = self._get_unreserved_reasons(data)
        data["sentences"] = self._get_reservation_sentences(data)
        return data

    def _is_reservable(self):
        """Tell whether stock has to be reserved for the move, and may be."""
        return self.state in OPEN_STATES and not self._should_bypass_reservation()

    def _explain_demand(self):
        unit = self.product_id.uom_id
        reserved = sum(self.move_line_ids.mapped("quantity_product_uom"))
        missing = unit.round(max(self.product_qty - reserved, 0.0))
        return {
            "move_id": self.id,
            "wanted": self.product_qty,
            "reserved": unit.round(reserved),
            "missing": missing if self._is_reservable() else 0.0,
            "on_hand": 0.0,
            "free": 0.0,
            "stock": [],
            "holders": [],
            "held": 0.0,
            "holder_count": 0,
            "hidden": 0.0,
            "hidden_company": 0.0,
            "orphaned": 0.0,
            "incoming": [],
            "ahead": 0.0,
            "enough_date": False,
            "waits_for": [self._get_document_vals(move) for move in self._get_awaited_moves()],
            "elsewhere": [],
        }

    def _get_awaited_moves(self):
        """Return the open moves that bring what this one takes."""
        # sudo: which of them the user may see is looked at for each.
        awaited = self.sudo().move_orig_ids.filtered(lambda move: move.state in HOLDING_STATES)
        return awaited.with_env(self.env)[:MOST_LISTED]

    # --- what there is ---

    def _get_source_quants_domain(self):
        """Return the Domain of the quants that the move may take from. Hook."""
        return Domain("product_id", "=", self.product_id.id) & Domain(
            "location_id", "child_of", self.location_id.id
        )

    def _explain_source(self):
        rows = self.env["stock.quant"]._read_group(
            self._get_source_quants_domain(),
            ["location_id"],
            ["quantity:sum", "reserved_quantity:sum"],
        )
        rows.sort(key=lambda row: row[0].complete_name or "")
        round_quantity = self.product_id.uom_id.round
        on_hand = round_quantity(sum(row[1] for row in rows))
        reserved = round_quantity(sum(row[2] for row in rows))
        return {
            "on_hand": on_hand,
            "reserved_there": reserved,
            "free": round_quantity(on_hand - reserved),
            "stock": [
                {
                    "location_id": location.id,
                    "location": location.display_name,
                    "on_hand": round_quantity(quantity),
                    "reserved": round_quantity(reserved_quantity),
                }
                for location, quantity, reserved_quantity in rows
            ],
        }

    def _explain_elsewhere(self):
        """Return what is free at other places, by warehouse."""
        quants = self.env["stock.quant"]
        here = self._get_source_quants_domain()
        there = Domain("product_id", "=", self.product_id.id)
        there &= Domain("location_id.usage", "in", STOCK_USAGES)
        there &= Domain("id", "not in", quants._search(here))
        free_by_warehouse = {}
        for location, quantity, reserved in quants._read_group(
            there, ["location_id"], ["quantity:sum", "reserved_quantity:sum"]
        ):
            warehouse = location.warehouse_id
            free_by_warehouse[warehouse] = (
                free_by_warehouse.get(warehouse, 0.0) + quantity - reserved
            )
        round_quantity = self.product_id.uom_id.round
        return [
            {
                "warehouse_id": warehouse.id,
                "warehouse": warehouse.display_name or self.env._("in transit"),
                "free": round_quantity(free),
            }
            for warehouse, free in sorted(
                free_by_warehouse.items(), key=lambda item: (not item[0], item[0].id)
            )
            if round_quantity(free) > 0
        ]

    # --- who holds it ---

    def _explain_holders(self, reserved_there):
        held, count, rows = self._read_holders()
        unit = self.product_id.uom_id
        moves = self.browse([move.id for move, _quantity in rows])
        visible = moves._filtered_access("read").filtered(
            lambda move: not move.picking_id or move.picking_id.has_access("read")
        )
        since = self._get_reserved_since(visible)
        visible_by_id = {move.id: move for move in visible}
        holders, hidden, hidden_company = [], 0.0, 0.0
        for move, quantity in rows:
            if move.id in visible_by_id:
                vals = self._get_holder_vals(visible_by_id[move.id])
                holders.append(vals | {"quantity": unit.round(quantity)} | since[move.id])
                continue
            hidden += quantity
            if move.company_id not in self.env.companies:
                hidden_company += quantity
        holders.sort(
            key=lambda vals: (vals["priority"], -vals["date"].timestamp(), -vals["move_id"])
        )
        own = sum(
            line.quantity_product_uom
            for line in self.move_line_ids
            if line.location_id.parent_path.startswith(self.location_id.parent_path)
        )
        return {
            "holders": holders,
            "holder_count": count,
            "held": unit.round(held),
            "hidden": unit.round(hidden),
            "hidden_company": unit.round(hidden_company),
            "orphaned": unit.round(max(reserved_there - held - own, 0.0)),
        }

    def _get_holding_lines_domain(self):
        """Return the Domain of the move lines that hold stock this move may take. Hook."""
        holding = Domain("product_id", "=", self.product_id.id)
        holding &= Domain("state", "in", HOLDING_STATES) & Domain("id", "!=", self.id)
        return (
            Domain("product_id", "=", self.product_id.id)
            & Domain("location_id", "child_of", self.location_id.id)
            & Domain("quantity_product_uom", ">", 0)
            # By way of the open moves, so that the product's done lines are not read.
            & Domain("move_id", "any", holding)
        )

    def _read_holders(self):
        """Return how much others hold, how many they are, and the largest of them.

        :return: quantity, number of moves, list of pairs of a stock.move and its quantity
        """
        # sudo: what the user may not see holds stock as well. It is told only how much.
        lines = self.env["stock.move.line"].sudo()
        domain = self._get_holding_lines_domain()
        rows = lines._read_group(
            domain,
            ["move_id"],
            ["quantity_product_uom:sum"],
            order="quantity_product_uom:sum DESC, move_id",
            limit=MOST_LISTED,
        )
        if len(rows) < MOST_LISTED:
            return sum(quantity for _move, quantity in rows), len(rows), rows
        [(held, count)] = lines._read_group(
            domain, [], ["quantity_product_uom:sum", "move_id:count_distinct"]
        )
        return held, count, rows

    def _get_reserved_since(self, moves):
        """Return by id since when the moves have held this product, and by whose doing.

        That is the last time that their reservation began, where the ledger knows it.
        """
        unknown = {"since": False, "user_id": False, "user": False}
        since = {move.id: unknown for move in moves}
        self.env["stock.ledger.entry"]._flush_buffer()
        rows = self.env.execute_query(self._query_reserved_since(moves))
        users = self.env["res.users"].browse({user_id for _id, _date, user_id in rows if user_id})
        names = {user.id: user.display_name for user in users.exists()}
        for move_id, date, user_id in rows:
            since[move_id] = {
                "since": date.replace(microsecond=0),
                "user_id": user_id in names and user_id,
                "user": names.get(user_id, False),
            }
        return since

    def _query_reserved_since(self, moves):
        return SQL(
            """
            SELECT DISTINCT ON (move_id) move_id, recorded_date, user_id
              FROM (SELECT id, move_id, recorded_date, user_id, reserved_quantity,
                           SUM(reserved_quantity) OVER (PARTITION BY move_id ORDER BY id) AS held
                      FROM stock_ledger_entry
                     WHERE move_id = ANY(%s) AND product_id = %s
                       AND reserved_quantity <> 0) AS change
             WHERE reserved_quantity > 0 AND held <= reserved_quantity
             ORDER BY move_id, id DESC
            """,
            moves.ids,
            self.product_id.id,
        )

    @api.model
    def _get_holder_vals(self, move):
        """Return how a move that holds stock is named, and what the user may do. Hook.

        :param move: the stock.move, which the user may read
        """
        may_write = move.has_access("write") and (
            not move.picking_id or move.picking_id.has_access("write")
        )
        return {**self._get_document_vals(move), "can_unreserve": may_write and not move.picked}

    @api.model
    def _get_document_vals(self, move):
        """Return how a move is named: by its transfer, or else by what it is for."""
        picking = move.sudo().picking_id.with_env(self.env)
        if not (move.has_access("read") and (not picking or picking.has_access("read"))):
            name = self.env._("a transfer that you may not see")
            return {"move_id": False, "picking_id": False, "name": name, "date": False}
        partner = picking.partner_id or move.partner_id
        return {
            "move_id": move.id,
            "picking_id": picking.id,
            "name": picking.name or move.reference or move.origin or move.display_name,
            "partner_id": partner.id,
            "partner": partner.display_name or False,
            "date": move.date,
            "priority": move.priority or "0",
        }

    def _get_explained_document(self):
        """Return the record to open for a move that an explanation names. Hook."""
        self.ensure_one()
        return self.picking_id or self

    # --- what is to come ---

    def _explain_incoming(self, data):
        needed = data["missing"] + (ahead := self._get_quantity_ahead()) - max(data["free"], 0.0)
        incoming, total, enough_date = [], 0.0, False
        for move in self.search(self._get_incoming_domain(), order="date, id", limit=MOST_LISTED):
            total += move.product_qty
            if not enough_date and self.product_id.uom_id.compare(total, needed) >= 0:
                enough_date = move.date
            vals = {"quantity": move.product_qty, "total": self.product_id.uom_id.round(total)}
            incoming.append(self._get_document_vals(move) | vals)
        return {"incoming": incoming, "ahead": ahead, "enough_date": enough_date}

    def _get_incoming_domain(self):
        """Return the Domain of the open moves that bring the product to the source.

        Also of those that end there by moves that do not exist yet.
        """
        here = self.location_id.id
        arrives = Domain("location_dest_id", "child_of", here)
        arrives |= Domain("location_final_id", "child_of", here) & Domain(
            "move_dest_ids", "=", False
        )
        return (
            Domain("product_id", "=", self.product_id.id)
            & Domain("state", "in", OPEN_STATES)
            & ~Domain("location_id", "child_of", here)
            & arrives
        )

    def _get_quantity_ahead(self):
        """Return what is still missing to the moves that are to be reserved before this one."""
        earlier = Domain("date", "<", self.date)
        earlier |= Domain("date", "=", self.date) & Domain("id", "<", self.id)
        first = Domain("priority", ">", self.priority or "0")
        first |= Domain("priority", "=", self.priority or "0") & earlier
        domain = Domain("product_id", "=", self.product_id.id)
        domain &= Domain("location_id", "child_of", self.location_id.id)
        domain &= Domain("state", "in", QUEUED_STATES) & Domain("id", "!=", self.id) & first
        unit = self.product_id.uom_id
        rows = self._read_group(domain, ["product_uom"], ["product_uom_qty:sum", "quantity:sum"])
        return unit.round(
            sum(
                move_unit._compute_quantity(wanted - reserved, unit, round=False)
                for move_unit, wanted, reserved in rows
            )
        )
