//! One product for a page: its newest revision, possibly a few seconds old, with what the stock says now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::{ErrorKind, Explain, Region, Sku};

use super::App;
use super::ports::products::StoreDown;
use crate::domain::inventory::Level;
use crate::domain::product::{Offer, Revision};

/// A page waits this long for the stock: availability is a hint, the order decides.
const STOCK_PATIENCE: Duration = Duration::from_millis(50);

/// What a page shows. A variant is shown on the page of its product.
#[derive(Clone, Debug)]
pub struct ProductPage {
    /// Never a tombstone, and offered here at [`Self::at`].
    pub revision: Arc<Revision>,
    /// The moment whose prices are shown.
    pub at: DateTime<Utc>,
    pub offer: Offer,
    /// `None` when the stock could not be asked in time.
    pub availability: Option<Level>,
    /// In the order of the product.
    pub variants: Vec<VariantPage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantPage {
    pub sku: Sku,
    /// `None`: it has no price here now.
    pub offer: Option<Offer>,
    pub availability: Option<Level>,
}

impl ProductPage {
    /// When the page must be made anew although nobody changed the product: a price or the time of its sale begins or ends.
    pub fn right_until(&self, region: Region) -> Option<DateTime<Utc>> {
        self.revision.live().and_then(|product| product.next_turn(region, self.at))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum GetProductError {
    /// Absent, or gone: both look the same from outside.
    #[error("there is no such product")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreDown),
}

impl Explain for GetProductError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Store(error) => error.code(),
        }
    }
}

/// The product page of `sku`. A product that has no price in the region's currency or is not shown there now is not sold here,
/// so it is not found.
pub async fn get_product(app: &App, sku: &Sku) -> Result<ProductPage, GetProductError> {
    let at = app.clock.now();
    let asked = std::slice::from_ref(sku);
    let (revision, own) = tokio::join!(newest_page(app, sku), levels(app, asked));
    let revision = revision?;
    let product = revision.live().ok_or(GetProductError::NotFound)?;
    let offer = revision.offer(&product.sku, app.region, at).ok_or(GetProductError::NotFound)?;
    if product.variants.is_empty() {
        let availability = own.map(|levels| level_of(&levels, sku));
        return Ok(ProductPage { at, offer, availability, variants: Vec::new(), revision });
    }
    let skus: Vec<Sku> = product.variants.iter().map(|variant| variant.sku.clone()).collect();
    let found = levels(app, &skus).await;
    let variant = |sku: Sku| VariantPage {
        offer: revision.offer(&sku, app.region, at),
        availability: found.as_ref().map(|levels| level_of(levels, &sku)),
        sku,
    };
    let variants: Vec<VariantPage> = skus.into_iter().map(variant).collect();
    let availability = variants.iter().filter_map(|variant| variant.availability).min_by_key(|level| level.distance());
    Ok(ProductPage { at, offer, availability, variants, revision })
}

/// The newest revision of the product that `sku` is or is a variant of.
pub(super) async fn newest_page(app: &App, sku: &Sku) -> Result<Arc<Revision>, GetProductError> {
    let newest = async |sku: &Sku| app.products.cache.newest(sku, &app.products.store).await;
    let revision = newest(sku).await?.ok_or(GetProductError::NotFound)?;
    let Some(owner) = revision.variant_of() else { return Ok(revision) };
    let of_product = newest(owner).await?.ok_or(GetProductError::NotFound)?;
    let has_it = of_product.live().is_some_and(|product| product.variant(sku).is_some());
    if has_it { Ok(of_product) } else { Err(GetProductError::NotFound) }
}

/// What the stock says about `skus`; `None` when it says nothing in time.
pub async fn levels(app: &App, skus: &[Sku]) -> Option<HashMap<Sku, Level>> {
    if skus.is_empty() {
        return Some(HashMap::new());
    }
    match tokio::time::timeout(STOCK_PATIENCE, app.stock.availability(skus)).await {
        Ok(Ok(found)) => Some(found.into_iter().map(|(sku, availability)| (sku, availability.level())).collect()),
        Ok(Err(error)) => {
            tracing::warn!(reason = %error, "availability is not shown");
            None
        }
        Err(_) => {
            tracing::warn!(reason = "no answer in time", "availability is not shown");
            None
        }
    }
}

/// What nobody ever received cannot be sold.
pub fn level_of(levels: &HashMap<Sku, Level>, sku: &Sku) -> Level {
    levels.get(sku).copied().unwrap_or(Level::Out)
}
