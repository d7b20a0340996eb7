-- More than one gateway: an attempt remembers the one it was begun with and ends there, whatever the configuration says later.
ALTER TABLE payment_attempts
    -- Name of the gateway in the configuration; attempts from before this column were made with the first one.
    ADD COLUMN gateway TEXT NOT NULL DEFAULT 'simulator',
    -- Whether the gateway's first call only makes an intent, or authorises at once (docs/adr/0026).
    ADD COLUMN gateway_flow TEXT NOT NULL DEFAULT 'MAKE_THEN_CONFIRM'
        CONSTRAINT payment_attempts_flow_is_known CHECK (gateway_flow IN ('MAKE_THEN_CONFIRM', 'MADE_AUTHORISED'));

-- A gateway that authorises with its first call tells the id only afterwards: such an attempt is sent, or unknown, without one.
-- Money can be *taken* only from AUTHORISED on, and that needs the id everywhere.
ALTER TABLE payment_attempts DROP CONSTRAINT payment_attempts_intent_is_known;
ALTER TABLE payment_attempts ADD CONSTRAINT payment_attempts_intent_is_known
    CHECK (intent_id IS NOT NULL OR state IN ('PREPARED', 'DECLINED', 'VOIDED')
           OR (gateway_flow = 'MADE_AUTHORISED' AND state IN ('SENT', 'UNKNOWN')));

CREATE FUNCTION refuse_other_gateway() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an attempt ends at the gateway it was begun with' USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_attempts_gateway_stays';
END $$;
CREATE TRIGGER refuse_other_gateway BEFORE UPDATE ON payment_attempts FOR EACH ROW
    WHEN ((OLD.gateway, OLD.gateway_flow) IS DISTINCT FROM (NEW.gateway, NEW.gateway_flow))
    EXECUTE FUNCTION refuse_other_gateway();
