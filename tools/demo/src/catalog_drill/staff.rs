//! Staff that changes products during a drill, and what it believes to have written. Decided here: which change comes when (from the seed
//! alone), that a product has one writer, and that a change whose answer was lost may have been made or not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use common::Money;
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::judge::{Question, Tally, Verdict, judge};
use crate::api::{Call, Reply};
use crate::generate::spread;
use crate::seed::staff;
use crate::shopper::Shopper;
use crate::stack::Stack;

/// How numbers of a drill's products begin; they come last in the list of all products.
pub const OURS: &str = "ZD-";

/// Products that one load changes, few enough to look at each of them afterwards.
const PRODUCTS: usize = 40;
/// The same where very many changes are made.
const MANY_PRODUCTS: usize = 200;
/// Products beside them that stay as they are, to be searched for by their numbers.
const STILL: usize = 20;
/// Who makes very many changes, each with products of their own.
const WRITERS: usize = 8;
/// Between two changes while others search.
const PAUSE: Duration = Duration::from_millis(100);
/// Of many changes, one in so many takes the product away.
const GONE_EVERY: usize = 10;
/// A change that met another one of its own that was cut off is made again.
const MOST_TRIES: usize = 5;
/// Between two looks for what was written, and looks at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS_AT_ONCE: usize = 8;

/// What a product must be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Believed {
    Named(String),
    Gone,
    /// The answer was lost.
    Unknown,
}

pub struct Desk<'a> {
    stack: &'a Stack,
    staff: Shopper,
    /// Names this load, so that its products are its own.
    run: String,
    seed: u64,
    believed: Mutex<Vec<Believed>>,
}

impl<'a> Desk<'a> {
    /// Writes the products that will change, many of them for very many changes, and those that will not, and waits until they are found.
    ///
    /// # Errors
    /// The shop does not let staff in, refuses a product, or does not find one.
    pub async fn open(stack: &'a Stack, seed: u64, changes: usize, found_within: Duration) -> anyhow::Result<Self> {
        let products = STILL + if changes == 0 { PRODUCTS } else { MANY_PRODUCTS };
        let run = common::ids::time_ordered().simple().to_string()[..12].to_owned();
        let believed = Mutex::new(vec![Believed::Unknown; products]);
        let desk = Self { stack, staff: staff(&stack.api).await?, run, seed, believed };
        for product in 0..products {
            desk.surely(product, "first", false).await?;
        }
        if let Some(missing) = desk.look(found_within).await.first() {
            bail!("the search does not know what was written before the load: {missing}");
        }
        Ok(desk)
    }

    /// Numbers of the products that stay as they are.
    pub fn still(&self) -> Vec<String> {
        let products = self.beliefs().len();
        (products - STILL..products).map(|product| self.sku(product)).collect()
    }

    fn sku(&self, product: usize) -> String {
        format!("{OURS}{}-{product:03}", self.run)
    }

    fn believe(&self, product: usize, believed: Believed) {
        self.believed.lock().unwrap_or_else(PoisonError::into_inner)[product] = believed;
    }

    fn beliefs(&self) -> Vec<Believed> {
        self.believed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The product after a change, and its name.
    fn body(&self, product: usize, change: &str) -> anyhow::Result<(Value, String)> {
        let dice = |what: &str| spread(&format!("{}-{what}-{product}-{change}", self.seed));
        let currency = self.stack.region.currency();
        let price = Money::from_minor(500 + i64::try_from(dice("price") % 20_000)?, currency)?;
        let name = format!("Drill lamp {product} after change {change}");
        let texts: BTreeMap<&str, Value> =
            self.stack.region.languages().iter().map(|language| (*language, json!({"name": name}))).collect();
        let body = json!({
            "family": "gadget", "category": format!("gadgets/drill-{}", dice("category") % 3),
            "brand": (["Lumen", "Nachtlicht"][dice("brand") % 2]),
            "texts": texts,
            "prices": {currency.code(): price.amount_string()},
        });
        Ok((body, name))
    }

    /// One change after the other, each tried once, until the load is over.
    pub async fn change_until(&self, over: &AtomicBool) -> Tally {
        let (mut tally, mut change) = (Tally::default(), 0_usize);
        while !over.load(Ordering::Relaxed) {
            change += 1;
            let product = spread(&format!("{}-which-{change}", self.seed)) % PRODUCTS;
            let asked = Instant::now();
            let (verdict, believed) = match self.once(product, &change.to_string()).await {
                Ok((answer, name)) => match judge(Question::Write, answer) {
                    Verdict::Good => (Verdict::Good, Believed::Named(name)),
                    other => (other, Believed::Unknown),
                },
                Err(error) => (Verdict::Failed(format!("{error:#}")), Believed::Unknown),
            };
            self.believe(product, believed);
            tally.note(verdict, asked.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        tally
    }

    async fn once(&self, product: usize, change: &str) -> anyhow::Result<(anyhow::Result<Reply>, String)> {
        let (body, name) = self.body(product, change)?;
        let token = self.staff.token(&self.stack.api).await.context("no token")?;
        let path = format!("/v1/admin/products/{}", self.sku(product));
        let call = Call { method: Method::PUT, path: &path, token: Some(&token), body: Some(&body), ..Call::default() };
        Ok((self.stack.api.once(&call).await, name))
    }

    /// Very many changes, each repeated until it is answered.
    pub async fn change_many(&self, changes: usize, over: &AtomicBool) -> Tally {
        let done = AtomicUsize::new(0);
        let writers = (0..WRITERS).map(|writer| {
            let done = &done;
            async move {
                let mut tally = Tally::default();
                for change in (writer..changes).step_by(WRITERS) {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let dice = |what: &str| spread(&format!("{}-{what}-{change}", self.seed));
                    let product = writer + WRITERS * (dice("which") % (MANY_PRODUCTS / WRITERS));
                    let gone = dice("gone").is_multiple_of(GONE_EVERY);
                    let asked = Instant::now();
                    let answered = self.surely(product, &change.to_string(), gone).await;
                    let verdict =
                        answered.map_or_else(|error| Verdict::Failed(format!("{error:#}")), |()| Verdict::Good);
                    tally.note(verdict, asked.elapsed());
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(1_000) {
                        eprintln!("           {done:>7} of {changes} changes");
                    }
                }
                tally
            }
        });
        let tallies = futures::future::join_all(writers).await;
        Tally::together(tallies)
    }

    /// A change that is repeated until it is answered.
    async fn surely(&self, product: usize, change: &str, gone: bool) -> anyhow::Result<()> {
        let path = format!("/v1/admin/products/{}", self.sku(product));
        let (body, name) = self.body(product, change)?;
        self.believe(product, Believed::Unknown);
        for _ in 0..MOST_TRIES {
            let (method, body) = if gone { (Method::DELETE, None) } else { (Method::PUT, Some(&body)) };
            let reply = self.staff.call(&self.stack.api, method, &path, None, body).await?;
            match reply.status.as_u16() {
                409 => continue,
                // Nobody can take away what is gone; the first try may have been answered to nobody.
                404 if gone => {}
                _ => drop(reply.success("change of a product")?),
            }
            self.believe(product, if gone { Believed::Gone } else { Believed::Named(name) });
            return Ok(());
        }
        bail!("the change met another one {MOST_TRIES} times")
    }

    /// Makes every product known again and waits until the index has all of them as they were written; gives what it has not.
    pub async fn look(&self, within: Duration) -> Vec<String> {
        let until = Instant::now() + within;
        let mut missing = Vec::new();
        for (product, believed) in self.beliefs().into_iter().enumerate() {
            // One at least, to see that changes can be made again.
            if (believed == Believed::Unknown || product == 0)
                && let Err(error) = self.surely(product, "last", false).await
            {
                missing.push(format!("{} could not be changed: {error:#}", self.sku(product)));
            }
        }
        let mut open: Vec<(usize, Believed)> = self.beliefs().into_iter().enumerate().collect();
        open.retain(|(_, believed)| *believed != Believed::Unknown);
        loop {
            let looks = open.into_iter().map(|(product, believed)| async move {
                let seen = self.differs(product, &believed).await;
                seen.map(|seen| (product, believed, seen))
            });
            let differing: Vec<_> = futures::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).collect().await;
            let differing: Vec<(usize, Believed, String)> = differing.into_iter().flatten().collect();
            if differing.is_empty() {
                return missing;
            }
            if Instant::now() >= until {
                missing.extend(differing.into_iter().map(|(product, believed, seen)| {
                    format!("{} should be {believed:?}, and the search says {seen}", self.sku(product))
                }));
                return missing;
            }
            open = differing.into_iter().map(|(product, believed, _)| (product, believed)).collect();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What a search by the product's number says, when it is not what it should be. What does not come from the index does not count.
    async fn differs(&self, product: usize, believed: &Believed) -> Option<String> {
        let sku = self.sku(product);
        let path = format!("/v1/search?q={sku}&limit=20");
        let reply = match self.stack.api.once(&Call { path: &path, ..Call::default() }).await {
            Ok(reply) if reply.status.is_success() => reply,
            Ok(reply) => return Some(reply.code()),
            Err(error) => return Some(format!("{error:#}")),
        };
        difference(&reply.body, &sku, believed)
    }
}

fn difference(body: &Value, sku: &str, believed: &Believed) -> Option<String> {
    if body["degraded"] != false {
        return Some("it is answered by the stand-in".to_owned());
    }
    let item = body["items"].as_array().and_then(|items| items.iter().find(|item| item["sku"] == sku));
    match (item, believed) {
        (None, Believed::Gone) => None,
        (Some(item), Believed::Named(name)) if item["name"] == name.as_str() => None,
        (Some(item), _) => Some(item["name"].to_string()),
        (None, _) => Some("nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_index_and_only_the_last_name_will_do() {
        let named = Believed::Named("new".to_owned());
        let item =
            |name: &str| json!({"items": [{"sku": "B", "name": "x"}, {"sku": "A", "name": name}], "degraded": false});
        let nothing = json!({"items": [{"sku": "B", "name": "new"}], "degraded": false});
        let stand_in = json!({"items": [{"sku": "A", "name": "new"}], "degraded": true});
        for (body, believed, right) in [
            (item("new"), &named, true),
            (item("old"), &named, false),
            (nothing.clone(), &named, false),
            (stand_in, &named, false),
            (json!({}), &named, false),
            (nothing, &Believed::Gone, true),
            (item("new"), &Believed::Gone, false),
        ] {
            assert_eq!(difference(&body, "A", believed).is_none(), right, "{body} {believed:?}");
        }
    }
}
