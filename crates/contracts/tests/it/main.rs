//! Contracts as they were once sent: recordings of every version of every event, read by the decoders of today.

mod recorded;
