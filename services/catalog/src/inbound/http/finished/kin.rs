//! Which SKUs share a page: a product and its variants. Learned when a page is made, so that a change of one is known to concern the
//! pages that were asked for by the others. What was forgotten here, because there are too many, lives as long as its age allows.

use std::sync::Arc;

use common::Sku;
use quick_cache::sync::Cache;

use crate::usecases::get_product::ProductPage;

/// Variants and products with variants that are remembered: a few megabytes.
const MOST: usize = 50_000;

/// A page and what is bought on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The product of the page.
    pub page: Sku,
    /// The product itself, or its variants in their order.
    pub bought: Arc<[Sku]>,
}

impl Shown {
    /// Every SKU by which the page may have been asked for.
    pub fn all(&self) -> impl Iterator<Item = &Sku> {
        let itself = (!self.bought.contains(&self.page)).then_some(&self.page);
        itself.into_iter().chain(self.bought.iter())
    }
}

pub(super) struct Kin(Cache<Sku, Shown>);

impl Default for Kin {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl Kin {
    pub(super) fn note(&self, page: &ProductPage) {
        let product = page.revision.sku();
        let known = self.0.peek(product);
        if page.variants.is_empty() && known.is_none() {
            return;
        }
        let bought: Arc<[Sku]> = match &page.variants[..] {
            [] => [product.clone()].into(),
            variants => variants.iter().map(|variant| variant.sku.clone()).collect(),
        };
        if known.is_some_and(|known| known.bought == bought) {
            return;
        }
        let shown = Shown { page: product.clone(), bought };
        shown.all().for_each(|sku| self.0.insert(sku.clone(), shown.clone()));
    }

    /// The page that shows `sku`, as far as is known: its own.
    pub(super) fn of(&self, sku: &Sku) -> Shown {
        self.0.get(sku).unwrap_or_else(|| Shown { page: sku.clone(), bought: [sku.clone()].into() })
    }
}
