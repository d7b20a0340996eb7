-- New words of the books. They are used from 0121 on: a value cannot be used in the transaction that adds it.
ALTER TYPE ledger_kind ADD VALUE 'CREDIT_GRANT';
ALTER TYPE ledger_kind ADD VALUE 'CREDIT_HOLD';
ALTER TYPE ledger_kind ADD VALUE 'CREDIT_SPEND';
ALTER TYPE ledger_kind ADD VALUE 'CREDIT_RELEASE';
ALTER TYPE ledger_kind ADD VALUE 'ORPHAN';
ALTER TYPE ledger_kind ADD VALUE 'ORPHAN_REFUND';
ALTER TYPE ledger_kind ADD VALUE 'REVERSAL';
ALTER TYPE ledger_account ADD VALUE 'store_credit';
ALTER TYPE ledger_account ADD VALUE 'store_credit_held';
ALTER TYPE ledger_account ADD VALUE 'goodwill';
ALTER TYPE ledger_account ADD VALUE 'suspense';
