#!/usr/bin/env python3
"""Stock over XML-RPC: availability, a receipt sent twice, an issue that is refused, the feed.

Prints each answer as a line of JSON.
"""

import json
import os
import uuid
import xmlrpc.client

URL = os.environ["ODOO_URL"] + "/xmlrpc/2"
DATABASE = os.environ["ODOO_DATABASE"]
LOGIN, API_KEY = os.environ["ODOO_LOGIN"], os.environ["ODOO_API_KEY"]
WAREHOUSE = os.environ.get("WAREHOUSE", "WH")
SKU = os.environ["SKU"]

user_id = xmlrpc.client.ServerProxy(f"{URL}/common").authenticate(DATABASE, LOGIN, API_KEY, {})
odoo = xmlrpc.client.ServerProxy(f"{URL}/object")


def call(method, **members):
    answer = odoo.execute_kw(DATABASE, user_id, API_KEY, "stock.integration", method, [], members)
    print(json.dumps(answer))
    return answer


call("get_availability", skus=[SKU], warehouses=[WAREHOUSE])

lines = [{"sku": SKU, "quantity": 10}]
key = str(uuid.uuid4())
first = call("receive", idempotency_key=key, warehouse=WAREHOUSE, lines=lines)
again = call("receive", idempotency_key=key, warehouse=WAREHOUSE, lines=lines)
assert first == again

lines = [{"sku": SKU, "quantity": 1_000_000}]
refused = call("issue", idempotency_key=str(uuid.uuid4()), warehouse=WAREHOUSE, lines=lines)
assert refused["status"] == "refused"

call("get_feed", after=0, limit=1000, skus=[SKU])
