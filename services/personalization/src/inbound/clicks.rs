//! The stream of clicks: a batch of records of one partition becomes reports, the use case counts them, and each click's trace
//! is told where it was written.
//!
//! A record that is no report of ours is counted by reason and put aside: it can never be counted, one bad record must not stop a
//! partition, and whoever looks for it finds it. It is put aside when the others are counted, so that no page waits for that; a
//! batch that comes again for it changes nothing. Nothing of a record's content is logged.
//!
//! When the use case finds a hole before a batch, its partition is to be read again from there; how is decided in `messaging`. Where
//! everything is lost, not before products are learned again.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use common::{SharedClock, Sku};
use contracts::user::v1::{self as wire, ClickType, ClicksReported};
use messaging::{Aside, BatchHandler, PutAside, Record, Rewind};
use prost::Message as _;
use tracing::Instrument as _;

use super::trace::ClickTraces;
use crate::domain::seen;
use crate::domain::{Batch, Click, ClickKind, Position, Pseudonym, Report, Span};
use crate::metrics;
use crate::usecases::fold_clicks::COUNTED_AGAIN_MS;
use crate::usecases::{Earlier, Folded, Learner, NotFolded, fold_clicks};

/// Clicks read from one record; the intake accepts no more per request.
const MAX_CLICKS: usize = 10_000;

/// A click that is older at its receipt than the intake believes any browser counts as of this long before.
const OLDEST_CLICK_MS: i64 = 24 * 60 * 60 * 1000;

/// Ahead of our clock by less, the intake's clock is no wonder.
const AHEAD_MS: i64 = 5 * 60 * 1000;

/// A record from further back would make a profile that should have been forgotten by now.
const OLDEST_RECEIPT_MS: i64 = contracts::interest::PROFILE_LIFETIME_SECONDS as i64 * 1000;

pub struct ClickConsumer {
    pub learner: Learner,
    /// Where records go that are no reports.
    pub aside: Arc<dyn Aside>,
    pub clock: SharedClock,
}

/// What the records of a batch are.
#[derive(Default)]
struct Reading {
    reports: Vec<Report>,
    refused: Vec<PutAside>,
    bots: usize,
}

#[async_trait]
impl BatchHandler for ClickConsumer {
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        self.fold_in_span(partition, records, Earlier::Readable).await
    }

    async fn handle_as_first(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        // What was written since was read again, refusals with it.
        let since_ms = self.clock.now().timestamp_millis() - COUNTED_AGAIN_MS;
        self.fold_in_span(partition, records, Earlier::Gone { since_ms }).await
    }
}

impl ClickConsumer {
    async fn fold_in_span(&self, partition: i32, records: &[Record], earlier: Earlier) -> anyhow::Result<()> {
        let span = tracing::info_span!(
            "interest.fold",
            messaging.kafka.partition = partition,
            messaging.batch.size = records.len()
        );
        self.fold(partition, records, earlier).instrument(span).await
    }

    async fn fold(&self, partition: i32, records: &[Record], earlier: Earlier) -> anyhow::Result<()> {
        let started = Instant::now();
        let now_ms = self.clock.now().timestamp_millis();
        let Reading { reports, refused, bots } = read(records, now_ms);
        let readable = reports.len();
        let mut batch = Batch::gather(reports);
        if let (Some(first), Some(last)) = (records.first(), records.last()) {
            batch = batch.covering(Span { partition, first: first.offset, last: last.offset });
        }
        let mut traces = ClickTraces::begin(&batch);
        let folded =
            fold_clicks(&self.learner, partition, &batch, earlier, |outcome| traces.begin_write(outcome)).await;
        if let Err(NotFolded::Hole { counted: None }) = &folded {
            self.has_products().await?;
        }
        let folded = folded.map_err(|why| not_folded(why, now_ms))?;
        drop(traces);
        tell(&folded, readable, bots);
        metrics::FOLD_DURATION.with_label_values::<&str>(&[]).observe(started.elapsed().as_secs_f64());
        let now_ms = self.clock.now().timestamp_millis();
        if let Some(oldest) = batch.reports().map(|report| report.position.received_at_ms).min() {
            metrics::FRESHNESS.with_label_values::<&str>(&[]).observe((now_ms - oldest).max(0) as f64 / 1_000.0);
        }
        tracing::debug!(
            people = folded.people,
            products = folded.products,
            repeated = folded.repeated,
            refused = refused.len(),
            "clicks counted"
        );
        self.put_aside(&refused).await
    }

    /// A store that has lost everything has lost products too. Clicks that are counted without knowing these are popular nowhere and tell
    /// no taste, and they are never counted again, so they wait: until the topic of products is read through, which takes seconds.
    async fn has_products(&self) -> anyhow::Result<()> {
        let are_learned = self.learner.features.are_learned().await?;
        anyhow::ensure!(are_learned, "clicks wait until products are learned again");
        Ok(())
    }

    async fn put_aside(&self, refused: &[PutAside]) -> anyhow::Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        self.aside.put(refused).await?;
        metrics::REPORTS.with_label_values(&["refused"]).inc_by(refused.len() as u64);
        for PutAside { reason, .. } in refused {
            metrics::REFUSED.with_label_values(&[*reason]).inc();
        }
        Ok(())
    }
}

/// Where a partition is to be read again, if that is what a batch waits for.
fn not_folded(why: NotFolded, now_ms: i64) -> anyhow::Error {
    let (outcome, error): (&str, anyhow::Error) = match why {
        NotFolded::Hole { counted: Some(counted) } => ("hole", Rewind::To(counted.offset.saturating_add(1)).into()),
        NotFolded::Hole { counted: None } => ("hole", Rewind::Since(now_ms - COUNTED_AGAIN_MS).into()),
        NotFolded::Overtaken => ("overtaken", why.into()),
        NotFolded::Store(error) => return error.into(),
    };
    metrics::BATCHES_NOT_COUNTED.with_label_values(&[outcome]).inc();
    error
}

fn tell(folded: &Folded, readable: usize, bots: usize) {
    let counted = readable - folded.repeated.min(readable);
    for (outcome, count) in [("bot", bots), ("repeated", folded.repeated), ("folded", counted)] {
        metrics::REPORTS.with_label_values(&[outcome]).inc_by(count as u64);
    }
    let known = folded.repeated_events - folded.doubtful_events.min(folded.repeated_events);
    for (why, count) in [("known", known), ("in-doubt", folded.doubtful_events)] {
        metrics::REPEATED_EVENTS.with_label_values(&[why]).inc_by(count as u64);
    }
}

fn read(records: &[Record], now_ms: i64) -> Reading {
    let mut reading = Reading::default();
    for record in records {
        match parse(record, now_ms) {
            Ok(Some(report)) => reading.reports.push(report),
            // The interests of a program are nobody's.
            Ok(None) => reading.bots += 1,
            Err(reason) => reading.refused.push(PutAside { record: record.clone(), reason }),
        }
    }
    reading
}

/// A record as a report; `None` for one of a program; or why it is none, in words that become a label.
fn parse(record: &Record, now_ms: i64) -> Result<Option<Report>, &'static str> {
    let message = ClicksReported::decode(record.payload.clone()).map_err(|_| "not-a-report")?;
    if record.key.as_ref() != message.pseudonym.as_bytes() {
        // Somebody else's key would put this person's profile under two workers.
        return Err("foreign-key");
    }
    let pseudonym = Pseudonym::parse(&message.pseudonym).map_err(|_| "malformed-pseudonym")?;
    match message.received_at_ms {
        ..=0 => return Err("no-receipt"),
        // A profile never goes back in time: one that stood in the future would let every later click fade at once.
        received if received > now_ms + AHEAD_MS => return Err("received-in-the-future"),
        received if received < now_ms - OLDEST_RECEIPT_MS => return Err("received-too-long-ago"),
        _ => {}
    }
    if message.bot {
        return Ok(None);
    }
    odd("too-many", message.clicks.len().saturating_sub(MAX_CLICKS));
    let clicks = message
        .clicks
        .into_iter()
        .take(MAX_CLICKS)
        .filter_map(|click| read_click(&click, message.received_at_ms))
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
fn read_click(click: &wire::Click, received_at_ms: i64) -> Option<Click> {
    let kind = match ClickType::try_from(click.r#type).unwrap_or(ClickType::Unspecified) {
        ClickType::Unspecified => {
            odd("unknown-type", 1);
            return None;
        }
        ClickType::View => ClickKind::View,
        ClickType::Search => ClickKind::Search,
        ClickType::Add => ClickKind::Add,
        ClickType::Remove => ClickKind::Remove,
        ClickType::Buy => ClickKind::Buy,
        ClickType::Impression => ClickKind::Impression,
        ClickType::Custom => ClickKind::Custom,
    };
    let at_ms = happened(click.at_ms, received_at_ms);
    Some(Click { kind, sku: Sku::parse(&click.sku).ok(), at_ms, mark: seen::mark(&click.event_id) })
}

/// When a click happened: not after it was received, and not so long before that no intake would have believed it. A missing time
/// is the time of receipt.
fn happened(told_ms: i64, received_at_ms: i64) -> i64 {
    let earliest = received_at_ms.saturating_sub(OLDEST_CLICK_MS);
    match told_ms {
        ..=0 => received_at_ms,
        told if told > received_at_ms => {
            odd("future", 1);
            received_at_ms
        }
        told if told < earliest => {
            odd("stale", 1);
            earliest
        }
        told => told,
    }
}

/// Counts what is strange about clicks of a report that counts.
fn odd(how: &'static str, clicks: usize) {
    if clicks > 0 {
        metrics::ODD_CLICKS.with_label_values(&[how]).inc_by(clicks as u64);
    }
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
            parse(&record(&"a".repeat(32), message().encode_to_vec()), NOW).expect("a report").expect("of a person");
        assert_eq!(report.position, Position { partition: 2, offset: 9, received_at_ms: NOW });
        let kinds: Vec<_> = report.clicks.iter().map(|click| (click.kind, click.sku.is_some(), click.at_ms)).collect();
        assert_eq!(kinds, [(ClickKind::View, true, NOW - 5), (ClickKind::Search, false, NOW)]);
    }

    /// A report as a newer intake may send it: a click of a type that we do not know between two that we know.
    const NEWER: &str =
        include_str!("../../../../crates/contracts/tests/recorded/newer/clickstream.raw/3-unknown-type.hex");

    #[test]
    fn of_a_newer_report_what_we_know_is_counted_and_the_rest_is_left_out() {
        let digits: String = NEWER.split_whitespace().collect();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
        let payload: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        let report = parse(&record("a1b2c3d4e5f60718293a4b5c6d7e8f90", payload), NOW);
        let report = report.expect("a report").expect("of a person");
        let known: Vec<_> = report.clicks.iter().map(|click| (click.kind, click.at_ms)).collect();
        assert_eq!(known, [(ClickKind::View, NOW - 1_000), (ClickKind::Buy, NOW - 5_000)]);
    }

    #[test]
    fn a_hole_is_read_again_from_what_is_counted_or_from_an_hour_ago() {
        let counted = Position { partition: 2, offset: 41, received_at_ms: NOW };
        for (counted, expected) in [(Some(counted), Rewind::To(42)), (None, Rewind::Since(NOW - 60 * 60 * 1000))] {
            let error = not_folded(NotFolded::Hole { counted }, NOW);
            assert_eq!(error.downcast_ref::<Rewind>(), Some(&expected));
        }
        assert!(not_folded(NotFolded::Overtaken, NOW).downcast_ref::<Rewind>().is_none(), "it is tried again as it is");
    }

    #[test]
    fn a_withdrawal_is_a_report_without_clicks() {
        let told = ClicksReported { personalisation_consent: false, clicks: Vec::new(), ..message() };
        let report =
            parse(&record(&"a".repeat(32), told.encode_to_vec()), NOW).expect("a report").expect("of a person");
        assert!(!report.consent && report.clicks.is_empty());
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
            (key.as_str(), b"\xff\xff\xff".to_vec(), "not-a-report"),
            (key.as_str(), invalid_utf8(), "not-a-report"),
            (key.as_str(), nested(100_000), "not-a-report"),
            (key.as_str(), Vec::new(), "foreign-key"),
            ("other", with(|_| {}), "foreign-key"),
            ("", with(|message| message.pseudonym.clear()), "malformed-pseudonym"),
            (key.as_str(), with(|message| message.received_at_ms = 0), "no-receipt"),
            (key.as_str(), with(|message| message.received_at_ms = i64::MIN), "no-receipt"),
            (key.as_str(), with(|message| message.received_at_ms = NOW + AHEAD_MS + 1), "received-in-the-future"),
            (key.as_str(), with(|message| message.received_at_ms = i64::MAX), "received-in-the-future"),
            (key.as_str(), with(|message| message.received_at_ms = 1), "received-too-long-ago"),
        ] {
            assert_eq!(parse(&record(key, payload), NOW).map(|report| report.is_some()), Err(reason));
        }
        for near in [NOW + AHEAD_MS, NOW - OLDEST_RECEIPT_MS] {
            let message = ClicksReported { received_at_ms: near, ..message() };
            assert!(parse(&record(&key, message.encode_to_vec()), NOW).is_ok_and(|report| report.is_some()), "{near}");
        }
    }

    /// A name whose bytes are no text.
    fn invalid_utf8() -> Vec<u8> {
        vec![0x0a, 0x02, 0xc3, 0x28]
    }

    /// Groups within groups of a field nobody knows.
    fn nested(depth: usize) -> Vec<u8> {
        [vec![0x7b; depth], vec![0x7c; depth]].concat()
    }

    #[test]
    fn a_click_is_no_younger_than_its_receipt_and_no_older_than_a_day_before_it() {
        let day = OLDEST_CLICK_MS;
        for (told, taken, why) in [
            (NOW - 5, NOW - 5, "as told"),
            (NOW - day, NOW - day, "a telephone that was offline for a day"),
            (0, NOW, "no time"),
            (i64::MIN, NOW, "no time that was ever"),
            (NOW + 1, NOW, "the future"),
            (i64::MAX, NOW, "the end of time"),
            (1, NOW - day, "1970"),
        ] {
            assert_eq!(happened(told, NOW), taken, "{why}");
        }
        assert_eq!(happened(1, 2), 1, "before the first day nothing overflows");
    }

    #[test]
    fn what_is_strange_about_clicks_is_counted_and_the_others_of_their_report_count() {
        let count = |how: &str| metrics::ODD_CLICKS.with_label_values(&[how]).get();
        let before = ["too-many", "unknown-type", "stale"].map(count);
        let click =
            |kind: i32, at_ms| wire::Click { r#type: kind, sku: "A".to_owned(), at_ms, ..wire::Click::default() };
        let view = ClickType::View as i32;
        let mut clicks = vec![click(99, NOW), click(view, 1)];
        clicks.resize(MAX_CLICKS + 7, click(view, NOW));
        let message = ClicksReported { clicks, ..message() };
        let report =
            parse(&record(&"a".repeat(32), message.encode_to_vec()), NOW).expect("a report").expect("of a person");
        assert_eq!(report.clicks.len(), MAX_CLICKS - 1);
        let after = ["too-many", "unknown-type", "stale"].map(count);
        // Other tests count as well.
        assert!(after[0] >= before[0] + 7 && after[1] > before[1] && after[2] > before[2], "{before:?} {after:?}");
    }

    #[test]
    fn an_id_of_ten_kilobytes_is_no_product_and_still_a_click() {
        let click = wire::Click {
            r#type: ClickType::View as i32,
            sku: "A".repeat(10_240),
            event_id: "e".repeat(10_240),
            at_ms: NOW,
            ..wire::Click::default()
        };
        let message = ClicksReported { clicks: vec![click], ..message() };
        let report =
            parse(&record(&"a".repeat(32), message.encode_to_vec()), NOW).expect("a report").expect("of a person");
        assert_eq!(report.clicks.len(), 1);
        assert_eq!(report.clicks[0].sku, None);
        assert!(report.clicks[0].mark.is_some(), "of its name only the mark is kept");
    }

    #[test]
    fn what_a_program_reported_is_nobodys_interest() {
        let marked = ClicksReported { bot: true, ..message() };
        let record = record(&"a".repeat(32), marked.encode_to_vec());
        assert_eq!(parse(&record, NOW), Ok(None));
        let reading = read(&[record], NOW);
        assert_eq!((reading.reports.len(), reading.refused.len(), reading.bots), (0, 0, 1));
    }
}
