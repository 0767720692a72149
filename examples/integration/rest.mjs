// Stock over REST: availability, a receipt sent twice, an issue that is refused, the feed.
// Prints each answer as a line of JSON. Node 18 or later.
import { randomUUID } from "node:crypto";

const { ODOO_URL, ODOO_DATABASE, ODOO_API_KEY, SKU, WAREHOUSE = "WH" } = process.env;

async function call(path, { body, key, question } = {}) {
    const response = await fetch(
        `${ODOO_URL}/stock_event_ledger/v1/${path}?${new URLSearchParams(question)}`,
        {
            method: body ? "POST" : "GET",
            headers: {
                Authorization: `Bearer ${ODOO_API_KEY}`,
                "X-Odoo-Database": ODOO_DATABASE,
                "Content-Type": "application/json",
                ...(key && { "Idempotency-Key": key }),
            },
            body: body && JSON.stringify(body),
            signal: AbortSignal.timeout(60_000),
        }
    );
    // A result, or problem details.
    const answer = await response.json();
    console.log(JSON.stringify(answer));
    return answer;
}

await call("availability", { question: { skus: SKU, warehouses: WAREHOUSE } });

const receipt = { warehouse: WAREHOUSE, lines: [{ sku: SKU, quantity: 10 }] };
const key = randomUUID();
await call("receipts", { body: receipt, key });
// As after an answer that was lost: nothing is done twice.
await call("receipts", { body: receipt, key });

const issue = { warehouse: WAREHOUSE, lines: [{ sku: SKU, quantity: 1000000 }] };
await call("issues", { body: issue, key: randomUUID() });

await call("feed", { question: { after: 0, limit: 1000, skus: SKU } });
