//! Very many visitors report what they look at, each request when the one before has ended. Decided here: how a request ended, and that a
//! request which got no answer, or was turned away, is sent again with the same events by every other browser and never by the rest: so
//! both kinds are there at the end, those that were settled and those of which nobody knows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use xtask::drill::clicks::told::{OUT_OF_PEOPLE, Requests};

use super::people::{self, EVENTS, People, REQUESTS};
use super::phases::Phases;
use crate::generate::spread;

/// People of one load. Each costs Redis some four kilobytes and us some eight while we compare; a load that makes more ends its senders.
const MOST_PEOPLE: u64 = 60_000;
/// Longest wait for an answer: the intake gives up earlier.
const ONE_TRY: Duration = Duration::from_secs(10);
/// Between two tries, and how many there are at most: a broker that starts again on a busy machine is waited for.
const PAUSE: Duration = Duration::from_millis(200);
const MOST_TRIES: u64 = 1_500;

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// Nobody listened.
    #[default]
    Unsent,
    /// 202, whatever was away.
    Accepted,
    /// No answer, at least once.
    Unknown,
    /// Turned away, each time.
    Refused,
}

/// How all requests of each person ended.
pub type Sent = BTreeMap<u64, [Ended; REQUESTS]>;

/// What one try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    /// The connection was refused, so nothing was sent.
    Nobody,
    /// No answer, or half of one.
    Silence,
    /// 202; `false`: with another verdict than the one that was due.
    Accepted(bool),
    Refused(String),
}

/// Everybody who sends.
pub struct Crowd<'a> {
    pub people: &'a People,
    pub skus: &'a [String],
    pub phases: &'a Phases,
    pub http: &'a reqwest::Client,
    /// Of the intake.
    pub url: String,
    pub seed: u64,
    next: AtomicU64,
    sent: Mutex<Sent>,
    counts: Mutex<Requests>,
}

impl<'a> Crowd<'a> {
    pub fn new(
        people: &'a People,
        skus: &'a [String],
        phases: &'a Phases,
        http: &'a reqwest::Client,
        url: String,
        seed: u64,
    ) -> Self {
        let (next, sent, counts) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Self { people, skus, phases, http, url, seed, next, sent, counts }
    }

    /// A person who has begun to click; `None` before anybody has.
    pub fn somebody(&self, dice: &str) -> Option<u64> {
        let begun = self.next.load(Ordering::Relaxed).min(MOST_PEOPLE);
        (begun > 0).then(|| spread(dice) as u64 % begun)
    }

    /// One sender: one person after the other until the load is over.
    pub async fn send_on(&self) {
        while !self.phases.are_over() {
            let person = self.next.fetch_add(1, Ordering::Relaxed);
            if person >= MOST_PEOPLE {
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.why.entry(OUT_OF_PEOPLE.to_owned()).or_default() += 1;
                return;
            }
            if self.people.marks(person).is_none() {
                continue;
            }
            let mut ended = [Ended::default(); REQUESTS];
            for (request, end) in ended.iter_mut().enumerate() {
                if self.phases.are_over() {
                    break;
                }
                *end = self.send(person, request).await;
            }
            self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(person, ended);
        }
    }

    async fn send(&self, person: u64, request: usize) -> Ended {
        let body = self.people.body(person, request, self.skus);
        let comes_again = spread(&format!("{}-{person}-{request}", self.seed)).is_multiple_of(2);
        let mut ended = Ended::Unsent;
        for number in 0..MOST_TRIES {
            let heard = self.ask(person, request, &body).await;
            self.note(number > 0, &heard);
            if matches!(heard, Heard::Accepted(_)) {
                ended = Ended::Accepted;
                break;
            }
            ended = worse(ended, &heard);
            if self.phases.are_over() || (ended != Ended::Unsent && !comes_again) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.settle(ended);
        ended
    }

    async fn ask(&self, person: u64, request: usize, body: &str) -> Heard {
        let post = self.http.post(&self.url).header("content-type", "application/json").timeout(ONE_TRY);
        let answer = match post.body(body.to_owned()).send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Heard::Nobody,
            Err(_) => return Heard::Silence,
        };
        let status = answer.status().as_u16();
        let Ok(text) = answer.text().await else { return Heard::Silence };
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status == 202 {
            return Heard::Accepted(is_due(person, request, &body));
        }
        Heard::Refused(format!("{status} {}", body["code"].as_str().unwrap_or_default()))
    }

    fn note(&self, again: bool, heard: &Heard) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.repeated += u64::from(again);
        let why = match heard {
            Heard::Accepted(due) => {
                counts.misjudged += u64::from(!due);
                return;
            }
            Heard::Nobody => "nobody listens",
            Heard::Silence => "no answer",
            Heard::Refused(why) => why.as_str(),
        };
        *counts.why.entry(why.to_owned()).or_default() += 1;
    }

    fn settle(&self, ended: Ended) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match ended {
            Ended::Unsent => &mut counts.unsent,
            Ended::Accepted => &mut counts.accepted,
            Ended::Unknown => &mut counts.unknown,
            Ended::Refused => &mut counts.refused,
        };
        *count += 1;
    }

    /// What was sent, and how it was answered.
    pub fn into_sent(self) -> (Sent, Requests) {
        let sent = self.sent.into_inner().unwrap_or_else(PoisonError::into_inner);
        (sent, self.counts.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is known of a request after one more try that did not settle it: silence is never made good by a refusal.
fn worse(before: Ended, heard: &Heard) -> Ended {
    match (before, heard) {
        (Ended::Unknown, _) | (_, Heard::Silence) => Ended::Unknown,
        (_, Heard::Refused(_)) => Ended::Refused,
        (before, _) => before,
    }
}

/// Did the answer accept every good event and refuse the bad one for its reason?
fn is_due(person: u64, request: usize, answer: &Value) -> bool {
    let rejected = answer["rejected"].as_array().map(Vec::as_slice).unwrap_or_default();
    let as_due = match (people::bad(person, request), rejected) {
        (None, []) => true,
        (Some(bad), [one]) => one["index"].as_u64() == Some(request as u64) && one["code"] == bad.code,
        _ => false,
    };
    as_due && answer["accepted"].as_u64() == Some(EVENTS as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_due_only_with_every_good_event_and_the_bad_one_for_its_reason() {
        let code = people::bad(2, 3).expect("a bad event").code;
        for (request, answer, due) in [
            (1, json!({"accepted": 30, "rejected": []}), true),
            (3, json!({"accepted": 30, "rejected": [{"index": 3, "code": code}]}), true),
            // Planted: a good one missing, the bad one accepted, another place, another reason, one too many.
            (1, json!({"accepted": 29, "rejected": []}), false),
            (3, json!({"accepted": 31, "rejected": []}), false),
            (3, json!({"accepted": 30, "rejected": [{"index": 4, "code": code}]}), false),
            (3, json!({"accepted": 30, "rejected": [{"index": 3, "code": "other"}]}), false),
            (1, json!({"accepted": 30, "rejected": [{"index": 3, "code": code}]}), false),
            (1, Value::Null, false),
        ] {
            assert_eq!(is_due(2, request, &answer), due, "{answer}");
        }
    }

    #[test]
    fn silence_is_never_made_good_by_a_refusal() {
        let refused = Heard::Refused("503 overloaded".to_owned());
        for (tries, ended) in [
            (vec![], Ended::Unsent),
            (vec![Heard::Nobody], Ended::Unsent),
            (vec![Heard::Nobody, refused.clone()], Ended::Refused),
            (vec![refused.clone(), Heard::Nobody], Ended::Refused),
            (vec![Heard::Silence, refused.clone(), Heard::Nobody], Ended::Unknown),
            (vec![refused, Heard::Silence], Ended::Unknown),
        ] {
            assert_eq!(tries.iter().fold(Ended::Unsent, worse), ended, "{tries:?}");
        }
    }
}
