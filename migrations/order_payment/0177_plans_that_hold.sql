-- What an order's money has moved is asked of its transactions by their ids, not by a join, and by index whatever the statistics say. A plan
-- is made once per connection, often while the tables are small or nothing is known of them; the join was then planned to read all
-- entries, for each movement of money, until somebody analysed the table: half of what the database did in the first minutes of a region. The
-- rules are the same.

CREATE OR REPLACE FUNCTION check_ledger_balances() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
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
        SELECT coalesce(sum(amount_minor), 0) INTO receivable FROM ledger_entries
            WHERE transaction_id = ANY (ARRAY(SELECT transaction_id FROM ledger_transactions WHERE order_id = moved.order_id))
              AND account = 'gateway_receivable';
        IF receivable < 0 THEN
            RAISE EXCEPTION 'more was refunded than captured for order %', moved.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_refunds_fit';
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION check_completed_is_paid() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    paid NUMERIC;
BEGIN
    SELECT coalesce(-sum(amount_minor), 0) INTO paid FROM ledger_entries
        WHERE transaction_id = ANY (ARRAY(SELECT transaction_id FROM ledger_transactions
                                          WHERE order_id = NEW.order_id AND kind IN ('CAPTURE', 'CREDIT_SPEND')))
          AND account = 'sales' AND currency = NEW.currency;
    IF paid <> NEW.total_minor THEN
        RAISE EXCEPTION 'order % is completed without a payment', NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_completed_are_paid';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION check_order_credit() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    held NUMERIC;
BEGIN
    SELECT coalesce(-sum(amount_minor), 0) INTO held FROM ledger_entries
        WHERE transaction_id = ANY (ARRAY(SELECT transaction_id FROM ledger_transactions WHERE order_id = NEW.order_id))
          AND account = 'store_credit_held';
    IF held <> (CASE WHEN NEW.status IN ('CREATED', 'PAYMENT_PENDING') THEN NEW.credit_minor ELSE 0 END) THEN
        RAISE EXCEPTION 'order % has % of store credit set aside', NEW.order_id, held USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_credit_is_settled';
    END IF;
    RETURN NULL;
END $$;

ALTER FUNCTION check_refund_fits() SET enable_seqscan = off;

-- A transaction is looked at once, when it is written, and not once more for each of its first two entries: they are there by then, or it does not
-- balance. What is added to it under another number is looked at as before.
-- contract: no reader: the same trigger follows, for the entries that the one on the transaction does not see
DROP TRIGGER check_ledger_balances ON ledger_entries;
CREATE CONSTRAINT TRIGGER check_ledger_balances AFTER INSERT ON ledger_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.entry_no NOT IN (1, 2)) EXECUTE FUNCTION check_ledger_balances();
