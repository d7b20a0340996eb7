-- What operators need: a difference has an owner state with its history, sums per day, and lists that do not read every order.

-- Kinds are many and grow; the list is in the code (FindingKind), the shape here.
ALTER TABLE reconciliation_findings DROP CONSTRAINT reconciliation_findings_kind_is_known;
ALTER TABLE reconciliation_findings
    -- When what it is about happened. A look resolves only what lies in its window: what has merely grown old is not mended.
    ADD COLUMN happened_at     TIMESTAMPTZ,
    ADD COLUMN acknowledged_at TIMESTAMPTZ,
    ADD COLUMN acknowledged_by UUID,
    -- The owner's words.
    ADD COLUMN acknowledgement TEXT,
    -- How it ended.
    ADD COLUMN resolution      TEXT,
    -- Follows from the columns above, so that it cannot contradict them.
    ADD COLUMN state           TEXT NOT NULL GENERATED ALWAYS AS (
        CASE WHEN resolved_at IS NOT NULL THEN 'RESOLVED' WHEN acknowledged_at IS NOT NULL THEN 'ACKNOWLEDGED' ELSE 'OPEN' END) STORED,
    ADD CONSTRAINT reconciliation_findings_kind_is_a_name CHECK (kind ~ '^[A-Z]+(_[A-Z]+)*$' AND length(kind) <= 40),
    ADD CONSTRAINT reconciliation_findings_have_an_owner CHECK (
        (acknowledged_at IS NULL) = (acknowledged_by IS NULL) AND (acknowledged_at IS NULL) = (acknowledgement IS NULL)),
    ADD CONSTRAINT reconciliation_findings_end_once CHECK (resolution IS NULL OR resolved_at IS NOT NULL);
UPDATE reconciliation_findings SET resolution = 'no longer found' WHERE resolved_at IS NOT NULL;
CREATE INDEX reconciliation_findings_of_order ON reconciliation_findings (order_id) WHERE order_id IS NOT NULL;

-- Each change of a finding's state, whoever made it and by whichever code. Append-only.
CREATE TABLE reconciliation_history (
    history_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       TEXT NOT NULL,
    reference  TEXT NOT NULL,
    state      TEXT NOT NULL,
    actor      UUID,
    note       TEXT NOT NULL,
    at         TIMESTAMPTZ NOT NULL,
    CONSTRAINT reconciliation_history_of_a_finding FOREIGN KEY (kind, reference) REFERENCES reconciliation_findings (kind, reference),
    CONSTRAINT reconciliation_history_state_is_known CHECK (state IN ('OPEN', 'ACKNOWLEDGED', 'RESOLVED'))
);
CREATE INDEX reconciliation_history_of ON reconciliation_history (kind, reference, history_id);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON reconciliation_history FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON reconciliation_history FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION write_finding_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN
        RETURN NULL;
    END IF;
    INSERT INTO reconciliation_history (kind, reference, state, actor, note, at) VALUES (
        NEW.kind, NEW.reference, NEW.state,
        CASE WHEN NEW.state = 'ACKNOWLEDGED' THEN NEW.acknowledged_by END,
        CASE NEW.state WHEN 'OPEN' THEN NEW.detail WHEN 'ACKNOWLEDGED' THEN NEW.acknowledgement ELSE coalesce(NEW.resolution, 'no longer found') END,
        CASE NEW.state WHEN 'OPEN' THEN NEW.last_seen_at WHEN 'ACKNOWLEDGED' THEN NEW.acknowledged_at ELSE NEW.resolved_at END);
    RETURN NULL;
END $$;
CREATE TRIGGER write_finding_history AFTER INSERT OR UPDATE ON reconciliation_findings FOR EACH ROW EXECUTE FUNCTION write_finding_history();

-- A finding is never forgotten.
CREATE TRIGGER refuse_delete BEFORE DELETE ON reconciliation_findings FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- What the latest look that covered a whole day added up, in minor units, by the day an order was placed.
CREATE TABLE reconciliation_days (
    day            DATE NOT NULL,
    currency       CHAR(3) NOT NULL,
    -- Totals of completed orders.
    orders_minor   BIGINT NOT NULL,
    -- By the ledger.
    captured_minor BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    -- Charges in the gateway's list.
    gateway_minor  BIGINT NOT NULL,
    looked_at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (day, currency)
);

-- Orders lie in the table in the order of their making, so a few bytes per hundred pages find a window. A tree over the same
-- column would cost every new order an index entry.
CREATE INDEX orders_by_time ON orders USING brin (created_at);
CREATE INDEX webhooks_of_order ON webhooks (order_id) WHERE order_id IS NOT NULL;

GRANT SELECT, INSERT ON reconciliation_history TO order_payment_app;
GRANT SELECT, INSERT, UPDATE ON reconciliation_days TO order_payment_app;
GRANT UPDATE (first_seen_at, happened_at, acknowledged_at, acknowledged_by, acknowledgement, resolution) ON reconciliation_findings TO order_payment_app;
