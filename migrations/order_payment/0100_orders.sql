-- Orders. What must never be wrong is said here as well as in the code: which status may follow which, that money adds up,
-- that an order belongs to a known person of this region.

CREATE TYPE order_status AS ENUM ('CREATED', 'PAYMENT_PENDING', 'COMPLETED', 'COMPENSATED');

-- The people who can order: a reference kept up by UserRegistered, so that a foreign key across two services can exist.
CREATE TABLE order_users (
    user_id          UUID PRIMARY KEY,
    residency_region VARCHAR(10) NOT NULL,
    known_since      TIMESTAMPTZ NOT NULL
);

CREATE TABLE orders (
    order_id         UUID PRIMARY KEY,
    user_id          UUID NOT NULL CONSTRAINT orders_user_is_known REFERENCES order_users (user_id),
    residency_region VARCHAR(10) NOT NULL,
    status           order_status NOT NULL,
    total_amount     NUMERIC(10, 2) NOT NULL,
    currency         CHAR(3) NOT NULL,
    -- What is reckoned with; total_amount is the same in units of the currency.
    total_minor      BIGINT NOT NULL,
    -- {name, line1, line2, city, postal_code, country}; personal.
    shipping_address JSONB NOT NULL,
    -- A reference into the gateway's vault, never a card.
    payment_token    VARCHAR(68) NOT NULL,
    -- SHA-256 of the request that placed it: a key reused after its row was pruned still meets its order.
    fingerprint      BYTEA NOT NULL,
    -- Why it was compensated.
    reason           TEXT,
    version          BIGINT NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    -- When the sweeper gives up on the present status.
    deadline_at      TIMESTAMPTZ NOT NULL,
    CONSTRAINT orders_currency_is_known CHECK (currency IN ('EUR', 'USD', 'SGD', 'JPY')),
    CONSTRAINT orders_total_is_positive CHECK (total_minor > 0),
    CONSTRAINT orders_total_agrees CHECK (total_minor = total_amount * CASE currency WHEN 'JPY' THEN 1 ELSE 100 END),
    CONSTRAINT orders_token_is_no_card CHECK (payment_token ~ '^(pm|tok)_[A-Za-z0-9_]{2,64}$'),
    CONSTRAINT orders_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT orders_reason_is_known CHECK (reason IN ('OUT_OF_STOCK', 'PAYMENT_DECLINED', 'EXPIRED', 'CANCELLED')),
    CONSTRAINT orders_reason_explains_compensation CHECK ((status = 'COMPENSATED') = (reason IS NOT NULL)),
    CONSTRAINT orders_version_counts_from_one CHECK (version >= 1)
);
-- The list of a person's orders, newest first.
CREATE INDEX orders_of_user ON orders (user_id, created_at DESC, order_id DESC);
-- What the deadline sweeper looks for.
CREATE INDEX orders_overdue ON orders (deadline_at) WHERE status IN ('CREATED', 'PAYMENT_PENDING');

-- The same table of legal transitions as in domain/order.rs; a test compares them.
CREATE FUNCTION order_may_become(old_status order_status, new_status order_status) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE AS $$
    SELECT (old_status, new_status) IN (
        ('CREATED', 'PAYMENT_PENDING'), ('CREATED', 'COMPENSATED'), ('PAYMENT_PENDING', 'COMPLETED'), ('PAYMENT_PENDING', 'COMPENSATED'))
$$;

CREATE FUNCTION guard_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'CREATED' OR NEW.version <> 1 THEN
            RAISE EXCEPTION 'an order begins as CREATED in version 1' USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_begin_created';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.order_id, NEW.user_id, NEW.residency_region, NEW.total_amount, NEW.currency, NEW.total_minor, NEW.fingerprint, NEW.created_at)
       IS DISTINCT FROM
       (OLD.order_id, OLD.user_id, OLD.residency_region, OLD.total_amount, OLD.currency, OLD.total_minor, OLD.fingerprint, OLD.created_at) THEN
        RAISE EXCEPTION 'what was ordered is frozen' USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_are_frozen';
    END IF;
    IF NEW.status <> OLD.status THEN
        IF NOT order_may_become(OLD.status, NEW.status) THEN
            RAISE EXCEPTION 'an order in % cannot become %', OLD.status, NEW.status USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_transition';
        END IF;
        IF NEW.version <> OLD.version + 1 THEN
            RAISE EXCEPTION 'each status is a version' USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_version_grows';
        END IF;
    ELSIF NEW.version <> OLD.version OR NEW.reason IS DISTINCT FROM OLD.reason THEN
        RAISE EXCEPTION 'a version is a new status' USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_version_grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_order BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION guard_order();

-- An order has products and a product has orders; the product itself lives with the catalog, known here by its SKU.
CREATE TABLE order_lines (
    order_id         UUID NOT NULL CONSTRAINT order_lines_of_an_order REFERENCES orders (order_id),
    line_no          SMALLINT NOT NULL,
    sku              VARCHAR(64) NOT NULL,
    name             TEXT NOT NULL,
    quantity         INTEGER NOT NULL,
    unit_price_minor BIGINT NOT NULL,
    -- What the shopper chose for a made-to-order product: {key: value}.
    options          JSONB NOT NULL DEFAULT '{}',
    PRIMARY KEY (order_id, line_no),
    CONSTRAINT order_lines_name_a_product_once UNIQUE (order_id, sku),
    CONSTRAINT order_lines_sku_has_its_shape CHECK (sku ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    CONSTRAINT order_lines_quantity_is_sane CHECK (quantity BETWEEN 1 AND 99),
    CONSTRAINT order_lines_price_is_positive CHECK (unit_price_minor > 0),
    CONSTRAINT order_lines_are_few CHECK (line_no BETWEEN 0 AND 49)
);

-- What happened to an order, one row per version. Append-only; it feeds the live view.
CREATE TABLE order_history (
    order_id UUID NOT NULL CONSTRAINT order_history_of_an_order REFERENCES orders (order_id),
    version  BIGINT NOT NULL,
    status   order_status NOT NULL,
    reason   TEXT,
    at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (order_id, version)
);

-- At commit: the lines exist and add up to the total, and the history tells of the present version.
CREATE FUNCTION check_order_is_whole() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    line_sum NUMERIC;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT sum(quantity::numeric * unit_price_minor) INTO line_sum FROM order_lines WHERE order_id = NEW.order_id;
        IF line_sum IS DISTINCT FROM NEW.total_minor::numeric THEN
            RAISE EXCEPTION 'the lines of order % do not add up to its total', NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_lines_add_up';
        END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM order_history WHERE order_id = NEW.order_id AND version = NEW.version AND status = NEW.status) THEN
        RAISE EXCEPTION 'version % of order % has no history', NEW.version, NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_have_history';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_order_is_whole AFTER INSERT OR UPDATE OF status ON orders
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_order_is_whole();

-- Facts are added, never changed. The rights below say the same; a trigger also holds for the owner.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_append_only';
END $$;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON order_lines FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON order_history FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON order_users, orders, order_lines, order_history TO order_payment_app;
GRANT UPDATE (status, reason, version, deadline_at) ON orders TO order_payment_app;
