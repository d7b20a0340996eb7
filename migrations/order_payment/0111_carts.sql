-- Baskets on the server, of people and of browsers that nobody logged in to.

CREATE TABLE carts (
    -- 'user' or 'visitor'.
    owner_kind       TEXT NOT NULL,
    owner_id         UUID NOT NULL,
    residency_region VARCHAR(10) NOT NULL,
    -- The entity tag. Begins with the millisecond of the first change and grows, so that no version is ever seen twice.
    version          BIGINT NOT NULL,
    -- Where it shall go, as far as tax is concerned: a country, or a state of one.
    tax_place        VARCHAR(8),
    changed_at       TIMESTAMPTZ NOT NULL,
    -- When a visitor's basket is forgotten.
    expires_at       TIMESTAMPTZ,
    PRIMARY KEY (owner_kind, owner_id),
    CONSTRAINT carts_owner_is_known CHECK (owner_kind IN ('user', 'visitor')),
    CONSTRAINT carts_version_counts CHECK (version >= 1),
    CONSTRAINT carts_of_visitors_end CHECK ((owner_kind = 'visitor') = (expires_at IS NOT NULL))
);
-- What the sweeper looks for.
CREATE INDEX carts_ended ON carts (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE cart_lines (
    owner_kind       TEXT NOT NULL,
    owner_id         UUID NOT NULL,
    residency_region VARCHAR(10) NOT NULL,
    line_no          SMALLINT NOT NULL,
    sku              VARCHAR(64) NOT NULL,
    quantity         INTEGER NOT NULL,
    options          JSONB NOT NULL,
    -- The price that was seen when the line was written, in the region's currency, and the catalog's revision it came from.
    unit_price_minor BIGINT NOT NULL,
    price_revision   BIGINT NOT NULL,
    PRIMARY KEY (owner_kind, owner_id, line_no),
    CONSTRAINT cart_lines_of_a_cart FOREIGN KEY (owner_kind, owner_id) REFERENCES carts (owner_kind, owner_id) ON DELETE CASCADE,
    CONSTRAINT cart_lines_name_a_product_once UNIQUE (owner_kind, owner_id, sku),
    CONSTRAINT cart_lines_sku_has_its_shape CHECK (sku ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    CONSTRAINT cart_lines_quantity_is_sane CHECK (quantity BETWEEN 1 AND 99),
    CONSTRAINT cart_lines_price_is_positive CHECK (unit_price_minor > 0),
    CONSTRAINT cart_lines_are_few CHECK (line_no BETWEEN 0 AND 49)
);

CREATE FUNCTION guard_cart() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <= OLD.version THEN
        RAISE EXCEPTION 'each change of a basket is a version' USING ERRCODE = 'check_violation', CONSTRAINT = 'carts_version_grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_cart BEFORE UPDATE ON carts FOR EACH ROW EXECUTE FUNCTION guard_cart();

GRANT SELECT, INSERT, DELETE ON carts, cart_lines TO order_payment_app;
GRANT UPDATE (version, tax_place, changed_at, expires_at) ON carts TO order_payment_app;
