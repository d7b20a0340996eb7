-- Rows of settlement files that name no attempt of ours, by their payment: whether money without an order came or went before.
CREATE INDEX settlement_rows_of_nobody ON settlement_rows (gateway, payment_id) WHERE attempt_id IS NULL;
