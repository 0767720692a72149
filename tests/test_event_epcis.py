import json

from odoo.tests import TransactionCase, tagged

from ..broker import Envelope, epcis
from ..broker.example import SUMMARIES, example_event
from ..models.stock_ledger_entry import EVENT_TYPES

DATABASE = "3f6c2f0e-0000-4000-8000-000000000001"
OWN = f"urn:odoo:{DATABASE}"
GTIN = "9506000134352"
# The parts of CBV 2.0 that are used; the standard has more of them.
BIZ_STEPS = {
    *("assembling", "commissioning", "creating_class_instance", "cycle_counting"),
    *("decommissioning", "destroying", "inspecting", "other", "receiving", "shipping"),
    *("stock_taking", "storing", "transporting", "void_shipping"),
}
DISPOSITIONS = {
    *("active", "conformant", "destroyed", "in_progress", "in_transit", "inactive"),
    *("mismatch_quantity", "returned"),
}
TRANSACTION_TYPES = {"desadv", "recadv", "po", "prodorder"}
# What an ObjectEvent must have and may have, of EPCIS 2.0.
REQUIRED = {"type", "eventTime", "eventTimeZoneOffset", "action"}
ALLOWED = REQUIRED | {
    *("eventID", "recordTime", "bizStep", "disposition", "epcList", "quantityList"),
    *("readPoint", "bizLocation", "bizTransactionList"),
}


@tagged("post_install", "-at_install")
class TestEventEpcis(TransactionCase):
    def _build(self, event_type="RECEIPT", details=None, **values):
        """Return the EPCIS event of a flat event."""
        event = {**example_event(event_type), **values}
        document = epcis.build_document(event, details or {}, DATABASE)
        [result] = document["epcisBody"]["eventList"]
        return result

    def _get_class(self, **values):
        details = {"barcode": values.pop("barcode", None), "tracking": "lot"}
        [element] = self._build(details=details, **values)["quantityList"]
        return element["epcClass"]

    # --- the standard's rules

    def test_every_event_type_keeps_the_rules(self):
        names = ("reserving_stock", "releasing_stock", "watching_stock")
        own_steps = {epcis.NAMESPACE + name for name in names}
        for event_type in [*dict(EVENT_TYPES), "GAP"]:
            for sign in (1, -1):
                quantity = sign * example_event(event_type)["quantity"]
                with self.subTest(event_type=event_type, quantity=quantity):
                    event = self._build(event_type, quantity=quantity)
                    own = {name for name in event if name.startswith("sel:")}
                    self.assertLessEqual(REQUIRED, set(event))
                    self.assertLessEqual(set(event) - own, ALLOWED)
                    self.assertIn(event["action"], ("ADD", "DELETE", "OBSERVE"))
                    self.assertIn(event.get("bizStep", "other"), BIZ_STEPS | own_steps)
                    self.assertIn(event.get("disposition", "active"), DISPOSITIONS)
                    [element] = event["quantityList"]
                    is_change = event_type not in SUMMARIES
                    self.assertEqual(element.get("quantity"), 5 if is_change else None)
                    for document in event.get("bizTransactionList", []):
                        self.assertIn(document.get("type", "po"), TRANSACTION_TYPES)

    def test_every_event_type_of_the_ledger_has_steps(self):
        self.assertEqual(set(epcis.STEPS), {*dict(EVENT_TYPES), "GAP"})

    def test_steps(self):
        for event_type, quantity, action, biz_step, disposition in (
            ("RECEIPT", 5, "OBSERVE", "receiving", "in_progress"),
            ("SALE", -5, "OBSERVE", "shipping", "in_transit"),
            ("SALE", 5, "OBSERVE", "void_shipping", "in_progress"),
            ("CUSTOMER_RETURN", 5, "OBSERVE", "receiving", "returned"),
            ("SUPPLIER_RETURN", -5, "OBSERVE", "shipping", "returned"),
            ("TRANSFER_OUT", -5, "OBSERVE", "shipping", "in_transit"),
            ("TRANSFER_IN", 5, "OBSERVE", "receiving", "in_progress"),
            ("INTERNAL", -5, "OBSERVE", "storing", "in_progress"),
            ("ADJUSTMENT", 5, "ADD", "cycle_counting", "mismatch_quantity"),
            ("ADJUSTMENT", -5, "DELETE", "cycle_counting", "mismatch_quantity"),
            ("SCRAP", -5, "DELETE", "destroying", "destroyed"),
            ("CONSUMPTION", -5, "DELETE", "assembling", None),
            ("PRODUCTION", 5, "ADD", "creating_class_instance", "active"),
            ("OPENING", 5, "OBSERVE", "stock_taking", "in_progress"),
            ("GAP", 5, "OBSERVE", None, None),
            # Of a module that we do not know.
            ("SUBCONTRACT", 5, "OBSERVE", "other", None),
        ):
            with self.subTest(event_type=event_type, quantity=quantity):
                event = self._build(event_type, quantity=quantity)
                self.assertEqual(event["action"], action)
                self.assertEqual(event.get("bizStep"), biz_step)
                self.assertEqual(event.get("disposition"), disposition)

    def test_goods_in_transit_are_transported(self):
        for event_type, quantity in (("TRANSFER_OUT", 5), ("TRANSFER_IN", -5)):
            event = self._build(event_type, quantity=quantity, warehouse_id=None)
            self.assertEqual(event["bizStep"], "transporting")
            self.assertEqual(event["disposition"], "in_transit")

    def test_reserving_stock_is_no_word_of_cbv(self):
        reserve, unreserve = self._build("RESERVE"), self._build("UNRESERVE")
        self.assertEqual(reserve["bizStep"], "urn:stock-event-ledger:epcis:reserving_stock")
        self.assertEqual(unreserve["bizStep"], "urn:stock-event-ledger:epcis:releasing_stock")
        for event in (reserve, unreserve):
            self.assertEqual(event["action"], "OBSERVE")
            self.assertNotIn("disposition", event)
            self.assertEqual(event["quantityList"][0]["quantity"], 5)
            self.assertIn("bizLocation", event)

    # --- the document

    def test_message(self):
        event = {**example_event("SALE"), "reference": None, "lot": "Ä"}
        message = Envelope(DATABASE, "epcis").build_message(1, event)
        headers = message.properties.headers
        self.assertEqual(message.properties.content_type, "application/ld+json")
        self.assertEqual(headers["cloudEvents_type"], "com.odoo.inventory.epcis.sale.v2")
        self.assertEqual(headers["cloudEvents_dataschema"], epcis.DATA_SCHEMA)
        self.assertEqual(headers["cloudEvents_id"], event["event_id"])
        self.assertEqual(headers["cloudEvents_sequence"], "00000000000000000123")
        document = json.loads(message.body)
        self.assertEqual(document["type"], "EPCISDocument")
        self.assertEqual(document["schemaVersion"], "2.0")
        self.assertEqual(document["creationDate"], event["recorded_at"])
        standard, own = document["@context"]
        self.assertTrue(standard.startswith("https://ref.gs1.org/standards/epcis/2.0"))
        # Each name of our own is declared.
        self.assertEqual(list(own), ["sel"])
        self.assertEqual(document, epcis.build_document(event, {}, DATABASE))

    def test_dates_and_id(self):
        event = self._build()
        self.assertEqual(event["eventID"], "urn:uuid:01a1ffed-dbb5-7c9d-b870-bb252ddf7f12")
        self.assertEqual(event["eventTime"], "2026-01-02T03:04:05Z")
        self.assertEqual(event["recordTime"], "2026-01-02T03:04:05.678Z")
        self.assertEqual(event["eventTimeZoneOffset"], "+00:00")
        gap = self._build("GAP", effective_at=None)
        self.assertEqual(gap["eventTime"], "2026-01-02T03:04:05.678Z")

    def test_our_own_figures_are_under_our_own_names(self):
        details = {"product_name": "Chair", "location_name": "WH/Stock", "move_source_usage": None}
        event = self._build("SALE", details, on_hand_after=0.0)
        self.assertEqual(event["sel:event_type"], "SALE")
        self.assertEqual(event["sel:sequence"], 123)
        self.assertEqual(event["sel:quantity"], -5)
        self.assertEqual(event["sel:on_hand_after"], 0)
        self.assertEqual(event["sel:product_name"], "Chair")
        self.assertNotIn("sel:package", event)
        self.assertNotIn("sel:move_source_usage", event)

    def test_a_replay_without_a_number_has_none(self):
        nothing = {"on_hand_after": None, "reserved_after": None, "available_after": None}
        event = self._build(sequence=None, replay=True, **nothing)
        self.assertNotIn("sel:sequence", event)
        self.assertNotIn("sel:on_hand_after", event)
        self.assertIs(event["sel:replay"], True)

    def test_corrections_and_gaps_name_the_other_event(self):
        other = "01a1ffed-0000-7000-8000-000000000000"
        event = self._build(corrects_event_id=other)
        self.assertEqual(event["sel:corrects"], f"urn:uuid:{other}")
        # That would be a repetition of the erroneous event under its own id.
        self.assertNotIn("errorDeclaration", event)
        gap = self._build("GAP", skipped_event_id=other)
        self.assertEqual(gap["sel:skipped_event"], f"urn:uuid:{other}")
        self.assertEqual(gap["sel:skipped_event_type"], "RECEIPT")
        self.assertNotIn("sel:corrects", gap)

    # --- what

    def test_a_product_with_a_gtin_is_a_gs1_digital_link(self):
        for barcode, expected in (
            (GTIN, "https://id.gs1.org/01/09506000134352"),
            ("19506000134359", "https://id.gs1.org/01/19506000134359"),
            ("614141000036", "https://id.gs1.org/01/00614141000036"),
            ("95060002", "https://id.gs1.org/01/00000095060002"),
        ):
            with self.subTest(barcode=barcode):
                self.assertEqual(self._get_class(barcode=barcode), expected)

    def test_a_product_without_a_gtin_has_a_uri_of_ours(self):
        for barcode in (
            None,
            "",
            "9506000134353",  # wrong check digit
            "950600013435",  # cut
            "95060001343520",
            "CHAIR-01",
            "٩٥٠٦٠٠٠١٣٤٣٥٢",  # digits, but not GS1's
            GTIN + "\n",
            "2012345000018",  # a store's own number
            "0212345000014",
            "20123451",
        ):
            with self.subTest(barcode=barcode):
                self.assertEqual(self._get_class(barcode=barcode), f"{OWN}:product:101")

    def test_a_lot_follows_the_product(self):
        link = f"https://id.gs1.org/01/0{GTIN}/10"
        self.assertEqual(self._get_class(barcode=GTIN, lot="L-1/a"), f"{link}/L-1%2Fa")
        product = f"{OWN}:product:101"
        self.assertEqual(self._get_class(lot="L 1"), f"{product}:lot:L%201")
        # GS1 has no room for these.
        self.assertEqual(self._get_class(barcode=GTIN, lot="L 1"), f"{product}:lot:L%201")
        self.assertEqual(self._get_class(barcode=GTIN, lot="é"), f"{product}:lot:%C3%A9")
        too_long = "x" * 21
        self.assertEqual(self._get_class(barcode=GTIN, lot=too_long), f"{product}:lot:{too_long}")

    def test_a_serial_number_is_an_epc(self):
        details = {"barcode": GTIN, "tracking": "serial"}
        event = self._build("PRODUCTION", details, quantity=1.0, lot="SN 1")
        self.assertEqual(event["epcList"], [f"{OWN}:product:101:serial:SN%201"])
        event = self._build("PRODUCTION", details, quantity=1.0, lot="SN1")
        self.assertEqual(event["epcList"], [f"https://id.gs1.org/01/0{GTIN}/21/SN1"])
        self.assertNotIn("quantityList", event)
        self.assertEqual(event["bizStep"], "commissioning")
        # An adjustment may lack the number.
        event = self._build("ADJUSTMENT", details, quantity=1.0, lot=None)
        self.assertEqual(event["quantityList"][0]["epcClass"], f"https://id.gs1.org/01/0{GTIN}")
        self.assertNotIn("epcList", event)

    def test_unit_of_measure(self):
        for uom, expected in (
            ("Units", {"quantity": 5}),
            ("kg", {"quantity": 5, "uom": "KGM"}),
            ("Dozens", {"quantity": 5, "uom": "DZN"}),
            # Five pieces would be wrong.
            ("Pack of 6", {}),
            (None, {}),
        ):
            with self.subTest(uom=uom):
                event = self._build("SALE", uom=uom)
                [element] = event["quantityList"]
                element.pop("epcClass")
                self.assertEqual(element, expected)
                self.assertEqual(event["sel:quantity"], -5)

    def test_units_of_odoo_have_codes(self):
        data = self.env["ir.model.data"].search([("module", "=", "uom"), ("model", "=", "uom.uom")])
        units = self.env["uom.uom"].browse(data.mapped("res_id")).with_context(lang="en_US")
        known = {*epcis.UOM_CODES, *epcis.PIECES, "Pack of 6"}
        self.assertLessEqual(set(units.mapped("name")), known)

    # --- where and why

    def test_goods_that_left_have_no_location_afterwards(self):
        location = {"id": f"{OWN}:location:8"}
        received, sold = self._build("RECEIPT"), self._build("SALE")
        self.assertEqual(received["readPoint"], location)
        self.assertEqual(received["bizLocation"], location)
        self.assertEqual(sold["readPoint"], location)
        self.assertNotIn("bizLocation", sold)
        self.assertNotIn("readPoint", self._build("GAP", location_id=None))

    def test_documents(self):
        transfer = f"{OWN}:transfer:WH%2FOUT%2F00042"
        origin = f"{OWN}:document:S00042"
        for event_type, transfer_type, origin_type in (
            ("SALE", "desadv", "po"),
            ("RECEIPT", "recadv", "po"),
            ("SUPPLIER_RETURN", "desadv", None),
            ("CONSUMPTION", "prodorder", None),
            ("INTERNAL", None, None),
        ):
            with self.subTest(event_type=event_type):
                first, second = self._build(event_type)["bizTransactionList"]
                self.assertEqual(first["bizTransaction"], transfer)
                self.assertEqual(first.get("type"), transfer_type)
                self.assertEqual(second["bizTransaction"], origin)
                self.assertEqual(second.get("type"), origin_type)
        reference = {"model": "stock.move", "id": 1, "transfer": None, "origin": None}
        self.assertNotIn("bizTransactionList", self._build(reference=reference))
        self.assertNotIn("bizTransactionList", self._build("GAP"))
