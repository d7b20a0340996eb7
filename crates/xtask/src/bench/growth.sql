-- Completed orders FIRST..LAST as a year of business leaves them: three lines, three versions, a captured charge in balanced
-- books that wait for their seal, the answer of the request, three published events. Keys ascend, so that a cold index is
-- filled from one side. Check constraints hold while this runs; triggers and foreign keys do not, and are checked afterwards.
SET session_replication_role = replica;
SET synchronous_commit = off;

CREATE TEMPORARY TABLE made AS
SELECT n,
       (lpad(to_hex(n * 56294995), 12, '0') || '5' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS order_id,
       (lpad(to_hex(n * 56294995), 12, '0') || '5' || substr(md5('a' || n), 1, 3) || '8' || substr(md5('a' || n), 4, 15))::uuid AS attempt_id,
       -- fifty orders a person
       (lpad(to_hex((n - n % 50) * 56294995), 12, '0') || '4' || substr(md5('u' || (n - n % 50)), 1, 3) || '8' || substr(md5('u' || (n - n % 50)), 4, 15))::uuid AS user_id,
       now() - interval '360 days' + n * interval '6 seconds' AS at,
       decode(md5('f' || n) || md5('g' || n), 'hex') AS fingerprint
FROM generate_series(FIRST::bigint, LAST::bigint) AS n;

INSERT INTO order_users (user_id, residency_region, known_since)
SELECT user_id, 'eu', min(at) FROM made GROUP BY user_id ORDER BY user_id ON CONFLICT DO NOTHING;

INSERT INTO orders (order_id, user_id, residency_region, status, total_amount, currency, total_minor, shipping_address, payment_token,
                    fingerprint, version, created_at, deadline_at, credit_minor, tax_place, net_minor, tax_minor)
SELECT order_id, user_id, 'eu', 'COMPLETED', 30.00, 'EUR', 3000,
       '{"name": "Ada Lovelace", "line1": "Zeil 106", "line2": null, "city": "Frankfurt", "postal_code": "60313", "country": "DE"}',
       'tok_ok', fingerprint, 3, at, at + interval '15 minutes', 0, 'DE', 2520, 480
FROM made ORDER BY n;

INSERT INTO order_lines (order_id, line_no, sku, name, quantity, unit_price_minor, options, price_revision, tax_class, tax_rate,
                         tax_included, net_minor, tax_minor, gross_minor)
SELECT order_id, line_no, 'BENCH-' || ((n + line_no) % 500), 'Product BENCH-' || ((n + line_no) % 500), 1, 1000, '{}', 1, 'standard',
       190000, true, 840, 160, 1000
FROM made CROSS JOIN generate_series(0, 2) AS line_no ORDER BY n, line_no;

INSERT INTO order_history (order_id, version, status, at)
SELECT order_id, version, (ARRAY['CREATED', 'PAYMENT_PENDING', 'COMPLETED'])[version]::order_status, at + (version - 1) * interval '1 second'
FROM made CROSS JOIN generate_series(1, 3) AS version ORDER BY n, version;

INSERT INTO payment_attempts (attempt_id, order_id, residency_region, number, kind, state, amount_minor, currency, payment_token, intent_id,
                              capture_requested, due_at, version, created_at, gateway, gateway_flow)
SELECT attempt_id, order_id, 'eu', 1, 'CHARGE', 'CAPTURED', 3000, 'EUR', 'tok_ok', 'pi_' || lpad(n::text, 12, '0'), true, at, 5, at, 'simulator',
       'MAKE_THEN_CONFIRM'
FROM made ORDER BY n;

INSERT INTO ledger_transactions (transaction_id, attempt_id, order_id, kind, currency, recorded_at)
SELECT attempt_id, attempt_id, order_id, 'CAPTURE', 'EUR', at FROM made ORDER BY n;
INSERT INTO ledger_entries (transaction_id, attempt_id, entry_no, account, amount_minor, currency)
SELECT attempt_id, attempt_id, entry_no, (ARRAY['gateway_receivable', 'sales'])[entry_no]::ledger_account, 3000 * (3 - 2 * entry_no), 'EUR'
FROM made CROSS JOIN generate_series(1, 2) AS entry_no ORDER BY n, entry_no;
INSERT INTO ledger_unsealed (transaction_id) SELECT attempt_id FROM made ORDER BY n;

INSERT INTO requests (residency_region, subject, method, route, key, fingerprint, status, body, answered_at)
SELECT 'eu', user_id, 'POST', '/v1/orders', 'growth-' || lpad(n::text, 12, '0'), fingerprint, 201,
       convert_to(json_build_object('order_id', order_id, 'status', 'CREATED')::text, 'UTF8'), at
FROM made ORDER BY n;

INSERT INTO outbox (message_id, topic, key, version, payload, epoch, occurred_at, claim_gen, published_at)
SELECT (lpad(to_hex(n * 56294995), 12, '0') || '5' || substr(md5(version || 'm' || n), 1, 3) || '8' || substr(md5(version || 'm' || n), 4, 15))::uuid,
       (ARRAY['order.created', 'order.payment-pending', 'order.completed'])[version], order_id::text, version, decode(repeat('00', 200), 'hex'), 1, at, 1, at
FROM made CROSS JOIN generate_series(1, 3) AS version ORDER BY n, version;
