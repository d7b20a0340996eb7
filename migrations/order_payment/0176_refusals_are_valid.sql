-- As long as it takes, payments go on: this reads the table and locks nobody out (0174 added the constraints without looking).
ALTER TABLE payment_attempts VALIDATE CONSTRAINT payment_attempts_refusal_is_known;
ALTER TABLE payment_attempts VALIDATE CONSTRAINT payment_attempts_refused_are_given_up;
