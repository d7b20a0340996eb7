-- Attempts to move money, and the books.

CREATE TYPE attempt_kind AS ENUM ('CHARGE', 'REFUND');
CREATE TYPE attempt_state AS ENUM ('PREPARED', 'SENT', 'AUTHORISED', 'CAPTURED', 'DECLINED', 'UNKNOWN', 'VOIDED');

CREATE TABLE payment_attempts (
    attempt_id        UUID PRIMARY KEY,
    order_id          UUID NOT NULL CONSTRAINT payment_attempts_of_an_order REFERENCES orders (order_id),
    residency_region  VARCHAR(10) NOT NULL,
    -- Part of the gateway's idempotency keys.
    number            INTEGER NOT NULL,
    kind              attempt_kind NOT NULL,
    state             attempt_state NOT NULL,
    amount_minor      BIGINT NOT NULL,
    currency          CHAR(3) NOT NULL,
    payment_token     VARCHAR(68) NOT NULL,
    -- The gateway's id; committed before anything that moves money is sent.
    intent_id         TEXT,
    -- The decision to take the money is committed.
    capture_requested BOOLEAN NOT NULL DEFAULT FALSE,
    -- The order shall end without a sale for this reason; the gateway has not agreed yet.
    giving_up         TEXT,
    -- An earlier call without an answer may have had its effect.
    in_doubt          BOOLEAN NOT NULL DEFAULT FALSE,
    tries             INTEGER NOT NULL DEFAULT 0,
    due_at            TIMESTAMPTZ NOT NULL,
    -- Until then one worker has it to itself.
    leased_until      TIMESTAMPTZ,
    version           BIGINT NOT NULL,
    traceparent       TEXT,
    created_at        TIMESTAMPTZ NOT NULL,
    changed_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT payment_attempts_number_once UNIQUE (order_id, number),
    CONSTRAINT payment_attempts_number_counts_from_one CHECK (number >= 1),
    CONSTRAINT payment_attempts_amount_is_positive CHECK (amount_minor > 0),
    CONSTRAINT payment_attempts_giving_up_is_known CHECK (giving_up IN ('OUT_OF_STOCK', 'PAYMENT_DECLINED', 'EXPIRED', 'CANCELLED')),
    CONSTRAINT payment_attempts_token_is_no_card CHECK (payment_token ~ '^(pm|tok)_[A-Za-z0-9_]{2,64}$'),
    -- Money can have moved only through an intent we know.
    CONSTRAINT payment_attempts_intent_is_known CHECK (intent_id IS NOT NULL OR state IN ('PREPARED', 'DECLINED', 'VOIDED'))
);
-- An order has one payment: at most one attempt that is not definitively dead. Money back is another matter, once as well.
CREATE UNIQUE INDEX payment_attempts_one_charge ON payment_attempts (order_id) WHERE kind = 'CHARGE' AND state NOT IN ('DECLINED', 'VOIDED');
CREATE UNIQUE INDEX payment_attempts_one_refund ON payment_attempts (order_id) WHERE kind = 'REFUND' AND state NOT IN ('DECLINED', 'VOIDED');
CREATE UNIQUE INDEX payment_attempts_intent_once ON payment_attempts (intent_id) WHERE kind = 'CHARGE';
-- What the payment worker looks for.
CREATE INDEX payment_attempts_due ON payment_attempts (due_at) WHERE state IN ('PREPARED', 'SENT', 'AUTHORISED', 'UNKNOWN');
-- What the reconciler looks for.
CREATE INDEX payment_attempts_by_time ON payment_attempts (created_at);

-- The same table of legal transitions as in domain/payment.rs; a test compares them.
CREATE FUNCTION attempt_may_become(old_state attempt_state, new_state attempt_state) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE AS $$
    SELECT (old_state, new_state) IN (
        ('PREPARED', 'SENT'), ('PREPARED', 'DECLINED'), ('PREPARED', 'VOIDED'),
        ('SENT', 'AUTHORISED'), ('SENT', 'CAPTURED'), ('SENT', 'DECLINED'), ('SENT', 'UNKNOWN'), ('SENT', 'VOIDED'),
        ('AUTHORISED', 'CAPTURED'), ('AUTHORISED', 'DECLINED'), ('AUTHORISED', 'UNKNOWN'), ('AUTHORISED', 'VOIDED'),
        ('UNKNOWN', 'AUTHORISED'), ('UNKNOWN', 'CAPTURED'), ('UNKNOWN', 'DECLINED'), ('UNKNOWN', 'VOIDED'),
        ('DECLINED', 'CAPTURED'), ('VOIDED', 'CAPTURED'))
$$;

CREATE FUNCTION guard_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ordered orders%ROWTYPE;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'PREPARED' OR NEW.version <> 1 THEN
            RAISE EXCEPTION 'an attempt begins as PREPARED in version 1' USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_attempts_begin_prepared';
        END IF;
        SELECT * INTO ordered FROM orders WHERE order_id = NEW.order_id;
        IF ordered.currency IS DISTINCT FROM NEW.currency OR ordered.total_minor < NEW.amount_minor THEN
            RAISE EXCEPTION 'an attempt moves at most the total of its order' USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_attempts_amount_fits';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.attempt_id, NEW.order_id, NEW.residency_region, NEW.number, NEW.kind, NEW.amount_minor, NEW.currency, NEW.payment_token)
       IS DISTINCT FROM
       (OLD.attempt_id, OLD.order_id, OLD.residency_region, OLD.number, OLD.kind, OLD.amount_minor, OLD.currency, OLD.payment_token)
       OR (OLD.intent_id IS NOT NULL AND NEW.intent_id IS DISTINCT FROM OLD.intent_id)
       OR (OLD.capture_requested AND NOT NEW.capture_requested) THEN
        RAISE EXCEPTION 'what was attempted is frozen' USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_attempts_are_frozen';
    END IF;
    IF NEW.state <> OLD.state AND NOT attempt_may_become(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'an attempt in % cannot become %', OLD.state, NEW.state USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_attempts_transition';
    END IF;
    NEW.changed_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER guard_attempt BEFORE INSERT OR UPDATE ON payment_attempts FOR EACH ROW EXECUTE FUNCTION guard_attempt();

-- Double entry, append-only; a mistake is corrected by another transaction.
CREATE TYPE ledger_kind AS ENUM ('CAPTURE', 'REFUND');
CREATE TYPE ledger_account AS ENUM ('gateway_receivable', 'sales');

CREATE TABLE ledger_transactions (
    -- One transaction per attempt: money moves once for each.
    attempt_id  UUID PRIMARY KEY CONSTRAINT ledger_transactions_of_an_attempt REFERENCES payment_attempts (attempt_id),
    order_id    UUID NOT NULL CONSTRAINT ledger_transactions_of_an_order REFERENCES orders (order_id),
    kind        ledger_kind NOT NULL,
    currency    CHAR(3) NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    -- Both sides of the entries' foreign key, so that no entry has another currency.
    CONSTRAINT ledger_transactions_currency_is_one UNIQUE (attempt_id, currency)
);
CREATE INDEX ledger_transactions_of_order ON ledger_transactions (order_id);

CREATE TABLE ledger_entries (
    attempt_id   UUID NOT NULL,
    entry_no     SMALLINT NOT NULL,
    account      ledger_account NOT NULL,
    -- A debit is positive, a credit negative.
    amount_minor BIGINT NOT NULL,
    currency     CHAR(3) NOT NULL,
    PRIMARY KEY (attempt_id, entry_no),
    CONSTRAINT ledger_entries_of_a_transaction FOREIGN KEY (attempt_id, currency) REFERENCES ledger_transactions (attempt_id, currency),
    CONSTRAINT ledger_entries_move_something CHECK (amount_minor <> 0)
);

-- At commit: two entries at least, in sum zero; nothing goes back that was not taken.
CREATE FUNCTION check_ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entries BIGINT;
    balance NUMERIC;
    of_order UUID;
    receivable NUMERIC;
BEGIN
    SELECT count(*), coalesce(sum(amount_minor), 0) INTO entries, balance FROM ledger_entries WHERE attempt_id = NEW.attempt_id;
    IF entries < 2 OR balance <> 0 THEN
        RAISE EXCEPTION 'ledger transaction % does not balance', NEW.attempt_id USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balances';
    END IF;
    SELECT order_id INTO of_order FROM ledger_transactions WHERE attempt_id = NEW.attempt_id;
    -- The lock makes two refunds of one order see each other.
    PERFORM FROM orders WHERE order_id = of_order FOR UPDATE;
    SELECT coalesce(sum(entry.amount_minor), 0) INTO receivable
        FROM ledger_transactions moved JOIN ledger_entries entry USING (attempt_id)
        WHERE moved.order_id = of_order AND entry.account = 'gateway_receivable';
    IF receivable < 0 THEN
        RAISE EXCEPTION 'more was refunded than captured for order %', of_order USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_refunds_fit';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_ledger_balances AFTER INSERT ON ledger_transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_ledger_balances();
CREATE CONSTRAINT TRIGGER check_ledger_balances AFTER INSERT ON ledger_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_ledger_balances();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON ledger_transactions FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON ledger_entries FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- At commit: a completed order has its capture in the books, whole.
CREATE FUNCTION check_completed_is_paid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM ledger_transactions moved JOIN ledger_entries entry USING (attempt_id)
        WHERE moved.order_id = NEW.order_id AND moved.kind = 'CAPTURE' AND entry.account = 'gateway_receivable'
          AND entry.amount_minor = NEW.total_minor AND entry.currency = NEW.currency) THEN
        RAISE EXCEPTION 'order % is completed without a payment', NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_completed_are_paid';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_completed_is_paid AFTER UPDATE OF status ON orders
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status = 'COMPLETED') EXECUTE FUNCTION check_completed_is_paid();

GRANT SELECT, INSERT ON payment_attempts, ledger_transactions, ledger_entries TO order_payment_app;
GRANT UPDATE (state, intent_id, capture_requested, giving_up, in_doubt, tries, due_at, leased_until, version) ON payment_attempts TO order_payment_app;
