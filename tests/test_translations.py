import re
from collections import Counter
from io import BytesIO

import polib

from odoo.tests import TransactionCase, tagged
from odoo.tools import file_path
from odoo.tools.translate import trans_export

LANGUAGES = ("de", "fr")
# What is replaced or kept as it is: placeholders of Python, tags and entities.
KEPT = re.compile(r"%\(\w+\)[a-z]|%[sd]|%%|\{\w*\}|</?[a-z][^>]*>|&\w+;")


def read(name):
    return polib.pofile(file_path(f"stock_event_ledger/i18n/{name}"))


@tagged("post_install", "-at_install")
class TestTranslations(TransactionCase):
    """All that users read can be translated, and is, into German and French."""

    def test_the_template_has_all_texts(self):
        buffer = BytesIO()
        trans_export(None, ["stock_event_ledger"], buffer, "po", self.env)
        exported = {entry.msgid for entry in polib.pofile(buffer.getvalue().decode())}
        template = {entry.msgid for entry in read("stock_event_ledger.pot")}
        self.assertEqual(exported - template, set(), "tools/translations adds them")
        self.assertEqual(template - exported, set(), "tools/translations removes them")

    def test_translations_are_complete(self):
        template = {entry.msgid for entry in read("stock_event_ledger.pot")}
        for language in LANGUAGES:
            with self.subTest(language):
                translated = {entry.msgid for entry in read(f"{language}.po").translated_entries()}
                self.assertEqual(template - translated, set())

    def test_placeholders_and_tags_are_kept(self):
        for language in LANGUAGES:
            for entry in read(f"{language}.po"):
                with self.subTest(language, text=entry.msgid):
                    kept = Counter(KEPT.findall(entry.msgstr))
                    self.assertEqual(kept, Counter(KEPT.findall(entry.msgid)))

    def test_users_read_them(self):
        self.env["res.lang"]._activate_lang("de_DE")
        self.env["ir.module.module"].search(
            [("name", "=", "stock_event_ledger")]
        )._update_translations(["de_DE"])
        menu = self.env.ref("stock_event_ledger.menu_stock_ledger_entry")
        self.assertEqual(menu.with_context(lang="de_DE").name, "Journaleinträge")
        entries = self.env["stock.ledger.entry"].with_context(lang="de_DE")
        with self.assertRaisesRegex(Exception, "Journal"):
            entries.create({})
