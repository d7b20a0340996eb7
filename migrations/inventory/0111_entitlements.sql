-- What a person may use because of an order: subscriptions and downloads. Personal data: only people of this region are in it
-- (bind_region adds the check).
CREATE TABLE entitlements (
    residency_region VARCHAR(10) NOT NULL,
    user_id UUID NOT NULL,
    order_id UUID NOT NULL CONSTRAINT entitlements_reservation_fkey REFERENCES reservations,
    sku VARCHAR(64) COLLATE "C" NOT NULL CONSTRAINT entitlements_supply_fkey REFERENCES supplies,
    quantity BIGINT NOT NULL CONSTRAINT entitlements_quantity_positive CHECK (quantity > 0),
    -- Ended by refunds before their time.
    revoked BIGINT NOT NULL DEFAULT 0 CONSTRAINT entitlements_revoked_in_range CHECK (revoked BETWEEN 0 AND quantity),
    valid_from TIMESTAMPTZ NOT NULL,
    -- Null: for good.
    valid_until TIMESTAMPTZ CONSTRAINT entitlements_end_after_they_begin CHECK (valid_until > valid_from),
    revoked_at TIMESTAMPTZ,
    CONSTRAINT entitlements_pkey PRIMARY KEY (order_id, sku),
    CONSTRAINT entitlements_revoked_at_some_time CHECK ((revoked_at IS NULL) = (revoked = 0))
);
CREATE INDEX entitlements_of_user ON entitlements (user_id, valid_from);

-- Nothing is granted before the money is committed.
CREATE FUNCTION entitlement_follows_sale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM reservations WHERE order_id = NEW.order_id AND status = 'FINALISED';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the order of the entitlement is not finalised'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'entitlements_follow_sale';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER entitlements_follow_sale BEFORE INSERT ON entitlements FOR EACH ROW EXECUTE FUNCTION entitlement_follows_sale();

-- What is revoked stays revoked.
CREATE TRIGGER entitlements_only_end BEFORE UPDATE ON entitlements FOR EACH ROW
    WHEN (NEW.revoked < OLD.revoked OR (NEW.user_id, NEW.order_id, NEW.sku, NEW.quantity, NEW.valid_from) IS DISTINCT FROM (OLD.user_id, OLD.order_id, OLD.sku, OLD.quantity, OLD.valid_from))
    EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON entitlements TO inventory_app;
GRANT UPDATE (revoked, revoked_at) ON entitlements TO inventory_app;
