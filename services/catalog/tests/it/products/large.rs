//! Products that say as much as one may: what goes from one store to another is bounded by its bytes too, and not only by its number.

use std::sync::Arc;
use std::time::Duration;

use catalog::domain::product::{Revision, State};
use catalog::inbound::index_watch::look;
use catalog::usecases::ports::products::{ProductIndex as _, ProductStore as _};
use common::{SharedClock, SystemClock};

use super::world::{Shop, live};

/// Together more than is read of one answer of the index.
const PRODUCTS: usize = 40;
const PICTURES: usize = 225;

fn large(shop: &Shop, number: usize) -> Revision {
    let mut revision = live(shop.draft(&format!("L{number:02}")), 1);
    if let State::Live(product) = &mut revision.state {
        // Of all that a product says, the names of its pictures cost the index the least.
        product.images = (0..PICTURES).map(|number| format!("/static/products/{number:0>2000}.svg")).collect();
    }
    revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_products_are_told_indexed_and_compared_like_any() {
    let shop = Shop::open().await;
    let revisions: Vec<Revision> = (0..PRODUCTS).map(|number| large(&shop, number)).collect();
    for few in revisions.chunks(10) {
        shop.store.insert(few).await.unwrap();
    }
    assert_eq!(shop.index.apply(&revisions).await.unwrap().written, PRODUCTS);
    shop.index.refresh().await.unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let drift = look(&shop.store, &shop.index, &clock, Duration::ZERO).await.unwrap();
    assert_eq!((drift.compared, drift.total()), (PRODUCTS, 0), "{drift:?}");
    let (mut told, mut rounds) = (0, 0);
    while told < PRODUCTS {
        let waiting = shop.store.unpublished(500).await.unwrap();
        assert!(!waiting.is_empty(), "{told} were told");
        shop.store.mark_published(&waiting).await.unwrap();
        (told, rounds) = (told + waiting.len(), rounds + 1);
    }
    assert!(rounds > 1, "eighteen megabytes are not read at once");
    assert!(shop.store.unpublished(500).await.unwrap().is_empty());
    shop.close().await;
}
