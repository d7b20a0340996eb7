-- Orders that were completed before 0180, as far back as anybody looks for them. This only reads, and stops nobody: the triggers of 0180 are
-- at work already. A shipment that is told at this very moment may leave its row behind; whoever asks leaves out what has a shipment.
INSERT INTO orders_to_ship (order_id, completed_at)
    SELECT order_id, at FROM order_history
    WHERE status = 'COMPLETED' AND at > now() - INTERVAL '30 days'
      AND NOT EXISTS (SELECT FROM order_shipments WHERE order_shipments.order_id = order_history.order_id)
      AND EXISTS (SELECT FROM order_lines WHERE order_lines.order_id = order_history.order_id AND tax_class IS DISTINCT FROM 'digital')
ON CONFLICT DO NOTHING;
