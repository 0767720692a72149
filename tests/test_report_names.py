from odoo.fields import Command
from odoo.tests import TransactionCase, tagged


@tagged("post_install", "-at_install")
class TestReportNames(TransactionCase):
    """Reports name products as Odoo does, of which they know a quicker way."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["res.lang"]._activate_lang("fr_FR")
        size = cls.env["product.attribute"].create(
            {"name": "Size", "value_ids": [Command.create({"name": name}) for name in "SML"]}
        )
        line = {"attribute_id": size.id, "value_ids": [Command.set(size.value_ids.ids)]}
        shirt = cls.env["product.template"].create(
            {"name": "Shirt", "attribute_line_ids": [Command.create(line)]}
        )
        cls.partner = cls.env["res.partner"].create({"name": "Vendor"})
        cls.products = shirt.product_variant_ids | cls.env["product.product"].create(
            [
                {"name": "Screw", "default_code": "S-1"},
                {"name": "Nail"},
                {
                    "name": "Nut",
                    "default_code": "N-1",
                    "active": False,
                    "seller_ids": [
                        Command.create({"partner_id": cls.partner.id, "product_code": "THEIRS"})
                    ],
                },
            ]
        )
        cls.products[-3].with_context(lang="fr_FR").name = "Vis"

    def _check(self, **context):
        products = self.products.with_context(**context)
        names = products._get_display_names()
        self.assertEqual(names, {product.id: product.display_name for product in products})
        return list(names.values())

    def test_names_are_those_of_odoo(self):
        self.assertIn("[S-1] Screw", self._check())
        self.assertIn("[S-1] Vis", self._check(lang="fr_FR"))
        self.assertIn("Shirt (M)", self._check())

    def test_names_are_those_of_the_context(self):
        self.assertIn("Screw", self._check(display_default_code=False))
        self.assertIn("Screw\t--S-1--", self._check(formatted_display_name=True))
        self.assertIn("[THEIRS] Nut", self._check(partner_id=self.partner.id))

    def test_another_rule_for_names_is_followed(self):
        def compute_shouted(products):
            for product in products:
                product.display_name = product.name.upper()

        products = type(self.products)
        self.patch(products, "_compute_display_name", compute_shouted)
        self.products.invalidate_recordset(["display_name"])
        self.assertIn("SCREW", self._check())

    def test_a_deleted_product_has_no_name(self):
        deleted = self.products[-1]
        products = self.products
        deleted.unlink()
        self.assertEqual(set(products._get_display_names()), set((products - deleted).ids))
