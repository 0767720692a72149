import time

from psycopg2 import errors

from odoo import api, models
from odoo.exceptions import AccessError, ConcurrencyError

from ..exceptions import CallBusy, InvalidInput
from ..integration import OPERATIONS, InvalidBody, check_input, check_key
from ..waiting import CALL_LOCK_CLASS, StockBusy, StockLine
from .stock_integration_call import Call
from .stock_quant_locking import REPLAYED

# What a caller's context may decide; anything else could change what core does.
CONTEXT_KEYS = ("lang", "allowed_company_ids")
GROUPS = ("stock_event_ledger.group_integration", "stock.group_stock_user")


class StockIntegration(models.AbstractModel):
    """What shops, warehouse systems and purchasing systems call, over any protocol.

    Each operation is defined in ``integration.OPERATIONS``, and is a public method here,
    which XML-RPC and JSON-2 call. REST and commands over RabbitMQ call ``_execute``. What an
    operation does is in ``_run_<operation>``, in the calling user's name and rights.

    Results have no empty members: what has no value is left out. Times are ISO 8601, UTC.
    """

    _name = "stock.integration"
    _description = "Stock Integration"

    # --- the operations

    @api.model
    @api.readonly
    def get_availability(
        self,
        skus=None,
        barcodes=None,
        product_ids=None,
        warehouses=None,
        warehouse_ids=None,
        date=None,
        **unknown,
    ):
        """Return the six figures of products by warehouse.

        :param list skus: internal references; with the next two up to 1000 products in all
        :param list barcodes: of products
        :param list product_ids: of products
        :param list warehouses: short names; with the next one, all that the user may see if
            both are left out
        :param list warehouse_ids: of warehouses
        :param str date: until when planned moves count, in ISO 8601; all if left out
        :return: dictionary: ``availability``, a list of dictionaries by product and warehouse
            (``physical``, ``reserved``, ``available``, ``incoming``, ``outgoing``,
            ``forecast``, in the product's unit of measure), and ``unknown``, what was asked
            for and is not there, or is not for the user to see
        :raises InvalidInput: when the question is wrong
        :raises AccessError: unless the user is an Integration User or an inventory user
        """
        question = {
            "skus": skus,
            "barcodes": barcodes,
            "product_ids": product_ids,
            "warehouses": warehouses,
            "warehouse_ids": warehouse_ids,
            "date": date,
        }
        return self._execute("get_availability", {**question, **unknown})

    @api.model
    def get_feed(
        self,
        after=None,
        limit=None,
        skus=None,
        warehouses=None,
        warehouse_ids=None,
        event_types=None,
        **unknown,
    ):
        """Return what has changed in the stock, in an order in which nothing is ever skipped.

        Transactions do not end in the order in which their entries were numbered. Entries
        come here when nothing below them can appear any more: those of a transaction that is
        still writing, and what was numbered after them, come later.

        :param int after: ``next_after`` of the page before; 0, or left out, from the beginning
        :param int limit: how many entries at most, up to 1000, 100 if left out
        :param list skus: only of products with these internal references
        :param list warehouses: only of warehouses with these short names
        :param list warehouse_ids: only of these warehouses
        :param list event_types: only these, as in RECEIPT
        :return: dictionary: ``entries``, ``next_after``, and ``has_more``: whether the next
            page has something already
        :raises InvalidInput: when the question is wrong
        :raises AccessError: unless the user is an Integration User or an inventory user
        """
        question = {
            "after": after,
            "limit": limit,
            "skus": skus,
            "warehouses": warehouses,
            "warehouse_ids": warehouse_ids,
            "event_types": event_types,
        }
        return self._execute("get_feed", {**question, **unknown})

    @api.model
    def receive(self, idempotency_key=None, lines=None, **options):
        """Receive goods of a supplier, in one transfer that is done at once.

        :param str idempotency_key: the caller's name of this call: called again with the same
            key and body, it does nothing and returns the first result
        :param list lines: dictionaries: ``sku``, ``barcode`` or ``product_id``; ``quantity``
            in the product's unit of measure; ``lot``, a name, where the product is tracked
        :param options: ``warehouse`` (short name) or ``warehouse_id``; ``location`` (full
            name) or ``location_id`` in it, else its stock; ``origin``, the source document
        :return: dictionary: ``status`` (done, partial or refused), ``lines`` with what became
            of each, ``transfers``
        :raises InvalidInput: when the body is wrong
        :raises IdempotencyConflict: when the key came with another body
        :raises CallBusy: when others held the stock, or the key, for too long
        :raises AccessError: unless the user is an Integration User or an inventory user
        """
        return self._execute("receive", {**options, "lines": lines}, idempotency_key)

    @api.model
    def issue(self, idempotency_key=None, lines=None, **options):
        """Ship goods to a customer, in one transfer that is done at once.

        A line for which not enough is available, in the warehouse or the location, is
        refused as a whole. Without ``lot``, Odoo's removal strategy chooses.

        Takes, returns and raises what ``receive`` does.
        """
        return self._execute("issue", {**options, "lines": lines}, idempotency_key)

    @api.model
    def transfer(self, idempotency_key=None, lines=None, **options):
        """Move goods to another warehouse of the company, or to another location.

        In one internal transfer of the first warehouse that is done at once: nothing is in
        transit. A line for which not enough is available is refused as a whole.

        :param options: ``from_warehouse`` or ``from_warehouse_id``, ``from_location`` or
            ``from_location_id``; the same with ``to_``; ``origin``

        For the rest it takes, returns and raises what ``receive`` does.
        """
        return self._execute("transfer", {**options, "lines": lines}, idempotency_key)

    @api.model
    def return_goods(self, idempotency_key=None, lines=None, **options):
        """Take goods back from a customer, or send goods back to a supplier.

        :param options: besides those of ``receive`` ``to_supplier``: true for goods that
            leave, of which a line is refused when not enough is available

        For the rest it takes, returns and raises what ``receive`` does.
        """
        return self._execute("return_goods", {**options, "lines": lines}, idempotency_key)

    @api.model
    def adjust(self, idempotency_key=None, lines=None, **options):
        """Correct the quantity on hand at a location: goods in no package and without owner.

        :param list lines: dictionaries: ``sku``, ``barcode`` or ``product_id``; ``lot`` where
            the product is tracked; ``quantity``, what is on hand, or ``change``, by how much
            it is more or less; ``expected_quantity``, if given, has to be on hand before, or
            the line is refused
        :param options: as for ``receive``, and ``reason``
        :return: as for ``receive``, with ``on_hand`` for each line: what is on hand now

        For the rest it takes and raises what ``receive`` does.
        """
        return self._execute("adjust", {**options, "lines": lines}, idempotency_key)

    # --- how they are called

    @api.model
    def _execute(self, operation, body, idempotency_key=None, protocol="rpc"):
        """Check and do what a caller wants.

        In a transaction that has written nothing, and in a request or inside
        ``locking.restartable()``, it may roll the transaction back and begin it again: that is
        how it waits for stock that others are deciding on. Whoever has to write something
        in the same transaction does so afterwards.

        :param str operation: its name in ``integration.OPERATIONS``
        :param dict body: its members
        :param str idempotency_key: needed by writes
        :param str protocol: how it came: rpc, rest or amqp
        :return: the result, a dictionary
        :raises InvalidInput: when operation, body or key are wrong; ``problems`` lists why
        :raises IdempotencyConflict: when the key came with another body
        :raises CallBusy: when others held the stock, or the key, for too long
        :raises AccessError: unless the user is an Integration User or an inventory user
        :raises UserError: when Odoo refuses it as a whole
        """
        caller = self._as_caller()
        definition = OPERATIONS.get(operation)
        if isinstance(body, dict):
            # As in results: what is empty is not there.
            body = {name: value for name, value in body.items() if value is not None}
        if not definition:
            caller._raise_invalid([{"member": "operation", "message": "Unknown operation"}])
        if not definition.writes:
            caller._check_may_call()
            return caller._get_handler(definition)(caller._check_input(definition, body))
        call = Call(definition, body, idempotency_key, protocol, time.monotonic())
        try:
            caller._check_may_call()
            return caller._write_once(call)
        except (*REPLAYED, ConcurrencyError):
            # Odoo does the request again.
            raise
        except Exception as error:
            caller.env["stock.integration.call"]._note_failure(call, error)
            raise

    @api.model
    def _as_caller(self):
        """Return this model for the user, without what else a client may put in the context."""
        context = {key: self.env.context[key] for key in CONTEXT_KEYS if key in self.env.context}
        company_ids = context.get("allowed_company_ids") or []
        if not (
            isinstance(company_ids, list | tuple)
            and all(type(company_id) is int for company_id in company_ids)
        ):
            self._raise_invalid(
                [
                    {
                        "member": "context.allowed_company_ids",
                        "message": self.env._("A list of companies' ids is expected"),
                    }
                ]
            )
        return self.with_env(self.env(context=context, su=False))

    @api.model
    def _check_may_call(self):
        may_call = any(self.env.user.has_group(group) for group in GROUPS)
        # To ask for the companies refuses those that are not the user's.
        if not (may_call and self.env.companies):
            raise AccessError(
                self.env._("Only Stock Integration Users and inventory users may call this.")
            )

    @api.model
    def _get_handler(self, definition):
        return getattr(self, f"_run_{definition.name}")

    @api.model
    def _check_input(self, definition, body):
        try:
            return check_input(definition, body)
        except InvalidBody as error:
            self._raise_invalid(error.problems)

    @api.model
    def _raise_invalid(self, problems):
        """Refuse the call.

        :param list problems: dictionaries: ``member`` and ``message``
        :raises InvalidInput: always
        """
        text = "\n".join(f"{problem['member']}: {problem['message']}" for problem in problems)
        raise InvalidInput(self.env._("The call is wrong:\n%s", text), problems) from None

    # --- writes, each once

    @api.model
    def _write_once(self, call):
        """Do a write, or return the result of the first time that it was called.

        :param Call call: the call
        """
        try:
            check_key(call.key)
        except InvalidBody as error:
            self._raise_invalid(error.problems)
        data = self._check_input(call.definition, call.body)
        calls = self.env["stock.integration.call"]

        def write():
            if not calls._lock_key(call.key):
                raise self._get_key_busy()
            if first := calls._find_first(call.key):
                return first._get_first_result(call.definition, data)
            origin = data.origin or f"{call.definition.name} {call.key}"
            # Its events name it, so that the caller can tell its own echo.
            with self.env["stock.ledger.entry"]._caused_by(call.key):
                result = self._get_handler(call.definition)(data, origin)
            calls._note(call, data, result, self._get_call_company(data))
            return result

        return self._write_in_turn(write, call.key)

    @api.model
    def _get_call_company(self, data):
        """Return whose stock a checked body is about."""
        for prefix in ("", "from_"):
            if hasattr(data, f"{prefix}warehouse_id"):
                return self._get_warehouse(data, prefix).company_id
        return self.env.company

    @api.model
    def _write_in_turn(self, write, key):
        """Call a function when neither its key nor its stock is in others' hands."""
        quants = self.env["stock.quant"]
        if not quants._may_restart_transaction():
            return write()
        cr = self.env.cr
        timeout_seconds = quants._get_lock_timeout_seconds()
        with StockLine(cr, CALL_LOCK_CLASS) as line:
            try:
                line.join(
                    [self.env["stock.integration.call"]._get_key_number(key)], timeout_seconds
                )
            except errors.LockNotAvailable:
                cr.rollback()
                raise self._get_key_busy() from None
            # The next snapshot shows what the one before has left.
            cr.rollback()
            try:
                result, wait = quants._decide_in_turn(write, timeout_seconds)
            except StockBusy as busy:
                quants._note_wait("timeout", busy.wait)
                raise self._get_stock_busy(busy.wait.get_stock_names(self.env)) from None
            if wait:
                quants._note_wait("wait", wait)
            return result

    @api.model
    def _get_key_busy(self):
        return CallBusy(self.env._("A call with the same key is under way. Repeat it."))

    @api.model
    def _get_stock_busy(self, stocks=""):
        """Return the exception for a call that others are in the way of.

        :param str stocks: what they are deciding on, as far as it is known
        """
        if not stocks:
            stocks = self.env._("the stock")
        return CallBusy(
            self.env._("Others are deciding on %s. Nothing was done: repeat the call.", stocks)
        )
