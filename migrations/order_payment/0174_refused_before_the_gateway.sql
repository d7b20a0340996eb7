-- Charges that we refuse ourselves, before the gateway is asked (docs/adr/0074): by the limit of declined cards, or by the shop's own
-- fraud check. To everybody but operators such a charge is declined. The rows that are there are looked at by 0176, which stops nobody.
ALTER TABLE payment_attempts
    ADD COLUMN refused_by TEXT,
    ADD CONSTRAINT payment_attempts_refusal_is_known CHECK (refused_by IN ('CARD_TESTING', 'FRAUD_CHECK')) NOT VALID,
    ADD CONSTRAINT payment_attempts_refused_are_given_up CHECK (
        refused_by IS NULL OR (kind = 'CHARGE' AND giving_up = 'PAYMENT_DECLINED')) NOT VALID;
GRANT UPDATE (refused_by) ON payment_attempts TO order_payment_app;
