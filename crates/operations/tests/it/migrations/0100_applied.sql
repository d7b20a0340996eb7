-- What the handler of the tests has applied, in order.
CREATE TABLE applied (place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, message TEXT NOT NULL);
GRANT SELECT, INSERT ON applied TO inventory_app;
