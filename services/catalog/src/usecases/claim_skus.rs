//! A SKU belongs to one product: to itself, or to the product whose variant it is. A variant is claimed by writing a revision
//! under its own SKU before its product is written, so that the unique number decides between two who want it. Whoever takes a
//! variant back after giving it up claims it anew, for the same reason.
//!
//! A claim is free again when its product was written without the variant since, or was not written at all for
//! [`CLAIM_PATIENCE`]: until then its writer may be on the way.

use std::collections::HashMap;

use chrono::TimeDelta;
use common::Sku;

use super::App;
use super::ports::products::{Insertion, StoreDown};
use super::put_product::By;
use crate::domain::product::{Product, Revision, State};

/// Longer than any request and any batch of a file takes from the claim to the product.
const CLAIM_PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// How old the first claim of a batch may be when the next one is made: after it the store may take its time twice, once for
/// that claim and once for the products (20 s each).
pub const CLAIMS_WAIT: TimeDelta = TimeDelta::seconds(10);

/// What stands in the way of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The SKU is another product, or a variant of one.
    InUse(Sku),
    /// Somebody else wrote under it at the same moment.
    Overtaken,
}

/// Claims the variants of `product` and looks whether its own SKU is free of others.
pub async fn claim_skus(
    app: &App,
    product: &Product,
    newest: Option<&Revision>,
    by: &By<'_>,
) -> Result<Option<Obstacle>, StoreDown> {
    let claims = match claims_of(app, product, newest, by).await? {
        Ok(claims) if claims.is_empty() => return Ok(None),
        Ok(claims) => claims,
        Err(obstacle) => return Ok(Some(obstacle)),
    };
    let insertions = app.products.store.insert(&claims).await?;
    let claimed: Vec<Sku> = claims.iter().map(|claim| claim.sku().clone()).collect();
    app.products.cache.forget(&claimed).await;
    let overtaken = insertions.contains(&Insertion::Taken);
    Ok(overtaken.then_some(Obstacle::Overtaken))
}

/// What would stand in the way of `product` now; nothing is claimed.
pub async fn obstacle_of(
    app: &App,
    product: &Product,
    newest: Option<&Revision>,
) -> Result<Option<Obstacle>, StoreDown> {
    Ok(claims_of(app, product, newest, &By::default()).await?.err())
}

/// The claims that `product` has to make, or what stands in its way.
async fn claims_of(
    app: &App,
    product: &Product,
    newest: Option<&Revision>,
    by: &By<'_>,
) -> Result<Result<Vec<Revision>, Obstacle>, StoreDown> {
    if let Some(claim) = newest.filter(|newest| newest.variant_of().is_some())
        && !is_free(app, claim).await?
    {
        return Ok(Err(Obstacle::InUse(product.sku.clone())));
    }
    if product.variants.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let skus: Vec<Sku> = product.variants.iter().map(|variant| variant.sku.clone()).collect();
    let known = app.products.store.newest_many(&skus).await?;
    let known: HashMap<&Sku, &Revision> = known.iter().map(|revision| (revision.sku(), revision)).collect();
    let mut claims = Vec::new();
    for sku in &skus {
        let last = known.get(sku).copied();
        match last.map(|revision| (&revision.state, revision)) {
            Some((State::VariantOf { product: owner, .. }, _)) if *owner == product.sku => {
                if newest.and_then(Revision::live).is_some_and(|product| product.variant(sku).is_some()) {
                    continue;
                }
            }
            Some((State::VariantOf { .. }, claim)) if !is_free(app, claim).await? => {
                return Ok(Err(Obstacle::InUse(sku.clone())));
            }
            Some((State::Live(_), _)) => return Ok(Err(Obstacle::InUse(sku.clone()))),
            None | Some((State::Deleted(_) | State::VariantOf { .. }, _)) => {}
        }
        let state = State::VariantOf { sku: sku.clone(), product: product.sku.clone() };
        let number = last.map_or(0, |revision| revision.number) + 1;
        claims.push(by.revision(app, last, number, state));
    }
    Ok(Ok(claims))
}

/// Whether the product of a claim gave the variant up, or never came.
async fn is_free(app: &App, claim: &Revision) -> Result<bool, StoreDown> {
    let Some(owner) = claim.variant_of() else { return Ok(true) };
    let newest = app.products.store.newest(owner).await?;
    let has_it = newest.as_ref().and_then(Revision::live).is_some_and(|product| product.variant(claim.sku()).is_some());
    let written_since = newest.is_some_and(|newest| newest.changed_at > claim.changed_at);
    let waited = app.clock.now() - claim.changed_at > CLAIM_PATIENCE;
    Ok(!has_it && (written_since || waited))
}
