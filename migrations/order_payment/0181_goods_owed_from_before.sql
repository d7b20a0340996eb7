-- Orders that were completed before 0180, as far back as anybody looks for them. This stops nobody. The triggers of 0180 are at work already:
-- a shipment that is told between the two statements finds no row to take away yet, so the second takes what has one by then. A shipment
-- that is committed later still may leave its row behind; whoever asks leaves out what has a shipment.
INSERT INTO orders_to_ship (order_id, completed_at)
    SELECT order_id, at FROM order_history
    WHERE status = 'COMPLETED' AND at > now() - INTERVAL '30 days'
      AND NOT EXISTS (SELECT FROM order_shipments WHERE order_shipments.order_id = order_history.order_id)
      AND EXISTS (SELECT FROM order_lines WHERE order_lines.order_id = order_history.order_id AND tax_class IS DISTINCT FROM 'digital')
ON CONFLICT DO NOTHING;
DELETE FROM orders_to_ship WHERE EXISTS (SELECT FROM order_shipments WHERE order_shipments.order_id = orders_to_ship.order_id);
