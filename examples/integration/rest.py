#!/usr/bin/env python3
"""Stock over REST: availability, a receipt sent twice, an issue that is refused, the feed.

Prints each answer as a line of JSON.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid

URL = os.environ["ODOO_URL"] + "/stock_event_ledger/v1"
WAREHOUSE = os.environ.get("WAREHOUSE", "WH")
SKU = os.environ["SKU"]


def call(path, body=None, key=None, **question):
    headers = {
        "Authorization": "Bearer " + os.environ["ODOO_API_KEY"],
        "X-Odoo-Database": os.environ["ODOO_DATABASE"],
        "Content-Type": "application/json",
    }
    if key:
        headers["Idempotency-Key"] = key
    query = urllib.parse.urlencode(question, doseq=True)
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"{URL}/{path}?{query}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        # What is wrong, as problem details.
        answer = json.load(error)
    print(json.dumps(answer))
    return answer


call("availability", skus=[SKU], warehouses=[WAREHOUSE])

receipt = {"warehouse": WAREHOUSE, "origin": "PO 42", "lines": [{"sku": SKU, "quantity": 10}]}
key = str(uuid.uuid4())
first = call("receipts", receipt, key)
# As after an answer that was lost: nothing is done twice.
again = call("receipts", receipt, key)
assert first == again

issue = {"warehouse": WAREHOUSE, "lines": [{"sku": SKU, "quantity": 1_000_000}]}
problem = call("issues", issue, str(uuid.uuid4()))
assert problem["status"] == 409

position = 0
while True:
    page = call("feed", after=position, limit=1000, skus=[SKU])
    position = page["next_after"]
    if not page["has_more"]:
        # To be kept; what is new comes after it.
        break
