-- Shipments and serial numbers: what leaves the house once the money is committed.

CREATE TABLE shipments (
    shipment_id UUID NOT NULL CONSTRAINT shipments_pkey PRIMARY KEY,
    order_id UUID NOT NULL CONSTRAINT shipments_once UNIQUE CONSTRAINT shipments_reservation_fkey REFERENCES reservations,
    fulfilment_centre TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- No goods leave before the money is committed: a shipment points to the inbox row of the OrderCompleted that caused it.
    -- Checked at the end of the transaction, because the order of the two inserts is nobody's business. Such inbox rows
    -- therefore stay as long as their shipment does.
    consumer TEXT NOT NULL,
    message_id UUID NOT NULL,
    CONSTRAINT shipments_completed_order_fkey FOREIGN KEY (consumer, message_id) REFERENCES inbox (consumer, message_id) DEFERRABLE INITIALLY DEFERRED
);

CREATE FUNCTION shipment_follows_sale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM reservations WHERE order_id = NEW.order_id AND status = 'FINALISED';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the order of the shipment is not finalised'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'shipments_follow_sale';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER shipments_follow_sale BEFORE INSERT ON shipments FOR EACH ROW EXECUTE FUNCTION shipment_follows_sale();
CREATE TRIGGER shipments_are_history BEFORE UPDATE OR DELETE ON shipments FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- One row per serialised unit sold. Numbers follow the order of sale without gaps: `stock.sold` hands them out under its
-- row lock, so a sale never runs out of them.
CREATE TABLE serial_numbers (
    sku VARCHAR(64) COLLATE "C" NOT NULL CONSTRAINT serial_numbers_stock_fkey REFERENCES stock,
    number BIGINT NOT NULL CONSTRAINT serial_numbers_number_positive CHECK (number > 0),
    order_id UUID NOT NULL CONSTRAINT serial_numbers_reservation_fkey REFERENCES reservations,
    CONSTRAINT serial_numbers_pkey PRIMARY KEY (sku, number)
);

CREATE INDEX serial_numbers_of_order ON serial_numbers (order_id);
CREATE TRIGGER serial_numbers_are_history BEFORE UPDATE OR DELETE ON serial_numbers FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON shipments, serial_numbers TO inventory_app;
