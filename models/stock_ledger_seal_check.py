import gzip
import hashlib
import io
import json
import struct
import zlib
from collections import namedtuple

import psycopg2

from odoo import api, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL

from .stock_ledger_seal import COLUMNS, FORMAT, NO_HASH

FINDING_KINDS = [
    ("changed", "Entry Changed"),
    ("removed", "Entry Removed"),
    ("inserted", "Entry Inserted"),
    ("seal", "Seal Changed"),
    ("chain", "Chain Broken"),
    ("archive", "Archive File Damaged"),
    ("expected", "Expected Hash Missing"),
]

Finding = namedtuple("Finding", "kind seal_number entry_id note", defaults=(None, None, None))


class StockLedgerSeal(models.Model):
    """Verifying what is sealed, and exporting it for those who verify it elsewhere."""

    _inherit = "stock.ledger.seal"

    # --- archived entries

    @api.model
    def _load_archived(self, after_id, last_entry_id):
        """Make a temporary table of the archived entries among some ids.

        The ledger is what its table and the files of its archives hold: an entry is in one of
        them, as it was written.

        :return: the archives whose files are damaged
        """
        self.env.cr.execute(
            SQL(
                """DROP TABLE IF EXISTS stock_ledger_seal_archived;
                CREATE TEMPORARY TABLE stock_ledger_seal_archived (LIKE stock_ledger_entry)
                    ON COMMIT DROP"""
            )
        )
        # sudo: the files have the entries of all companies, and only ids come out of here,
        # or an export for those who may read them all.
        archives = self.env["stock.ledger.archive"].sudo()
        archives = archives.search([("state", "=", "done"), ("last_entry_id", ">", after_id)])
        damaged = archives.filtered(lambda a: not self._load_archive(a, after_id, last_entry_id))
        self.env.cr.execute(
            SQL(
                """CREATE INDEX ON stock_ledger_seal_archived (id);
                ANALYZE stock_ledger_seal_archived"""
            )
        )
        return damaged

    @api.model
    def _load_all_archived(self, after_id, last_entry_id):
        """Do what ``_load_archived`` does, and refuse to go on without a file.

        :raises UserError: when a file is damaged
        """
        damaged = self._load_archived(after_id, last_entry_id)
        if damaged:
            raise UserError(
                self.env._(
                    "Sealed and exported is all that the ledger held. Restore the damaged files "
                    "of its archives from a backup: %s",
                    ", ".join(damaged.mapped("display_name")),
                )
            )

    @api.model
    def _load_archive(self, archive, after_id, last_entry_id):
        """Load the file of an archive.

        :return: whether it is as it was written
        """
        content = archive.attachment_id.raw or b""
        if hashlib.sha256(content).hexdigest() != archive.checksum:
            return False
        try:
            with self.env.cr.savepoint(flush=False):
                self._copy_archive(content, after_id, last_entry_id)
        except (psycopg2.Error, OSError, EOFError, zlib.error, ValueError, AssertionError):
            # Somebody has changed the checksum too. The last one is of a column's name.
            return False
        return True

    @api.model
    def _copy_archive(self, content, after_id, last_entry_id):
        file = gzip.GzipFile(fileobj=io.BytesIO(content))
        columns = file.readline().decode().strip().split(",")
        query = SQL(
            """COPY stock_ledger_seal_archived (%s) FROM STDIN WITH (FORMAT csv)
                WHERE id > %s AND id <= %s""",
            SQL(", ").join(map(SQL.identifier, columns)),
            after_id,
            last_entry_id,
        )
        self.env.cr.copy_expert(self.env.cr.mogrify(query).decode(), file)

    # --- verifying

    def _verify(self, expected_hash=None):
        """Compare these seals with the ledger and its archives, and all with each other.

        :param str expected_hash: one that was kept outside of the database
        :return: list of Finding
        """
        broken = self.env.execute_query(self._query_broken_links())
        findings = [Finding("chain", number) for [number] in broken]
        if expected_hash and not self.search_count([("hash", "=", expected_hash)], limit=1):
            findings.append(Finding("expected", note=expected_hash))
        if self:
            damaged = self._load_archived(*self._get_range())
            findings += [Finding("archive", note=archive.display_name) for archive in damaged]
            for [seal_id] in self.env.execute_query(self._query_mismatches()):
                findings += self.browse(seal_id)._locate()
        return findings

    def _get_range(self):
        """Return the id after which the ranges of these seals begin, and the last one's."""
        first, last = min(self, key=lambda seal: seal.number), max(self.mapped("last_entry_id"))
        return self._get_after_id(first.number, first.first_entry_id - 1), last

    @api.model
    def _query_broken_links(self):
        """Return the query of the numbers of seals that do not continue the one before."""
        return SQL(
            """
            SELECT number
              FROM (SELECT *, LAG(number, 1, 0) OVER chain AS number_before,
                           LAG(hash, 1, %s) OVER chain AS hash_before,
                           LAG(last_entry_id, 1, 0) OVER chain AS last_before
                      FROM stock_ledger_seal WINDOW chain AS (ORDER BY number)) AS link
             WHERE (number, previous_hash, first_entry_id)
                   IS DISTINCT FROM (number_before + 1, hash_before, last_before + 1)
             ORDER BY number
            """,
            NO_HASH,
        )

    def _query_mismatches(self):
        """Return the query of the ids of those seals whose hash is not that of the entries."""
        return SQL(
            """
            SELECT id
              FROM stock_ledger_seal AS seal,
                   LATERAL (SELECT STRING_AGG(%(digest)s, '' ORDER BY id) AS digests
                              FROM (%(rows)s) AS canonical) AS entries
             WHERE id = ANY(%(ids)s) AND hash IS DISTINCT FROM %(hash)s
             ORDER BY number
            """,
            digest=self._query_digest(),
            rows=self._query_canonical_rows(
                SQL(
                    """id > CASE number WHEN 1 THEN %s ELSE first_entry_id - 1 END
                       AND id <= last_entry_id""",
                    self._get_after_id(1, 0),
                )
            ),
            ids=self.ids,
            hash=self._query_hash(),
        )

    def _locate(self):
        """Return a list of Finding: why the entries do not have this seal's hash."""
        self.ensure_one()
        [[content]] = self.env.execute_query(
            SQL("SELECT fingerprints FROM stock_ledger_seal WHERE id = %s", self.id)
        )
        content = bytes(content or b"")
        sealed = dict(struct.iter_unpack(">i4s", content[: len(content) // 8 * 8]))
        rows = self.env.execute_query(
            SQL(
                "SELECT id, substring(%s FOR 4) FROM (%s) AS canonical ORDER BY id",
                self._query_digest(),
                self._query_canonical_rows(self._query_in_range()),
            )
        )
        findings = []
        for entry_id, fingerprint in rows:
            expected = sealed.pop(entry_id, None)
            if expected is None:
                findings.append(Finding("inserted", self.number, entry_id))
            elif expected != bytes(fingerprint):
                findings.append(Finding("changed", self.number, entry_id))
        findings += [Finding("removed", self.number, entry_id) for entry_id in sealed]
        return findings or [Finding("seal", self.number)]

    @api.model
    def _count_unsealed(self):
        """Return how many entries come after the last seal."""
        last = self.search([], limit=1)
        # sudo: a number, of the entries of all companies.
        return self.env["stock.ledger.entry"].sudo().search_count([("id", ">", last.last_entry_id)])

    def _query_in_range(self):
        return SQL("id > %s AND id <= %s", *self._get_range())

    # --- exporting

    @api.model
    def _check_may_export(self):
        """Refuse an export to those who may not read all entries.

        :raises AccessError: unless the user manages stock, in all companies
        """
        self.check_access("read")
        company_ids = self.env.user.with_context(active_test=False).company_ids.ids
        # sudo: whether there are companies that the user does not see.
        companies = self.env["res.company"].sudo().with_context(active_test=False)
        if companies.search_count([("id", "not in", company_ids)], limit=1):
            raise AccessError(
                self.env._(
                    "The export has the entries of all companies: it is for those who may "
                    "see all of them."
                )
            )

    def _export(self, file):
        """Write these seals, and each one's entries after it, for ``tools/verify_seals``.

        The lines of a gzip file, in JSON: an object that says what the columns are, and for
        each seal an object and the canonical rows.

        :param file: a binary file to write to
        :raises AccessError: unless the user manages stock, in all companies
        :raises UserError: when there is no seal, or the file of an archive is damaged
        """
        self._check_may_export()
        if not self:
            raise UserError(self.env._("There are no seals of that time."))
        self._load_all_archived(*self._get_range())
        with gzip.GzipFile("", "wb", compresslevel=3, fileobj=file, mtime=0) as content:
            lines = [json.dumps({"format": FORMAT, "columns": COLUMNS})]
            for seal in self.sorted("number"):
                lines += [json.dumps(seal._prepare_export()), *seal._get_canonical_rows()]
                content.write("".join(f"{line}\n" for line in lines).encode())
                lines = []

    def _prepare_export(self):
        [values] = self.env.execute_query_dict(
            SQL(
                """SELECT number, first_entry_id, last_entry_id, entry_count,
                          to_char(sealed_date, 'YYYY-MM-DD HH24:MI:SS') AS sealed_date,
                          previous_hash, hash, encode(fingerprints, 'hex') AS fingerprints
                     FROM stock_ledger_seal WHERE id = %s""",
                self.id,
            )
        )
        return values

    def _get_canonical_rows(self):
        rows = self.env.execute_query(
            SQL(
                "SELECT line FROM (%s) AS canonical ORDER BY id",
                self._query_canonical_rows(self._query_in_range()),
            )
        )
        return [line for [line] in rows]
