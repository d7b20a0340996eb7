-- What the gateway told us, and where its books and ours differ.

CREATE TABLE webhooks (
    gateway          TEXT NOT NULL,
    event_id         TEXT NOT NULL,
    residency_region VARCHAR(10) NOT NULL,
    event_type       TEXT NOT NULL,
    -- The intent it is about, and the order as we told the gateway.
    intent_id        TEXT NOT NULL,
    order_id         UUID,
    amount_minor     BIGINT,
    currency         TEXT,
    -- The signed bytes, exactly.
    body             BYTEA NOT NULL,
    received_at      TIMESTAMPTZ NOT NULL,
    -- When to process it next; unknown orders are kept and tried again.
    due_at           TIMESTAMPTZ NOT NULL,
    tries            INTEGER NOT NULL DEFAULT 0,
    processed_at     TIMESTAMPTZ,
    -- What came of it.
    outcome          TEXT,
    PRIMARY KEY (gateway, event_id),
    CONSTRAINT webhooks_are_bounded CHECK (octet_length(body) <= 262144),
    CONSTRAINT webhooks_outcome_is_known CHECK (outcome IN ('HINTED', 'NOTHING_TO_DO', 'LATE_SUCCESS', 'MISMATCH', 'GAVE_UP'))
);
CREATE INDEX webhooks_waiting ON webhooks (due_at) WHERE processed_at IS NULL;

-- One row per difference; it is open until a later look no longer finds it.
CREATE TABLE reconciliation_findings (
    kind          TEXT NOT NULL,
    -- The intent, or the attempt that has none at the gateway.
    reference     TEXT NOT NULL,
    order_id      UUID,
    detail        TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    last_seen_at  TIMESTAMPTZ NOT NULL,
    resolved_at   TIMESTAMPTZ,
    PRIMARY KEY (kind, reference),
    CONSTRAINT reconciliation_findings_kind_is_known CHECK (kind IN ('CHARGE_WITHOUT_ORDER', 'ORDER_WITHOUT_CHARGE', 'AMOUNT_DIFFERS', 'STATE_DIFFERS', 'WEBHOOK_CLASH'))
);
CREATE INDEX reconciliation_findings_open ON reconciliation_findings (first_seen_at) WHERE resolved_at IS NULL;

GRANT SELECT, INSERT ON webhooks, reconciliation_findings TO order_payment_app;
GRANT UPDATE (due_at, tries, processed_at, outcome) ON webhooks TO order_payment_app;
GRANT UPDATE (detail, last_seen_at, resolved_at) ON reconciliation_findings TO order_payment_app;
