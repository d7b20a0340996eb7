//! Clicks: which reports count, when they happened, and what is taken out of them.
//!
//! Decided here: one bad event never costs the others; a browser's clock is believed within a day; a query loses e-mails,
//! phone and card numbers before anybody else sees it. Not decided here: who clicked (the session says, never the body) and
//! what a click is worth (personalization).
//!
//! Texts are borrowed from the body they came in: an event costs no memory of its own unless something is taken out of it.

use std::borrow::Cow;
use std::collections::HashSet;

use chrono::{DateTime, Duration, Utc};
use common::Sku;

use super::person::INVALID_FIELD;
use super::redact;

/// Most events of one request: a page that reports in batches of a few seconds stays far below it.
pub const MOST_EVENTS: usize = 500;
/// Longest query in characters; longer ones are not typed by people.
pub const LONGEST_QUERY: usize = 200;
/// How far back a report may lie: a telephone that was offline for a day.
pub const OLDEST: Duration = Duration::hours(24);
/// A clock that is ahead by less is no wonder.
pub const AHEAD: Duration = Duration::minutes(5);
/// Highest place in a list that is counted.
pub const LAST_POSITION: u32 = 10_000;
/// Refused events of one request of which something is kept, and how many bytes of each: enough to see what a page does wrongly,
/// and at most 10 kB for a body that is nothing but wrong.
pub const MOST_SAMPLES: usize = 20;
pub const LONGEST_SAMPLE: usize = 512;
/// What is looked at beyond a sample: half a number or half an address at its end would not be known for what it is.
const BEYOND_SAMPLE: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClickType {
    View,
    Search,
    Add,
    Remove,
    Buy,
    Impression,
    Custom,
}

impl ClickType {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "view" => Self::View,
            "search" => Self::Search,
            "add" => Self::Add,
            "remove" => Self::Remove,
            "buy" => Self::Buy,
            "impression" => Self::Impression,
            "custom" => Self::Custom,
            _ => return None,
        })
    }

    fn needs_sku(self) -> bool {
        matches!(self, Self::View | Self::Add | Self::Remove | Self::Buy | Self::Impression)
    }
}

/// An event as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClickForm<'a> {
    pub event_id: Cow<'a, str>,
    pub kind: Cow<'a, str>,
    pub sku: Option<Cow<'a, str>>,
    pub query: Option<Cow<'a, str>>,
    pub list_id: Option<Cow<'a, str>>,
    pub position: Option<u32>,
    pub at: Option<Cow<'a, str>>,
}

/// One element of a body: what it says, or the code why it says nothing, and the bytes it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    pub form: Result<ClickForm<'a>, &'static str>,
    pub sent: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click<'a> {
    /// The browser's name for this event; consumers count it once.
    pub event_id: Cow<'a, str>,
    pub kind: ClickType,
    /// Has the shape of a [`Sku`].
    pub sku: Option<Cow<'a, str>>,
    /// Without personal data.
    pub query: Option<Cow<'a, str>>,
    pub list_id: Option<Cow<'a, str>>,
    pub position: Option<u32>,
    /// Not in the future and at most [`OLDEST`] ago, as seen from its receipt.
    pub at: DateTime<Utc>,
    pub clock: ToldTime,
}

/// What the browser's clock was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldTime {
    Believed,
    /// It said nothing; the time of receipt stands in.
    Absent,
    /// More than [`AHEAD`] ahead of us.
    Future,
    /// Before the window, 1970 included.
    Stale,
}

/// An event that is not counted: its place in the request and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedClick {
    pub index: usize,
    pub code: &'static str,
    /// The beginning of what was sent, without personal data; empty beyond the first [`MOST_SAMPLES`].
    pub sample: String,
}

impl<'a> Click<'a> {
    /// # Errors
    /// The code of the first rule that `form` breaks.
    pub fn parse(form: ClickForm<'a>, now: DateTime<Utc>) -> Result<Self, &'static str> {
        let kind = ClickType::parse(&form.kind).ok_or(INVALID_FIELD)?;
        if form.sku.as_deref().is_some_and(|sku| !Sku::fits(sku)) {
            return Err(INVALID_FIELD);
        }
        let query = form.query.map(query).transpose()?;
        let list_id = form.list_id.map(token).transpose()?;
        let complete = (!kind.needs_sku() || form.sku.is_some()) && (kind != ClickType::Search || query.is_some());
        let within = form.position.is_none_or(|position| position <= LAST_POSITION);
        if !complete || !within {
            return Err(INVALID_FIELD);
        }
        let event_id = token(form.event_id)?;
        let (at, clock) = happened_at(form.at.as_deref(), now)?;
        Ok(Self { event_id, kind, sku: form.sku, query, list_id, position: form.position, at, clock })
    }
}

impl RefusedClick {
    /// `kept` of this request have a sample already.
    pub fn of(index: usize, code: &'static str, sent: &[u8], kept: usize) -> Self {
        let sample = if kept < MOST_SAMPLES { sample(sent) } else { String::new() };
        Self { index, code, sample }
    }
}

/// Cut first, so that ten kilobytes of one id cost what ten bytes cost; and once more when personal data is out, so that nothing
/// that the first cut went through is left.
fn sample(sent: &[u8]) -> String {
    let seen = &sent[..sent.len().min(LONGEST_SAMPLE + BEYOND_SAMPLE)];
    let mut text = redact::personal_data(&String::from_utf8_lossy(seen));
    let whole = if seen.len() < sent.len() { text.len().saturating_sub(BEYOND_SAMPLE) } else { text.len() };
    text.truncate(text.floor_char_boundary(whole.min(LONGEST_SAMPLE)));
    text
}

/// Keeps the first event of each id: a browser that repeats itself within one request counts once.
pub fn without_repetitions(mut clicks: Vec<Click<'_>>) -> Vec<Click<'_>> {
    let mut seen = HashSet::with_capacity(clicks.len());
    let first: Vec<bool> = clicks.iter().map(|click| seen.insert(&*click.event_id)).collect();
    let mut first = first.into_iter();
    clicks.retain(|_| first.next().unwrap_or(true));
    clicks
}

/// Names made by programs: 1 to 64 characters that cannot carry a sentence.
fn token(text: Cow<'_, str>) -> Result<Cow<'_, str>, &'static str> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
    let plain = (1..=64).contains(&text.len()) && text.bytes().all(known);
    if plain { Ok(text) } else { Err(INVALID_FIELD) }
}

fn query(text: Cow<'_, str>) -> Result<Cow<'_, str>, &'static str> {
    if text.chars().count() > LONGEST_QUERY || text.chars().any(char::is_control) {
        return Err(INVALID_FIELD);
    }
    let suspect = redact::may_hold_personal_data(&text);
    Ok(if suspect { Cow::Owned(redact::personal_data(&text)) } else { text })
}

fn happened_at(text: Option<&str>, now: DateTime<Utc>) -> Result<(DateTime<Utc>, ToldTime), &'static str> {
    let Some(text) = text else { return Ok((now, ToldTime::Absent)) };
    let told = DateTime::parse_from_rfc3339(text).map_err(|_| INVALID_FIELD)?.to_utc();
    let clock = match told {
        told if told > now + AHEAD => ToldTime::Future,
        told if told < now - OLDEST => ToldTime::Stale,
        _ => ToldTime::Believed,
    };
    Ok((told.clamp(now - OLDEST, now), clock))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + Duration::days(20_000)
    }

    fn view() -> ClickForm<'static> {
        ClickForm { event_id: "e-1".into(), kind: "view".into(), sku: Some("FA-1".into()), ..ClickForm::default() }
    }

    #[test]
    fn each_type_needs_what_it_is_about() {
        let cases = [
            ("view", Some("FA-1"), None, true),
            ("view", None, None, false),
            ("add", None, Some("shoes"), false),
            ("search", None, Some("shoes"), true),
            ("search", Some("FA-1"), None, false),
            ("impression", Some("FA-1"), None, true),
            ("custom", None, None, true),
            ("View", Some("FA-1"), None, false),
            ("teleport", Some("FA-1"), None, false),
            ("", None, None, false),
        ];
        for (kind, sku, query, accepted) in cases {
            let form = ClickForm { kind: kind.into(), sku: sku.map(Cow::from), query: query.map(Cow::from), ..view() };
            assert_eq!(Click::parse(form.clone(), now()).is_ok(), accepted, "{form:?}");
        }
    }

    #[test]
    fn hostile_values_are_refused_one_by_one() {
        let bad = [
            ClickForm { event_id: "".into(), ..view() },
            ClickForm { event_id: "ada@example.com".into(), ..view() },
            ClickForm { event_id: "x".repeat(10_000).into(), ..view() },
            ClickForm { sku: Some("../etc".into()), ..view() },
            ClickForm { query: Some("x".repeat(LONGEST_QUERY + 1).into()), ..view() },
            ClickForm { query: Some("a\0b".into()), ..view() },
            ClickForm { list_id: Some("my list".into()), ..view() },
            ClickForm { position: Some(u32::MAX), ..view() },
            ClickForm { at: Some("yesterday".into()), ..view() },
        ];
        for form in bad {
            assert_eq!(Click::parse(form.clone(), now()), Err("invalid-field"), "{form:?}");
        }
    }

    #[test]
    fn times_are_clamped_to_the_day_before_receipt_and_a_wrong_clock_is_told() {
        let at = |text: &str| {
            let form = ClickForm { at: Some(text.into()), ..view() };
            Click::parse(form, now()).map(|click| (click.at, click.clock))
        };
        assert_eq!(at(&(now() + Duration::days(365)).to_rfc3339()), Ok((now(), ToldTime::Future)));
        assert_eq!(at(&(now() + Duration::minutes(1)).to_rfc3339()), Ok((now(), ToldTime::Believed)));
        assert_eq!(at("1970-01-01T00:00:00Z"), Ok((now() - OLDEST, ToldTime::Stale)));
        let an_hour_ago = now() - Duration::hours(1);
        assert_eq!(at(&an_hour_ago.to_rfc3339()), Ok((an_hour_ago, ToldTime::Believed)));
        assert_eq!(Click::parse(view(), now()).map(|click| (click.at, click.clock)), Ok((now(), ToldTime::Absent)));
    }

    #[test]
    fn a_query_loses_personal_data_and_a_plain_one_is_not_copied() {
        let search = |query: &'static str| {
            let form = ClickForm { kind: "search".into(), query: Some(query.into()), ..view() };
            Click::parse(form, now()).expect("a good event").query.expect("its query")
        };
        assert_eq!(search("gift for ada@example.com"), "gift for [redacted]");
        assert_eq!(search("call ＋４９ 170 1234567"), redact::personal_data("call ＋４９ 170 1234567"));
        for plain in ["winter coat, long", "iphone 15 pro", "mantel größe 42"] {
            assert!(matches!(search(plain), Cow::Borrowed(query) if query == plain), "{plain}");
        }
    }

    #[test]
    fn a_repeated_event_counts_once() {
        let click = Click::parse(view(), now()).expect("a good event");
        let other = Click { event_id: "e-2".into(), ..click.clone() };
        assert_eq!(without_repetitions(vec![click.clone(), other.clone(), click.clone()]), [click, other]);
    }

    #[test]
    fn of_a_refused_event_a_short_sample_without_personal_data_is_kept() {
        let sent = br#"{"type":"view","mail":"ada@example.com","phone":"+49 170 1234567"}"#;
        let refused = RefusedClick::of(3, "unknown-field", sent, 0);
        assert!(refused.sample.contains(redact::MARK), "{refused:?}");
        let plain = br#"{"event_id":"e","type":"view","colour":"red"}"#;
        assert_eq!(RefusedClick::of(0, "unknown-field", plain, 0).sample.as_bytes(), plain);
        assert!(!refused.sample.contains("ada@") && !refused.sample.contains("1234567"), "{refused:?}");
        for long in [vec![0xff; 10_000], "ü".repeat(600).into_bytes(), vec![b'x'; 10_000]] {
            let kept = RefusedClick::of(3, "unknown-field", &long, 0).sample.len();
            assert!((LONGEST_SAMPLE - 3..=LONGEST_SAMPLE).contains(&kept), "{kept}");
        }
        // A number over the end of the sample, and one over the end of what was looked at.
        for before in [LONGEST_SAMPLE - 8, LONGEST_SAMPLE + BEYOND_SAMPLE - 8] {
            for filling in ["x", "1"] {
                let text = format!("{} x 4111111111111111{}", filling.repeat(before - 3), " y".repeat(200));
                let sample = RefusedClick::of(3, "unknown-field", text.as_bytes(), 0).sample;
                assert!(!sample.contains('4'), "{sample}");
            }
        }
        assert_eq!(RefusedClick::of(3, "unknown-field", sent, MOST_SAMPLES).sample, "");
    }

    proptest! {
        #[test]
        fn no_time_escapes_the_window(seconds in -10_000_000_000_i64..10_000_000_000) {
            let told = now() + Duration::seconds(seconds);
            let form = ClickForm { at: Some(told.to_rfc3339().into()), ..view() };
            if let Ok(click) = Click::parse(form, now()) {
                prop_assert!(click.at <= now() && click.at >= now() - OLDEST);
            }
        }
    }
}
