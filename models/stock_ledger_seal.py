import logging
import time
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

_logger = logging.getLogger(__name__)

# The first line of what is hashed.
FORMAT = "stock.ledger.seal 1"
# All that an entry says. Part of what is hashed: never to be changed.
COLUMNS = (
    "id",
    "product_id",
    "location_id",
    "lot_id",
    "package_id",
    "owner_id",
    "company_id",
    "operating_company_id",
    "warehouse_id",
    "event_type",
    "quantity",
    "reserved_quantity",
    "effective_date",
    "recorded_date",
    "move_id",
    "move_line_id",
    "picking_id",
    "reference",
    "origin",
    "user_id",
    "corrects_entry_id",
)
ENTRIES_PER_SEAL = 10_000
# A transaction loads what was archived before it was sealed, so that it makes several seals.
SEALS_PER_TRANSACTION = 100
# The hash before the first seal's.
NO_HASH = "0" * 64
# Below any id: whatever is there belongs to the first seal.
LOWEST_ID = -(2**31)
WAIT_SECONDS = 60
RETRY_MINUTES = 10


class StockLedgerSeal(models.Model):
    """A range of the ledger whose entries, and whose place in the chain, a hash covers.

    Ranges of ids follow each other without a gap, so that each entry up to the last seal is
    in one seal, those that were archived since too. ``hash`` is the SHA-256 of

    - the lines ``stock.ledger.seal 1``, number, first and last id, number of entries, date
      (``YYYY-MM-DD HH:MM:SS``, UTC) and the hash of the seal before, each ended by a line feed,
    - followed by the SHA-256 (32 bytes) of each entry's canonical row, by ascending id.

    A canonical row is a JSON list of the entry's COLUMNS, in UTF-8, as PostgreSQL writes it:
    see ``_query_canonical_rows``.
    """

    _name = "stock.ledger.seal"
    _description = "Stock Ledger Seal"
    _inherit = ["stock.append.only.mixin"]
    _order = "number desc"
    _rec_name = "number"
    _log_access = False
    _refusal = "Seals of the stock ledger stay"
    _refusal_hint = "What comes later is in the next seal."

    number = fields.Integer(required=True, readonly=True, help="Place in the chain, from 1 on")
    first_entry_id = fields.Integer(
        required=True,
        readonly=True,
        help="Id after the last one of the seal before. There are ids that no entry has.",
    )
    last_entry_id = fields.Integer(
        required=True, readonly=True, help="The highest id that is sealed"
    )
    entry_count = fields.Integer("Entries", required=True, readonly=True)
    sealed_date = fields.Datetime("Sealed", required=True, readonly=True)
    previous_hash = fields.Char(required=True, readonly=True, help="The hash of the seal before")
    hash = fields.Char(
        "Hash (SHA-256)",
        required=True,
        readonly=True,
        help="Of the entries, of this seal and of the hash before, and so of all before. Who "
        "keeps it outside of Odoo can tell later that nothing up to here was changed.",
    )
    fingerprints = fields.Binary(
        attachment=False,
        readonly=True,
        help="The id (4 bytes) and the first 4 bytes of the SHA-256 of each entry. They prove "
        "nothing; they tell which entry it is when the hash does not match.",
    )

    _number_uniq = models.UniqueIndex("(number)")

    @api.depends("number")
    def _compute_display_name(self):
        for seal in self:
            seal.display_name = self.env._("Seal %s", seal.number)

    @api.model_create_multi
    def create(self, vals_list):  # pylint: disable=method-required-super
        """Refuse: only the scheduled action seals.

        :raises UserError: always
        """
        raise UserError(self.env._("Seals are made by the scheduled action only."))

    def write(self, vals):  # pylint: disable=method-required-super
        """Refuse: seals stay.

        :raises UserError: always
        """
        raise UserError(self.env._("Seals of the stock ledger cannot be changed."))

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(self.env._("Seals of the stock ledger cannot be deleted."))

    # --- sealing

    def action_seal_now(self):
        """Let the scheduled action seal at once what is not sealed yet.

        :return: a notification
        :raises AccessError: unless the user manages stock
        """
        self.env["stock.ledger.seal.verify"].check_access("create")
        # sudo: it only starts earlier what would start anyway.
        self.env.ref("stock_event_ledger.cron_seal").sudo()._trigger()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"message": self.env._("The ledger is being sealed."), "type": "info"},
        }

    @api.model
    def _cron_seal(self):
        """Seal what was committed before; some seals per transaction."""
        last_entry_id = self._get_settled_entry_id()
        if last_entry_id is None:
            _logger.info("A transaction has been writing to the ledger for a minute: sealing later")
            retry_at = fields.Datetime.now() + timedelta(minutes=RETRY_MINUTES)
            self.env.ref("stock_event_ledger.cron_seal")._trigger(retry_at)
            return
        cron = self.env["ir.cron"]
        # The transactions that were waited for are not in this one's snapshot.
        cron._commit_progress(remaining=1)
        while self._seal(last_entry_id):
            if not cron._commit_progress(SEALS_PER_TRANSACTION, remaining=1):
                return
        cron._commit_progress(remaining=0)

    @api.model
    def _get_settled_entry_id(self, wait_seconds=WAIT_SECONDS):
        """Return an id up to which no entry can appear any more, for the next transaction.

        Ids are taken from a sequence, and transactions commit in another order: an entry may
        appear below others that are long there. Whoever inserts holds ROW EXCLUSIVE on the
        table from before it takes an id until it ends. So the highest id that can be seen
        now is settled when those who hold that lock now have all ended; those who come later
        take higher ids. Nobody is blocked, and transactions that do other things are not
        waited for.

        :param wait_seconds: how long to wait for them
        :return: the id, 0 in an empty ledger, or None when somebody took longer
        """
        [[last_entry_id]] = self.env.execute_query(
            SQL("SELECT COALESCE(MAX(id), 0) FROM stock_ledger_entry")
        )
        deadline = time.monotonic() + wait_seconds
        writers = self._get_writers()
        while writers:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)
            writers &= self._get_writers()
        return last_entry_id

    @api.model
    def _get_writers(self):
        """Return the other transactions that may have inserted entries."""
        # The view shows the locks of this moment, not those of the snapshot.
        rows = self.env.execute_query(
            SQL(
                """SELECT virtualtransaction FROM pg_locks
                    WHERE locktype = 'relation' AND relation = 'stock_ledger_entry'::regclass
                      AND database = (SELECT oid FROM pg_database
                                       WHERE datname = current_database())
                      AND mode = 'RowExclusiveLock' AND granted
                      AND pid IS DISTINCT FROM pg_backend_pid()"""
            )
        )
        return {transaction for [transaction] in rows}

    @api.model
    def _seal(self, last_entry_id):
        """Seal entries up to an id: SEALS_PER_TRANSACTION seals of ENTRIES_PER_SEAL at most.

        :param int last_entry_id: as ``_get_settled_entry_id`` returned it before this
            transaction began
        :return: whether something may be left
        :raises UserError: when the file of an archive that has to be read is damaged
        """
        last = self.search([], limit=1)
        after_id = self._get_after_id(last.number + 1, last.last_entry_id)
        self._load_all_archived(after_id, last_entry_id)
        for _i in range(SEALS_PER_TRANSACTION):
            rows = self.env.execute_query(self._query_seal(last, last_entry_id))
            if not rows:
                return False
            last = self.browse(rows[0])
            # A copy outside of the database, where logs are kept.
            _logger.info("Seal %s of the ledger: %s", last.number, last.hash)
        return True

    @api.model
    def _get_after_id(self, number, last_entry_id):
        """Return the id after which the range of a seal begins.

        :param int number: the seal's
        :param int last_entry_id: the last one of the seal before
        """
        return LOWEST_ID - 1 if number == 1 else last_entry_id

    @api.model
    def _query_seal(self, last, last_entry_id):
        return SQL(
            """
            INSERT INTO stock_ledger_seal (
                number, first_entry_id, last_entry_id, entry_count, sealed_date, previous_hash,
                fingerprints, hash)
            SELECT number, first_entry_id, last_entry_id, entry_count, sealed_date, previous_hash,
                   fingerprints, %(hash)s
              FROM (
                SELECT %(number)s AS number, %(first)s AS first_entry_id,
                       MAX(id) AS last_entry_id, COUNT(*) AS entry_count,
                       date_trunc('second', clock_timestamp() AT TIME ZONE 'UTC') AS sealed_date,
                       %(previous_hash)s AS previous_hash,
                       STRING_AGG(int4send(id) || substring(digest FOR 4), '' ORDER BY id)
                           AS fingerprints,
                       STRING_AGG(digest, '' ORDER BY id) AS digests
                  FROM (SELECT id, %(digest)s AS digest FROM (%(rows)s) AS canonical) AS entries
              ) AS seal
             WHERE entry_count > 0
         RETURNING id
            """,
            hash=self._query_hash(),
            number=last.number + 1,
            first=last.last_entry_id + 1,
            previous_hash=last.hash or NO_HASH,
            digest=self._query_digest(),
            rows=self._query_canonical_rows(
                SQL(
                    "id > %s AND id <= %s ORDER BY id LIMIT %s",
                    self._get_after_id(last.number + 1, last.last_entry_id),
                    last_entry_id,
                    ENTRIES_PER_SEAL,
                )
            ),
        )

    # --- what is hashed: never to be changed, or no seal will match any more

    @api.model
    def _query_canonical_rows(self, condition):
        """Return the query of the ids and canonical rows (``line``) of some entries.

        A list, since an object with names takes three times as long. Quantities have no zeros
        at the end, dates are in UTC, with a fraction where there is one. What is missing is
        null, unlike an empty text.

        :param SQL condition: which entries; here, so that rows are made of these only
        """
        return SQL(
            """
            SELECT id, json_build_array(%(columns)s)::text AS line
              FROM (SELECT *
                      FROM (SELECT * FROM stock_ledger_entry
                            UNION ALL SELECT * FROM stock_ledger_seal_archived) AS ledger
                     WHERE %(condition)s) AS entry
            """,
            columns=SQL(", ").join(
                SQL("trim_scale(%s)" if "quantity" in column else "%s", SQL.identifier(column))
                for column in COLUMNS
            ),
            condition=condition,
        )

    @api.model
    def _query_digest(self):
        return SQL("sha256(convert_to(line, 'UTF8'))")

    @api.model
    def _query_hash(self):
        return SQL(
            """encode(sha256(convert_to(concat_ws(E'\\n',
                   %s, number, first_entry_id, last_entry_id, entry_count,
                   to_char(sealed_date, 'YYYY-MM-DD HH24:MI:SS'), previous_hash, ''), 'UTF8')
               || COALESCE(digests, '')), 'hex')""",
            FORMAT,
        )
