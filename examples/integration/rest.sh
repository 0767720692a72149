#!/usr/bin/env bash
# Stock over REST: availability, a receipt sent twice, an issue that is refused, the feed.
# Prints each answer as a line of JSON.
set -euo pipefail

url="$ODOO_URL/stock_event_ledger/v1"
warehouse="${WAREHOUSE:-WH}"
sku="$SKU"

call() {
    curl --silent --show-error --max-time 60 --header "Authorization: Bearer $ODOO_API_KEY" \
        --header "X-Odoo-Database: $ODOO_DATABASE" "$@"
    echo
}

call --get "$url/availability" --data-urlencode "skus=$sku" --data-urlencode "warehouses=$warehouse"

key="$(cat /proc/sys/kernel/random/uuid)"
# The second as after an answer that was lost: nothing is done twice.
for _ in 1 2; do
    call "$url/receipts" --header "Content-Type: application/json" --header "Idempotency-Key: $key" \
        --data '{"warehouse": "'"$warehouse"'", "lines": [{"sku": "'"$sku"'", "quantity": 10}]}'
done

call "$url/issues" --header "Content-Type: application/json" --header "Idempotency-Key: $key-2" \
    --data '{"warehouse": "'"$warehouse"'", "lines": [{"sku": "'"$sku"'", "quantity": 1000000}]}'

call --get "$url/feed" --data after=0 --data limit=1000 --data-urlencode "skus=$sku"
