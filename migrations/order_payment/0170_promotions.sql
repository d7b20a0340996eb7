-- What promotions took off the lines of an order, and who used which coupon (docs/adr/0041).
-- Orders from before were reduced by nothing.

ALTER TABLE order_lines
    -- Off the list price of the whole line.
    ADD COLUMN reduction_minor BIGINT NOT NULL DEFAULT 0,
    -- By which promotions: [{promotion, revision, minor}], in the order in which they did.
    ADD COLUMN reductions      JSONB NOT NULL DEFAULT '[]',
    DROP CONSTRAINT order_lines_keep_the_listed_price,
    -- Every line keeps a price.
    ADD CONSTRAINT order_lines_are_never_free CHECK (
        reduction_minor >= 0 AND reduction_minor < quantity::bigint * unit_price_minor),
    ADD CONSTRAINT order_lines_name_their_reductions CHECK (
        (reduction_minor = 0) = (reductions = '[]') AND (reduction_minor = 0 OR tax_included IS NOT NULL)),
    ADD CONSTRAINT order_lines_keep_the_listed_price CHECK (
        quantity::bigint * unit_price_minor - reduction_minor = CASE WHEN tax_included THEN gross_minor ELSE net_minor END);

-- How often each coupon was used. A row belongs to a code for good; whoever uses it holds its lock until the commit.
CREATE TABLE coupon_uses (
    code            VARCHAR(32) PRIMARY KEY,
    -- The promotion's revision that the limits come from.
    revision        BIGINT NOT NULL,
    most_uses       BIGINT,
    most_per_person BIGINT,
    used            BIGINT NOT NULL,
    CONSTRAINT coupon_uses_code_has_its_shape CHECK (code ~ '^[A-Z0-9-]{3,32}$'),
    CONSTRAINT coupon_uses_are_counted CHECK (used >= 0),
    CONSTRAINT coupon_uses_are_capped CHECK (most_uses IS NULL OR used <= most_uses)
);

CREATE TABLE coupon_redemptions (
    -- Checked at commit: the use is taken before the order is written.
    order_id         UUID PRIMARY KEY CONSTRAINT coupon_redemptions_of_an_order REFERENCES orders (order_id) DEFERRABLE INITIALLY DEFERRED,
    residency_region VARCHAR(10) NOT NULL,
    user_id          UUID NOT NULL,
    code             VARCHAR(32) NOT NULL CONSTRAINT coupon_redemptions_of_a_coupon REFERENCES coupon_uses (code),
    revision         BIGINT NOT NULL,
    redeemed_at      TIMESTAMPTZ NOT NULL,
    -- Set when the order ended without a sale: the use is free again.
    given_back_at    TIMESTAMPTZ
);
-- How often one person uses a coupon.
CREATE INDEX coupon_redemptions_of_a_person ON coupon_redemptions (code, user_id) WHERE given_back_at IS NULL;

-- Takes a use for each order that may have one and names those orders, the others have none left. Coupons are locked in the
-- order of their codes, so two batches wait for each other and not in a circle. Each statement in here sees what was committed
-- when it began: behind the lock, the count of a person's uses is the true one. An order that exists already is named too; it is
-- left as it is, and whoever writes it is told. Runs with the owner's rights: the service itself cannot write a count.
CREATE FUNCTION take_coupons(orders_asked UUID[], region TEXT, people UUID[], codes TEXT[], revisions BIGINT[], uses BIGINT[], per_person BIGINT[])
RETURNS SETOF UUID LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    asked RECORD;
    known coupon_uses%ROWTYPE;
    mine BIGINT;
BEGIN
    FOR asked IN
        SELECT * FROM UNNEST(orders_asked, people, codes, revisions, uses, per_person)
            AS asked (order_id, user_id, code, revision, most_uses, most_per_person) ORDER BY code, order_id
    LOOP
        IF EXISTS (SELECT FROM orders WHERE orders.order_id = asked.order_id) THEN
            RETURN NEXT asked.order_id;
            CONTINUE;
        END IF;
        INSERT INTO coupon_uses (code, revision, most_uses, most_per_person, used)
            VALUES (asked.code, asked.revision, asked.most_uses, asked.most_per_person, 0) ON CONFLICT (code) DO NOTHING;
        SELECT * INTO known FROM coupon_uses WHERE code = asked.code FOR UPDATE;
        -- An older word about the limits does not undo a newer one.
        IF known.revision < asked.revision THEN
            known.revision := asked.revision;
            known.most_uses := asked.most_uses;
            known.most_per_person := asked.most_per_person;
        END IF;
        SELECT count(*) INTO mine FROM coupon_redemptions
            WHERE code = asked.code AND user_id = asked.user_id AND given_back_at IS NULL;
        CONTINUE WHEN known.used >= known.most_uses OR mine >= known.most_per_person;
        UPDATE coupon_uses SET revision = known.revision, most_uses = known.most_uses, most_per_person = known.most_per_person, used = known.used + 1
            WHERE code = asked.code;
        INSERT INTO coupon_redemptions (order_id, residency_region, user_id, code, revision, redeemed_at)
            VALUES (asked.order_id, region, asked.user_id, asked.code, asked.revision, now());
        RETURN NEXT asked.order_id;
    END LOOP;
END $$;

-- In the commit that ends an order without a sale its use is free again, whoever ends it.
CREATE FUNCTION give_coupon_back() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    free TEXT;
BEGIN
    UPDATE coupon_redemptions SET given_back_at = now() WHERE order_id = NEW.order_id AND given_back_at IS NULL RETURNING code INTO free;
    IF free IS NOT NULL THEN
        UPDATE coupon_uses SET used = used - 1 WHERE code = free;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER give_coupon_back AFTER UPDATE OF status ON orders FOR EACH ROW
    WHEN (NEW.status = 'COMPENSATED' AND OLD.status <> 'COMPENSATED') EXECUTE FUNCTION give_coupon_back();

-- A redemption is a fact; it is given back once.
CREATE FUNCTION guard_redemption() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.given_back_at IS NOT NULL OR (NEW.order_id, NEW.residency_region, NEW.user_id, NEW.code, NEW.revision, NEW.redeemed_at)
       IS DISTINCT FROM (OLD.order_id, OLD.residency_region, OLD.user_id, OLD.code, OLD.revision, OLD.redeemed_at) THEN
        RAISE EXCEPTION 'a coupon is given back once' USING ERRCODE = 'check_violation', CONSTRAINT = 'coupon_redemptions_are_frozen';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_redemption BEFORE UPDATE ON coupon_redemptions FOR EACH ROW EXECUTE FUNCTION guard_redemption();
CREATE TRIGGER refuse_delete BEFORE DELETE ON coupon_redemptions FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- The coupon that a basket was given.
ALTER TABLE carts ADD COLUMN coupon VARCHAR(32)
    CONSTRAINT carts_coupon_has_its_shape CHECK (coupon ~ '^[A-Z0-9-]{3,32}$');

REVOKE ALL ON FUNCTION take_coupons FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_coupons TO order_payment_app;
GRANT SELECT ON coupon_uses, coupon_redemptions TO order_payment_app;
GRANT UPDATE (coupon) ON carts TO order_payment_app;
