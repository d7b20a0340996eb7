-- What the catalog's fulfilment told us, for the view of an order. One shipment per order; only a paid order has one.
CREATE TABLE order_shipments (
    order_id          UUID PRIMARY KEY CONSTRAINT order_shipments_of_an_order REFERENCES orders (order_id),
    shipment_id       UUID NOT NULL UNIQUE,
    fulfilment_centre TEXT NOT NULL,
    created_at        TIMESTAMPTZ NOT NULL
);

CREATE FUNCTION check_shipment_is_paid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM orders WHERE order_id = NEW.order_id AND status = 'COMPLETED') THEN
        RAISE EXCEPTION 'order % ships before it is completed', NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'order_shipments_are_paid';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_shipment_is_paid BEFORE INSERT ON order_shipments FOR EACH ROW EXECUTE FUNCTION check_shipment_is_paid();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON order_shipments FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON order_shipments TO order_payment_app;
