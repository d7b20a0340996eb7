-- A line that is reduced by nothing is judged by the rules of its quantity and its price alone, so that each mistake has its own name.
ALTER TABLE order_lines
    DROP CONSTRAINT order_lines_are_never_free,
    ADD CONSTRAINT order_lines_are_never_free CHECK (
        reduction_minor = 0 OR (reduction_minor > 0 AND reduction_minor < quantity::bigint * unit_price_minor));
