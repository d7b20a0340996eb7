-- A row that says whose it is stays in the region of that person: balances of store credit, and the movements behind them. The
-- region comes from the person's own row, so that `bind_region` has something to refuse.

ALTER TABLE store_credit_balances ADD COLUMN residency_region VARCHAR(10);
UPDATE store_credit_balances balance SET residency_region = known.residency_region
    FROM order_users known WHERE known.user_id = balance.user_id;
ALTER TABLE store_credit_balances ALTER COLUMN residency_region SET NOT NULL;

CREATE OR REPLACE FUNCTION move_store_credit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
        INSERT INTO store_credit_balances (user_id, currency, balance_minor, held_minor, residency_region)
            SELECT known.user_id, NEW.currency, free, held, known.residency_region FROM order_users known WHERE known.user_id = of_person
            ON CONFLICT (user_id, currency) DO UPDATE SET balance_minor = store_credit_balances.balance_minor + free, held_minor = store_credit_balances.held_minor + held;
    END IF;
    RETURN NULL;
END $$;

-- Movements of an order name no person and have no region of their own; the order has it.
ALTER TABLE ledger_transactions ADD COLUMN residency_region VARCHAR(10);
ALTER TABLE ledger_transactions DISABLE TRIGGER refuse_change;
UPDATE ledger_transactions moved SET residency_region = known.residency_region
    FROM order_users known WHERE known.user_id = moved.user_id;
ALTER TABLE ledger_transactions ENABLE TRIGGER refuse_change;
ALTER TABLE ledger_transactions ADD CONSTRAINT ledger_transactions_of_a_person_stay_home
    CHECK ((user_id IS NULL) = (residency_region IS NULL));

CREATE FUNCTION name_region_of_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT residency_region INTO NEW.residency_region FROM order_users WHERE user_id = NEW.user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'nobody we know' USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_transactions_of_a_person';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER name_region_of_person BEFORE INSERT ON ledger_transactions FOR EACH ROW
    WHEN (NEW.user_id IS NOT NULL) EXECUTE FUNCTION name_region_of_person();
