-- The audit reads a bounded number of movements in one look and goes on with the next one: the number of a movement is part of the key it
-- walks along. The release before this one reads by row only, which is how this index begins.
-- While it is built here nobody writes a movement, and the running release holds nothing for orders: where the table is large it is built by hand
-- before (docs/runbooks/deploy-a-site.md, "An update that builds an index"), and this finds it. Not CONCURRENTLY here: migrations give up on
-- a lock after two seconds, such a build waits for every transaction that is older, and what it leaves behind would be taken for the index.
CREATE INDEX IF NOT EXISTS stock_movements_in_order ON stock_movements (sku, fulfilment_centre, movement_id) INCLUDE (kind, quantity);
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE indexrelid = 'stock_movements_in_order'::regclass AND NOT indisvalid) THEN
        RAISE EXCEPTION 'stock_movements_in_order was not built to its end: take it away and build it again';
    END IF;
END $$;
