-- Corrections: what a count of the shelves found or missed, with the reason in the words of whoever counted. A correction has a
-- reference like a receipt and counts once like one; each unit it adds or takes is a movement, so that counts still follow from
-- their movements. No personal data beside the id of the member of staff, who stands in operator_actions.
--
-- The binary that still runs knows neither kind: its audit would tell of corrected rows as findings until it is replaced, and
-- nobody can correct anything through it.

ALTER TABLE stock_movements
    ADD COLUMN reason TEXT,
    DROP CONSTRAINT stock_movements_kind_known,
    ADD CONSTRAINT stock_movements_kind_known CHECK (kind IN ('received', 'found', 'lost', 'back_ordered', 'held', 'covered', 'released', 'sold', 'returned')),
    DROP CONSTRAINT stock_movements_one_cause,
    ADD CONSTRAINT stock_movements_one_cause CHECK ((order_id IS NULL) <> (reference IS NULL) AND (kind NOT IN ('received', 'found', 'lost') OR order_id IS NULL) AND (kind IN ('received', 'found', 'lost', 'covered') OR order_id IS NOT NULL)),
    -- Nobody may take goods off the books without saying why.
    ADD CONSTRAINT stock_movements_say_why CHECK (kind NOT IN ('found', 'lost') OR COALESCE(length(reason), 0) BETWEEN 1 AND 500);
