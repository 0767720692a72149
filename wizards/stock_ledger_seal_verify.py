import datetime

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..models.stock_ledger_seal_check import FINDING_KINDS

MOST_FINDINGS = 1000


class StockLedgerSealVerify(models.TransientModel):
    """Verifies seals of the ledger and tells what it found, or exports them."""

    _name = "stock.ledger.seal.verify"
    _description = "Verify Seals"

    date_from = fields.Date("Sealed From", help="In UTC. None: from the first seal on")
    date_to = fields.Date("Sealed Until", help="In UTC. None: up to the last seal")
    expected_hash = fields.Char(
        help="The hash of a seal that you have kept elsewhere. When no seal has it any more, "
        "somebody has made the seals anew.",
    )
    state = fields.Selection(
        [("new", "To Verify"), ("intact", "Intact"), ("broken", "Broken")],
        default="new",
        readonly=True,
    )
    seal_count = fields.Integer("Seals", readonly=True)
    entry_count = fields.Integer("Entries", readonly=True)
    unsealed_count = fields.Integer("Not Sealed Yet", readonly=True)
    last_seal_number = fields.Integer(readonly=True)
    last_hash = fields.Char(readonly=True)
    finding_count = fields.Integer("Findings", readonly=True)
    finding_ids = fields.One2many(
        "stock.ledger.seal.finding",
        "verify_id",
        "First Findings",
        readonly=True,
    )

    def _get_seals(self):
        domain = []
        if self.date_from:
            domain.append(("sealed_date", ">=", self.date_from))
        if self.date_to:
            domain.append(("sealed_date", "<", self.date_to + datetime.timedelta(days=1)))
        return self.env["stock.ledger.seal"].search(domain)

    def action_verify(self):
        """Verify the seals of the chosen time, and show what was found.

        :return: the action that shows this wizard again
        """
        self.ensure_one()
        seals = self._get_seals()
        findings = seals._verify((self.expected_hash or "").strip().lower())
        last = seals[:1]
        self.write(
            {
                "state": "broken" if findings else "intact",
                "seal_count": len(seals),
                "entry_count": sum(seals.mapped("entry_count")),
                "unsealed_count": seals._count_unsealed(),
                "last_seal_number": last.number,
                "last_hash": last.hash,
                "finding_count": len(findings),
                "finding_ids": [
                    fields.Command.clear(),
                    *(
                        fields.Command.create(finding._asdict())
                        for finding in findings[:MOST_FINDINGS]
                    ),
                ],
            }
        )
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "stock_event_ledger.action_stock_ledger_seal_verify"
        )
        return {**action, "res_id": self.id}

    def action_export(self):
        """Download the seals of the chosen time with their entries.

        :return: an action that opens the file's address
        :raises AccessError: unless the user may see all companies
        :raises UserError: when there are no seals of that time
        """
        self.ensure_one()
        self.env["stock.ledger.seal"]._check_may_export()
        if not self._get_seals():
            raise UserError(self.env._("There are no seals of that time."))
        return {
            "type": "ir.actions.act_url",
            "url": f"/stock_event_ledger/seals/{self.id}",
            "target": "download",
        }

    def action_view_entries(self):
        """Open the entries that were changed or inserted, as far as the user may see them.

        :return: an action
        """
        self.ensure_one()
        entry_ids = [entry_id for entry_id in self.finding_ids.mapped("entry_id") if entry_id]
        return self.env["stock.ledger.entry"]._prepare_entries_action([("id", "in", entry_ids)])


class StockLedgerSealFinding(models.TransientModel):
    """What a verification of seals found."""

    _name = "stock.ledger.seal.finding"
    _description = "Finding About a Seal"

    verify_id = fields.Many2one("stock.ledger.seal.verify", required=True, ondelete="cascade")
    kind = fields.Selection(FINDING_KINDS, string="What", required=True, readonly=True)
    seal_number = fields.Integer("Seal", readonly=True)
    # No link to the entry: it may be of another company, or gone.
    entry_id = fields.Integer("Entry ID", readonly=True)
    note = fields.Char("Details", readonly=True)
    explanation = fields.Char(compute="_compute_explanation")

    @api.depends("kind")
    def _compute_explanation(self):
        explanations = self._get_explanations()
        for finding in self:
            finding.explanation = explanations[finding.kind]

    @api.model
    def _get_explanations(self):
        return {
            "changed": self.env._("The entry is not what was sealed."),
            "removed": self.env._("The entry was sealed, and is neither there nor archived."),
            "inserted": self.env._("The entry was not there when its range was sealed."),
            "seal": self.env._("The hash is not that of the seal and its entries."),
            "chain": self.env._("The seal does not continue the one before, or that is missing."),
            "archive": self.env._("The archive's file is not as it was written."),
            "expected": self.env._("No seal has the expected hash: the seals were made anew."),
        }
