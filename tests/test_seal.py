import datetime
import gzip
import hashlib
import json
from unittest.mock import patch

from psycopg2 import errors

from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL, mute_logger

from ..models import stock_ledger_seal
from ..models.stock_ledger_seal import COLUMNS, NO_HASH
from .seal_common import APRIL, ENTRIES_PER_SEAL, MARCH, SealCase


class TestSeal(SealCase):
    """Whatever is done to sealed entries is found, and located."""

    def test_chain(self):
        ids, seals = self._append_sealed()
        self.assertEqual(seals.mapped("entry_count"), [3, 3, 1])
        self.assertEqual(seals.mapped("last_entry_id"), [ids[2], ids[5], ids[6]])
        chain = self.seal.search([]).sorted("number")
        self.assertEqual(chain.mapped("number"), list(range(1, len(chain) + 1)))
        self.assertEqual(chain.mapped("previous_hash"), [NO_HASH, *chain.mapped("hash")[:-1]])
        self._seal_all()
        self.assertEqual(self.seal.search([]), chain.sorted("number", reverse=True))
        self.assertEqual(self._verify().state, "intact")

    def test_all_that_an_entry_says_is_sealed(self):
        """A column that is added must be sealed, in another format."""
        rows = self.env.execute_query(
            SQL(
                """SELECT attname FROM pg_attribute
                    WHERE attrelid = 'stock_ledger_entry'::regclass AND attnum > 0
                      AND NOT attisdropped"""
            )
        )
        self.assertEqual({name for [name] in rows}, set(COLUMNS))

    def test_hash_is_as_described(self):
        ids, seals = self._append_sealed(2)
        digests = b""
        for entry in self._get_entries([("id", "in", ids)]):
            values = entry.read(COLUMNS, load=None)[0]
            row = [self._get_canonical(values[name]) for name in COLUMNS]
            # To the microsecond, unlike Odoo's field.
            [[row[COLUMNS.index("recorded_date")]]] = self.env.execute_query(
                SQL("SELECT to_json(recorded_date) FROM stock_ledger_entry WHERE id = %s", entry.id)
            )
            digests += hashlib.sha256(json.dumps(row).encode()).digest()
        header = (
            f"stock.ledger.seal 1\n{seals.number}\n{seals.first_entry_id}\n{ids[1]}\n2\n"
            f"{seals.sealed_date:%Y-%m-%d %H:%M:%S}\n{seals.previous_hash}\n"
        )
        self.assertEqual(seals.hash, hashlib.sha256(header.encode() + digests).hexdigest())

    def _get_canonical(self, value):
        if isinstance(value, datetime.datetime):
            return value.isoformat()
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return None if value is False else value

    def test_changed_digit(self):
        ids, seals = self._append_sealed()
        self._tamper("UPDATE stock_ledger_entry SET quantity = 9 WHERE id = %s", ids[4])
        self.assertEqual(self._get_findings(), [("changed", seals[1].number, ids[4])])

    def test_each_column(self):
        ids, seals = self._append_sealed(3)
        for column in COLUMNS[1:]:
            field = self.env["stock.ledger.entry"]._fields[column]
            value = {"datetime": APRIL, "char": "", "selection": ""}.get(field.type, 10**6)
            with self.subTest(column=column), self.env.cr.savepoint() as savepoint:
                self._tamper(
                    "UPDATE stock_ledger_entry SET %s = %s WHERE id = %s",
                    SQL.identifier(column),
                    value,
                    ids[1],
                )
                self.assertEqual(self._get_findings(), [("changed", seals.number, ids[1])])
                savepoint.rollback()

    def test_same_figures_written_otherwise(self):
        _ids, seals = self._append_sealed(3)
        self._tamper("UPDATE stock_ledger_entry SET quantity = quantity + 0.000")
        seals.mapped("number")
        self.env.cr.execute(
            SQL("SET LOCAL DateStyle = 'German'; SET LOCAL TimeZone = 'Asia/Tokyo'")
        )
        self.assertEqual(seals._verify(), [])

    def test_removed(self):
        ids, seals = self._append_sealed()
        self._tamper("DELETE FROM stock_ledger_entry WHERE id = ANY(%s)", ids[2:5])
        self.assertEqual(
            self._get_findings(),
            [("removed", seals[n // ENTRIES_PER_SEAL].number, ids[n]) for n in (2, 3, 4)],
        )

    def test_inserted(self):
        self.env.cr.execute(SQL("SELECT nextval('stock_ledger_entry_id_seq')"))
        [gap] = self.env.cr.fetchone()
        ids, seals = self._append_sealed()
        for entry_id, number in ((gap, seals[0].number), (-5, 1)):
            self._tamper(
                """INSERT INTO stock_ledger_entry (id, product_id, location_id, event_type,
                       quantity, reserved_quantity, effective_date, recorded_date)
                   SELECT %s, product_id, location_id, event_type, quantity, reserved_quantity,
                          effective_date, recorded_date
                     FROM stock_ledger_entry WHERE id = %s""",
                entry_id,
                ids[0],
            )
            self.assertIn(("inserted", number, entry_id), self._get_findings())

    def test_swapped(self):
        ids, seals = self._append_sealed()
        self._tamper(
            """UPDATE stock_ledger_entry e SET quantity = other.quantity
                 FROM stock_ledger_entry other
                WHERE (e.id, other.id) IN ((%s, %s), (%s, %s))""",
            ids[0],
            ids[6],
            ids[6],
            ids[0],
        )
        expected = [("changed", seals[0].number, ids[0]), ("changed", seals[2].number, ids[6])]
        self.assertEqual(self._get_findings(), expected)
        # The entry is there, with another id.
        self._tamper("UPDATE stock_ledger_entry SET id = id + 10000 WHERE id = %s", ids[3])
        self.assertIn(("removed", seals[1].number, ids[3]), self._get_findings())

    def test_seal_changed(self):
        _ids, seals = self._append_sealed()
        for column, value in (("sealed_date", "2020-01-01"), ("entry_count", 2), ("hash", "0")):
            with self.subTest(column=column), self.env.cr.savepoint() as savepoint:
                self._tamper(
                    "UPDATE stock_ledger_seal SET %s = %s WHERE id = %s",
                    SQL.identifier(column),
                    value,
                    seals[2].id,
                    table="stock_ledger_seal",
                )
                self.assertEqual(self._get_findings(), [("seal", seals[2].number, 0)])
                savepoint.rollback()

    def test_located_or_not_it_is_found(self):
        ids, seals = self._append_sealed()
        self._tamper("UPDATE stock_ledger_entry SET quantity = 9 WHERE id = %s", ids[0])
        self._tamper(
            "UPDATE stock_ledger_seal SET fingerprints = NULL WHERE id = %s",
            seals[0].id,
            table="stock_ledger_seal",
        )
        expected = [("inserted", seals[0].number, entry_id) for entry_id in ids[:3]]
        self.assertEqual(self._get_findings(), expected)

    def test_seal_removed(self):
        _ids, seals = self._append_sealed()
        last_hash = seals[2].hash
        for index, expected in (
            (1, [("chain", seals[2].number, 0)]),
            # Nothing inside of the database tells that there was a last one.
            (2, []),
        ):
            number = seals[index].number
            self._tamper(
                "DELETE FROM stock_ledger_seal WHERE id = %s",
                seals[index].id,
                table="stock_ledger_seal",
            )
            self.assertEqual(self._get_findings(), expected, number)
        self.assertEqual(self._get_findings(expected_hash=last_hash), [("expected", 0, 0)])

    def test_seals_made_anew(self):
        ids, seals = self._append_sealed()
        hashes = seals.mapped("hash")
        self._tamper("UPDATE stock_ledger_entry SET quantity = 9 WHERE id = %s", ids[4])
        self._tamper(
            "DELETE FROM stock_ledger_seal WHERE id = ANY(%s)",
            seals[1:].ids,
            table="stock_ledger_seal",
        )
        self._seal_all()
        self.assertEqual(self._get_findings(), [])
        self.assertEqual(self._get_findings(expected_hash=hashes[0].upper() + " "), [])
        wizard = self._verify(expected_hash=hashes[2])
        self.assertEqual(wizard.state, "broken")
        self.assertEqual(wizard.finding_ids.kind, "expected")
        self.assertEqual(wizard.finding_ids.note, hashes[2])

    # --- the wizard

    def test_what_the_wizard_says(self):
        ids, seals = self._append_sealed()
        self._append((0, 1, "RECEIPT", MARCH), (0, 1, "RECEIPT", MARCH))
        wizard = self._verify()
        self.assertEqual(wizard.unsealed_count, 2)
        self.assertEqual(
            (wizard.last_seal_number, wizard.last_hash), (seals[2].number, seals[2].hash)
        )
        self.assertEqual(wizard.entry_count, sum(self.seal.search([]).mapped("entry_count")))
        self._tamper("UPDATE stock_ledger_entry SET quantity = 9 WHERE id = ANY(%s)", ids[:2])
        wizard.action_verify()
        wizard.action_verify()
        self.assertEqual((wizard.state, wizard.finding_count), ("broken", 2))
        self.assertIn("not what was sealed", wizard.finding_ids[0].explanation)
        action = wizard.action_view_entries()
        self.assertEqual(self._get_entries(action["domain"]).ids, ids[:2])

    def test_period(self):
        ids, _seals = self._append_sealed()
        self._tamper("UPDATE stock_ledger_entry SET quantity = 9 WHERE id = %s", ids[0])
        today = datetime.date.today()
        for days_from, days_to, count in ((-1, 1, 1), (1, 2, 0), (-3, -2, 0)):
            dates = [today + datetime.timedelta(days) for days in (days_from, days_to)]
            findings = self._get_findings(date_from=dates[0], date_to=dates[1])
            self.assertEqual(len(findings), count)
        self.assertFalse(self._verify(date_from=today + datetime.timedelta(2)).seal_count)

    def test_only_managers_verify(self):
        self._append_sealed()
        for model in ("stock.ledger.seal", "stock.ledger.seal.verify"):
            with self.assertRaises(AccessError):
                self.env[model].with_user(self.user).search([])
        with self.assertRaises(AccessError):
            self.env["stock.ledger.seal.verify"].with_user(self.user).create({})
        with self.assertRaises(AccessError):
            self.env["stock.ledger.seal"].with_user(self.user).action_seal_now()
        self.seal.action_seal_now()

    # --- immutability

    def test_seals_stay(self):
        _ids, seals = self._append_sealed()
        for seal in (seals, seals.sudo()):
            with self.assertRaises(UserError):
                seal.write({"hash": "0"})
            with self.assertRaises(UserError):
                seal.unlink()
            with self.assertRaises(UserError):
                seal.create({"number": 99})
        for query in (
            SQL("UPDATE stock_ledger_seal SET number = number"),
            SQL("DELETE FROM stock_ledger_seal"),
            SQL("TRUNCATE stock_ledger_seal"),
        ):
            with (
                mute_logger("odoo.sql_db"),
                self.assertRaises(errors.RestrictViolation),
                self.env.cr.savepoint(),
            ):
                self.env.cr.execute(query)

    # --- archives

    def _archive(self):
        """Archive March."""
        wizard = self.env["stock.ledger.archive.wizard"].with_user(self.manager)
        wizard.create({"month": MARCH}).action_archive()
        archive = self.env["stock.ledger.archive"].search([("state", "=", "queued")])
        archive._try_archive()
        self.assertEqual(archive.state, "done")
        return archive

    def test_archived_entries_are_verified_in_the_file(self):
        ids, seals = self._append_sealed()
        self._append((0, 1, "RECEIPT", APRIL), (0, 1, "RECEIPT", MARCH))
        self._archive()
        self.assertFalse(self._get_entries([("id", "in", ids)]))
        self.assertEqual(self._get_findings(), [])
        # What was archived before it was sealed is sealed all the same.
        self._seal_all()
        wizard = self._verify()
        self.assertEqual((wizard.state, wizard.unsealed_count), ("intact", 0))
        # An archived entry that comes back counts twice.
        self._tamper(
            """INSERT INTO stock_ledger_entry (id, product_id, location_id, event_type, quantity,
                   reserved_quantity, effective_date, recorded_date)
               SELECT %s, product_id, location_id, event_type, 1, 0, effective_date, recorded_date
                 FROM stock_ledger_entry LIMIT 1""",
            ids[0],
        )
        self.assertIn(("inserted", seals[0].number, ids[0]), self._get_findings())

    def test_archiving_hides_no_change(self):
        ids, seals = self._append_sealed()
        self._tamper("UPDATE stock_ledger_entry SET quantity = 9 WHERE id = %s", ids[4])
        self._tamper("DELETE FROM stock_ledger_entry WHERE id = %s", ids[5])
        self._archive()
        number = seals[1].number
        self.assertEqual(
            self._get_findings(), [("changed", number, ids[4]), ("removed", number, ids[5])]
        )

    def test_damaged_archive(self):
        self._append_sealed(3)
        self._append((0, 1, "RECEIPT", MARCH))
        archive = self._archive()
        self._replace_file(archive, b"lost")
        self.assertEqual({kind for kind, *_ in self._get_findings()}, {"archive", "removed"})
        with self.assertRaisesRegex(UserError, "Archive 2023-03"):
            self._seal_all()
        # By somebody who changes the checksum too.
        for content in (b"lost", gzip.compress(b"id\nx"), gzip.compress(b"no column\n1")):
            self._replace_file(archive, content)
            checksum = hashlib.sha256(content).hexdigest()
            self._tamper(
                "UPDATE stock_ledger_archive SET checksum = %s",
                checksum,
                table="stock_ledger_archive",
            )
            with mute_logger("odoo.sql_db"):
                kinds = {kind for kind, *_ in self._get_findings()}
            self.assertEqual(kinds, {"archive", "removed"}, content)

    def _replace_file(self, archive, content):
        self._tamper(
            "UPDATE ir_attachment SET db_datas = %s WHERE id = %s",
            content,
            archive.attachment_id.id,
            table="ir_attachment",
        )

    # --- the scheduled action

    def _run_cron(self):
        with self.enter_registry_test_mode():
            self.env.ref("stock_event_ledger.cron_seal").method_direct_trigger()
        self.env.invalidate_all()

    def test_scheduled_action(self):
        self._append(*[(0, 1, "RECEIPT", MARCH)] * 7)
        with patch.object(stock_ledger_seal, "SEALS_PER_TRANSACTION", 2):
            self._run_cron()
        self.assertFalse(self._verify().unsealed_count)

    def test_scheduled_action_while_somebody_writes(self):
        self._append((0, 1, "RECEIPT", MARCH))
        seal = type(self.env["stock.ledger.seal"])
        with patch.object(seal, "_get_settled_entry_id", lambda seals: None):
            self._run_cron()
        self.assertEqual(self._verify().unsealed_count, 1)
        cron = self.env.ref("stock_event_ledger.cron_seal")
        self.assertTrue(self.env["ir.cron.trigger"].search([("cron_id", "=", cron.id)]))
