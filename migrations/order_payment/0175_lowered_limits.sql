-- A coupon's limit may be lowered below what was used, and the order that brings the lower one is refused. The books keep the word all
-- the same: an order that comes later with an older word, from a price lock or a quote of a moment ago, must meet the lower limit
-- (docs/adr/0041). So a row may have more uses than its limit, but no further use is ever counted beyond it, and no older word replaces a
-- newer one.

-- contract: no reader: the trigger refuses each use that the constraint refused
ALTER TABLE coupon_uses DROP CONSTRAINT coupon_uses_are_capped;

CREATE FUNCTION guard_coupon_uses() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    used_already BIGINT := 0;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        used_already := OLD.used;
        IF NEW.revision < OLD.revision THEN
            RAISE EXCEPTION 'an older word about a coupon: coupon_uses_know_the_newest_word'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'coupon_uses_know_the_newest_word';
        END IF;
    END IF;
    IF NEW.used > used_already AND NEW.used > NEW.most_uses THEN
        RAISE EXCEPTION 'a use beyond the limit of a coupon: coupon_uses_are_capped'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'coupon_uses_are_capped';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_coupon_uses BEFORE INSERT OR UPDATE ON coupon_uses FOR EACH ROW EXECUTE FUNCTION guard_coupon_uses();

-- Keeps the newest word about the limits of each coupon, and says for how many there was news. Called where `take_coupons` refused, in
-- the same transaction: the rows are there and locked. Runs with the owner's rights, as that does.
CREATE FUNCTION hear_coupons(codes TEXT[], revisions BIGINT[], uses BIGINT[], per_person BIGINT[])
RETURNS BIGINT LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH newest AS (
        SELECT DISTINCT ON (word.code) word.code, word.revision, word.most_uses, word.most_per_person
        FROM UNNEST(codes, revisions, uses, per_person) AS word (code, revision, most_uses, most_per_person)
        ORDER BY word.code, word.revision DESC
    ), heard AS (
        UPDATE coupon_uses AS known
        SET revision = newest.revision, most_uses = newest.most_uses, most_per_person = newest.most_per_person
        FROM newest WHERE known.code = newest.code AND known.revision < newest.revision
        RETURNING known.code
    )
    SELECT count(*) FROM heard;
$$;
REVOKE ALL ON FUNCTION hear_coupons FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hear_coupons TO order_payment_app;
