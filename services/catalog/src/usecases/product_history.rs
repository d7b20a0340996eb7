//! The life of a product: who changed it, when and why, and what it cost at each moment. Read from its revisions, which nobody
//! changes; so what a page says about earlier prices can be proved.

use chrono::{DateTime, Utc};
use common::{Money, Sku};

use super::App;
use super::ports::products::StoreDown;
use crate::domain::product::Revision;
use crate::domain::trail::{PriceStep, Runs, SPAN, lowest_between, price_history};

/// Revisions of one page of the history.
pub const PAGE: usize = 100;
/// Revisions that prices are computed from: an hourly price for more than two months.
const MOST_REVISIONS: usize = 2_000;

/// Revisions of `sku` before number `before`, the newest first, at most [`PAGE`].
pub async fn revisions(app: &App, sku: &Sku, before: Option<i64>) -> Result<Vec<Revision>, StoreDown> {
    app.products.store.history(sku, before, PAGE).await
}

/// What an item cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceHistory {
    /// From when, and what; `None`: not for sale. In order.
    pub steps: Vec<PriceStep>,
    /// Steps before the first one were left out: there are too many revisions.
    pub is_cut: bool,
    /// The lowest price of the thirty days before the present price began, from all of these steps.
    pub lowest_before_present: Option<Money>,
    /// The same as pages show it, from the newest revision alone. The two agree, or a page is wrong; only for a variant that
    /// came later than its product and costs the same, pages may show less, since they count what the product cost before it.
    pub shown: Option<Money>,
}

/// The prices of `item`, which is the product `sku` or one of its variants; `None`: no such product.
pub async fn prices_of(app: &App, sku: &Sku, item: &Sku) -> Result<Option<PriceHistory>, StoreDown> {
    let (region, now) = (app.region, app.clock.now());
    let mut revisions: Vec<Revision> = Vec::new();
    loop {
        let before = revisions.last().map(|revision| revision.number);
        let page = app.products.store.history(sku, before, PAGE).await?;
        let is_last = page.len() < PAGE;
        revisions.extend(page);
        if is_last || revisions.len() >= MOST_REVISIONS {
            break;
        }
    }
    let is_cut = revisions.last().is_some_and(|oldest| oldest.number > 1);
    revisions.reverse();
    let Some(newest) = revisions.last() else { return Ok(None) };
    let trail = newest.trail_until(region, now);
    let is_variant = newest.live().is_some_and(|product| product.variant(item).is_some());
    let runs = if is_variant { trail.judging(item, sku) } else { trail.of(item) };
    let shown = runs.and_then(Runs::lowest_before);
    let steps = price_history(&revisions, item, region, now);
    let since: Option<DateTime<Utc>> = steps.last().filter(|(_, price)| price.is_some()).map(|(at, _)| *at);
    let lowest_before_present = since.and_then(|since| lowest_between(&steps, since - SPAN, since));
    Ok(Some(PriceHistory { steps, is_cut, lowest_before_present, shown }))
}
