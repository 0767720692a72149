import datetime
from unittest.mock import patch

from odoo.tests import new_test_user
from odoo.tools import SQL

from ..models import stock_ledger_seal
from .history_common import HistoryCase

MARCH = datetime.datetime(2023, 3, 5)
APRIL = datetime.datetime(2023, 4, 5)
ENTRIES_PER_SEAL = 3


class SealCase(HistoryCase):
    """Seals of three entries, and whoever gets around the triggers."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.startClassPatcher(patch.object(stock_ledger_seal, "ENTRIES_PER_SEAL", ENTRIES_PER_SEAL))
        cls.manager = new_test_user(
            cls.env,
            "seal_manager",
            groups="stock.group_stock_manager",
            company_ids=[(6, 0, cls.env["res.company"].search([]).ids)],
            context={"no_reset_password": True},
        )
        cls.seal = cls.env["stock.ledger.seal"].with_user(cls.manager)
        cls._seal_all()
        cls.seals_before = cls.seal.search([])

    @classmethod
    def _seal_all(cls):
        [[last]] = cls.env.execute_query(SQL("SELECT MAX(id) FROM stock_ledger_entry"))
        while cls.env["stock.ledger.seal"]._seal(last or 0):
            pass

    def _append_sealed(self, count=7):
        """Append entries and seal them.

        :return: their ids, and their seals, oldest first
        """
        ids = self._append(*[(0, 1 + n, "RECEIPT", MARCH) for n in range(count)])
        self._seal_all()
        return ids, (self.seal.search([]) - self.seals_before).sorted("number")

    def _tamper(self, query, *args, table="stock_ledger_entry"):
        """Do what the owner of the database can do."""
        table = SQL.identifier(table)
        # As a commit does it: what it still has to check keeps triggers from being switched.
        self.env.cr.execute(SQL("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"))
        self.env.cr.execute(SQL("ALTER TABLE %s DISABLE TRIGGER USER", table))
        self.env.cr.execute(SQL(query, *args))
        self.env.cr.execute(SQL("ALTER TABLE %s ENABLE TRIGGER USER", table))
        self.env.invalidate_all()

    def _verify(self, **vals):
        """Verify in the wizard, as the manager."""
        wizard = self.env["stock.ledger.seal.verify"].with_user(self.manager).create(vals)
        wizard.action_verify()
        return wizard

    def _get_findings(self, **vals):
        findings = self._verify(**vals).finding_ids
        return [(f.kind, f.seal_number, f.entry_id) for f in findings]
