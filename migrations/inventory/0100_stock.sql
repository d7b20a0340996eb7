-- Stock: how much of each SKU there is, why, and how it came in. No personal data.

-- Refuses whatever it is called for: history is only added to.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: its rows are history', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'history_is_only_added_to';
END
$$;

-- One row per SKU. Each row is updated often: half of each page stays free, so that an update finds room beside its old
-- version and touches no index.
CREATE TABLE stock (
    -- Byte order, the order in which the code walks lines: two transactions never lock rows in opposite orders.
    sku VARCHAR(64) COLLATE "C" NOT NULL CONSTRAINT stock_pkey PRIMARY KEY,
    kind TEXT NOT NULL CONSTRAINT stock_kind_known CHECK (kind IN ('counted', 'serialised', 'made_to_order', 'unlimited')),
    available BIGINT NOT NULL DEFAULT 0 CONSTRAINT stock_available_not_negative CHECK (available >= 0),
    held BIGINT NOT NULL DEFAULT 0 CONSTRAINT stock_held_not_negative CHECK (held >= 0),
    sold BIGINT NOT NULL DEFAULT 0 CONSTRAINT stock_sold_not_negative CHECK (sold >= 0),
    returned BIGINT NOT NULL DEFAULT 0 CONSTRAINT stock_returned_not_negative CHECK (returned >= 0),
    received BIGINT NOT NULL DEFAULT 0 CONSTRAINT stock_received_in_range CHECK (received BETWEEN 0 AND 1000000000000),
    version BIGINT NOT NULL DEFAULT 0,
    CONSTRAINT stock_balances CHECK (available + held + sold - returned = received),
    -- What is not counted is received in the moment it is held, so none of it ever lies on a shelf.
    CONSTRAINT stock_shelf_is_counted CHECK (kind IN ('counted', 'serialised') OR available = 0)
) WITH (fillfactor = 50);

-- Goods that came in. The reference is its sender's; a second receipt with it finds this row.
CREATE TABLE stock_receipts (
    reference VARCHAR(64) NOT NULL CONSTRAINT stock_receipts_pkey PRIMARY KEY,
    -- SHA-256 of the lines: the same reference with other lines is a mistake of the sender.
    fingerprint BYTEA NOT NULL CONSTRAINT stock_receipts_fingerprint_length CHECK (octet_length(fingerprint) = 32),
    received_at TIMESTAMPTZ NOT NULL
);

-- Why each count is what it is. A movement belongs to an order or to a receipt, once per SKU and kind: a second delivery of
-- the same message meets the unique constraint even if everything else were forgotten.
CREATE TABLE stock_movements (
    movement_id BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT stock_movements_pkey PRIMARY KEY,
    order_id UUID,
    reference VARCHAR(64) CONSTRAINT stock_movements_receipt_fkey REFERENCES stock_receipts,
    sku VARCHAR(64) COLLATE "C" NOT NULL CONSTRAINT stock_movements_stock_fkey REFERENCES stock,
    kind TEXT NOT NULL CONSTRAINT stock_movements_kind_known CHECK (kind IN ('received', 'held', 'released', 'sold')),
    quantity BIGINT NOT NULL CONSTRAINT stock_movements_quantity_positive CHECK (quantity > 0),
    moved_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT stock_movements_once UNIQUE (order_id, sku, kind),
    CONSTRAINT stock_movements_received_once UNIQUE (reference, sku),
    CONSTRAINT stock_movements_one_cause CHECK ((kind = 'received') = (order_id IS NULL) AND (order_id IS NULL) <> (reference IS NULL))
);

-- What an order held is released or sold, never both.
CREATE UNIQUE INDEX stock_movements_one_end ON stock_movements (order_id, sku) WHERE kind IN ('released', 'sold');

CREATE TRIGGER stock_movements_are_history BEFORE UPDATE OR DELETE ON stock_movements FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stock_movements_stay BEFORE TRUNCATE ON stock_movements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stock_receipts_are_history BEFORE UPDATE OR DELETE ON stock_receipts FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON stock, stock_receipts, stock_movements TO inventory_app;
-- Not the SKU and not its kind: both are for life.
GRANT UPDATE (available, held, sold, received, version) ON stock TO inventory_app;
