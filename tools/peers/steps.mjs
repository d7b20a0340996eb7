// The three steps that every peer does, and nothing of ours does them better: one statement sets the stock of three lines aside,
// three calls charge a card at the payment simulator, one INSERT completes the order. Each is safe to repeat.
import { Agent } from "node:http";
import http from "node:http";
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.POSTGRES_URL, max: 16 });
const gateway = new URL(process.env.GATEWAY_URL);
// Kept alive, as many at a time as our payment worker has.
const agent = new Agent({ keepAlive: true, maxSockets: 16 });

const TOTAL_MINOR = 3000;

export async function reserve({ order, number }) {
  const skus = [0, 1, 2].map((line) => `BENCH-${(number * 3 + line) % 500}`).sort();
  await pool.query({
    name: "reserve",
    text: `WITH wanted AS (
             SELECT sku FROM peer_stock WHERE sku = ANY ($2) AND available > 0 AND NOT EXISTS (SELECT FROM peer_reservations WHERE order_id = $1)
             ORDER BY sku FOR NO KEY UPDATE),
           taken AS (UPDATE peer_stock SET available = available - 1 FROM wanted WHERE peer_stock.sku = wanted.sku)
           INSERT INTO peer_reservations (order_id, lines) SELECT $1, to_jsonb($2::text[]) FROM (SELECT count(*) AS found FROM wanted) AS all_of_them
           WHERE found = 3`,
    values: [order, skus],
  });
  return skus;
}

function call(path, key, fields) {
  const body = new URLSearchParams(fields).toString();
  const headers = {
    authorization: `Bearer ${process.env.GATEWAY_KEY}`,
    "idempotency-key": key,
    "content-type": "application/x-www-form-urlencoded",
    "content-length": Buffer.byteLength(body),
  };
  return new Promise((resolve, reject) => {
    const asked = http.request({ host: gateway.hostname, port: gateway.port, path, method: "POST", headers, agent }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => {
        const text = Buffer.concat(parts).toString();
        if (answer.statusCode !== 200) reject(new Error(`${path}: ${answer.statusCode} ${text}`));
        else resolve(JSON.parse(text));
      });
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

export async function charge({ order }) {
  const intent = await call("/v1/payment_intents", `${order}-create`, {
    amount: TOTAL_MINOR,
    currency: "eur",
    capture_method: "manual",
    payment_method: "tok_ok",
    "metadata[order_id]": order,
  });
  await call(`/v1/payment_intents/${intent.id}/confirm`, `${order}-confirm`, {});
  await call(`/v1/payment_intents/${intent.id}/capture`, `${order}-capture`, {});
  return intent.id;
}

export async function complete({ order }, intent) {
  await pool.query({
    name: "complete",
    text: "INSERT INTO peer_orders (order_id, intent, total_minor) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    values: [order, intent, TOTAL_MINOR],
  });
}
