-- When somebody last said "look at this payment now". A worker that holds the attempt at that moment gives it back due at once, instead of
-- at the time it had in mind before it could know; taking an attempt answers every hint before it.
ALTER TABLE payment_attempts ADD COLUMN hinted_at TIMESTAMPTZ;
GRANT UPDATE (hinted_at) ON payment_attempts TO order_payment_app;
