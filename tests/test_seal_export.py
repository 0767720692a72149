import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user, tagged

from .seal_common import APRIL, MARCH, SealCase
from .tour_common import TourCase

SCRIPT = pathlib.Path(__file__).parent.parent / "tools" / "verify_seals"


@tagged("post_install", "-at_install")
class TestSealExport(TourCase, SealCase):
    """The export, verified by somebody who has no Odoo, and the pages."""

    def setUp(self):
        super().setUp()
        self.entry_ids, self.seals = self._append_sealed()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def _export(self, **vals):
        """Return the lines of an export that the manager downloads."""
        wizard = self.env["stock.ledger.seal.verify"].with_user(self.manager).create(vals)
        self.authenticate("seal_manager", "seal_manager")
        response = self.url_open(wizard.action_export()["url"])
        self.assertEqual(response.headers["Content-Type"], "application/gzip")
        return gzip.decompress(response.content).splitlines()

    def _run_script(self, lines, *options):
        """Return the status and the words of the script on an export with these lines."""
        file = self.folder / "export.jsonl.gz"
        file.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines)))
        # -I and -S: without what is installed.
        command = [sys.executable, "-I", "-S", SCRIPT, file, *options]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertNotIn("Traceback", result.stderr)
        return result.returncode, result.stdout + result.stderr

    def _get_line(self, lines, entry_id):
        return lines.index(next(x for x in lines if x.startswith(f"[{entry_id},".encode())))

    def test_intact(self):
        lines = self._export()
        status, words = self._run_script(lines)
        self.assertEqual(status, 0, words)
        self.assertIn(self.seals[2].hash, words)
        for seal in self.seals:
            self.assertEqual(self._run_script(lines, "--hash", seal.hash)[0], 0)

    def test_archived_entries_are_exported(self):
        lines = self._export()
        self._append((0, 1, "RECEIPT", APRIL))
        self.env["stock.ledger.archive.wizard"].create({"month": MARCH}).action_archive()
        archive = self.env["stock.ledger.archive"].search([])
        archive._try_archive()
        self.assertEqual(archive.entry_count, 7)
        self.assertEqual(self._export(), lines)

    def test_tampered_export(self):
        lines = self._export()
        at = self._get_line(lines, self.entry_ids[4])
        numbers = self.seals.mapped("number")

        changed = [*lines]
        changed[at] = changed[at].replace(b'"RECEIPT", 5', b'"RECEIPT", 6')
        self.assertNotEqual(changed, lines)
        status, words = self._run_script(changed)
        self.assertEqual(status, 1)
        self.assertIn(f"seal {numbers[1]}: entry {self.entry_ids[4]} changed\n", words)
        self.assertIn(": 1 findings", words)

        status, words = self._run_script([*lines[:at], *lines[at + 1 :]])
        self.assertEqual(status, 1)
        self.assertIn(f"seal {numbers[1]}: entry {self.entry_ids[4]} removed\n", words)

        status, words = self._run_script([*lines, lines[at].replace(b"[", b"[9", 1)])
        self.assertEqual(status, 1)
        self.assertIn(f"seal {numbers[2]}: entry 9{self.entry_ids[4]} inserted\n", words)

    def test_tampered_database(self):
        """What was exported before tells what an entry was."""
        earlier = self.folder / "earlier.jsonl.gz"
        earlier.write_bytes(gzip.compress(b"\n".join(self._export())))
        entry_id = self.entry_ids[4]
        self._tamper("UPDATE stock_ledger_entry SET quantity = 50 WHERE id = %s", entry_id)
        status, words = self._run_script(self._export(), "--earlier", earlier)
        self.assertEqual(status, 1)
        self.assertIn(f"seal {self.seals[1].number}: entry {entry_id} changed\n", words)
        self.assertRegex(words, f'entry {entry_id} was .*RECEIPT", 5, .*\n.* is .*", 50, ')

    def test_seals_made_anew(self):
        hashes = self.seals.mapped("hash")
        self._tamper("UPDATE stock_ledger_entry SET quantity = 9 WHERE id = %s", self.entry_ids[0])
        self._tamper(
            "DELETE FROM stock_ledger_seal WHERE id = ANY(%s)",
            self.seals.ids,
            table="stock_ledger_seal",
        )
        self._seal_all()
        lines = self._export()
        self.assertEqual(self._run_script(lines)[0], 0)
        status, words = self._run_script(lines, "--hash", hashes[2])
        self.assertEqual(status, 1)
        self.assertIn("no seal has the expected hash", words)

    def test_tampered_seals(self):
        lines = self._export()
        at = [n for n, line in enumerate(lines) if line.startswith(b'{"number"')]
        status, words = self._run_script([*lines[: at[-2]], *lines[at[-1] :]])
        self.assertEqual(status, 1)
        self.assertIn(f"seal {self.seals[2].number}: does not continue", words)
        seal = json.loads(lines[at[-1]])
        other = json.dumps({**seal, "sealed_date": "2020-01-01 00:00:00"}).encode()
        status, words = self._run_script([*lines[: at[-1]], other, *lines[at[-1] + 1 :]])
        self.assertEqual(status, 1)
        self.assertIn(f"seal {self.seals[2].number}: not as it was sealed", words)

    def test_later_seals_only(self):
        lines = self._export()
        at = [n for n, line in enumerate(lines) if line.startswith(b'{"number"')]
        self.assertEqual(self._run_script([lines[0], *lines[at[-2] :]])[0], 0)

    def test_no_export(self):
        lines = self._export()
        for bad in ([], [b"x"], [b"{}"], [b"[]"], lines[1:], [*lines[:2], b"x"], [lines[0], b"[]"]):
            self.assertEqual(self._run_script(bad)[0], 2, bad)

    def test_only_those_who_may_see_all_companies_export(self):
        verify = self.env["stock.ledger.seal.verify"]
        other = verify.with_user(self.manager).create({})
        self.manager.company_ids -= self.env["res.company"].create({"name": "Elsewhere"})
        with self.assertRaises(AccessError):
            other.action_export()
        self.authenticate("seal_manager", "seal_manager")
        self.assertEqual(self.url_open(f"/stock_event_ledger/seals/{other.id}").status_code, 403)
        # It verifies all the same.
        other.action_verify()
        self.assertEqual(other.state, "intact")
        self.authenticate("ledger_user", "ledger_user")
        self.assertEqual(self.url_open(f"/stock_event_ledger/seals/{other.id}").status_code, 403)

    def test_nothing_to_export(self):
        wizard = self.env["stock.ledger.seal.verify"].with_user(self.manager)
        with self.assertRaisesRegex(UserError, "no seals"):
            wizard.create({"date_to": "2020-01-01"}).action_export()

    def test_pages(self):
        new_test_user(self.env, "tour_manager", groups="stock.group_stock_manager")
        self._tamper("UPDATE stock_ledger_entry SET quantity = 9 WHERE id = %s", self.entry_ids[0])
        self.start_tour(
            "/odoo/action-stock_event_ledger.action_stock_ledger_seal",
            "stock_event_ledger_seals",
            login="tour_manager",
        )
