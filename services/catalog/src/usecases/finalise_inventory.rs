//! FinaliseInventory: the order is paid, so what it holds has left the stock for good; serial numbers are handed out, parcels
//! begin, subscriptions may be used. After the money, so it cannot fail for a reason of business.

use std::collections::BTreeMap;

use common::{MessageId, OrderId, Sku, UserId};

use super::App;
use super::decide_again::decide_again;
use super::ports::stock::{Committed, StoreError, Why};
use super::stock_error::StockError;
use crate::domain::entitlement::Term;
use crate::domain::inventory::SupplyKind;
use crate::domain::lines::Lines;
use crate::domain::product::{Family, Product};
use crate::domain::reservation::{self, Sale};

pub struct FinaliseInventory {
    pub order: OrderId,
    pub user: UserId,
    /// What was paid for, as the completed order tells it.
    pub lines: Lines,
}

/// # Errors
/// Not seen yet (try again: the order travels on another topic), a reservation that holds nothing, other lines than those
/// reserved; else from a store. Nothing was changed.
pub async fn finalise_inventory(
    app: &App,
    cause: MessageId,
    command: FinaliseInventory,
) -> Result<Committed, StockError> {
    // A kind never changes, so it may be read outside the commit.
    let kinds = kinds(app, &command.lines.skus()).await?;
    let terms = terms(app, &kinds).await?;
    let sale = Sale { user: command.user, kinds, terms };
    decide_again(app, Why::Message(cause), command.order, ("finalise", "order_completed"), |current| {
        reservation::finalise(current, &command.lines, &sale, app.clock.now())
    })
    .await
}

pub(super) async fn kinds(app: &App, skus: &[Sku]) -> Result<BTreeMap<Sku, SupplyKind>, StoreError> {
    let rows = app.stock.rows(skus).await?;
    let kind = |(sku, rows): (Sku, super::ports::stock::Rows)| Some((sku, rows.into_values().next()?.kind));
    Ok(rows.into_iter().filter_map(kind).collect())
}

/// How long each subscription among `kinds` runs, by the product as it is sold now. A product that is gone is not asked again:
/// what was paid for is then good without an end.
async fn terms(app: &App, kinds: &BTreeMap<Sku, SupplyKind>) -> Result<BTreeMap<Sku, Term>, StockError> {
    let digital = kinds.iter().filter(|(_, kind)| **kind == SupplyKind::Unlimited);
    let digital: Vec<Sku> = digital.map(|(sku, _)| sku.clone()).collect();
    if digital.is_empty() {
        return Ok(BTreeMap::new());
    }
    let revisions = app.products.store.newest_many(&digital).await?;
    let products = revisions.iter().filter_map(|revision| revision.live());
    Ok(products.map(|product| (product.sku.clone(), term(product))).collect())
}

fn term(product: &Product) -> Term {
    let term = product.attributes.iter().find(|attribute| attribute.key == "term");
    match term {
        Some(term) if product.family == Family::DigitalSubscription => Term::parse(&term.value, term.unit.as_deref()),
        _ => Term::Endless,
    }
}
