//! A document that nobody can read, as a newer release leaves it behind when it is rolled back: everybody else goes on.

use std::sync::Arc;
use std::time::Duration;

use catalog::inbound::index_watch::look;
use catalog::usecases::index_products::rebuild_index;
use catalog::usecases::ports::products::{IndexAudit as _, ProductStore as _};
use catalog::usecases::stand_in::{StandIn, fill};
use common::{Region, SharedClock, Sku, SystemClock};
use mongodb::Collection;
use mongodb::bson::{Document, doc};

use super::world::{Shop, draft, live, store_and_documents, unique};

fn sku(text: &str) -> Sku {
    Sku::parse(text).expect("a SKU")
}

/// Writes revision 1 of `sku` in a shape that only tomorrow's release knows.
async fn plant(documents: &Collection<Document>, sku: &str) {
    let document = doc! {
        "_id": {"product": sku, "revision": 1_i64}, "sku": sku, "revision": 1_i64, "published": false,
        "deleted": {"since": 5_i64}, "changed_at_ms": 5_i64,
    };
    documents.insert_one(document).bypass_document_validation(true).await.expect("it can be written");
}

#[tokio::test]
async fn a_document_that_cannot_be_read_holds_up_nobody_at_the_store() {
    let (store, documents) = store_and_documents().await;
    let (unreadable, first, second) = (unique(), unique(), unique());
    plant(&documents, &unreadable).await;
    store.insert(&[live(draft(&first), 1), live(draft(&second), 1)]).await.unwrap();
    // It was written first and is never told: once it is known, it takes the place of no other.
    let waiting = store.unpublished(10).await.unwrap();
    assert_eq!(waiting.len(), 2);
    assert_eq!(store.unpublished(2).await.unwrap(), waiting);
    let all = [sku(&unreadable), sku(&first), sku(&second)];
    assert_eq!(store.skus().await.unwrap().len(), 3);
    assert_eq!(store.newest_readable(&all).await.unwrap().len(), 2);
    // Whoever decides something by it must not take it for absent.
    assert!(store.newest(&all[0]).await.is_err());
    assert!(store.newest_many(&all).await.is_err());
    assert!(store.history(&all[0], None, 5).await.is_err());
    // A store that answers is not taken for one that is down, however often it is asked.
    for _ in 0..50 {
        assert!(store.newest(&all[0]).await.is_err());
    }
    assert!(store.newest(&all[1]).await.unwrap().is_some());
}

#[tokio::test]
async fn audit_rebuild_and_stand_in_go_on_beside_it_and_what_is_found_of_it_stays() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A"), shop.draft("B")]).await;
    let of_tomorrow = shop.sku("TOMORROW");
    plant(&shop.documents, &of_tomorrow).await;
    // The newer release had brought it into the index.
    shop.bring(&[live(draft(&of_tomorrow), 1)]).await;
    let clock: SharedClock = Arc::new(SystemClock);
    let drift = look(&shop.store, &shop.index, &clock, Duration::ZERO).await.unwrap();
    assert_eq!((drift.total(), drift.repaired), (0, 0), "{drift:?}");
    let seen = shop.index.seen(&[sku(&of_tomorrow)]).await.unwrap();
    assert_eq!(seen.len(), 1, "nobody who cannot read a product takes it away");
    let stand_in = StandIn::new(Region::Eu, 1 << 20);
    fill(&shop.store, &stand_in, Duration::ZERO).await;
    assert!(stand_in.is_ready());
    assert_eq!(rebuild_index(&shop.store, &shop.index, Duration::ZERO).await.unwrap().written, 2);
    shop.close().await;
}
