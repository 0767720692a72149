#!/usr/bin/env python3
"""Stock over JSON-2: availability, a receipt sent twice, an issue that is refused, the feed.

Prints each answer as a line of JSON.
"""

import json
import os
import urllib.request
import uuid

URL = os.environ["ODOO_URL"] + "/json/2/stock.integration"
WAREHOUSE = os.environ.get("WAREHOUSE", "WH")
SKU = os.environ["SKU"]


def call(method, **body):
    headers = {
        "Authorization": "Bearer " + os.environ["ODOO_API_KEY"],
        "X-Odoo-Database": os.environ["ODOO_DATABASE"],
        "Content-Type": "application/json",
    }
    request = urllib.request.Request(f"{URL}/{method}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
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
