-- Reservations: what each order has been promised.

CREATE TABLE reservations (
    order_id UUID NOT NULL CONSTRAINT reservations_pkey PRIMARY KEY,
    status TEXT NOT NULL CONSTRAINT reservations_status_known CHECK (status IN ('HELD', 'REJECTED', 'RELEASED', 'FINALISED')),
    version BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- When a hold is worth a question to order-payment, which owns the deadline. Nothing is released by this clock.
    held_until TIMESTAMPTZ NOT NULL,
    settled_at TIMESTAMPTZ
);

-- The oldest open holds, for the sweep and the age metric.
CREATE INDEX reservations_open ON reservations (held_until) WHERE status = 'HELD';

CREATE TABLE reservation_lines (
    order_id UUID NOT NULL CONSTRAINT reservation_lines_reservation_fkey REFERENCES reservations,
    sku VARCHAR(64) COLLATE "C" NOT NULL,
    quantity BIGINT NOT NULL CONSTRAINT reservation_lines_quantity_positive CHECK (quantity > 0),
    CONSTRAINT reservation_lines_pkey PRIMARY KEY (order_id, sku)
);

-- The same list as `LEGAL_STEPS` in the code; a test walks all pairs through both.
CREATE FUNCTION reservation_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status IN ('HELD', 'REJECTED', 'RELEASED') AND NEW.version = 1 THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status = 'HELD' AND NEW.status IN ('RELEASED', 'FINALISED')
        AND NEW.version = OLD.version + 1 AND NEW.order_id = OLD.order_id THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a reservation cannot go this way'
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'reservations_legal_step';
END
$$;

CREATE TRIGGER reservations_legal_step BEFORE INSERT OR UPDATE ON reservations FOR EACH ROW EXECUTE FUNCTION reservation_step();
CREATE TRIGGER reservations_stay BEFORE DELETE ON reservations FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER reservation_lines_are_history BEFORE UPDATE OR DELETE ON reservation_lines FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON reservations, reservation_lines TO inventory_app;
GRANT UPDATE (status, version, settled_at) ON reservations TO inventory_app;
