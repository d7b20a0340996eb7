//! Takes note of what products are: category, brand, family and attributes, so that a click on a product says something about each.

use super::Learner;
use super::error::StoreUnavailable;
use super::ports::ProductRevision;

/// Safe to repeat and to deliver late: an older revision never replaces a newer one.
///
/// # Errors
/// [`StoreUnavailable`]: to be tried again.
pub async fn learn_products(app: &Learner, products: &[ProductRevision]) -> Result<usize, StoreUnavailable> {
    // Of several revisions in one batch only the newest is written.
    let mut newest: Vec<ProductRevision> = Vec::with_capacity(products.len());
    for product in products {
        match newest.iter_mut().find(|known| known.sku == product.sku) {
            Some(known) if known.revision < product.revision => *known = product.clone(),
            Some(_) => {}
            None => newest.push(product.clone()),
        }
    }
    if newest.is_empty() { Ok(0) } else { app.features.learn(&newest).await }
}
