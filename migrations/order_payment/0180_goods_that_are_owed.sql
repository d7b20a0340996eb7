-- Paid orders of which no parcel has left. A row comes with the step to COMPLETED and goes with the shipment, by triggers, whichever program
-- writes. That of an order whose money went back before a parcel left stays, and a look, which begins a month ago, goes through a bounded
-- number of rows: what it costs does not grow with the orders there are. An index over completed orders would have to be compared with every
-- shipment of a month for the same answer.
-- What is taxed as digital is downloaded or used: an order of nothing else has no parcel. What is made to order has one at once; its lead
-- time lies behind it.
CREATE TABLE orders_to_ship (
    order_id     UUID PRIMARY KEY,
    completed_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX orders_to_ship_by_time ON orders_to_ship (completed_at);

-- Both run with the owner's rights: the service itself only reads the table. By index whatever the statistics say, as everything in a
-- saga's commit.
CREATE FUNCTION expect_shipment() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO orders_to_ship (order_id, completed_at)
        SELECT NEW.order_id, NEW.at WHERE EXISTS (
            SELECT FROM order_lines WHERE order_lines.order_id = NEW.order_id AND tax_class IS DISTINCT FROM 'digital')
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER expect_shipment AFTER INSERT ON order_history FOR EACH ROW
    WHEN (NEW.status = 'COMPLETED') EXECUTE FUNCTION expect_shipment();

CREATE FUNCTION see_shipment() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM orders_to_ship WHERE orders_to_ship.order_id = NEW.order_id;
    RETURN NULL;
END $$;
CREATE TRIGGER see_shipment AFTER INSERT ON order_shipments FOR EACH ROW EXECUTE FUNCTION see_shipment();

GRANT SELECT ON orders_to_ship TO order_payment_app;
