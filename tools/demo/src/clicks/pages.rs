//! Pages that ask for recommendations all the time, of people who click and of strangers, from the server itself: no edge in between, so
//! that what is measured is the answer. Decided here: a list, even an empty one, is an answer; anything else is a failure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::drill::clicks::told::Pages;

use super::crowd::Crowd;
use crate::generate::spread;

/// Between two questions of one asker: there all the time, and not heavy.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for an answer, which is due within a hundredth of it.
const ONE_TRY: Duration = Duration::from_secs(5);

/// What one asker has seen, by what was away.
pub type Asked = BTreeMap<String, Seen>;

#[derive(Debug, Default)]
pub struct Seen {
    counts: Pages,
    ms: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Listed { degraded: bool, empty: bool },
    Failed(String),
}

impl Seen {
    fn note(&mut self, verdict: Verdict, took: Duration) {
        self.counts.asked += 1;
        self.ms.push(took.as_secs_f64() * 1_000.0);
        match verdict {
            Verdict::Listed { degraded, empty } => {
                self.counts.degraded += u64::from(degraded);
                self.counts.empty += u64::from(empty);
            }
            Verdict::Failed(why) => {
                self.counts.failed += 1;
                *self.counts.why.entry(why).or_default() += 1;
            }
        }
    }
}

/// Asks until the load is over. Answers during which something was killed, or said to be back, belong to no phase of theirs and are told as
/// "between".
pub async fn ask_on(crowd: &Crowd<'_>, url: &str, who: usize) -> Asked {
    let mut asked = Asked::new();
    for number in 0_u64.. {
        if crowd.phases.are_over() {
            break;
        }
        let before = crowd.phases.now();
        let address = format!("{url}/v1/recommendations?{}", query(crowd, &format!("{}-{who}-{number}", crowd.seed)));
        let began = Instant::now();
        let verdict = ask(crowd.http, &address).await;
        let took = began.elapsed();
        let name = if crowd.phases.now() == before { before.name } else { "between".to_owned() };
        asked.entry(name).or_default().note(verdict, took);
        tokio::time::sleep(PAUSE).await;
    }
    asked
}

/// Of four questions two are personal, one is of a product's page, one is nobody's.
fn query(crowd: &Crowd<'_>, dice: &str) -> String {
    let sku = &crowd.skus[spread(&format!("sku-{dice}")) % crowd.skus.len()];
    let kind = spread(&format!("kind-{dice}")) % 4;
    match (kind, crowd.somebody(dice)) {
        (0, Some(person)) => format!("kind=for_you&limit=10&visitor_id={}", crowd.people.visitor(person)),
        (1, Some(person)) => format!("kind=continue&limit=10&visitor_id={}", crowd.people.visitor(person)),
        (2, _) => format!("kind=also_viewed&limit=10&sku={sku}"),
        _ => "kind=trending&limit=10".to_owned(),
    }
}

async fn ask(http: &reqwest::Client, address: &str) -> Verdict {
    let answer = match http.get(address).timeout(ONE_TRY).send().await {
        Ok(answer) => answer,
        Err(error) if error.is_timeout() => return Verdict::Failed("no answer in time".to_owned()),
        Err(_) => return Verdict::Failed("no answer".to_owned()),
    };
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap_or_default();
    judge(status, &serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn judge(status: u16, body: &Value) -> Verdict {
    match (status, body["items"].as_array(), body["degraded"].as_bool()) {
        (200, Some(items), Some(degraded)) => Verdict::Listed { degraded, empty: items.is_empty() },
        (200, _, _) => Verdict::Failed("no list".to_owned()),
        _ => Verdict::Failed(format!("{status} {}", body["code"].as_str().unwrap_or_default())),
    }
}

/// All askers as one.
pub fn together(all: impl IntoIterator<Item = Asked>) -> BTreeMap<String, Pages> {
    let mut sums = Asked::new();
    for (name, one) in all.into_iter().flatten() {
        let sum = sums.entry(name).or_default();
        sum.counts.asked += one.counts.asked;
        sum.counts.failed += one.counts.failed;
        sum.counts.degraded += one.counts.degraded;
        sum.counts.empty += one.counts.empty;
        for (why, count) in one.counts.why {
            *sum.counts.why.entry(why).or_default() += count;
        }
        sum.ms.extend(one.ms);
    }
    sums.into_iter().map(|(name, seen)| (name, timed(seen))).collect()
}

fn timed(Seen { counts, mut ms }: Seen) -> Pages {
    ms.sort_by(f64::total_cmp);
    let of_hundred = |percent: usize| ms.get(ms.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0.0);
    Pages { p50_ms: of_hundred(50), p99_ms: of_hundred(99), max_ms: of_hundred(100), ..counts }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_an_answer_and_everything_else_a_failure() {
        let failed = |why: &str| Verdict::Failed(why.to_owned());
        for (status, body, verdict) in [
            (
                200,
                json!({"items": [{"sku": "A"}], "degraded": false}),
                Verdict::Listed { degraded: false, empty: false },
            ),
            (200, json!({"items": [], "degraded": true}), Verdict::Listed { degraded: true, empty: true }),
            (200, json!({"items": []}), failed("no list")),
            (200, Value::Null, failed("no list")),
            (503, json!({"code": "dependency-down"}), failed("503 dependency-down")),
            (500, json!({"items": [], "degraded": true}), failed("500 ")),
        ] {
            assert_eq!(judge(status, &body), verdict, "{status} {body}");
        }
    }

    #[test]
    fn askers_add_up_by_phase_and_the_slowest_answer_is_told() {
        let asker = |name: &str, first: u64| {
            let mut seen = Seen::default();
            let good = Verdict::Listed { degraded: true, empty: false };
            (first..first + 50).for_each(|ms| seen.note(good.clone(), Duration::from_millis(ms)));
            seen.note(Verdict::Failed("no answer".to_owned()), Duration::from_millis(1));
            Asked::from([(name.to_owned(), seen)])
        };
        let told = together([asker("redis", 1), asker("quiet", 1), asker("redis", 51)]);
        let redis = &told["redis"];
        assert_eq!((redis.asked, redis.failed, redis.degraded, redis.why["no answer"]), (102, 2, 100, 2));
        assert_eq!(redis.max_ms.to_string(), "100");
        assert_eq!(told["quiet"].asked, 51);
    }
}
