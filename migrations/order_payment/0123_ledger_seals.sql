-- The chain over the books. A transaction is sealed a few seconds after its commit, not within it: one chain head would make all
-- orders wait for each other. What is committed and not sealed yet waits in a queue, filled by the books themselves, so that
-- a late commit can only come into a later seal.

CREATE TABLE ledger_unsealed (
    transaction_id UUID PRIMARY KEY
);

CREATE TABLE ledger_seals (
    seal_no        BIGINT PRIMARY KEY,
    previous_root  BYTEA NOT NULL,
    -- SHA-256 over region, number, previous root, number of leaves and the root of their Merkle tree (domain/ledger_seal.rs).
    root           BYTEA NOT NULL,
    first_position BIGINT NOT NULL,
    last_position  BIGINT NOT NULL,
    sealed_at      TIMESTAMPTZ NOT NULL,
    CONSTRAINT ledger_seals_count_from_one CHECK (seal_no >= 1),
    CONSTRAINT ledger_seals_have_leaves CHECK (last_position >= first_position),
    CONSTRAINT ledger_seals_roots_are_sha256 CHECK (octet_length(root) = 32 AND octet_length(previous_root) = 32)
);

CREATE TABLE ledger_leaves (
    -- Given by the sealer; ids of the books themselves are committed out of order.
    position       BIGINT PRIMARY KEY,
    seal_no        BIGINT NOT NULL CONSTRAINT ledger_leaves_of_a_seal REFERENCES ledger_seals (seal_no),
    transaction_id UUID NOT NULL CONSTRAINT ledger_leaves_sealed_once UNIQUE CONSTRAINT ledger_leaves_of_a_transaction REFERENCES ledger_transactions (transaction_id),
    leaf           BYTEA NOT NULL,
    CONSTRAINT ledger_leaves_are_sha256 CHECK (octet_length(leaf) = 32)
);
CREATE INDEX ledger_leaves_by_seal ON ledger_leaves (seal_no, position);

CREATE FUNCTION guard_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before ledger_seals%ROWTYPE;
BEGIN
    SELECT * INTO before FROM ledger_seals ORDER BY seal_no DESC LIMIT 1;
    IF NEW.seal_no <> coalesce(before.seal_no, 0) + 1 OR NEW.first_position <> coalesce(before.last_position, 0) + 1
       OR NEW.previous_root <> coalesce(before.root, decode(repeat('00', 32), 'hex')) THEN
        RAISE EXCEPTION 'seal % does not follow the one before it', NEW.seal_no USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_seals_are_a_chain';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_seal BEFORE INSERT ON ledger_seals FOR EACH ROW EXECUTE FUNCTION guard_seal();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON ledger_seals FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON ledger_leaves FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_seals FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ledger_leaves FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION queue_for_sealing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger_unsealed (transaction_id) VALUES (NEW.transaction_id);
    RETURN NULL;
END $$;
CREATE TRIGGER queue_for_sealing AFTER INSERT ON ledger_transactions FOR EACH ROW EXECUTE FUNCTION queue_for_sealing();
INSERT INTO ledger_unsealed SELECT transaction_id FROM ledger_transactions;

GRANT SELECT, INSERT, DELETE ON ledger_unsealed TO order_payment_app;
GRANT SELECT, INSERT ON ledger_seals, ledger_leaves TO order_payment_app;
