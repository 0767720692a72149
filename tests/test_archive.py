import csv
import datetime
import gzip
import hashlib
import io
from collections import defaultdict
from contextlib import closing
from decimal import Decimal
from unittest.mock import patch

from freezegun import freeze_time
from hypothesis import given
from psycopg2 import errors

from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user
from odoo.tools import SQL, mute_logger

from .history_common import RANDOM, HistoryCase
from .rollup_common import KEY, get_reported_stock_at, get_stock_at

FIRST_DAY = datetime.date(2023, 1, 1)
MARCH = datetime.date(2023, 3, 1)
ROLLUPS = {
    "stock_ledger_balance": SQL("%s, quantity, reserved_quantity, last_movement_date", KEY),
    "stock_ledger_closing": SQL("%s, date, next_date, quantity", KEY),
    "stock_ledger_day": SQL("product_id, location_id, event_type, date, in_quantity, out_quantity"),
    "stock_ledger_month": SQL(
        "product_id, location_id, event_type, date, in_quantity, entry_count"
    ),
    "stock_ledger_month_location": SQL("location_id, event_type, date, out_quantity, entry_count"),
    "stock_ledger_month_total": SQL("product_id, location_id, date, out_quantity, entry_count"),
}


class ArchiveCase(HistoryCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = new_test_user(
            cls.env,
            "archive_manager",
            groups="stock.group_stock_manager",
            company_ids=[(6, 0, cls.env.companies.search([]).ids)],
            context={"no_reset_password": True},
        )
        cls.archive = cls.env["stock.ledger.archive"].with_user(cls.manager)

    def _request(self, month):
        """Request to archive up to the end of a month, as the manager.

        :return: the archives, oldest first
        """
        wizard = self.env["stock.ledger.archive.wizard"].with_user(self.manager)
        wizard.create({"month": month}).action_archive()
        return self.archive.search([], order="month")

    def _archive_all(self, month):
        archives = self._request(month)
        for archive in archives.filtered(lambda archive: archive.state == "queued"):
            archive._try_archive()
        self.assertEqual(set(archives.mapped("state")), {"done"}, archives.mapped("error"))
        return archives

    def _read_file(self, archive):
        content = archive.with_user(self.manager).attachment_id.raw
        self.assertEqual(hashlib.sha256(content).hexdigest(), archive.checksum)
        return list(csv.DictReader(io.StringIO(gzip.decompress(content).decode())))

    def _get_sums(self):
        rows = self.env.execute_query(
            SQL(
                """SELECT %s, SUM(quantity), SUM(reserved_quantity) FROM stock_ledger_entry
                    GROUP BY 1, 2, 3, 4, 5, 6
                   HAVING SUM(quantity) <> 0 OR SUM(reserved_quantity) <> 0""",
                KEY,
            )
        )
        return {tuple(key): (on_hand, reserved) for *key, on_hand, reserved in rows}

    def _get_rollups(self):
        return {
            table: sorted(
                self.env.execute_query(SQL("SELECT %s FROM %s", columns, SQL.identifier(table))),
                key=repr,
            )
            for table, columns in ROLLUPS.items()
        }

    def _get_report(self, name):
        self.env.invalidate_all()
        report = self.env[name].search([])
        return report.read([field for field in report._fields if report._fields[field].store])


class TestArchive(ArchiveCase):
    """Archived months are in a file; all that the ledger adds up to stays."""

    @RANDOM
    @given(batches=HistoryCase._draw_entries(FIRST_DAY, 200))
    def test_random_history(self, batches):
        with closing(self.env.cr.savepoint()):
            self._append_batches(batches)
            self._check_archiving()

    def _check_archiving(self):
        reports = ("stock.ledger.report.stock", "stock.ledger.report.ageing")
        sums = self._get_sums()
        figures = [self._get_report(name) for name in reports]
        ends = [datetime.datetime(2023, month, 1) for month in range(2, 9)]
        ends = [end - datetime.timedelta(seconds=1) for end in ends]
        stock_at = [get_stock_at(self.env, end) for end in ends]
        archives = self._archive_all(datetime.date(2023, 5, 31))
        self.assertEqual(self._get_sums(), sums)
        self.assertEqual([self._get_report(name) for name in reports], figures)
        self.assertEqual([get_reported_stock_at(self.env, end) for end in ends], stock_at)
        self._check_files(archives, dict(zip(ends, stock_at, strict=True)))
        self._fold_all()
        rollups = self._get_rollups()
        self.rollup._rebuild()
        self.assertEqual(self._get_rollups(), rollups)
        self.assertEqual([get_reported_stock_at(self.env, end) for end in ends], stock_at)
        self.assertEqual(self._get_sums(), sums)

    def _check_files(self, archives, stock_at):
        """Each file begins with what the one before left, and adds up to the month's end."""
        for archive in archives:
            rows = self._read_file(archive)
            self.assertEqual(len(rows), archive.entry_count)
            ids = [int(row["id"]) for row in rows]
            self.assertEqual(ids, sorted(ids))
            self.assertFalse(self.env["stock.ledger.entry"].browse(ids).exists())
            totals = defaultdict(Decimal)
            for row in rows:
                key = (row["product_id"], row["location_id"], row["lot_id"])
                totals[tuple(int(part or 0) for part in key)] += Decimal(row["quantity"])
            end = archive._get_end() - datetime.timedelta(seconds=1)
            expected = {tuple(x or 0 for x in key[:3]): q for key, q in stock_at[end].items()}
            self.assertEqual({key: q for key, q in totals.items() if q}, expected)

    def test_real_movements(self):
        """Ledger, quants and rollups agree before and after, with a reservation that lasts."""
        with freeze_time("2023-02-10 12:00:00"):
            self._receive(self.product, 10)
            self._receive(self.lot_product, 5, lots=[self._create_lot(self.lot_product, "A")])
            picking = self._create_picking("out", {self.product: 4})
            picking.action_confirm()
            self.env["stock.ledger.entry"]._flush_buffer()
        with freeze_time("2023-03-10 12:00:00"):
            delivery = self._create_picking("out", {self.product: 3})
            delivery.action_confirm()
            self._validate(delivery)
            self.assertLedgerBalanced()
        archives = self._archive_all(MARCH)
        self.assertEqual(archives.mapped("month"), [datetime.date(2023, 2, 1), MARCH])
        self.assertLedgerBalanced()
        openings = self._get_entries(
            [("product_id", "=", self.product.id), ("location_id", "=", self.stock.id)]
        )
        self.assertEntries(openings, [("OPENING", self.stock, 7, 4)])
        self.assertEqual(openings.reference, "Archive 2023-03")
        self.assertEqual(openings.user_id, self.manager)
        self.assertEqual(openings.warehouse_id, self.warehouse)
        self.assertEqual(openings.effective_date, datetime.datetime(2023, 3, 31, 23, 59, 59))
        self._validate(picking)
        self.assertLedgerBalanced()
        self.assertEqual(self._get_report_row().physical_quantity, 3)

    def _get_report_row(self):
        return self.env["stock.ledger.report.stock"].search(
            [("product_id", "=", self.product.id), ("warehouse_id", "=", self.warehouse.id)]
        )

    def test_nothing_left_needs_no_opening(self):
        date = datetime.datetime(2023, 3, 5)
        self._append((0, 5, "RECEIPT", date), (0, -5, "SALE", date))
        archive = self._archive_all(MARCH)
        self.assertEqual((archive.entry_count, archive.opening_count), (2, 0))

    def test_backdated_entry_goes_into_the_next_archive(self):
        march, april = datetime.datetime(2023, 3, 5), datetime.datetime(2023, 4, 5)
        self._append((0, 5, "RECEIPT", march), (0, 1, "RECEIPT", april))
        self._archive_all(MARCH)
        self._append((0, -2, "SALE", march))
        at = datetime.datetime(2023, 3, 31, 23, 59, 59)
        self.assertEqual(sum(get_reported_stock_at(self.env, at).values()), 3)
        self._fold_all()
        rollups = self._get_rollups()
        self.rollup._rebuild()
        self.assertEqual(self._get_rollups(), rollups)
        archives = self._archive_all(datetime.date(2023, 4, 1))
        self.assertEqual(archives.mapped("entry_count"), [1, 3])
        self.assertEqual(sum(get_reported_stock_at(self.env, at).values()), 3)

    # --- what can be told afterwards ---

    def test_moments_inside_archived_months_are_refused(self):
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)))
        closing_model = self.env["stock.ledger.closing"].with_user(self.user)
        closing_model._query_stock_at(datetime.datetime(2023, 3, 20))
        self._archive_all(MARCH)
        with self.assertRaisesRegex(UserError, "2023-04-01 00:00:00"):
            closing_model._query_stock_at(datetime.datetime(2023, 3, 20))
        for at in (
            datetime.datetime(2023, 2, 28, 23, 59, 59),
            datetime.datetime(2023, 3, 31, 23, 59, 59),
            datetime.datetime(2023, 4, 1),
            datetime.datetime(2023, 4, 2),
        ):
            closing_model._query_stock_at(at)

    def test_date_of_archived_movement_stays(self):
        with freeze_time("2023-03-10 12:00:00"):
            picking = self._receive(self.product, 10)
            self.env["stock.ledger.entry"]._flush_buffer()
        self._archive_all(MARCH)
        with self.assertRaisesRegex(UserError, "2023-04-01"):
            picking.move_ids.date = "2023-05-01"

    # --- refusals ---

    def test_month_must_be_old_enough(self):
        with freeze_time("2023-04-20"):
            self._append((0, 5, "RECEIPT", datetime.datetime(2023, 1, 5)))
            for month in (MARCH, datetime.date(2023, 4, 1), datetime.date(2023, 9, 1)):
                with self.assertRaisesRegex(UserError, "2023-02"):
                    self._request(month)
            self._request(datetime.date(2023, 2, 28))

    def test_nothing_to_archive(self):
        with self.assertRaisesRegex(UserError, "nothing to archive"):
            self._request(MARCH)

    def test_events_must_be_sent(self):
        ids = self._append((0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)))
        channel = self.env["stock.event.channel"].with_context(active_test=False)
        event = {"channel_id": channel.search([], limit=1).id, "entry_id": ids[0]}
        event.update(product_id=self.product.id, attempts=0)
        event = self.env["stock.event.outbox"].create({**event, "state": "pending"})
        event.flush_recordset()
        with self.assertRaisesRegex(UserError, "still to be sent"):
            self._request(MARCH)
        event.state = "confirmed"
        event.flush_recordset()
        archive = self._request(MARCH)
        event.state = "pending"
        event.flush_recordset()
        with mute_logger("odoo.addons.stock_event_ledger.models.stock_ledger_archive"):
            archive._try_archive()
        self.assertEqual(archive.state, "failed")
        self.assertIn("still to be sent", archive.error)
        event.state = "confirmed"
        event.flush_recordset()
        archive.action_retry()
        archive._try_archive()
        self.assertEqual(archive.state, "done")
        self.assertFalse(event.exists())

    def test_only_managers_archive(self):
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)))
        with self.assertRaises(AccessError):
            self.env["stock.ledger.archive.wizard"].with_user(self.user).create({"month": MARCH})
        archive = self._archive_all(MARCH)
        with self.assertRaises(AccessError):
            archive.with_user(self.user).read(["month"])
        with self.assertRaises(AccessError):
            archive.with_user(self.user).attachment_id.read(["raw"])

    def test_archive_of_foreign_companies_is_hidden(self):
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)))
        archive = self._archive_all(MARCH)
        self.assertIn(archive, self.archive.search([]))
        company = self.env["res.company"].create({"name": "Elsewhere"})
        self.manager.write({"company_ids": [(6, 0, company.ids)], "company_id": company.id})
        self.assertFalse(self.archive.search([]))

    def test_replay_of_archived_period(self):
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)))
        self._archive_all(MARCH)
        channel = self.env.ref("stock_event_ledger.channel_default")
        channel.active = True
        replay = self.env["stock.event.replay"].create(
            {"channel_id": channel.id, "date_from": "2023-03-01", "date_to": "2023-03-31"}
        )
        with self.assertRaisesRegex(UserError, "are archived"):
            replay.action_replay()
        replay.date_from = "2023-04-01"
        with self.assertRaisesRegex(UserError, "another period"):
            replay.action_replay()

    # --- immutability ---

    def _assert_refused(self, query, error=errors.RestrictViolation):
        with (
            mute_logger("odoo.sql_db"),
            self.assertRaises(error),
            self.env.cr.savepoint(),
        ):
            self.env.cr.execute(query)

    def test_nothing_else_is_deleted(self):
        march, april = datetime.datetime(2023, 3, 5), datetime.datetime(2023, 4, 5)
        self._append((0, 5, "RECEIPT", march), (1, 5, "RECEIPT", april))
        queued = self._request(MARCH)
        everything = SQL("DELETE FROM stock_ledger_entry")
        self._assert_refused(everything)
        queued._try_archive()
        # As a commit does it.
        self.env.cr.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._assert_refused(everything)
        self._assert_refused(SQL("UPDATE stock_ledger_archive SET state = 'writing'"))
        self._assert_refused(SQL("DELETE FROM stock_ledger_archive"))
        self._assert_refused(SQL("TRUNCATE stock_ledger_archive CASCADE"))
        # Not even by whoever may switch ordinary triggers off.
        triggers = self.env.execute_query(
            SQL(
                """SELECT tgname, tgenabled FROM pg_trigger
                    WHERE tgrelid IN ('stock_ledger_archive'::regclass,
                                      'stock_ledger_entry'::regclass)
                      AND NOT tgisinternal AND tgname NOT LIKE '%%_feed_delta'"""
            )
        )
        self.assertEqual([name for name, enabled in triggers if enabled != "A"], [])
        self.assertEqual(len(triggers), 5)

    def test_being_written_lets_only_its_own_entries_go(self):
        march, april = datetime.datetime(2023, 3, 5), datetime.datetime(2023, 4, 5)
        first, later, second = self._append(
            (0, 5, "RECEIPT", march), (1, 5, "RECEIPT", april), (0, 5, "RECEIPT", march)
        )
        archive = self._request(MARCH)
        archive = archive._as_archiving()
        archive.write({"state": "writing", "last_entry_id": first})
        archive.flush_recordset()
        delete = "DELETE FROM stock_ledger_entry WHERE id = %s"
        self._assert_refused(SQL(delete, later))
        self._assert_refused(SQL(delete, second))
        self._assert_refused(SQL("UPDATE stock_ledger_entry SET quantity = 1 WHERE id = %s", first))
        self.env.cr.execute(SQL(delete, first))
        # Without its file it is not done, and being written it cannot be committed.
        self._assert_refused(
            SQL("UPDATE stock_ledger_archive SET state = 'done'"), errors.CheckViolation
        )
        self._assert_refused(SQL("SET CONSTRAINTS ALL IMMEDIATE"))
        archive.write({"state": "queued"})
        archive.flush_recordset()

    def test_archives_cannot_be_forged(self):
        vals = {"month": MARCH, "state": "writing", "last_entry_id": 10**9}
        vals["user_id"] = self.manager.id
        with self.assertRaises(AccessError):
            self.archive.check_access("create")
        for forger in (self.archive, self.archive.sudo(), self.env["stock.ledger.archive"]):
            for context in ({}, {"stock_event_ledger_archiving": True}):
                with self.assertRaisesRegex(UserError, "wizard"):
                    forger.with_context(**context).create(vals)
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)))
        archive = self._request(MARCH)
        for forged in (archive, archive.sudo()):
            with self.assertRaises(UserError):
                forged.write({"state": "writing", "last_entry_id": 10**9})
            with self.assertRaises(UserError):
                forged.unlink()
        archive._try_archive()
        with self.assertRaises(AccessError):
            archive.attachment_id.with_user(self.manager).unlink()
        with mute_logger("odoo.sql_db"), self.assertRaises(errors.ForeignKeyViolation):
            archive.attachment_id.sudo().unlink()

    def test_failure_leaves_nothing_half_done(self):
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)))
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 4, 5)))
        sums, entries = self._get_sums(), self._get_entries().ids
        archives = self._request(datetime.date(2023, 4, 30))
        with (
            patch.object(type(archives), "_query_replace", lambda archive: SQL("SELECT 1 / 0")),
            mute_logger(
                "odoo.sql_db", "odoo.addons.stock_event_ledger.models.stock_ledger_archive"
            ),
        ):
            self._run_cron()
        self.assertEqual(archives.mapped("state"), ["failed", "queued"])
        self.assertIn("division by zero", archives[0].error)
        self.assertEqual((self._get_sums(), self._get_entries().ids), (sums, entries))
        self.assertFalse(archives.attachment_id)
        # The later one waits for it.
        self._run_cron()
        self.assertEqual(archives.mapped("state"), ["failed", "queued"])
        archives[0].action_retry()
        self._run_cron()
        self.assertEqual(archives.mapped("state"), ["done", "done"])
        self.assertEqual(self._get_sums(), sums)

    def test_cancel(self):
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)))
        self._append((0, 5, "RECEIPT", datetime.datetime(2023, 4, 5)))
        self._archive_all(MARCH)
        archives = self._request(datetime.date(2023, 4, 30))
        archives.action_cancel()
        self.assertEqual(self.archive.search([]).mapped("month"), [MARCH])

    def _run_cron(self):
        with self.enter_registry_test_mode():
            self.env.ref("stock_event_ledger.cron_archive").method_direct_trigger()
        self.env.invalidate_all()

    def test_wizard_says_how_much(self):
        self._append(
            (0, 5, "RECEIPT", datetime.datetime(2023, 3, 5)),
            (0, 5, "RECEIPT", datetime.datetime(2023, 4, 5)),
            (1, 5, "RECEIPT", datetime.datetime(2023, 4, 6)),
            (1, 5, "RECEIPT", datetime.datetime(2023, 5, 6)),
        )
        form = Form(self.env["stock.ledger.archive.wizard"].with_user(self.manager))
        form.month = datetime.date(2023, 4, 10)
        self.assertEqual((form.entry_count, form.key_count, form.month_count), (3, 2, 2))
        self.assertEqual(form.last_day, datetime.date(2023, 4, 30))
