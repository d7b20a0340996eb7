-- Tax of orders (docs/adr/0021). A line says what of it is tax; the sum of the lines is the order, always.
-- Orders from before have no tax: their columns stay empty, all of them or none.

ALTER TABLE order_lines
    -- The catalog's revision that the price comes from.
    ADD COLUMN price_revision BIGINT,
    ADD COLUMN tax_class      TEXT,
    -- Millionths of the net amount.
    ADD COLUMN tax_rate       INTEGER,
    -- Whether unit_price_minor contains the tax.
    ADD COLUMN tax_included   BOOLEAN,
    ADD COLUMN net_minor      BIGINT,
    ADD COLUMN tax_minor      BIGINT,
    ADD COLUMN gross_minor    BIGINT,
    ADD CONSTRAINT order_lines_tax_is_whole CHECK (num_nulls(tax_class, tax_rate, tax_included, net_minor, tax_minor, gross_minor) IN (0, 6)),
    ADD CONSTRAINT order_lines_class_is_known CHECK (tax_class IN ('standard', 'reduced', 'digital', 'zero')),
    ADD CONSTRAINT order_lines_rate_is_a_share CHECK (tax_rate BETWEEN 0 AND 1000000),
    ADD CONSTRAINT order_lines_parts_are_not_negative CHECK (net_minor >= 0 AND tax_minor >= 0),
    ADD CONSTRAINT order_lines_parts_add_up CHECK (net_minor + tax_minor = gross_minor),
    ADD CONSTRAINT order_lines_keep_the_listed_price CHECK (
        quantity::bigint * unit_price_minor = CASE WHEN tax_included THEN gross_minor ELSE net_minor END);

ALTER TABLE orders
    -- Where the tax is owed: a country, or a state of one.
    ADD COLUMN tax_place VARCHAR(8),
    ADD COLUMN net_minor BIGINT,
    ADD COLUMN tax_minor BIGINT,
    ADD CONSTRAINT orders_tax_is_whole CHECK (num_nulls(tax_place, net_minor, tax_minor) IN (0, 3)),
    ADD CONSTRAINT orders_parts_are_not_negative CHECK (net_minor >= 0 AND tax_minor >= 0),
    ADD CONSTRAINT orders_parts_add_up CHECK (net_minor + tax_minor = total_minor);

-- At commit: the lines exist and add up to the order, part by part, and the history tells of the present version.
CREATE OR REPLACE FUNCTION check_order_is_whole() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sums RECORD;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT sum(coalesce(gross_minor, quantity::numeric * unit_price_minor)) AS gross, sum(net_minor) AS net, sum(tax_minor) AS tax,
               count(tax_minor) AS taxed, count(*) AS lines
            INTO sums FROM order_lines WHERE order_id = NEW.order_id;
        IF sums.gross IS DISTINCT FROM NEW.total_minor::numeric THEN
            RAISE EXCEPTION 'the lines of order % do not add up to its total', NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_lines_add_up';
        END IF;
        IF (NEW.tax_minor IS NULL AND sums.taxed > 0) OR (NEW.tax_minor IS NOT NULL AND sums.taxed < sums.lines)
           OR sums.net IS DISTINCT FROM NEW.net_minor::numeric OR sums.tax IS DISTINCT FROM NEW.tax_minor::numeric THEN
            RAISE EXCEPTION 'the tax of the lines of order % is not its tax', NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_tax_adds_up';
        END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM order_history WHERE order_id = NEW.order_id AND version = NEW.version AND status = NEW.status) THEN
        RAISE EXCEPTION 'version % of order % has no history', NEW.version, NEW.order_id USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_have_history';
    END IF;
    RETURN NULL;
END $$;

-- The tax of an order is as frozen as its total. The service has no right to these columns; this holds for the owner too.
CREATE TRIGGER freeze_tax BEFORE UPDATE OF tax_place, net_minor, tax_minor ON orders FOR EACH ROW EXECUTE FUNCTION refuse_change();
