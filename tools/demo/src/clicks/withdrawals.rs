//! People with an account who click until the shop shows it, withdraw their consent to personalisation, and look at what they are shown
//! then. Decided here: an answer has used a profile when it tells the profile's age, or goes on with what was seen.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use common::UserId;
use redis::aio::MultiplexedConnection;
use reqwest::Method;
use serde_json::{Value, json};
use xtask::drill::clicks::told::Withdrawals;

use super::people::People;
use super::phases::Phases;
use crate::api::{Api, Call};
use crate::shopper::Shopper;

/// Longest wait until a click is seen in an answer: the scorer may be away, and needs ten seconds to find its place again.
const SHOWN_WITHIN: Duration = Duration::from_secs(90);
/// Answers are looked at for so long after a withdrawal: longer than the five seconds that are promised.
const LOOKED_AT: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two people, so that their withdrawals are spread over the kills.
const PAUSE: Duration = Duration::from_secs(3);
/// Longest wait for the answer to a withdrawal: its database, Redis and broker may be away.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(60);

/// What one person saw.
#[derive(Debug, Default)]
struct Looked {
    at: u64,
    used: u64,
    last_used_ms: f64,
}

/// One person after the other until the load is over. Gives who withdrew, too.
pub async fn withdraw_on(
    api: &Api,
    shoppers: &[Shopper],
    skus: &[String],
    run: &str,
    phases: &Phases,
) -> (Withdrawals, Vec<UserId>) {
    let (mut told, mut withdrawn) = (Withdrawals::default(), Vec::new());
    for (number, shopper) in shoppers.iter().enumerate() {
        if phases.are_over() {
            break;
        }
        match one(api, shopper, &skus[number % skus.len()], &format!("w{run}-{number}")).await {
            Ok((user, looked)) => {
                told.tried += 1;
                told.looked_at += looked.at;
                told.used += looked.used;
                told.longest_ms = told.longest_ms.max(looked.last_used_ms);
                withdrawn.push(user);
            }
            Err(error) => told.untried.push(format!("{error:#}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    (told, withdrawn)
}

async fn one(api: &Api, shopper: &Shopper, sku: &str, name: &str) -> anyhow::Result<(UserId, Looked)> {
    let me = shopper.call(api, Method::GET, "/v1/me", None, None).await?.success("who I am")?;
    let user: UserId = me["user_id"].as_str().context("the shop does not say who I am")?.parse()?;
    let click = json!([{"event_id": name, "type": "view", "sku": sku}]);
    let reported = shopper.call(api, Method::POST, "/v1/events", None, Some(&click)).await?.success("a click")?;
    if reported["accepted"] != 1 {
        bail!("a click of {} was not accepted", shopper.email);
    }
    let until = Instant::now() + SHOWN_WITHIN;
    // What was never used could not be seen to be used no more.
    while !used(&look(api, shopper).await?) {
        if Instant::now() >= until {
            bail!("the click of {} was not shown within {} s", shopper.email, SHOWN_WITHIN.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let token = shopper.token(api).await?;
    let no = json!({"personalisation": false, "marketing": false});
    let call =
        Call { method: Method::PUT, path: "/v1/me/consents", token: Some(&token), body: Some(&no), ..Call::default() };
    api.call_for(&call, WITHDRAWN_WITHIN).await?.success("a withdrawal")?;
    let (since, mut looked) = (Instant::now(), Looked::default());
    while since.elapsed() < LOOKED_AT {
        let asked_ms = since.elapsed().as_secs_f64() * 1_000.0;
        // Nobody logs in again here: a session that is gone is answered with 401 and uses nothing.
        if let Ok(reply) = api.once(&Call { path: PATH, token: Some(&token), ..Call::default() }).await
            && reply.status.is_success()
        {
            looked.at += 1;
            if used(&reply.body) {
                looked.used += 1;
                looked.last_used_ms = asked_ms;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if looked.at == 0 {
        bail!("{} was not answered after the withdrawal", shopper.email);
    }
    Ok((user, looked))
}

/// What somebody looked at lately: nothing else can make such a list.
const PATH: &str = "/v1/recommendations?kind=continue&limit=5";

async fn look(api: &Api, shopper: &Shopper) -> anyhow::Result<Value> {
    let reply = shopper.call(api, Method::GET, PATH, None, None).await?;
    reply.success("recommendations")
}

fn used(answer: &Value) -> bool {
    // A list of what the crowd likes stands in while the store is away, and says so.
    let goes_on = answer["degraded"] == false && answer["items"].as_array().is_some_and(|items| !items.is_empty());
    answer["profile_age_ms"].is_number() || goes_on
}

/// Of these people, how many still have a profile, or a list of what they saw or were shown.
///
/// # Errors
/// Redis does not answer.
pub async fn kept(people: &People, withdrawn: &[UserId], redis: &mut MultiplexedConnection) -> anyhow::Result<u64> {
    let mut kept = 0;
    for user in withdrawn {
        let name = people.pseudonym_of(*user);
        let keys = ["interest", "recent", "seen", "lists"].map(|what| contracts::interest::key(what, &name));
        let there: u64 = redis::cmd("EXISTS").arg(&keys).query_async(redis).await?;
        kept += u64::from(there > 0);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_knows_the_person_has_used_the_profile() {
        for (answer, uses) in [
            (json!({"items": [], "degraded": false}), false),
            (json!({"items": [{"sku": "A"}], "degraded": false}), true),
            (json!({"items": [], "degraded": false, "profile_age_ms": 3}), true),
            (json!({"items": [{"sku": "A"}], "degraded": true}), false),
            (json!({"items": [{"sku": "A"}], "degraded": true, "profile_age_ms": 3}), true),
            (Value::Null, false),
        ] {
            assert_eq!(used(&answer), uses, "{answer}");
        }
    }
}
