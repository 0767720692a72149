import datetime

from .common import LedgerCase

EPOCH = datetime.datetime(2024, 1, 1)


class CardCase(LedgerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.card_product = cls._create_product("Of the card", default_code="CARD/1")
        cls.rows = cls.env["stock.ledger.report.card"].with_user(cls.user)

    @classmethod
    def _append(cls, *entries):
        """Append entries of (location, quantity, event type, effective date, other values)."""
        cls.env["stock.ledger.entry"]._append(
            [
                {
                    "product_id": cls.card_product.id,
                    "location_id": location.id,
                    "lot_id": None,
                    "company_id": location.company_id.id or None,
                    "operating_company_id": cls.env.company.id,
                    "event_type": event_type,
                    "quantity": quantity,
                    "reserved_quantity": 0,
                    "effective_date": date,
                    "reference": None,
                    "origin": None,
                    "picking_id": None,
                    "user_id": cls.env.uid,
                    **dict(*others),
                }
                for location, quantity, event_type, date, *others in entries
            ]
        )

    def _get_rows(self, start, end, product=None, **scope):
        return self.rows.with_context(
            stock_ledger_product_id=(product or self.card_product).id,
            stock_ledger_from=str(start),
            stock_ledger_to=str(end),
            **{f"stock_ledger_{name}_id": record.id for name, record in scope.items()},
        )

    def _get_figures(self, rows):
        return [
            (row.event_type, row.in_quantity, row.out_quantity, row.balance_quantity)
            for row in rows
        ]

    def _create_card(self, user=None, **vals):
        return (
            self.env["stock.ledger.card"]
            .with_user(user or self.user)
            .create(
                {
                    "product_id": self.card_product.id,
                    "date_from": EPOCH,
                    "date_to": EPOCH + datetime.timedelta(days=60),
                    **vals,
                }
            )
        )
