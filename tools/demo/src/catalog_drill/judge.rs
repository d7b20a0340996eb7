//! Whether one answer is good. Decided here: an answer counts for what was asked; a page of another product and a search by number that
//! begins with another product are as wrong as no answer.

use std::time::Duration;

use xtask::drill::told::Counts;

use crate::api::Reply;

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Words that have results. If they are a product's number, this product comes first.
    Search(Option<&'a str>),
    /// The same where earlier releases answer too: those had no stand-in for the index, and no mark in their answers.
    SearchOfAnyRelease(Option<&'a str>),
    /// The page of this product.
    Page(&'a str),
    /// A change by staff, or whatever else has only to succeed.
    Write,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Good, and made without the index.
    FromStandIn,
    /// Nothing was found where something is.
    Empty,
    Failed(String),
}

pub fn judge(question: Question<'_>, answer: anyhow::Result<Reply>) -> Verdict {
    let failed = |why: &str| Verdict::Failed(why.to_owned());
    let Ok(reply) = answer else { return failed("no answer") };
    if !reply.status.is_success() {
        return Verdict::Failed(why(&reply));
    }
    match question {
        Question::Write => Verdict::Good,
        Question::Page(sku) if reply.body["sku"] == sku => Verdict::Good,
        Question::Page(_) => failed("another product's page"),
        Question::Search(first) | Question::SearchOfAnyRelease(first) => {
            let mark = &reply.body["degraded"];
            let unmarked = mark.is_null() && matches!(question, Question::SearchOfAnyRelease(_));
            let degraded = if unmarked { Some(false) } else { mark.as_bool() };
            let (Some(items), Some(degraded)) = (reply.body["items"].as_array(), degraded) else {
                return failed("not the answer to a search");
            };
            match (items.first(), first) {
                (None, _) => Verdict::Empty,
                (Some(item), Some(sku)) if item["sku"] != sku => failed("another product first"),
                _ if degraded => Verdict::FromStandIn,
                _ => Verdict::Good,
            }
        }
    }
}

/// Verdicts of one kind of question, and how long the answers took.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Counts,
    micros: Vec<u64>,
}

impl Tally {
    pub fn note(&mut self, verdict: Verdict, took: Duration) {
        self.counts.asked += 1;
        self.micros.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        match verdict {
            Verdict::Good => {}
            Verdict::FromStandIn => self.counts.from_stand_in += 1,
            Verdict::Empty => self.counts.empty += 1,
            Verdict::Failed(why) => {
                self.counts.failed += 1;
                *self.counts.why.entry(why).or_default() += 1;
            }
        }
    }

    /// All of `tallies` as one.
    pub fn together(tallies: impl IntoIterator<Item = Tally>) -> Tally {
        let mut all = Tally::default();
        for Tally { counts, micros } in tallies {
            all.counts.asked += counts.asked;
            all.counts.failed += counts.failed;
            all.counts.empty += counts.empty;
            all.counts.from_stand_in += counts.from_stand_in;
            for (why, count) in counts.why {
                *all.counts.why.entry(why).or_default() += count;
            }
            all.micros.extend(micros);
        }
        all
    }

    /// The counts with the times that half of the answers, and 99 of a hundred, did not exceed.
    pub fn counts(mut self) -> Counts {
        self.micros.sort_unstable();
        let percentile = |percent: usize| {
            let at = self.micros.len().saturating_sub(1) * percent / 100;
            self.micros.get(at).map_or(0.0, |micros| *micros as f64 / 1_000.0)
        };
        Counts { p50_ms: percentile(50), p99_ms: percentile(99), ..self.counts }
    }
}

/// Status, code and, where the answer has one, its sentence: edge and services have the same code for what they wait for.
fn why(reply: &Reply) -> String {
    let detail = reply.body["detail"].as_str().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{} {}{detail}", reply.status.as_u16(), reply.code())
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use serde_json::{Value, json};

    use super::*;

    fn reply(status: u16, body: Value) -> anyhow::Result<Reply> {
        Ok(Reply { status: StatusCode::from_u16(status)?, body, replayed: false, etag: String::new() })
    }

    fn found(skus: &[&str], degraded: bool) -> anyhow::Result<Reply> {
        let items: Vec<Value> = skus.iter().map(|sku| json!({"sku": sku})).collect();
        reply(200, json!({"items": items, "degraded": degraded}))
    }

    #[test]
    fn an_answer_is_good_only_for_what_was_asked() {
        let failed = |why: &str| Verdict::Failed(why.to_owned());
        for (question, answer, verdict) in [
            (Question::Search(None), found(&["A", "B"], false), Verdict::Good),
            (Question::Search(None), found(&["A"], true), Verdict::FromStandIn),
            (Question::Search(None), found(&[], false), Verdict::Empty),
            (Question::Search(None), found(&[], true), Verdict::Empty),
            (Question::Search(Some("A")), found(&["A", "B"], false), Verdict::Good),
            // Planted: well-formed, with results, and wrong.
            (Question::Search(Some("A")), found(&["B", "A"], false), failed("another product first")),
            (Question::Search(Some("A")), found(&["B"], true), failed("another product first")),
            (
                Question::Search(None),
                reply(200, json!({"items": [{"sku": "A"}]})),
                failed("not the answer to a search"),
            ),
            (Question::Search(None), reply(200, json!({"sku": "A"})), failed("not the answer to a search")),
            (Question::SearchOfAnyRelease(None), reply(200, json!({"items": [{"sku": "A"}]})), Verdict::Good),
            (Question::SearchOfAnyRelease(None), reply(200, json!({"items": []})), Verdict::Empty),
            (Question::SearchOfAnyRelease(None), found(&["A"], true), Verdict::FromStandIn),
            (Question::SearchOfAnyRelease(Some("A")), found(&["B"], false), failed("another product first")),
            (
                Question::SearchOfAnyRelease(None),
                reply(200, json!({"items": [{"sku": "A"}], "degraded": "no"})),
                failed("not the answer to a search"),
            ),
            (Question::SearchOfAnyRelease(None), reply(200, json!({"sku": "A"})), failed("not the answer to a search")),
            (Question::Search(None), reply(503, json!({"code": "dependency-down"})), failed("503 dependency-down")),
            (
                Question::Search(None),
                reply(503, json!({"code": "dependency-down", "detail": "the service is not ready"})),
                failed("503 dependency-down: the service is not ready"),
            ),
            (Question::Search(None), Err(anyhow::anyhow!("reset")), failed("no answer")),
            (Question::Page("A"), reply(200, json!({"sku": "A"})), Verdict::Good),
            (Question::Page("A"), reply(200, json!({"sku": "B"})), failed("another product's page")),
            (Question::Page("A"), reply(200, Value::Null), failed("another product's page")),
            (Question::Page("A"), reply(404, json!({"code": "not-found"})), failed("404 not-found")),
            (Question::Write, reply(201, json!({})), Verdict::Good),
            (Question::Write, reply(401, json!({"code": "unauthenticated"})), failed("401 unauthenticated")),
        ] {
            let said = format!("{question:?} {answer:?}");
            assert_eq!(judge(question, answer), verdict, "{said}");
        }
    }

    #[test]
    fn tallies_add_up_and_every_answer_has_its_time() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        (1..=98).for_each(|ms| one.note(Verdict::Good, Duration::from_millis(ms)));
        one.note(Verdict::Empty, Duration::from_millis(99));
        other.note(Verdict::Failed("no answer".to_owned()), Duration::from_millis(100));
        other.note(Verdict::FromStandIn, Duration::from_millis(101));
        let counts = Tally::together([one, other]).counts();
        let Counts { asked, failed, empty, from_stand_in, p50_ms, p99_ms, why } = counts;
        assert_eq!((asked, failed, empty, from_stand_in), (101, 1, 1, 1));
        assert_eq!(format!("{p50_ms} {p99_ms} {why:?}"), r#"51 100 {"no answer": 1}"#);
        assert_eq!(Tally::together([]).counts(), Counts::default());
    }
}
