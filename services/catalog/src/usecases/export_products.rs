//! Every product as it is now, in the order of SKUs.

use std::sync::Arc;

use common::Sku;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::ports::products::{ProductStore, StoreDown};
use crate::domain::product::{Product, Revision, State};

/// Products read at once.
const PORTION: usize = 200;

/// The SKUs are read first; then the products, as fast as somebody takes them.
pub async fn export_products(
    store: Arc<dyn ProductStore>,
) -> Result<BoxStream<'static, Result<Product, StoreDown>>, StoreDown> {
    let skus = store.skus().await?;
    let portions: Vec<Vec<Sku>> = skus.chunks(PORTION).map(<[Sku]>::to_vec).collect();
    let products = stream::iter(portions).then(move |portion| {
        let store = store.clone();
        async move { store.newest_readable(&portion).await.map(in_order) }
    });
    Ok(products.map_ok(|products| stream::iter(products.into_iter().map(Ok))).try_flatten().boxed())
}

fn in_order(mut revisions: Vec<Revision>) -> Vec<Product> {
    revisions.sort_by(|one, other| one.sku().cmp(other.sku()));
    let live = |revision: Revision| match revision.state {
        State::Live(product) => Some(product),
        State::Deleted(_) | State::VariantOf { .. } => None,
    };
    revisions.into_iter().filter_map(live).collect()
}
