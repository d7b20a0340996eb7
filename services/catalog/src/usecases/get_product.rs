//! One product for a page: its newest revision, possibly a few seconds old, with what the stock says now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::{ErrorKind, Explain, Sku};

use super::App;
use super::ports::products::StoreDown;
use crate::domain::inventory::Level;
use crate::domain::product::Revision;

/// A page waits this long for the stock: availability is a hint, the order decides.
const STOCK_PATIENCE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct ProductPage {
    /// Never a tombstone.
    pub revision: Arc<Revision>,
    /// `None` when the stock could not be asked in time.
    pub availability: Option<Level>,
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

/// The product page of `sku`. A product without a price in the region's currency is not sold here, so it is not found.
pub async fn get_product(app: &App, sku: &Sku) -> Result<ProductPage, GetProductError> {
    let asked = std::slice::from_ref(sku);
    let (revision, levels) = tokio::join!(app.products.cache.newest(sku, &app.products.store), levels(app, asked));
    let revision = revision?.ok_or(GetProductError::NotFound)?;
    let sold_here = revision.live().is_some_and(|product| product.prices.in_currency(app.region.currency()).is_some());
    if !sold_here {
        return Err(GetProductError::NotFound);
    }
    Ok(ProductPage { availability: levels.map(|levels| level_of(&levels, sku)), revision })
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
