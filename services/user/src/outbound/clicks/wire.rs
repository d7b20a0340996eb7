//! A batch as records: what `shopsphere.user.v1` says, written by hand from borrowed texts. The generated types own theirs, which
//! would cost six allocations for each event; a test holds both against each other byte by byte.
//!
//! Sizes are reckoned before anything is written, so a record is one piece of memory and no event is written twice.

use std::borrow::Cow;

use contracts::topics::{CLICKSTREAM_RAW, CLICKSTREAM_REFUSED};
use contracts::user::v1;

use super::Records;
use super::line::Line;
use crate::domain::{Click, ClickType, RefusedClick};
use crate::usecases::ports::ClickBatch;

pub fn lines<'a>(batch: &'a ClickBatch<'_>, records: Records) -> Vec<Line<'a>> {
    let line = |topic, payload| Line { topic, key: Cow::Borrowed(&*batch.pseudonym), payload: Cow::Owned(payload) };
    let portion = match records {
        Records::Report => batch.clicks.len().max(1),
        Records::Event => 1,
    };
    let clicks = batch.clicks.chunks(portion).map(|clicks| line(&CLICKSTREAM_RAW, reported(batch, clicks)));
    let is_refusal = !batch.personalisation_consent && batch.clicks.is_empty();
    let refusal = is_refusal.then(|| line(&CLICKSTREAM_RAW, reported(batch, &[])));
    let refused = (!batch.refused.is_empty()).then(|| line(&CLICKSTREAM_REFUSED, refused(batch)));
    clicks.chain(refusal).chain(refused).collect()
}

/// `ClicksReported`
fn reported(batch: &ClickBatch<'_>, clicks: &[Click<'_>]) -> Vec<u8> {
    let (consent, received_at) = (u64::from(batch.personalisation_consent), millis(batch.received_at));
    let bot = u64::from(batch.bot);
    let head = text_size(&batch.pseudonym) + number_size(consent) + number_size(received_at) + number_size(bot);
    let events: usize = clicks.iter().map(|one| bytes_size(click_size(one))).sum();
    let mut out = Vec::with_capacity(head + events);
    text(1, &batch.pseudonym, &mut out);
    number(2, consent, &mut out);
    number(3, received_at, &mut out);
    for one in clicks {
        length(4, click_size(one), &mut out);
        click(one, &mut out);
    }
    number(5, bot, &mut out);
    out
}

/// `Click`
fn click(click: &Click<'_>, out: &mut Vec<u8>) {
    text(1, &click.event_id, out);
    number(2, v1::ClickType::from(click.kind) as u64, out);
    text(3, click.sku.as_deref().unwrap_or_default(), out);
    text(4, click.query.as_deref().unwrap_or_default(), out);
    text(5, click.list_id.as_deref().unwrap_or_default(), out);
    number(6, u64::from(click.position.unwrap_or_default()), out);
    number(7, millis(click.at), out);
}

/// Bytes of what [`click`] writes.
fn click_size(click: &Click<'_>) -> usize {
    text_size(&click.event_id)
        + number_size(v1::ClickType::from(click.kind) as u64)
        + text_size(click.sku.as_deref().unwrap_or_default())
        + text_size(click.query.as_deref().unwrap_or_default())
        + text_size(click.list_id.as_deref().unwrap_or_default())
        + number_size(u64::from(click.position.unwrap_or_default()))
        + number_size(millis(click.at))
}

/// `ClicksRefused`
fn refused(batch: &ClickBatch<'_>) -> Vec<u8> {
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    text(1, &batch.pseudonym, &mut out);
    number(2, millis(batch.received_at), &mut out);
    for RefusedClick { index, code, sample } in &batch.refused {
        scratch.clear();
        number(1, *index as u64, &mut scratch);
        text(2, code, &mut scratch);
        text(3, sample, &mut scratch);
        bytes(3, &scratch, &mut out);
    }
    text(4, &common::ids::counted().to_string(), &mut out);
    out
}

fn millis(time: chrono::DateTime<chrono::Utc>) -> u64 {
    // A negative number is ten bytes of its two's complement on the wire.
    time.timestamp_millis() as u64
}

const VARINT: u32 = 0;
const LENGTH_DELIMITED: u32 = 2;

/// Zero is not written, as proto3 wants it.
fn number(field: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        varint(u64::from((field << 3) | VARINT), out);
        varint(value, out);
    }
}

/// As [`number`].
fn text(field: u32, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        bytes(field, value.as_bytes(), out);
    }
}

fn bytes(field: u32, value: &[u8], out: &mut Vec<u8>) {
    length(field, value.len(), out);
    out.extend_from_slice(value);
}

/// What stands before so many bytes of a field.
fn length(field: u32, bytes: usize, out: &mut Vec<u8>) {
    varint(u64::from((field << 3) | LENGTH_DELIMITED), out);
    varint(bytes as u64, out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of a field's name: ours have numbers below 16.
const NAME: usize = 1;

fn number_size(value: u64) -> usize {
    if value == 0 { 0 } else { NAME + varint_size(value) }
}

fn text_size(value: &str) -> usize {
    if value.is_empty() { 0 } else { bytes_size(value.len()) }
}

fn bytes_size(bytes: usize) -> usize {
    NAME + varint_size(bytes as u64) + bytes
}

/// Seven bits a byte, and a byte for nothing at all.
fn varint_size(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

impl From<ClickType> for v1::ClickType {
    fn from(kind: ClickType) -> Self {
        match kind {
            ClickType::View => Self::View,
            ClickType::Search => Self::Search,
            ClickType::Add => Self::Add,
            ClickType::Remove => Self::Remove,
            ClickType::Buy => Self::Buy,
            ClickType::Impression => Self::Impression,
            ClickType::Custom => Self::Custom,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Duration, Utc};
    use prost::Message as _;

    use super::*;
    use crate::domain::click::ToldTime;

    fn batch() -> ClickBatch<'static> {
        let received_at = DateTime::<Utc>::UNIX_EPOCH + Duration::days(20_000);
        let click = |number: u32, kind, sku: Option<&'static str>| Click {
            event_id: format!("e-{number}").into(),
            kind,
            sku: sku.map(Cow::from),
            query: number.is_multiple_of(2).then(|| "mantel für große Hunde".into()),
            list_id: number.is_multiple_of(3).then(|| "l".repeat(64).into()),
            position: (number % 2 == 1).then_some(number * 300),
            at: received_at - Duration::seconds(i64::from(number) * 100),
            clock: ToldTime::Believed,
        };
        ClickBatch {
            pseudonym: "a".repeat(32),
            personalisation_consent: true,
            bot: true,
            received_at,
            clicks: vec![
                click(0, ClickType::Search, None),
                click(1, ClickType::View, Some("FA-1")),
                click(300, ClickType::Custom, Some("FA-2")),
            ],
            refused: vec![
                RefusedClick { index: 0, code: "invalid-field", sample: "{}".to_owned() },
                RefusedClick { index: 300, code: "unknown-field", sample: String::new() },
            ],
        }
    }

    /// The same by the generated types.
    fn generated(batch: &ClickBatch<'_>, clicks: &[Click<'_>]) -> v1::ClicksReported {
        let clicks = clicks.iter().map(|click| v1::Click {
            event_id: click.event_id.to_string(),
            r#type: v1::ClickType::from(click.kind) as i32,
            sku: click.sku.as_deref().unwrap_or_default().to_owned(),
            query: click.query.as_deref().unwrap_or_default().to_owned(),
            list_id: click.list_id.as_deref().unwrap_or_default().to_owned(),
            position: click.position.unwrap_or_default(),
            at_ms: click.at.timestamp_millis(),
        });
        v1::ClicksReported {
            pseudonym: batch.pseudonym.clone(),
            personalisation_consent: batch.personalisation_consent,
            received_at_ms: batch.received_at.timestamp_millis(),
            clicks: clicks.collect(),
            bot: batch.bot,
        }
    }

    #[test]
    fn records_written_by_hand_are_those_of_the_generated_types() {
        for batch in [
            batch(),
            ClickBatch { bot: false, personalisation_consent: false, ..batch() },
            ClickBatch { received_at: DateTime::<Utc>::UNIX_EPOCH - Duration::days(1), ..batch() },
        ] {
            let lines = lines(&batch, Records::Report);
            assert_eq!(lines.len(), 2);
            assert!(lines.iter().all(|line| line.key == batch.pseudonym));
            assert_eq!(lines[0].topic.kind, "clickstream.raw");
            assert_eq!(*lines[0].payload, generated(&batch, &batch.clicks).encode_to_vec());
            let Cow::Owned(payload) = &lines[0].payload else { panic!("it was written here") };
            assert_eq!(payload.capacity(), payload.len(), "its size was reckoned and not guessed");
            let refused = v1::ClicksRefused::decode(&*lines[1].payload).expect("a message");
            assert_eq!(refused.encode_to_vec(), *lines[1].payload);
            assert_eq!((refused.refused[1].index, refused.refused[1].reason.as_str()), (300, "unknown-field"));
            assert_eq!((refused.refused[0].sample.as_str(), refused.pseudonym), ("{}", batch.pseudonym.clone()));
            let again = super::lines(&batch, Records::Report);
            let again = v1::ClicksRefused::decode(&*again[1].payload).expect("a message");
            assert!(
                !refused.record_id.is_empty() && refused.record_id != again.record_id,
                "each has a name of its own"
            );
        }
    }

    #[test]
    fn the_size_of_a_number_is_reckoned_as_it_is_written() {
        for value in (0..u64::BITS).flat_map(|bit| [(1 << bit) - 1, 1 << bit, u64::MAX >> bit]) {
            let mut written = Vec::new();
            varint(value, &mut written);
            assert_eq!(varint_size(value), written.len(), "{value}");
        }
    }

    #[test]
    fn each_event_may_have_a_record_of_its_own() {
        let batch = batch();
        let lines = lines(&batch, Records::Event);
        let singles = batch.clicks.iter().map(|click| generated(&batch, std::slice::from_ref(click)).encode_to_vec());
        let raw = lines.iter().filter(|line| line.topic.kind == "clickstream.raw").map(|line| line.payload.to_vec());
        assert_eq!(raw.collect::<Vec<_>>(), singles.collect::<Vec<_>>());
        assert_eq!(lines.len(), 4);
        let nothing = ClickBatch { clicks: Vec::new(), refused: Vec::new(), ..batch };
        assert!(super::lines(&nothing, Records::Report).is_empty());
    }

    #[test]
    fn that_somebody_refuses_personalisation_is_told_without_a_click() {
        let ClickBatch { pseudonym, received_at, .. } = batch();
        let refusal = ClickBatch::refusal(pseudonym, received_at);
        assert!(!refusal.is_empty());
        for records in [Records::Report, Records::Event] {
            let lines = lines(&refusal, records);
            assert_eq!((lines.len(), lines[0].topic.kind), (1, "clickstream.raw"), "{records:?}");
            assert_eq!(*lines[0].payload, generated(&refusal, &[]).encode_to_vec());
        }
    }
}
