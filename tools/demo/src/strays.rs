//! Money that the gateway takes without an order of the shop: made on purpose, at the gateway itself and with the shop's own key, for orders that
//! do not exist. In the end the shop must have found each of them and sent it back.
//!
//! Decided here: which there are (from the seed alone) and what must have become of them. They are paid with a card whose webhooks are lost,
//! so that only a comparison of the books can find them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;
use xtask::stack::services::GATEWAY_KEY;

use crate::api::PATIENCE;
use crate::closing_check::Databases;
use crate::gateway_books::GatewayBooks;
use crate::generate::spread;
use crate::stack::Stack;

/// Of ten thousand orders, so many have such a charge beside them; the first order of a campaign always has.
pub const SHARE: usize = 20;
/// In minor units, so that every currency has it.
const LEAST: usize = 100;
const MOST: usize = 9_999;
const CARD: &str = "tok_webhook_lost";

/// Longest wait for one answer, and the pause before the same is asked again: the gateway may be being killed.
const ONE_TRY: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(1);
/// The last refund is in the gateway's books before it is in ours.
const LAST_COMMIT: Duration = Duration::from_secs(300);

/// The amount that is taken beside order `number`, if any is: the same for the same seed.
pub fn planned(seed: u64, number: usize) -> Option<i64> {
    let dice = |what: &str| spread(&format!("{seed}-{what}-{number}"));
    let taken = number == 0 || dice("stray") % 10_000 < SHARE;
    let minor = LEAST + dice("stray-amount") % (MOST - LEAST);
    taken.then(|| i64::try_from(minor).unwrap_or(1))
}

/// A charge that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub intent: String,
    /// The order it names, which does not exist.
    pub order: Uuid,
    pub minor: i64,
}

/// The way to the gateway past the shop.
pub struct Till {
    http: reqwest::Client,
    url: String,
    region: String,
    currency: String,
}

impl Till {
    /// # Errors
    /// No client can be made.
    pub fn at(stack: &Stack) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).no_proxy().build()?;
        let currency = stack.region.currency().code().to_ascii_lowercase();
        Ok(Self { http, url: stack.gateway_url(), region: stack.region.code().to_owned(), currency })
    }

    /// Takes `minor` units for an order that does not exist. Each call has one key, however often it is repeated.
    ///
    /// # Errors
    /// The gateway does not answer in time, or does not take the money.
    pub async fn take(&self, run: &str, number: usize, minor: i64) -> anyhow::Result<Made> {
        let order = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("stray-{run}-{number}").as_bytes());
        let (amount, named) = (minor.to_string(), order.to_string());
        let draft: [(&str, &str); 8] = [
            ("amount", amount.as_str()),
            ("currency", &self.currency),
            ("capture_method", "automatic"),
            ("payment_method", CARD),
            ("payment_method_types[]", "card"),
            ("metadata[order_id]", &named),
            ("metadata[attempt]", "1"),
            ("metadata[region]", &self.region),
        ];
        let made = self.ask("/v1/payment_intents", &format!("stray-{run}-{number}-make"), &draft).await?;
        let intent = made["id"].as_str().context("an intent without an id")?.to_owned();
        let path = format!("/v1/payment_intents/{intent}/confirm");
        let taken = self.ask(&path, &format!("stray-{run}-{number}-take"), &[]).await?;
        if taken["status"] != "succeeded" {
            bail!("the gateway did not take a stray charge: {}", taken["status"]);
        }
        Ok(Made { intent, order, minor })
    }

    async fn ask(&self, path: &str, key: &str, form: &[(&str, &str)]) -> anyhow::Result<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(GATEWAY_KEY);
            let sent = request.header("idempotency-key", key).form(form).timeout(ONE_TRY).send().await;
            let seen = match sent {
                Ok(response) if response.status().is_success() => match response.json().await {
                    Ok(body) => return Ok(body),
                    Err(error) => format!("{error}"),
                },
                Ok(response) if !may_change(response.status()) => {
                    bail!("the gateway refuses a stray charge with {}", response.status());
                }
                Ok(response) => response.status().to_string(),
                Err(error) => format!("{error}"),
            };
            if Instant::now() >= until {
                bail!("the gateway does not answer: {seen}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether asking again with the same key may bring another answer.
fn may_change(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT)
}

/// Tells what became of them and what of it is wrong, once nothing is, or patience ends.
///
/// # Errors
/// The database or the gateway does not answer.
pub async fn tell(stack: &Stack, databases: &Databases, made: &[Made]) -> anyhow::Result<usize> {
    let intents: Vec<String> = made.iter().map(|stray| stray.intent.clone()).collect();
    let until = Instant::now() + LAST_COMMIT;
    loop {
        let known = databases.orphans(&intents).await?;
        let books = GatewayBooks::read(stack.gateway_url()).await?;
        let problems = problems(made, &known, |order| books.of_order(order));
        if problems.is_empty() || Instant::now() >= until {
            let back = known.values().filter(|state| *state == "CAPTURED").count();
            println!(
                "orphans    {} charges without an order were made; {} found, {back} sent back",
                made.len(),
                known.len()
            );
            for problem in problems.iter().take(10) {
                println!("PROBLEM    {problem}");
            }
            return Ok(problems.len());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What is wrong with them. `known`: those the shop found, by intent, with the state of their refund; `left`: what the gateway still holds
/// for an order.
fn problems(made: &[Made], known: &BTreeMap<String, String>, left: impl Fn(Uuid) -> i64) -> Vec<String> {
    let mut problems = Vec::new();
    if made.is_empty() {
        problems.push("no charge without an order was made, so nothing was tried".to_owned());
    }
    for Made { intent, order, minor } in made {
        match known.get(intent).map(String::as_str) {
            None => problems.push(format!("{minor} taken without an order were never found: {intent}")),
            Some("CAPTURED") => {}
            Some(state) => problems.push(format!("{minor} taken without an order are found and {state}: {intent}")),
        }
        let left = left(*order);
        if left != 0 {
            problems.push(format!("the gateway still holds {left} of {minor} taken without an order: {intent}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stray(number: u128) -> Made {
        Made { intent: format!("pi_{number}"), order: Uuid::from_u128(number), minor: 500 }
    }

    fn known(states: &[(u128, &str)]) -> BTreeMap<String, String> {
        states.iter().map(|(number, state)| (format!("pi_{number}"), (*state).to_owned())).collect()
    }

    #[test]
    fn one_charge_that_was_not_found_or_is_not_back_is_enough_to_fail() {
        let made = [stray(1), stray(2)];
        let back = known(&[(1, "CAPTURED"), (2, "CAPTURED")]);
        assert_eq!(problems(&made, &back, |_| 0), Vec::<String>::new());
        let of_two = |known: &BTreeMap<String, String>, left: i64| {
            problems(&made, known, |order| if order == Uuid::from_u128(2) { left } else { 0 })
        };
        let never_found = of_two(&known(&[(1, "CAPTURED")]), 0);
        assert!(never_found[0].contains("never found: pi_2"), "{never_found:?}");
        for state in ["PREPARED", "SENT", "UNKNOWN", "VOIDED", "DECLINED"] {
            let open = of_two(&known(&[(1, "CAPTURED"), (2, state)]), 0);
            assert!(open[0].contains(state), "{open:?}");
        }
        // Our books say that it is back, and the gateway's do not.
        for left in [500, 1, -500] {
            assert_eq!(of_two(&back, left).len(), 1, "{left}");
        }
        assert_eq!(problems(&[], &back, |_| 0).len(), 1, "a run without any has tried nothing");
    }

    #[test]
    fn a_campaign_has_about_its_share_of_them_and_at_least_one() {
        let all = |seed: u64| (0..20_000).map(|number| planned(seed, number)).collect::<Vec<_>>();
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        let taken: Vec<i64> = all(7).into_iter().flatten().collect();
        assert!((SHARE..=SHARE * 4).contains(&taken.len()), "{} of about {}", taken.len(), SHARE * 2);
        assert!(taken.iter().all(|minor| (100..10_000).contains(minor)));
        assert!((0..50).all(|seed| planned(seed, 0).is_some()));
    }

    #[test]
    fn what_cannot_change_is_not_asked_again() {
        for (status, again) in
            [(500, true), (503, true), (429, true), (409, true), (400, false), (401, false), (402, false)]
        {
            assert_eq!(may_change(StatusCode::from_u16(status).unwrap()), again, "{status}");
        }
    }
}
