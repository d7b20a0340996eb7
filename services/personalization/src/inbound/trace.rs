//! One trace from the browser to Redis: each click of a batch was sent within some trace, and gets two spans in it, `click.fold`
//! for being counted and `interest.write` for being written. The profile remembers the latter, so that a page which shows its
//! effect can be linked to the click.

use std::collections::{BTreeMap, HashMap};

use tracing::Span;

use crate::domain::{Batch, Outcome, PersonChange};

/// Traces continued per batch. A batch has up to a thousand records; this many spans show what happens without doubling the work.
const MAX_TRACES: usize = 32;

/// Spans of one batch, by the trace context of the records. Ended by being dropped.
pub struct ClickTraces {
    folds: BTreeMap<String, Span>,
    writes: HashMap<String, Span>,
}

impl ClickTraces {
    /// Begins `click.fold` for the first traces of the batch, in the order of the stream.
    pub fn begin(batch: &Batch) -> Self {
        let mut traced: Vec<(i64, &String)> =
            batch.reports().filter_map(|report| Some((report.position.offset, report.traceparent.as_ref()?))).collect();
        traced.sort_unstable();
        let mut folds = BTreeMap::new();
        for (_, traceparent) in traced {
            if folds.len() == MAX_TRACES {
                break;
            }
            folds.entry(traceparent.clone()).or_insert_with(|| {
                let span = tracing::info_span!(parent: None, "click.fold", otel.kind = "consumer");
                contracts::trace::set_parent(&span, traceparent);
                span
            });
        }
        Self { folds, writes: HashMap::new() }
    }

    /// Begins `interest.write` and lets each profile remember the write that its newest click caused.
    pub fn begin_write(&mut self, outcome: &mut Outcome) {
        for (traceparent, fold) in &self.folds {
            let span =
                tracing::info_span!(parent: fold, "interest.write", otel.kind = "client", db.system.name = "redis");
            self.writes.insert(traceparent.clone(), span);
        }
        for (_, change) in &mut outcome.people {
            if let PersonChange::Remembered { profile, .. } = change
                && let Some(write) = profile.traceparent.as_ref().and_then(|traceparent| self.writes.get(traceparent))
                && let Some(written) = contracts::trace::traceparent_of(write)
            {
                profile.traceparent = Some(written);
            }
        }
    }
}
