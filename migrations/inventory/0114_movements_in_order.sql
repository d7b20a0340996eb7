-- The audit reads a bounded number of movements in one look and goes on with the next one: the number of a movement is part of the key it
-- walks along. The release before this one reads by row only, which is how this index begins.
CREATE INDEX stock_movements_in_order ON stock_movements (sku, fulfilment_centre, movement_id) INCLUDE (kind, quantity);
-- contract: no reader: the index above answers what was asked of it
DROP INDEX stock_movements_of_row;
