-- A partial index answers every question that asks for its condition. On an empty table that looks cheap, and a plan made then read every
-- charge for each question that has "kind = 'CHARGE'" in it. This one only answers those that name an intent.
CREATE UNIQUE INDEX payment_attempts_one_intent ON payment_attempts (intent_id) WHERE kind = 'CHARGE' AND intent_id IS NOT NULL;
-- contract: no reader: the index above answers what was asked of it
DROP INDEX payment_attempts_intent_once;
