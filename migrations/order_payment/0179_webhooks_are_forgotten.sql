-- A webhook is a hint: what came of it stands in attempts, books and findings. Thirty days after it came a finished one is forgotten, the
-- oldest first. One that still waits stays, and so does one that became a matter for a person (MISMATCH, GAVE_UP): its finding names it.
-- While the index is built here no webhook is kept, and gateways repeat theirs. Where that takes long it is built by hand before, and this
-- finds it: as in inventory/0114, which says why it is not CONCURRENTLY here.
CREATE INDEX IF NOT EXISTS webhooks_finished ON webhooks (received_at) WHERE outcome IN ('HINTED', 'NOTHING_TO_DO', 'LATE_SUCCESS');
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE indexrelid = 'webhooks_finished'::regclass AND NOT indisvalid) THEN
        RAISE EXCEPTION 'webhooks_finished was not built to its end: take it away and build it again';
    END IF;
END $$;

-- Forgets at most `most` (and never more than 1000) finished webhooks that came before `before`, and says how many. What an open finding is
-- about stays until a person is done with it: the event that came with two contents, and all that was told of a charge whose refund failed.
-- Whoever asks for a day of the last thirty is refused: a defect in the program cannot wipe evidence. Runs with the owner's rights: the
-- service itself cannot delete a webhook. By index whatever the statistics say: the plan is made once per connection, often while the table
-- is empty.
CREATE FUNCTION forget_webhooks(before TIMESTAMPTZ, most INTEGER)
RETURNS BIGINT LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    forgotten BIGINT;
BEGIN
    IF before IS NULL OR before > now() - INTERVAL '30 days' THEN
        RAISE EXCEPTION 'webhooks of the last thirty days are evidence'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'webhooks_are_kept_for_thirty_days';
    END IF;
    DELETE FROM webhooks WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM webhooks WHERE outcome IN ('HINTED', 'NOTHING_TO_DO', 'LATE_SUCCESS') AND received_at < before
          AND (SELECT count(*) FROM reconciliation_findings AS finding
               WHERE finding.resolved_at IS NULL AND (finding.kind = 'WEBHOOK_CLASH' AND finding.reference = webhooks.event_id
                                                    OR finding.kind = 'REFUND_REFUSED' AND finding.reference = webhooks.intent_id)) = 0
        ORDER BY received_at LIMIT least(most, 1000) FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $$;
REVOKE ALL ON FUNCTION forget_webhooks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_webhooks TO order_payment_app;
