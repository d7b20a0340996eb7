-- Several fulfilment centres and back-orders: a stock row is a SKU in a centre, an order remembers where each line was taken,
-- and what was promised before it came in is counted beside what is there.
--
-- What exists lies in the centre of the site that holds the database. The defaults serve the binary that still runs while this
-- does; only its receipts are refused until it is replaced, because they name a SKU's row by the SKU alone.

-- How a SKU is supplied, in every centre alike and for life.
CREATE TABLE supplies (
    sku VARCHAR(64) COLLATE "C" NOT NULL CONSTRAINT supplies_pkey PRIMARY KEY,
    kind TEXT NOT NULL CONSTRAINT supplies_kind_known CHECK (kind IN ('counted', 'serialised', 'made_to_order', 'unlimited')),
    CONSTRAINT supplies_kind_of_sku UNIQUE (sku, kind)
);
INSERT INTO supplies (sku, kind) SELECT sku, kind FROM stock;

DO $$
DECLARE
    home TEXT := (SELECT holder FROM region_fence);
BEGIN
    EXECUTE format('ALTER TABLE stock ADD COLUMN fulfilment_centre VARCHAR(32) COLLATE "C" NOT NULL DEFAULT %L', COALESCE(home, 'none'));
    EXECUTE format('ALTER TABLE stock_movements ADD COLUMN fulfilment_centre VARCHAR(32) COLLATE "C" NOT NULL DEFAULT %L', COALESCE(home, 'none'));
    -- A new database has no site yet, no rows and no older binary.
    IF home IS NULL THEN
        ALTER TABLE stock ALTER COLUMN fulfilment_centre DROP DEFAULT;
        ALTER TABLE stock_movements ALTER COLUMN fulfilment_centre DROP DEFAULT;
    END IF;
END $$;

-- Movements and serial numbers belong to a SKU that was declared. Not to its row in a centre: that would lock the busiest row
-- of a sale once more for each movement; the audit finds a movement without a row.
ALTER TABLE stock_movements DROP CONSTRAINT stock_movements_stock_fkey;
ALTER TABLE serial_numbers DROP CONSTRAINT serial_numbers_stock_fkey;
ALTER TABLE stock DROP CONSTRAINT stock_pkey;
-- The order in which rows are locked: by SKU, then by centre.
ALTER TABLE stock ADD CONSTRAINT stock_pkey PRIMARY KEY (sku, fulfilment_centre);
ALTER TABLE stock ADD CONSTRAINT stock_supply_fkey FOREIGN KEY (sku, kind) REFERENCES supplies (sku, kind);
ALTER TABLE stock_movements ADD CONSTRAINT stock_movements_stock_fkey FOREIGN KEY (sku) REFERENCES supplies;
ALTER TABLE serial_numbers ADD CONSTRAINT serial_numbers_stock_fkey FOREIGN KEY (sku) REFERENCES supplies;

ALTER TABLE stock
    ADD COLUMN back_ordered BIGINT NOT NULL DEFAULT 0 CONSTRAINT stock_back_ordered_not_negative CHECK (back_ordered >= 0),
    -- Bounded like a receipt: nobody promises more than one delivery can bring.
    ADD COLUMN back_order_limit BIGINT NOT NULL DEFAULT 0 CONSTRAINT stock_back_order_limit_in_range CHECK (back_order_limit BETWEEN 0 AND 10000000),
    DROP CONSTRAINT stock_balances,
    ADD CONSTRAINT stock_balances CHECK (available + held + sold - returned = received + back_ordered),
    -- Goods go to those who wait before anybody else can buy them.
    ADD CONSTRAINT stock_shelf_or_debt CHECK (available = 0 OR back_ordered = 0);

CREATE FUNCTION refuse_promise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'no more units may be promised before they come in'
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'stock_promises_within_limit';
END
$$;

-- A promise is made within the limit of its moment; a lower limit takes none back, so this is not a check of the row.
CREATE TRIGGER stock_promises_within_limit BEFORE UPDATE ON stock FOR EACH ROW
    WHEN (NEW.back_ordered > OLD.back_ordered AND NEW.back_ordered > NEW.back_order_limit) EXECUTE FUNCTION refuse_promise();
CREATE TRIGGER stock_begins_without_promises BEFORE INSERT ON stock FOR EACH ROW
    WHEN (NEW.back_ordered > 0) EXECUTE FUNCTION refuse_promise();

ALTER TABLE stock_movements
    -- Version that the step gave its reservation: an order may return units more than once.
    ADD COLUMN step BIGINT NOT NULL DEFAULT 1,
    DROP CONSTRAINT stock_movements_kind_known,
    ADD CONSTRAINT stock_movements_kind_known CHECK (kind IN ('received', 'back_ordered', 'held', 'covered', 'released', 'sold', 'returned')),
    DROP CONSTRAINT stock_movements_one_cause,
    ADD CONSTRAINT stock_movements_one_cause CHECK ((order_id IS NULL) <> (reference IS NULL) AND (kind <> 'received' OR order_id IS NULL) AND (kind IN ('received', 'covered') OR order_id IS NOT NULL)),
    DROP CONSTRAINT stock_movements_once,
    DROP CONSTRAINT stock_movements_received_once;
DROP INDEX stock_movements_one_end;
CREATE UNIQUE INDEX stock_movements_once ON stock_movements (order_id, sku, fulfilment_centre, kind, step) WHERE order_id IS NOT NULL;
CREATE UNIQUE INDEX stock_movements_received_once ON stock_movements (reference, sku, fulfilment_centre, kind) WHERE reference IS NOT NULL;
CREATE UNIQUE INDEX stock_movements_one_end ON stock_movements (order_id, sku, fulfilment_centre) WHERE kind IN ('released', 'sold');
-- For the audit, which adds them up row by row.
CREATE INDEX stock_movements_of_row ON stock_movements (sku, fulfilment_centre) INCLUDE (kind, quantity);

GRANT SELECT, INSERT ON supplies TO inventory_app;
GRANT UPDATE (returned, back_ordered, back_order_limit) ON stock TO inventory_app;

-- Choices of made-to-order products, as [key, value] pairs.
ALTER TABLE reservation_lines ADD COLUMN options JSONB NOT NULL DEFAULT '[]' CONSTRAINT reservation_lines_options_are_a_list CHECK (jsonb_typeof(options) = 'array');

-- Where the lines of an order were taken.
CREATE TABLE allocations (
    order_id UUID NOT NULL CONSTRAINT allocations_reservation_fkey REFERENCES reservations,
    sku VARCHAR(64) COLLATE "C" NOT NULL,
    fulfilment_centre VARCHAR(32) COLLATE "C" NOT NULL,
    quantity BIGINT NOT NULL CONSTRAINT allocations_quantity_positive CHECK (quantity > 0),
    CONSTRAINT allocations_pkey PRIMARY KEY (order_id, sku, fulfilment_centre)
);
INSERT INTO allocations (order_id, sku, fulfilment_centre, quantity)
SELECT order_id, sku, (SELECT holder FROM region_fence), quantity FROM reservation_lines JOIN reservations USING (order_id) WHERE status IN ('HELD', 'FINALISED');
CREATE TRIGGER allocations_are_history BEFORE UPDATE OR DELETE ON allocations FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Units promised before they came in, and how many of them are still waited for. The oldest promise is served first.
CREATE TABLE back_orders (
    promise_id BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT back_orders_pkey PRIMARY KEY,
    order_id UUID NOT NULL,
    sku VARCHAR(64) COLLATE "C" NOT NULL,
    fulfilment_centre VARCHAR(32) COLLATE "C" NOT NULL,
    promised BIGINT NOT NULL CONSTRAINT back_orders_promised_positive CHECK (promised > 0),
    waiting BIGINT NOT NULL CONSTRAINT back_orders_waiting_in_range CHECK (waiting BETWEEN 0 AND promised),
    CONSTRAINT back_orders_once UNIQUE (order_id, sku, fulfilment_centre),
    CONSTRAINT back_orders_allocation_fkey FOREIGN KEY (order_id, sku, fulfilment_centre) REFERENCES allocations
);
CREATE INDEX back_orders_waiting ON back_orders (sku, fulfilment_centre, promise_id) WHERE waiting > 0;
CREATE TRIGGER back_orders_stay BEFORE DELETE ON back_orders FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER back_orders_only_shrink BEFORE UPDATE ON back_orders FOR EACH ROW
    WHEN (NEW.waiting > OLD.waiting OR NEW.promised <> OLD.promised) EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON allocations, back_orders TO inventory_app;
GRANT UPDATE (waiting) ON back_orders TO inventory_app;

-- The same list as `LEGAL_STEPS` in the code; a test walks all pairs through both. A step tells of at most one parcel per
-- centre and gives each a version of its own.
ALTER TABLE reservations ADD COLUMN asked_at TIMESTAMPTZ;
CREATE OR REPLACE FUNCTION reservation_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status IN ('HELD', 'REJECTED', 'RELEASED') AND NEW.version = 1 THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.order_id = OLD.order_id AND NEW.version > OLD.version
        AND ((OLD.status = 'HELD' AND NEW.status IN ('HELD', 'RELEASED', 'FINALISED')) OR (OLD.status = 'FINALISED' AND NEW.status = 'FINALISED')) THEN
        RETURN NEW;
    END IF;
    -- Not a step: somebody asks about an overdue hold.
    IF TG_OP = 'UPDATE' AND NEW.order_id = OLD.order_id AND NEW.status = OLD.status AND NEW.version = OLD.version AND NEW.held_until = OLD.held_until THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a reservation cannot go this way'
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'reservations_legal_step';
END
$$;
GRANT UPDATE (held_until, asked_at) ON reservations TO inventory_app;

-- One parcel for each centre an order was served from. It waits while some of its goods were promised and are not there.
ALTER TABLE shipments
    DROP CONSTRAINT shipments_once,
    ADD CONSTRAINT shipments_once UNIQUE (order_id, fulfilment_centre),
    ADD COLUMN state TEXT NOT NULL DEFAULT 'READY' CONSTRAINT shipments_state_known CHECK (state IN ('WAITING', 'READY', 'CANCELLED')),
    ADD COLUMN settled_at TIMESTAMPTZ;
CREATE INDEX shipments_waiting ON shipments (order_id) WHERE state = 'WAITING';

CREATE FUNCTION shipment_waits_for_goods() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'READY' AND EXISTS (
        SELECT FROM back_orders WHERE order_id = NEW.order_id AND fulfilment_centre = NEW.fulfilment_centre AND waiting > 0
    ) THEN
        RAISE EXCEPTION 'the goods of the shipment are not there'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'shipments_wait_for_goods';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER shipments_wait_for_goods BEFORE INSERT OR UPDATE ON shipments FOR EACH ROW EXECUTE FUNCTION shipment_waits_for_goods();

-- Everything about a parcel stays but that a waiting one is let go, or cancelled, once.
DROP TRIGGER shipments_are_history ON shipments;
CREATE TRIGGER shipments_are_history BEFORE UPDATE ON shipments FOR EACH ROW
    WHEN (OLD.state <> 'WAITING' OR (NEW.shipment_id, NEW.order_id, NEW.fulfilment_centre, NEW.created_at, NEW.consumer, NEW.message_id)
        IS DISTINCT FROM (OLD.shipment_id, OLD.order_id, OLD.fulfilment_centre, OLD.created_at, OLD.consumer, OLD.message_id)) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER shipments_stay BEFORE DELETE ON shipments FOR EACH ROW EXECUTE FUNCTION refuse_change();
GRANT UPDATE (state, settled_at) ON shipments TO inventory_app;
