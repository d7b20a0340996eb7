-- Money that the gateway took and that belongs to no order of ours. It stands in the books (suspense) from the moment it is found,
-- and goes back by an attempt of its own when its deadline has passed and still nobody knows it.
CREATE TABLE orphan_charges (
    intent_id     TEXT PRIMARY KEY,
    gateway       TEXT NOT NULL,
    gateway_flow  TEXT NOT NULL,
    amount_minor  BIGINT NOT NULL,
    currency      CHAR(3) NOT NULL,
    -- The order it names, whatever that is.
    claimed_order TEXT,
    found_at      TIMESTAMPTZ NOT NULL,
    -- The refund on its way; the same states as any attempt. CAPTURED: it is back. VOIDED: an order turned up for it.
    state         attempt_state NOT NULL,
    giving_up     TEXT,
    in_doubt      BOOLEAN NOT NULL DEFAULT FALSE,
    tries         INTEGER NOT NULL DEFAULT 0,
    -- At first the deadline.
    due_at        TIMESTAMPTZ NOT NULL,
    leased_until  TIMESTAMPTZ,
    version       BIGINT NOT NULL,
    CONSTRAINT orphan_charges_amount_is_positive CHECK (amount_minor > 0),
    CONSTRAINT orphan_charges_currency_is_known CHECK (currency IN ('EUR', 'USD', 'SGD', 'JPY'))
);
CREATE INDEX orphan_charges_due ON orphan_charges (due_at) WHERE state IN ('PREPARED', 'SENT', 'UNKNOWN');
CREATE INDEX orphan_charges_by_time ON orphan_charges (found_at);

CREATE FUNCTION guard_orphan() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.intent_id, NEW.gateway, NEW.gateway_flow, NEW.amount_minor, NEW.currency, NEW.claimed_order, NEW.found_at)
       IS DISTINCT FROM
       (OLD.intent_id, OLD.gateway, OLD.gateway_flow, OLD.amount_minor, OLD.currency, OLD.claimed_order, OLD.found_at) THEN
        RAISE EXCEPTION 'what was found is frozen' USING ERRCODE = 'check_violation', CONSTRAINT = 'orphan_charges_are_frozen';
    END IF;
    IF NEW.state <> OLD.state AND NOT attempt_may_become(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'an orphan in % cannot become %', OLD.state, NEW.state USING ERRCODE = 'check_violation', CONSTRAINT = 'orphan_charges_transition';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_orphan BEFORE UPDATE ON orphan_charges FOR EACH ROW EXECUTE FUNCTION guard_orphan();
CREATE TRIGGER refuse_delete BEFORE DELETE ON orphan_charges FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Who has a difference in hand: the service itself, which works it off by a deadline, or a person.
ALTER TABLE reconciliation_findings ADD COLUMN owner TEXT NOT NULL
    GENERATED ALWAYS AS (CASE WHEN kind IN ('CHARGE_WITHOUT_ORDER', 'STATE_DIFFERS') THEN 'MACHINE' ELSE 'PERSON' END) STORED;

GRANT SELECT, INSERT ON orphan_charges TO order_payment_app;
GRANT UPDATE (state, giving_up, in_doubt, tries, due_at, leased_until, version) ON orphan_charges TO order_payment_app;
