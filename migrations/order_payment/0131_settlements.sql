-- Days that a gateway has closed: its file, row by row, matched with our attempts and the ledger. What is kept here is what the
-- file said and what came of it; money moves and books change elsewhere.

CREATE TABLE settlements (
    gateway     TEXT NOT NULL,
    day         DATE NOT NULL,
    -- When the gateway closed it; what moved later belongs to the next day.
    closed_at   TIMESTAMPTZ NOT NULL,
    -- Of the whole file: a closed day does not change.
    checksum    TEXT NOT NULL,
    row_count   BIGINT NOT NULL,
    -- Rows and ledger transactions that do not agree.
    open_count  BIGINT NOT NULL,
    imported_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (gateway, day)
);

CREATE TABLE settlement_totals (
    gateway          TEXT NOT NULL,
    day              DATE NOT NULL,
    currency         CHAR(3) NOT NULL,
    captured_minor   BIGINT NOT NULL,
    refunded_minor   BIGINT NOT NULL,
    net_minor        BIGINT NOT NULL,
    -- What our ledger has for the same movements.
    ours_minor       BIGINT NOT NULL,
    difference_minor BIGINT NOT NULL,
    PRIMARY KEY (gateway, day, currency),
    CONSTRAINT settlement_totals_of_a_day FOREIGN KEY (gateway, day) REFERENCES settlements (gateway, day),
    CONSTRAINT settlement_totals_add_up CHECK (net_minor = captured_minor - refunded_minor AND difference_minor = net_minor - ours_minor)
);

CREATE TABLE settlement_rows (
    gateway      TEXT NOT NULL,
    -- The gateway's own number of the movement; a movement is in one file only.
    sequence     BIGINT NOT NULL,
    day          DATE NOT NULL,
    kind         TEXT NOT NULL,
    -- As the gateway names them: our order and attempt, its payment.
    reference    TEXT NOT NULL,
    attempt_no   INTEGER,
    payment_id   TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency     CHAR(3) NOT NULL,
    moved_at     TIMESTAMPTZ NOT NULL,
    -- The attempt it was matched with.
    attempt_id   UUID CONSTRAINT settlement_rows_of_an_attempt REFERENCES payment_attempts (attempt_id),
    outcome      TEXT NOT NULL,
    PRIMARY KEY (gateway, sequence),
    CONSTRAINT settlement_rows_kind_is_known CHECK (kind IN ('CAPTURE', 'REFUND')),
    CONSTRAINT settlement_rows_outcome_is_known CHECK (outcome IN ('MATCHED', 'RESOLVED', 'OPEN', 'DIFFERS', 'UNMATCHED'))
);
CREATE INDEX settlement_rows_of_attempt ON settlement_rows (attempt_id) WHERE attempt_id IS NOT NULL;
CREATE INDEX settlement_rows_of_day ON settlement_rows (gateway, day);
-- What the ledger has for a day.
CREATE INDEX ledger_transactions_by_time ON ledger_transactions (recorded_at);

ALTER TABLE reconciliation_findings DROP CONSTRAINT reconciliation_findings_kind_is_known;
ALTER TABLE reconciliation_findings ADD CONSTRAINT reconciliation_findings_kind_is_known CHECK (kind IN (
    'CHARGE_WITHOUT_ORDER', 'ORDER_WITHOUT_CHARGE', 'AMOUNT_DIFFERS', 'STATE_DIFFERS', 'WEBHOOK_CLASH',
    'REFUND_REFUSED', 'WEBHOOK_WITHOUT_ORDER', 'CREDIT_DIFFERS', 'SETTLEMENT_DIFFERS'));

GRANT SELECT, INSERT ON settlements, settlement_totals, settlement_rows TO order_payment_app;
GRANT UPDATE (open_count, imported_at) ON settlements TO order_payment_app;
GRANT UPDATE (ours_minor, difference_minor) ON settlement_totals TO order_payment_app;
GRANT UPDATE (attempt_id, outcome) ON settlement_rows TO order_payment_app;
