//! The stream of clicks: a batch of records of one partition becomes reports, the use case counts them, and each click's trace
//! is told where it was written.
//!
//! A record that is no report of ours is refused, counted by reason and passed over: it can never be counted, and one bad record
//! must not stop a partition. Nothing of its content is logged.

use std::time::Instant;

use async_trait::async_trait;
use common::{SharedClock, Sku};
use contracts::user::v1::{self as wire, ClickType, ClicksReported};
use messaging::{BatchHandler, Record};
use prost::Message as _;
use tracing::Instrument as _;

use super::trace::ClickTraces;
use crate::domain::seen;
use crate::domain::{Batch, Click, ClickKind, Position, Pseudonym, Report};
use crate::metrics;
use crate::usecases::{Learner, fold_clicks};

/// Clicks read from one record; the intake accepts no more per request.
const MAX_CLICKS: usize = 10_000;

pub struct ClickConsumer {
    pub learner: Learner,
    pub clock: SharedClock,
}

#[async_trait]
impl BatchHandler for ClickConsumer {
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        let span = tracing::info_span!(
            "interest.fold",
            messaging.kafka.partition = partition,
            messaging.batch.size = records.len()
        );
        self.fold(partition, records).instrument(span).await
    }
}

impl ClickConsumer {
    async fn fold(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut bots = 0;
        let reports: Vec<Report> = records.iter().filter_map(|record| read(record, &mut bots)).collect();
        let refused = records.len() - reports.len() - bots;
        let batch = Batch::gather(reports);
        let mut traces = ClickTraces::begin(&batch);
        let folded = fold_clicks(&self.learner, partition, &batch, |outcome| traces.begin_write(outcome)).await?;
        drop(traces);
        let read = records.len() - refused - bots;
        let counted = read - folded.repeated.min(read);
        for (outcome, count) in
            [("refused", refused), ("bot", bots), ("repeated", folded.repeated), ("folded", counted)]
        {
            metrics::REPORTS.with_label_values(&[outcome]).inc_by(count as u64);
        }
        metrics::REPEATED_EVENTS.with_label_values::<&str>(&[]).inc_by(folded.repeated_events as u64);
        metrics::FOLD_DURATION.with_label_values::<&str>(&[]).observe(started.elapsed().as_secs_f64());
        let now_ms = self.clock.now().timestamp_millis();
        if let Some(oldest) = batch.reports().map(|report| report.position.received_at_ms).min() {
            metrics::FRESHNESS.with_label_values::<&str>(&[]).observe((now_ms - oldest).max(0) as f64 / 1_000.0);
        }
        tracing::debug!(
            people = folded.people,
            products = folded.products,
            repeated = folded.repeated,
            refused,
            "clicks counted"
        );
        Ok(())
    }
}

/// One record as a report; `None` for what is none, and for one of a program, whose interests are nobody's.
fn read(record: &Record, bots: &mut usize) -> Option<Report> {
    match parse(record) {
        Ok(Some(report)) => Some(report),
        Ok(None) => {
            *bots += 1;
            None
        }
        Err(reason) => {
            tracing::warn!(partition = record.partition, offset = record.offset, reason, "click record refused");
            None
        }
    }
}

fn parse(record: &Record) -> Result<Option<Report>, &'static str> {
    let message = ClicksReported::decode(record.payload.clone()).map_err(|_| "not a report")?;
    if record.key.as_ref() != message.pseudonym.as_bytes() {
        // Somebody else's key would put this person's profile under two workers.
        return Err("key does not match");
    }
    let pseudonym = Pseudonym::parse(&message.pseudonym).map_err(|_| "malformed pseudonym")?;
    if message.received_at_ms <= 0 {
        return Err("no time of receipt");
    }
    if message.bot {
        return Ok(None);
    }
    let clicks = message
        .clicks
        .into_iter()
        .take(MAX_CLICKS)
        .filter_map(|click| read_click(click, message.received_at_ms))
        .collect();
    Ok(Some(Report {
        pseudonym,
        consent: message.personalisation_consent,
        position: Position {
            partition: record.partition,
            offset: record.offset,
            received_at_ms: message.received_at_ms,
        },
        traceparent: record.traceparent().filter(|text| contracts::trace::parse(text).is_some()).map(str::to_owned),
        clicks,
    }))
}

/// A click that says nothing we know is left out; the rest of its report counts.
fn read_click(click: wire::Click, received_at_ms: i64) -> Option<Click> {
    let kind = match ClickType::try_from(click.r#type).ok()? {
        ClickType::Unspecified => return None,
        ClickType::View => ClickKind::View,
        ClickType::Search => ClickKind::Search,
        ClickType::Add => ClickKind::Add,
        ClickType::Remove => ClickKind::Remove,
        ClickType::Buy => ClickKind::Buy,
        ClickType::Impression => ClickKind::Impression,
        ClickType::Custom => ClickKind::Custom,
    };
    // Nothing happened after it was received; a missing time is the time of receipt.
    let at_ms = if click.at_ms > 0 { click.at_ms.min(received_at_ms) } else { received_at_ms };
    Some(Click { kind, sku: Sku::parse(&click.sku).ok(), at_ms, mark: seen::mark(&click.event_id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn message() -> ClicksReported {
        let click = |kind: ClickType, sku: &str, at_ms| wire::Click {
            r#type: kind as i32,
            sku: sku.to_owned(),
            at_ms,
            ..wire::Click::default()
        };
        ClicksReported {
            pseudonym: "a".repeat(32),
            personalisation_consent: true,
            received_at_ms: NOW,
            bot: false,
            clicks: vec![
                click(ClickType::View, "A", NOW - 5),
                click(ClickType::Unspecified, "B", NOW),
                click(ClickType::Search, "not a sku", NOW + 60_000),
            ],
        }
    }

    fn record(key: &str, payload: Vec<u8>) -> Record {
        Record {
            topic: String::new(),
            partition: 2,
            offset: 9,
            key: key.to_owned().into(),
            payload: payload.into(),
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_record_becomes_a_report_with_the_clicks_we_know() {
        let report =
            parse(&record(&"a".repeat(32), message().encode_to_vec())).expect("a report").expect("of a person");
        assert_eq!(report.position, Position { partition: 2, offset: 9, received_at_ms: NOW });
        let kinds: Vec<_> = report.clicks.iter().map(|click| (click.kind, click.sku.is_some(), click.at_ms)).collect();
        assert_eq!(kinds, [(ClickKind::View, true, NOW - 5), (ClickKind::Search, false, NOW)]);
    }

    #[test]
    fn a_record_that_is_no_report_of_ours_is_refused_with_a_reason() {
        let key = "a".repeat(32);
        let with = |change: fn(&mut ClicksReported)| {
            let mut message = message();
            change(&mut message);
            message.encode_to_vec()
        };
        for (key, payload, reason) in [
            (key.as_str(), b"\xff\xff\xff".to_vec(), "not a report"),
            (key.as_str(), Vec::new(), "key does not match"),
            ("other", with(|_| {}), "key does not match"),
            ("", with(|message| message.pseudonym.clear()), "malformed pseudonym"),
            (key.as_str(), with(|message| message.received_at_ms = 0), "no time of receipt"),
        ] {
            assert_eq!(parse(&record(key, payload)).map(|report| report.is_some()), Err(reason));
        }
    }

    #[test]
    fn what_a_program_reported_is_nobodys_interest() {
        let marked = ClicksReported { bot: true, ..message() };
        assert_eq!(parse(&record(&"a".repeat(32), marked.encode_to_vec())), Ok(None));
        let mut bots = 0;
        assert_eq!(read(&record(&"a".repeat(32), marked.encode_to_vec()), &mut bots), None);
        assert_eq!(bots, 1);
    }
}
