-- A movement of money gets an id of its own: store credit and orphan money move without an attempt. Expand only: the release
-- before this one goes on writing attempt_id, and a trigger names its transactions by it, as all earlier ones were.

ALTER TABLE ledger_transactions
    ADD COLUMN transaction_id UUID,
    -- Whose store credit moves.
    ADD COLUMN user_id UUID,
    -- What it is about outside our tables: the gateway's intent, the words of whoever granted it.
    ADD COLUMN reference TEXT,
    -- The transaction that this one mirrors.
    ADD COLUMN reverses UUID;
ALTER TABLE ledger_entries ADD COLUMN transaction_id UUID;

ALTER TABLE ledger_transactions DISABLE TRIGGER refuse_change;
ALTER TABLE ledger_entries DISABLE TRIGGER refuse_change;
UPDATE ledger_transactions SET transaction_id = attempt_id;
UPDATE ledger_entries SET transaction_id = attempt_id;
ALTER TABLE ledger_transactions ENABLE TRIGGER refuse_change;
ALTER TABLE ledger_entries ENABLE TRIGGER refuse_change;

ALTER TABLE ledger_entries
    DROP CONSTRAINT ledger_entries_of_a_transaction,
    DROP CONSTRAINT ledger_entries_pkey;
ALTER TABLE ledger_entries
    ALTER COLUMN attempt_id DROP NOT NULL,
    ALTER COLUMN transaction_id SET NOT NULL,
    ADD CONSTRAINT ledger_entries_pkey PRIMARY KEY (transaction_id, entry_no);
ALTER TABLE ledger_transactions
    DROP CONSTRAINT ledger_transactions_currency_is_one,
    DROP CONSTRAINT ledger_transactions_pkey;
ALTER TABLE ledger_transactions
    ALTER COLUMN attempt_id DROP NOT NULL,
    ALTER COLUMN order_id DROP NOT NULL,
    ALTER COLUMN transaction_id SET NOT NULL,
    ADD CONSTRAINT ledger_transactions_pkey PRIMARY KEY (transaction_id),
    -- Money moves once for each attempt.
    ADD CONSTRAINT ledger_transactions_attempt_once UNIQUE (attempt_id),
    ADD CONSTRAINT ledger_transactions_reversed_once UNIQUE (reverses),
    ADD CONSTRAINT ledger_transactions_reverses_one FOREIGN KEY (reverses) REFERENCES ledger_transactions (transaction_id),
    ADD CONSTRAINT ledger_transactions_of_a_person FOREIGN KEY (user_id) REFERENCES order_users (user_id),
    -- Both sides of the entries' foreign key, so that no entry has another currency.
    ADD CONSTRAINT ledger_transactions_currency_is_one UNIQUE (transaction_id, currency),
    ADD CONSTRAINT ledger_transactions_have_their_parts CHECK (CASE kind
        WHEN 'CAPTURE' THEN attempt_id IS NOT NULL AND order_id IS NOT NULL
        WHEN 'REFUND' THEN attempt_id IS NOT NULL AND order_id IS NOT NULL
        WHEN 'CREDIT_GRANT' THEN user_id IS NOT NULL
        WHEN 'CREDIT_HOLD' THEN user_id IS NOT NULL AND order_id IS NOT NULL
        WHEN 'CREDIT_SPEND' THEN user_id IS NOT NULL AND order_id IS NOT NULL
        WHEN 'CREDIT_RELEASE' THEN user_id IS NOT NULL AND order_id IS NOT NULL
        WHEN 'ORPHAN' THEN reference IS NOT NULL
        WHEN 'ORPHAN_REFUND' THEN reference IS NOT NULL
        ELSE TRUE END),
    ADD CONSTRAINT ledger_transactions_reversal_names_it CHECK ((kind = 'REVERSAL') = (reverses IS NOT NULL));
ALTER TABLE ledger_entries
    ADD CONSTRAINT ledger_entries_of_a_transaction FOREIGN KEY (transaction_id, currency) REFERENCES ledger_transactions (transaction_id, currency);
CREATE INDEX ledger_transactions_of_person ON ledger_transactions (user_id) WHERE user_id IS NOT NULL;

CREATE FUNCTION name_transaction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.transaction_id := coalesce(NEW.transaction_id, NEW.attempt_id);
    RETURN NEW;
END $$;
CREATE TRIGGER name_transaction BEFORE INSERT ON ledger_transactions FOR EACH ROW EXECUTE FUNCTION name_transaction();
CREATE TRIGGER name_transaction BEFORE INSERT ON ledger_entries FOR EACH ROW EXECUTE FUNCTION name_transaction();

-- At commit: two entries at least, in sum zero; nothing goes back that was not taken; a reversal mirrors the whole of what it
-- reverses, once.
CREATE OR REPLACE FUNCTION check_ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entries BIGINT;
    balance NUMERIC;
    moved ledger_transactions%ROWTYPE;
    receivable NUMERIC;
BEGIN
    SELECT count(*), coalesce(sum(amount_minor), 0) INTO entries, balance FROM ledger_entries WHERE transaction_id = NEW.transaction_id;
    IF entries < 2 OR balance <> 0 THEN
        RAISE EXCEPTION 'ledger transaction % does not balance', NEW.transaction_id USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balances';
    END IF;
    SELECT * INTO moved FROM ledger_transactions WHERE transaction_id = NEW.transaction_id;
    IF moved.reverses IS NOT NULL AND (
        EXISTS (SELECT FROM ledger_transactions WHERE transaction_id = moved.reverses
                AND (kind = 'REVERSAL' OR order_id IS DISTINCT FROM moved.order_id OR user_id IS DISTINCT FROM moved.user_id))
        OR EXISTS (
            SELECT FROM (SELECT entry_no, account, -amount_minor AS amount, currency FROM ledger_entries WHERE transaction_id = moved.reverses) original
            FULL JOIN (SELECT entry_no, account, amount_minor AS amount, currency FROM ledger_entries WHERE transaction_id = moved.transaction_id) mirror
                USING (entry_no, account, amount, currency)
            WHERE original IS NULL OR mirror IS NULL)) THEN
        RAISE EXCEPTION 'ledger transaction % does not mirror %', NEW.transaction_id, moved.reverses USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_reversal_mirrors';
    END IF;
    IF moved.order_id IS NOT NULL THEN
        -- The lock makes two refunds of one order see each other. It leaves foreign keys alone: with them, two refunds that
        -- each hold one would wait for each other.
        PERFORM FROM orders WHERE order_id = moved.order_id FOR NO KEY UPDATE;
        SELECT coalesce(sum(entry.amount_minor), 0) INTO receivable
            FROM ledger_transactions other JOIN ledger_entries entry USING (transaction_id)
            WHERE other.order_id = moved.order_id AND entry.account = 'gateway_receivable';
        IF receivable < 0 THEN
            RAISE EXCEPTION 'more was refunded than captured for order %', moved.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_refunds_fit';
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- At commit: a completed order is paid in the books, whole: by card, by store credit, or by both.
CREATE OR REPLACE FUNCTION check_completed_is_paid() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    paid NUMERIC;
BEGIN
    SELECT coalesce(-sum(entry.amount_minor), 0) INTO paid
        FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
        WHERE moved.order_id = NEW.order_id AND moved.kind IN ('CAPTURE', 'CREDIT_SPEND') AND entry.account = 'sales' AND entry.currency = NEW.currency;
    IF paid <> NEW.total_minor THEN
        RAISE EXCEPTION 'order % is completed without a payment', NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_completed_are_paid';
    END IF;
    RETURN NULL;
END $$;
