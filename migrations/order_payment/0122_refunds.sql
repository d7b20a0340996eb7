-- Money that goes back for an order: asked for by staff (or by us, when it came too late), to the card or as store credit.

CREATE TYPE refund_state AS ENUM ('OPEN', 'DONE', 'REFUSED');

CREATE TABLE refunds (
    -- Derived from the request that asked for it.
    refund_id    UUID PRIMARY KEY,
    order_id     UUID NOT NULL CONSTRAINT refunds_of_an_order REFERENCES orders (order_id),
    -- Among those of its order, from 1: each is decided knowing the ones before it.
    number       INTEGER NOT NULL,
    -- What carries it to the gateway; store credit needs nobody.
    attempt_id   UUID UNIQUE CONSTRAINT refunds_have_an_attempt REFERENCES payment_attempts (attempt_id),
    amount_minor BIGINT NOT NULL,
    currency     CHAR(3) NOT NULL,
    target       TEXT NOT NULL,
    reason       TEXT NOT NULL,
    -- Who asked; empty when we sent it back by ourselves.
    asked_by     UUID,
    state        refund_state NOT NULL,
    asked_at     TIMESTAMPTZ NOT NULL,
    ended_at     TIMESTAMPTZ,
    CONSTRAINT refunds_number_once UNIQUE (order_id, number),
    CONSTRAINT refunds_number_counts_from_one CHECK (number >= 1),
    CONSTRAINT refunds_amount_is_positive CHECK (amount_minor > 0),
    CONSTRAINT refunds_target_is_known CHECK (target IN ('CARD', 'STORE_CREDIT')),
    CONSTRAINT refunds_to_the_card_have_an_attempt CHECK ((target = 'CARD') = (attempt_id IS NOT NULL)),
    CONSTRAINT refunds_reason_is_short CHECK (length(reason) BETWEEN 1 AND 500),
    CONSTRAINT refunds_end_once CHECK ((state = 'OPEN') = (ended_at IS NULL))
);

CREATE INDEX refunds_open ON refunds (asked_at) WHERE state = 'OPEN';

-- What is given back with the money, when the refund names lines.
CREATE TABLE refund_lines (
    refund_id UUID NOT NULL CONSTRAINT refund_lines_of_a_refund REFERENCES refunds (refund_id),
    sku       VARCHAR(64) NOT NULL,
    quantity  INTEGER NOT NULL,
    PRIMARY KEY (refund_id, sku),
    CONSTRAINT refund_lines_quantity_is_positive CHECK (quantity >= 1)
);

CREATE FUNCTION guard_refund() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.refund_id, NEW.order_id, NEW.number, NEW.attempt_id, NEW.amount_minor, NEW.currency, NEW.target, NEW.reason, NEW.asked_by, NEW.asked_at)
       IS DISTINCT FROM
       (OLD.refund_id, OLD.order_id, OLD.number, OLD.attempt_id, OLD.amount_minor, OLD.currency, OLD.target, OLD.reason, OLD.asked_by, OLD.asked_at) THEN
        RAISE EXCEPTION 'what was asked for is frozen' USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_are_frozen';
    END IF;
    IF OLD.state <> 'OPEN' THEN
        RAISE EXCEPTION 'a refund ends once' USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_end_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_refund BEFORE UPDATE ON refunds FOR EACH ROW EXECUTE FUNCTION guard_refund();
CREATE TRIGGER refuse_delete BEFORE DELETE ON refunds FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON refund_lines FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- At commit, under the order's lock: refunds that stand or are open are never more than was paid, to the card never more than
-- was taken from it, and of no line more than was bought.
CREATE FUNCTION check_refund_fits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked refunds%ROWTYPE;
    taken NUMERIC;
    spent NUMERIC;
    to_card NUMERIC;
    altogether NUMERIC;
BEGIN
    SELECT * INTO asked FROM refunds WHERE refund_id = NEW.refund_id;
    PERFORM FROM orders WHERE order_id = asked.order_id FOR NO KEY UPDATE;
    IF asked.currency IS DISTINCT FROM (SELECT currency FROM orders WHERE order_id = asked.order_id) THEN
        RAISE EXCEPTION 'a refund has the currency of its order' USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_currency_is_the_orders';
    END IF;
    SELECT coalesce(-sum(entry.amount_minor) FILTER (WHERE moved.kind = 'CAPTURE'), 0),
           coalesce(-sum(entry.amount_minor) FILTER (WHERE moved.kind = 'CREDIT_SPEND'), 0) INTO taken, spent
        FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
        WHERE moved.order_id = asked.order_id AND entry.account = 'sales';
    SELECT coalesce(sum(amount_minor) FILTER (WHERE target = 'CARD'), 0), coalesce(sum(amount_minor), 0) INTO to_card, altogether
        FROM refunds WHERE order_id = asked.order_id AND state <> 'REFUSED';
    IF to_card > taken OR altogether > taken + spent THEN
        RAISE EXCEPTION 'refunds of order % exceed what was paid', asked.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_fit_capture';
    END IF;
    IF EXISTS (
        SELECT FROM refund_lines given JOIN refunds USING (refund_id)
        LEFT JOIN order_lines bought ON bought.order_id = refunds.order_id AND bought.sku = given.sku
        WHERE refunds.order_id = asked.order_id AND refunds.state <> 'REFUSED'
        GROUP BY given.sku, bought.quantity HAVING bought.quantity IS NULL OR sum(given.quantity) > bought.quantity) THEN
        RAISE EXCEPTION 'more of a line of order % is given back than was bought', asked.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_fit_lines';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_refund_fits AFTER INSERT ON refunds
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_refund_fits();
CREATE CONSTRAINT TRIGGER check_refund_fits AFTER INSERT ON refund_lines
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_refund_fits();

-- An order may have several refunds now; what keeps them in bounds stands above.
DROP INDEX payment_attempts_one_refund;

-- A refund that the gateway refused, a webhook whose order never came, store credit that does not add up: matters for a person.
ALTER TABLE reconciliation_findings
    DROP CONSTRAINT reconciliation_findings_kind_is_known,
    ADD CONSTRAINT reconciliation_findings_kind_is_known CHECK (kind IN (
        'CHARGE_WITHOUT_ORDER', 'ORDER_WITHOUT_CHARGE', 'AMOUNT_DIFFERS', 'STATE_DIFFERS', 'WEBHOOK_CLASH',
        'REFUND_REFUSED', 'WEBHOOK_WITHOUT_ORDER', 'CREDIT_DIFFERS'));

GRANT SELECT, INSERT ON refunds, refund_lines TO order_payment_app;
GRANT UPDATE (state, ended_at) ON refunds TO order_payment_app;
