//! Fills the shop with the demo catalog: products, what their categories and attributes are called, stock, 20 people. Run again, it
//! finds everything there and changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{Api, Call};
use crate::catalog_data::Said;
use crate::catalog_data::names::{ATTRIBUTES, CATEGORIES};
use crate::generate::{Offer, catalog};
use crate::shopper::{PEOPLE, Shopper};
use crate::stack::{STAFF_EMAIL, STAFF_PASSWORD, Stack};
use crate::stock::{ReceiptLine, receive};

/// Products of one request: far below the shop's limit of bytes, and a progress line now and then.
const BATCH: usize = 100;

/// The people of the demo catalog; their password is no secret.
pub const DEMO_PASSWORD: &str = "ShopSphere-demo-1";

/// Longest wait until the search knows what was written.
const SEARCH_PATIENCE: Duration = Duration::from_secs(180);

/// Sign-ups under way at once: each makes a password hash, which is meant to cost.
const SIGN_UPS: usize = 4;

/// What became of written products.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub created: u64,
    pub changed: u64,
    pub unchanged: u64,
}

/// # Errors
/// The shop refuses, or does not answer in time.
pub async fn seed(stack: &Stack) -> anyhow::Result<()> {
    let started = Instant::now();
    let staff = staff(&stack.api).await?;
    let offers = catalog();
    let products: Vec<&crate::generate::Product> = offers.iter().map(|offer| &offer.product).collect();
    let mut written = Written::default();
    for batch in products.chunks(BATCH) {
        written = written.and(write(&stack.api, &staff, batch).await?);
    }
    println!("products   {} in {} families: {written}", products.len(), families(&offers).len());
    let new = name(&stack.api, &staff).await?;
    println!("names      of {} categories and {} attributes: {new} new", CATEGORIES.len(), ATTRIBUTES.len());
    let lines: Vec<ReceiptLine> =
        offers.iter().map(|offer| ReceiptLine::of(&offer.product.sku, offer.supply)).collect();
    let units: u64 = lines.iter().map(|line| u64::from(line.quantity)).sum();
    let new = receive(&stack.api, &staff, "demo-seed", &lines).await?;
    let counted = lines.iter().filter(|line| line.quantity > 0).count();
    let verdict = if new == 0 { "booked before" } else { "booked" };
    println!("stock      {units} units of {counted} gadgets, {} products on demand: {verdict}", lines.len() - counted);
    people(stack).await?;
    wait_for_search(&stack.api, &families(&offers)).await?;
    println!("search     knows all of them");
    println!("done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The staff member, logged in.
///
/// # Errors
/// The shop does not let them in.
pub async fn staff(api: &Api) -> anyhow::Result<Shopper> {
    let staff = Shopper::new(STAFF_EMAIL.to_owned(), STAFF_PASSWORD, ("Demo", "Staff"));
    staff.token(api).await.context("the staff account of the demo cannot log in; is the stack up?")?;
    Ok(staff)
}

/// Writes one batch.
///
/// # Errors
/// The shop refuses a product.
pub async fn write<P: Serialize>(api: &Api, staff: &Shopper, products: &[P]) -> anyhow::Result<Written> {
    let body = json!({"products": products});
    let reply = staff.call(api, Method::POST, "/v1/admin/products/batch", None, Some(&body)).await?;
    let answer = reply.success("products")?;
    if let Some(first) = answer["rejected"].get(0) {
        bail!("products: {} was not written: {}", first["sku"], first["message"]);
    }
    let count = |name: &str| answer[name].as_u64().unwrap_or_default();
    Ok(Written { created: count("created"), changed: count("changed"), unchanged: count("unchanged") })
}

/// Says what categories and attributes are called, one after the other, since each is a change of one log. Gives how many had no name.
async fn name(api: &Api, staff: &Shopper) -> anyhow::Result<usize> {
    let categories = CATEGORIES.iter().map(|(path, said)| (format!("/v1/admin/categories/{path}"), said));
    let attributes = ATTRIBUTES.iter().map(|(key, said)| (format!("/v1/admin/attributes/{key}"), said));
    let mut new = 0;
    for (path, Said { en, de, fr }) in categories.chain(attributes) {
        let body = json!({"labels": {"de": de, "en": en, "fr": fr}});
        let reply = staff.call(api, Method::PUT, &path, None, Some(&body)).await?;
        new += usize::from(reply.status == StatusCode::CREATED);
        reply.success(&path)?;
    }
    Ok(new)
}

impl Written {
    pub fn and(self, other: Self) -> Self {
        Self {
            created: self.created + other.created,
            changed: self.changed + other.changed,
            unchanged: self.unchanged + other.unchanged,
        }
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} new, {} changed, {} as before", self.created, self.changed, self.unchanged)
    }
}

async fn people(stack: &Stack) -> anyhow::Result<()> {
    let (api, region) = (&stack.api, stack.region.code());
    let languages = stack.region.languages();
    let shoppers: Vec<Shopper> = PEOPLE
        .iter()
        .enumerate()
        .map(|(number, name)| Shopper::new(format!("demo-{:02}@shopsphere.example", number + 1), DEMO_PASSWORD, *name))
        .collect();
    let signing = shoppers.iter().enumerate().map(|(number, shopper)| async move {
        shopper.sign_up(api, region, languages[number % languages.len()]).await
    });
    let outcomes: Vec<anyhow::Result<bool>> = futures::stream::iter(signing).buffer_unordered(SIGN_UPS).collect().await;
    // Whether an account is new is not told to everybody, and a repeated request gets the neutral answer too: so we do not say.
    outcomes.into_iter().collect::<anyhow::Result<Vec<bool>>>()?;
    println!("people     demo-01 to demo-{:02}@shopsphere.example, password {DEMO_PASSWORD}", shoppers.len());
    Ok(())
}

/// Products per top category.
fn families(offers: &[Offer]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for offer in offers {
        let top = offer.product.category.split('/').next().unwrap_or_default();
        *counts.entry(top.to_owned()).or_default() += 1;
    }
    counts
}

/// Waits until the shop's categories hold at least these many products.
///
/// # Errors
/// They do not within three minutes.
pub async fn wait_for_search(api: &Api, expected: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + SEARCH_PATIENCE;
    loop {
        let answer = api.call(&Call { path: "/v1/categories", ..Call::default() }).await?.success("categories")?;
        let missing = expected.iter().find(|(category, count)| products_in(&answer, category) < **count);
        let Some((category, count)) = missing else { return Ok(()) };
        if tokio::time::Instant::now() >= until {
            let found = products_in(&answer, category);
            bail!("the search knows {found} of {count} products in {category} after {} s", SEARCH_PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn products_in(categories: &Value, path: &str) -> u64 {
    let items = categories["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().find(|item| item["path"] == path).and_then(|item| item["products"].as_u64()).unwrap_or_default()
}
