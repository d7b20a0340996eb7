-- What operators did: who, when, what, to what, why, and what came of it. Append-only, for the owner too. Where an action is
-- a change of state, its row is written by the transaction of that change.
CREATE TABLE operator_actions (
    action_id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    residency_region VARCHAR(10) NOT NULL,
    -- The subject of the operator's token.
    actor            UUID NOT NULL,
    -- `saga.retry`, `saga.compensate`, `parked.redrive`, …
    action           TEXT NOT NULL,
    -- What it was done to: an order, a finding, a parked message, a topic.
    subject          TEXT NOT NULL,
    reason           TEXT NOT NULL,
    outcome          TEXT NOT NULL,
    at               TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT operator_actions_have_a_name CHECK (action ~ '^[a-z]+\.[a-z_]+$'),
    CONSTRAINT operator_actions_say_why CHECK (length(reason) BETWEEN 1 AND 500),
    CONSTRAINT operator_actions_are_bounded CHECK (length(subject) BETWEEN 1 AND 300 AND length(outcome) <= 300)
);
CREATE INDEX operator_actions_on ON operator_actions (subject, action_id);

CREATE FUNCTION refuse_change_of_actions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what operators did is never changed' USING ERRCODE = 'check_violation', CONSTRAINT = 'operator_actions_append_only';
END $$;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON operator_actions FOR EACH ROW EXECUTE FUNCTION refuse_change_of_actions();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON operator_actions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_actions();

-- What an operator looks for among parked messages: the newest of a topic, and everything of one key.
CREATE INDEX parked_messages_of_key ON parked_messages (key, parked_id);
