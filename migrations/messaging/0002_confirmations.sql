-- One row that is rewritten to confirm what is visible. A commit whose wait for the standby was cut short is visible here and
-- may not be there; once a later commit has been acknowledged without a warning, everything before it is on the standby too.
CREATE TABLE confirmations (
    only_row     BOOLEAN PRIMARY KEY DEFAULT TRUE,
    confirmed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT confirmations_has_one_row CHECK (only_row)
);
