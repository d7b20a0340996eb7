-- In a migration of its own: it needs the table for itself, for a moment, and must not have it while an index is built.
-- contract: no reader: the index of 0114 answers what was asked of it
DROP INDEX stock_movements_of_row;
