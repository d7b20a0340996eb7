-- A state as small as possible: what the changes of these tests write.
CREATE TABLE marks (
    name TEXT NOT NULL,
    seen BIGINT NOT NULL,
    at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
-- Personal data, so that the tie to the region has something to hold.
CREATE TABLE people (
    name             TEXT PRIMARY KEY,
    residency_region VARCHAR(10) NOT NULL
);
GRANT SELECT, INSERT ON marks, people TO inventory_app;
