-- Store credit: a balance per person and currency, never below zero, kept by the books themselves as they are written. An order
-- may be paid by it, whole or in part: set aside when the order is placed, spent when it is completed, free again when it is given up.
CREATE TABLE store_credit_balances (
    user_id       UUID NOT NULL CONSTRAINT store_credit_of_a_person REFERENCES order_users (user_id),
    currency      CHAR(3) NOT NULL,
    -- What may be spent, and what is set aside for orders under way.
    balance_minor BIGINT NOT NULL,
    held_minor    BIGINT NOT NULL,
    PRIMARY KEY (user_id, currency),
    CONSTRAINT store_credit_covers CHECK (balance_minor >= 0),
    CONSTRAINT store_credit_held_is_there CHECK (held_minor >= 0)
);

-- Runs with the owner's rights: the service itself cannot write a balance.
CREATE FUNCTION move_store_credit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    of_person UUID;
    free BIGINT := CASE WHEN NEW.account = 'store_credit' THEN -NEW.amount_minor ELSE 0 END;
    held BIGINT := CASE WHEN NEW.account = 'store_credit_held' THEN -NEW.amount_minor ELSE 0 END;
BEGIN
    SELECT user_id INTO of_person FROM ledger_transactions WHERE transaction_id = NEW.transaction_id;
    IF of_person IS NULL THEN
        RAISE EXCEPTION 'store credit belongs to somebody' USING ERRCODE = 'check_violation', CONSTRAINT = 'store_credit_of_a_person';
    END IF;
    -- An upsert would check the proposed row before it finds the known one.
    UPDATE store_credit_balances SET balance_minor = balance_minor + free, held_minor = held_minor + held
        WHERE user_id = of_person AND currency = NEW.currency;
    IF NOT FOUND THEN
        INSERT INTO store_credit_balances VALUES (of_person, NEW.currency, free, held)
            ON CONFLICT (user_id, currency) DO UPDATE SET balance_minor = store_credit_balances.balance_minor + free, held_minor = store_credit_balances.held_minor + held;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER move_store_credit AFTER INSERT ON ledger_entries FOR EACH ROW
    WHEN (NEW.account IN ('store_credit', 'store_credit_held')) EXECUTE FUNCTION move_store_credit();

ALTER TABLE orders ADD COLUMN credit_minor BIGINT NOT NULL DEFAULT 0
    CONSTRAINT orders_credit_is_part_of_the_total CHECK (credit_minor BETWEEN 0 AND total_minor);

-- At commit: nothing stays set aside for an order that has ended, and what is set aside is what the order says.
CREATE FUNCTION check_order_credit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held NUMERIC;
BEGIN
    SELECT coalesce(-sum(entry.amount_minor), 0) INTO held
        FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
        WHERE moved.order_id = NEW.order_id AND entry.account = 'store_credit_held';
    -- In brackets: an IF would end at the first THEN.
    IF held <> (CASE WHEN NEW.status IN ('CREATED', 'PAYMENT_PENDING') THEN NEW.credit_minor ELSE 0 END) THEN
        RAISE EXCEPTION 'order % has % of store credit set aside', NEW.order_id, held USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_credit_is_settled';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_order_credit AFTER INSERT OR UPDATE OF status ON orders
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.credit_minor > 0) EXECUTE FUNCTION check_order_credit();

CREATE FUNCTION refuse_other_credit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was ordered is frozen' USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_are_frozen';
END $$;
CREATE TRIGGER refuse_other_credit BEFORE UPDATE ON orders FOR EACH ROW
    WHEN (OLD.credit_minor <> NEW.credit_minor) EXECUTE FUNCTION refuse_other_credit();
-- Orders that need no card: completed by whoever sees them first.
CREATE INDEX orders_paid_by_credit ON orders (created_at) WHERE status = 'PAYMENT_PENDING' AND credit_minor = total_minor;

INSERT INTO store_credit_balances
    SELECT moved.user_id, entry.currency, -sum(entry.amount_minor), 0
    FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
    WHERE entry.account = 'store_credit' GROUP BY moved.user_id, entry.currency;

GRANT SELECT ON store_credit_balances TO order_payment_app;
