//! Clicks: which reports count, when they happened, and what is taken out of them.
//!
//! Decided here: one bad event never costs the others; a browser's clock is believed within a day; a query loses e-mails,
//! phone and card numbers before anybody else sees it. Not decided here: who clicked (the session says, never the body) and
//! what a click is worth (personalization).

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
/// Highest place in a list that is counted.
pub const LAST_POSITION: u32 = 10_000;

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
pub struct ClickForm {
    pub event_id: String,
    pub kind: String,
    pub sku: Option<String>,
    pub query: Option<String>,
    pub list_id: Option<String>,
    pub position: Option<u32>,
    pub at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click {
    /// The browser's name for this event; consumers count it once.
    pub event_id: String,
    pub kind: ClickType,
    pub sku: Option<Sku>,
    /// Without personal data.
    pub query: Option<String>,
    pub list_id: Option<String>,
    pub position: Option<u32>,
    /// Not in the future and at most [`OLDEST`] ago, as seen from its receipt.
    pub at: DateTime<Utc>,
}

/// An event that is not counted: its place in the request and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedClick {
    pub index: usize,
    pub code: &'static str,
}

impl Click {
    /// # Errors
    /// The code of the first rule that `form` breaks.
    pub fn parse(form: &ClickForm, now: DateTime<Utc>) -> Result<Self, &'static str> {
        let kind = ClickType::parse(&form.kind).ok_or(INVALID_FIELD)?;
        let sku = form.sku.as_deref().map(Sku::parse).transpose().map_err(|_| INVALID_FIELD)?;
        let query = form.query.as_deref().map(query).transpose()?;
        let list_id = form.list_id.as_deref().map(token).transpose()?;
        let complete = (!kind.needs_sku() || sku.is_some()) && (kind != ClickType::Search || query.is_some());
        let within = form.position.is_none_or(|position| position <= LAST_POSITION);
        if !complete || !within {
            return Err(INVALID_FIELD);
        }
        let event_id = token(&form.event_id)?;
        Ok(Self {
            event_id,
            kind,
            sku,
            query,
            list_id,
            position: form.position,
            at: happened_at(form.at.as_deref(), now)?,
        })
    }
}

/// Keeps the first event of each id: a browser that repeats itself within one request counts once.
pub fn without_repetitions(clicks: Vec<Click>) -> Vec<Click> {
    let mut seen = HashSet::new();
    clicks.into_iter().filter(|click| seen.insert(click.event_id.clone())).collect()
}

/// Names made by programs: 1 to 64 characters that cannot carry a sentence.
fn token(text: &str) -> Result<String, &'static str> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
    let plain = (1..=64).contains(&text.len()) && text.bytes().all(known);
    if plain { Ok(text.to_owned()) } else { Err(INVALID_FIELD) }
}

fn query(text: &str) -> Result<String, &'static str> {
    if text.chars().count() > LONGEST_QUERY || text.chars().any(char::is_control) {
        return Err(INVALID_FIELD);
    }
    Ok(redact::personal_data(text))
}

fn happened_at(text: Option<&str>, now: DateTime<Utc>) -> Result<DateTime<Utc>, &'static str> {
    let Some(text) = text else { return Ok(now) };
    let told = DateTime::parse_from_rfc3339(text).map_err(|_| INVALID_FIELD)?.to_utc();
    Ok(told.clamp(now - OLDEST, now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + Duration::days(20_000)
    }

    fn view() -> ClickForm {
        ClickForm {
            event_id: "e-1".to_owned(),
            kind: "view".to_owned(),
            sku: Some("FA-1".to_owned()),
            ..ClickForm::default()
        }
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
            let form = ClickForm {
                kind: kind.to_owned(),
                sku: sku.map(str::to_owned),
                query: query.map(str::to_owned),
                ..view()
            };
            assert_eq!(Click::parse(&form, now()).is_ok(), accepted, "{form:?}");
        }
    }

    #[test]
    fn hostile_values_are_refused_one_by_one() {
        let bad = [
            ClickForm { event_id: String::new(), ..view() },
            ClickForm { event_id: "ada@example.com".to_owned(), ..view() },
            ClickForm { sku: Some("../etc".to_owned()), ..view() },
            ClickForm { query: Some("x".repeat(LONGEST_QUERY + 1)), ..view() },
            ClickForm { query: Some("a\0b".to_owned()), ..view() },
            ClickForm { list_id: Some("my list".to_owned()), ..view() },
            ClickForm { position: Some(u32::MAX), ..view() },
            ClickForm { at: Some("yesterday".to_owned()), ..view() },
        ];
        for form in bad {
            assert_eq!(Click::parse(&form, now()), Err("invalid-field"), "{form:?}");
        }
    }

    #[test]
    fn times_are_clamped_to_the_day_before_receipt() {
        let at =
            |text: &str| Click::parse(&ClickForm { at: Some(text.to_owned()), ..view() }, now()).map(|click| click.at);
        assert_eq!(at(&(now() + Duration::days(365)).to_rfc3339()), Ok(now()));
        assert_eq!(at(&(now() - Duration::days(365)).to_rfc3339()), Ok(now() - OLDEST));
        assert_eq!(at(&(now() - Duration::hours(1)).to_rfc3339()), Ok(now() - Duration::hours(1)));
        assert_eq!(Click::parse(&view(), now()).map(|click| click.at), Ok(now()));
    }

    #[test]
    fn a_query_loses_personal_data() {
        let form =
            ClickForm { kind: "search".to_owned(), query: Some("gift for ada@example.com".to_owned()), ..view() };
        assert_eq!(Click::parse(&form, now()).map(|click| click.query), Ok(Some("gift for [redacted]".to_owned())));
    }

    #[test]
    fn a_repeated_event_counts_once() {
        let click = Click::parse(&view(), now()).expect("a good event");
        let other = Click { event_id: "e-2".to_owned(), ..click.clone() };
        assert_eq!(without_repetitions(vec![click.clone(), other.clone(), click.clone()]), [click, other]);
    }

    proptest! {
        #[test]
        fn no_time_escapes_the_window(seconds in -10_000_000_000_i64..10_000_000_000) {
            let told = now() + Duration::seconds(seconds);
            let form = ClickForm { at: Some(told.to_rfc3339()), ..view() };
            if let Ok(click) = Click::parse(&form, now()) {
                prop_assert!(click.at <= now() && click.at >= now() - OLDEST);
            }
        }
    }
}
