-- What the audit found: a count of a stock row that does not follow from the row's movements. Opened once, resolved when a
-- later look finds it right again; nothing is ever repaired here.
CREATE TABLE stock_findings (
    finding_id BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT stock_findings_pkey PRIMARY KEY,
    sku VARCHAR(64) COLLATE "C" NOT NULL,
    fulfilment_centre VARCHAR(32) COLLATE "C" NOT NULL,
    counter TEXT NOT NULL CONSTRAINT stock_findings_counter_known CHECK (counter IN ('row', 'available', 'held', 'sold', 'returned', 'received', 'back_ordered', 'waiting')),
    -- What the movements say, and what the row says.
    expected BIGINT NOT NULL,
    found BIGINT NOT NULL,
    found_at TIMESTAMPTZ NOT NULL,
    resolved_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX stock_findings_open ON stock_findings (sku, fulfilment_centre, counter) WHERE resolved_at IS NULL;
CREATE TRIGGER stock_findings_stay BEFORE DELETE ON stock_findings FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON stock_findings TO inventory_app;
GRANT UPDATE (expected, found, resolved_at) ON stock_findings TO inventory_app;
