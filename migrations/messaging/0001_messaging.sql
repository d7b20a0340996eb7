-- What every transactional database of ShopSphere carries: the fence of the region, the events it owes to Kafka, the
-- messages it has already applied, the requests it has already answered, and the messages it could not apply.
-- Written and read by the `messaging` crate only. Services number their own migrations from 0100.

-- Who may write. One row: the region this database belongs to and the reign under which writes are accepted.
CREATE TABLE region_fence (
    only_row   BOOLEAN PRIMARY KEY DEFAULT TRUE,
    region     VARCHAR(10) NOT NULL,
    epoch      BIGINT NOT NULL,
    holder     TEXT NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT region_fence_has_one_row CHECK (only_row),
    CONSTRAINT region_fence_epoch_counts_from_one CHECK (epoch >= 1)
);

-- Write transactions hold the fence's advisory lock shared (see messaging::commit). A change of reign takes it exclusively,
-- here and not in the caller, so that nobody can forget it: it waits for every write of the old reign and holds back
-- those of the new one until it is done. The epoch only grows; the region never changes.
CREATE FUNCTION guard_region_fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7305);
    IF NEW.region <> OLD.region THEN
        RAISE EXCEPTION 'the region of a database never changes' USING ERRCODE = 'check_violation', CONSTRAINT = 'region_fence_region_is_fixed';
    END IF;
    IF NEW.epoch < OLD.epoch THEN
        RAISE EXCEPTION 'the epoch only grows' USING ERRCODE = 'check_violation', CONSTRAINT = 'region_fence_epoch_only_grows';
    END IF;
    NEW.changed_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER guard_region_fence BEFORE UPDATE ON region_fence FOR EACH ROW EXECUTE FUNCTION guard_region_fence();

-- Events of committed changes. Rows stay after publication: after a promotion the last window is published again.
CREATE TABLE outbox (
    message_id   UUID PRIMARY KEY,
    seq          BIGINT GENERATED ALWAYS AS IDENTITY,
    topic        TEXT NOT NULL,
    key          TEXT NOT NULL,
    version      BIGINT NOT NULL,
    payload      BYTEA NOT NULL,
    epoch        BIGINT NOT NULL,
    traceparent  TEXT,
    occurred_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    claimed_by   UUID,
    -- grows with each claim; a relay that lost its claim cannot mark the row
    claim_gen    INTEGER NOT NULL DEFAULT 0,
    published_at TIMESTAMPTZ,
    CONSTRAINT outbox_one_event_per_version UNIQUE (key, topic, version),
    CONSTRAINT outbox_version_counts_from_one CHECK (version >= 1)
);
CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- Messages that have had their effect, recorded in the transaction of the effect.
CREATE TABLE inbox (
    consumer   TEXT NOT NULL,
    message_id UUID NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, message_id)
);

-- Requests that have had their effect, with the answer they got. The key belongs to one person, method and route.
CREATE TABLE requests (
    residency_region VARCHAR(10) NOT NULL,
    subject          UUID NOT NULL,
    method           TEXT NOT NULL,
    route            TEXT NOT NULL,
    key              TEXT NOT NULL,
    fingerprint      BYTEA NOT NULL,
    status           SMALLINT NOT NULL,
    body             BYTEA NOT NULL,
    answered_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (residency_region, subject, method, route, key),
    CONSTRAINT requests_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32)
);
CREATE INDEX requests_answered_at ON requests (answered_at);

-- Messages that could not be applied. The later messages of a parked key queue behind it here, in order.
CREATE TABLE parked_messages (
    parked_id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer    TEXT NOT NULL,
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    "offset"    BIGINT NOT NULL,
    key         BYTEA NOT NULL,
    payload     BYTEA NOT NULL,
    headers     JSONB NOT NULL,
    reason      TEXT NOT NULL,
    parked_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    redriven_at TIMESTAMPTZ,
    CONSTRAINT parked_messages_once UNIQUE (consumer, topic, partition, "offset")
);
CREATE INDEX parked_messages_waiting ON parked_messages (consumer, key, parked_id) WHERE redriven_at IS NULL;

-- Ties a database to its region: names it in the fence and adds to each table that holds personal data (it has a column
-- residency_region) the check that only people of this region are in it. Safe to run again; refuses another region.
CREATE FUNCTION bind_region(home TEXT, first_epoch BIGINT, first_holder TEXT) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found_table RECORD;
BEGIN
    INSERT INTO region_fence (region, epoch, holder) VALUES (home, first_epoch, first_holder) ON CONFLICT DO NOTHING;
    IF NOT EXISTS (SELECT 1 FROM region_fence WHERE region = home) THEN
        RAISE EXCEPTION 'this database belongs to another region than %', home;
    END IF;
    FOR found_table IN
        SELECT c.table_name FROM information_schema.columns c
        JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = current_schema() AND c.column_name = 'residency_region' AND t.table_type = 'BASE TABLE'
          AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = c.table_name || '_stays_home' AND conrelid = quote_ident(c.table_name)::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (residency_region = %L)', found_table.table_name, found_table.table_name || '_stays_home', home);
    END LOOP;
END $$;
