import json
import os
import re
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from datetime import timedelta

from odoo import SUPERUSER_ID, Command, api, fields
from odoo.modules.registry import Registry
from odoo.tests import BaseCase, TransactionCase, tagged
from odoo.tools import config, file_path

from .database_copy import copy_database
from .processes import OdooProcess

FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "examples", "integration")
COMMANDS = {
    "rest.py": [sys.executable],
    "json2.py": [sys.executable],
    "xmlrpc_client.py": [sys.executable],
    "rest.sh": ["bash"],
    # Odoo limits its own address space, of which Node reserves far more than it uses.
    "rest.mjs": ["bash", "-c", 'ulimit -S -v unlimited; exec node "$0"'],
}
DEADLINE_SECONDS = 180
LOGIN = "integration_examples"


@tagged("post_install", "-at_install")
class TestIntegrationExamples(TransactionCase):
    """The examples, as a partner runs them, against a server."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dbname = copy_database(cls.env.cr.dbname)
        with cls._committing() as env:
            group = env.ref("stock_event_ledger.group_integration")
            user = env["res.users"].search([("login", "=", LOGIN)]) or env["res.users"].create(
                {"name": LOGIN, "login": LOGIN, "group_ids": [Command.set(group.ids)]}
            )
            keys = env["res.users.apikeys"].with_user(user)
            expiry = fields.Datetime.now() + timedelta(hours=12)
            cls.key = keys._generate("rpc", "Examples", expiry)
            cls.warehouse_code = env["stock.warehouse"].search([], limit=1).code
        cls.server = cls.enterClassContext(OdooProcess(cls.dbname))

    @classmethod
    @contextmanager
    def _committing(cls):
        with Registry(cls.dbname).cursor() as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})

    def _run(self, name):
        """Run an example with a product of its own, and return its answers."""
        with self._committing() as env:
            env["product.product"].create({"name": name, "default_code": name, "is_storable": True})
        done = subprocess.run(
            [*COMMANDS[name], os.path.join(FOLDER, name)],
            env={
                "PATH": os.environ["PATH"],
                "ODOO_URL": f"http://127.0.0.1:{self.server.port}",
                "ODOO_DATABASE": self.dbname,
                "ODOO_LOGIN": LOGIN,
                "ODOO_API_KEY": self.key,
                "WAREHOUSE": self.warehouse_code,
                "SKU": name,
            },
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_examples(self):
        self.assertEqual(set(COMMANDS) | {"README.md"}, set(os.listdir(FOLDER)))
        for name in COMMANDS:
            with self.subTest(example=name):
                availability, first, again, refused, page = self._run(name)
                [figures] = availability["availability"]
                self.assertEqual((figures["sku"], figures["physical"]), (name, 0))
                self.assertEqual(first["status"], "done")
                self.assertEqual(first, again)
                self.assertIn(refused["status"], ("refused", 409))
                self.assertEqual(refused["lines"][0]["error"]["code"], "not_available")
                [entry] = page["entries"]
                self.assertEqual((entry["sku"], entry["quantity"]), (name, 10))
                self.assertFalse(page["has_more"])

    def test_sessions_are_not_made(self):
        """Not one file for each call."""
        before = self._count_sessions()
        self._run("rest.py")
        self.assertEqual(self._count_sessions(), before)

    def _count_sessions(self):
        return sum(len(files) for _path, _folders, files in os.walk(config.session_dir))


@tagged("post_install", "-at_install")
class TestReadme(BaseCase):
    """What README shows is a part of what was run."""

    def test_code_of_integrating(self):
        with open(file_path("stock_event_ledger/README.rst"), encoding="utf-8") as file:
            section = re.search(
                r"^Integrating\n=+\n(.*?)^\S[^\n]*\n=+\n", file.read(), re.MULTILINE | re.DOTALL
            )
        self.assertTrue(section)
        blocks = re.findall(
            r"^\.\. code-block:: (\w+)\n\n((?:(?: {4}[^\n]*)?\n)+)", section[1], re.MULTILINE
        )
        texts = {}
        for name in COMMANDS:
            with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
                texts[name] = file.read()
        self.assertEqual({language for language, _code in blocks}, {"python", "bash", "javascript"})
        for language, code in blocks:
            code = textwrap.dedent(code).strip("\n")
            names = [name for name, text in texts.items() if code in text]
            self.assertTrue(names, f"in no example: {language}\n{code}")
