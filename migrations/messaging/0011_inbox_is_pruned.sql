-- Messages that had their effect so long ago that they cannot come again are forgotten, the oldest first.
CREATE INDEX inbox_applied_at ON inbox (applied_at);
