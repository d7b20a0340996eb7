//! One suite that every store of revisions passes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use catalog::domain::product::{Author, Family, Revision, State};
use catalog::domain::schema::{Declared, Kind, Schema};
use catalog::outbound::memory_products::MemoryProducts;
use catalog::usecases::ports::products::{Insertion, ProductStore, SchemaStore};
use common::{Sku, UserId, ids};
use futures::future::join_all;

use super::world::{document_store, draft, gone, live, unique};

/// Runs each promise on both stores.
macro_rules! promises {
    ($($promise:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(std::sync::Arc::new(super::MemoryProducts::default())).await;
            })+
        }

        mod in_the_document_store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(std::sync::Arc::new(super::document_store().await)).await;
            })+
        }
    };
}

promises! {
    a_revision_comes_back_as_it_was_written,
    the_highest_number_is_the_newest,
    a_number_belongs_to_whoever_writes_it_first,
    of_many_writers_of_one_number_exactly_one_has_it,
    a_batch_tells_what_became_of_each,
    a_revision_waits_until_it_is_marked,
    every_product_is_named_once_and_in_order,
    a_walk_along_the_products_reads_what_they_are_now,
    the_life_of_a_product_is_read_from_its_end,
    the_claim_of_a_variant_is_kept_and_told_to_nobody,
    a_version_of_a_schema_belongs_to_whoever_adds_it_first,
    a_crowd_that_gives_up_leaves_nobody_waiting,
}

fn sku(text: &str) -> Sku {
    Sku::parse(text).expect("a SKU")
}

async fn a_revision_comes_back_as_it_was_written(store: Arc<dyn ProductStore>) {
    let name = unique();
    let written = Revision {
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ..live(draft(&name), 1)
    };
    assert_eq!(store.newest(&sku(&name)).await.unwrap(), None);
    store.insert(std::slice::from_ref(&written)).await.unwrap();
    assert_eq!(store.newest(&sku(&name)).await.unwrap(), Some(written));
}

async fn the_highest_number_is_the_newest(store: Arc<dyn ProductStore>) {
    let (one, other, absent) = (unique(), unique(), unique());
    for number in [2, 12, 1, 9] {
        store.insert(&[live(draft(&one), number)]).await.unwrap();
    }
    store.insert(&[live(draft(&other), 1), gone(&other, 2)]).await.unwrap();
    assert_eq!(store.newest(&sku(&one)).await.unwrap().map(|revision| revision.number), Some(12));
    assert_eq!(store.newest(&sku(&other)).await.unwrap(), Some(gone(&other, 2)), "a tombstone is the newest");
    let asked = [sku(&one), sku(&absent), sku(&other), sku(&one)];
    let found: BTreeSet<i64> =
        store.newest_many(&asked).await.unwrap().iter().map(|revision| revision.number).collect();
    assert_eq!(found, BTreeSet::from([2, 12]));
}

async fn a_number_belongs_to_whoever_writes_it_first(store: Arc<dyn ProductStore>) {
    let name = unique();
    assert_eq!(store.insert(&[live(draft(&name), 1)]).await.unwrap(), [Insertion::Written]);
    assert_eq!(store.insert(&[gone(&name, 1)]).await.unwrap(), [Insertion::Taken]);
    assert!(store.newest(&sku(&name)).await.unwrap().unwrap().live().is_some(), "the loser changed nothing");
}

async fn of_many_writers_of_one_number_exactly_one_has_it(store: Arc<dyn ProductStore>) {
    let name = unique();
    let writers = (0..12).map(|_| {
        let (store, revision) = (store.clone(), live(draft(&name), 1));
        tokio::spawn(async move { store.insert(&[revision]).await.unwrap() })
    });
    let outcomes = join_all(writers).await.into_iter().map(|outcome| outcome.unwrap());
    assert_eq!(outcomes.filter(|outcome| outcome[0] == Insertion::Written).count(), 1);
}

async fn a_batch_tells_what_became_of_each(store: Arc<dyn ProductStore>) {
    let names = [unique(), unique(), unique()];
    store.insert(&[live(draft(&names[1]), 1)]).await.unwrap();
    let batch = names.each_ref().map(|name| live(draft(name), 1));
    assert_eq!(store.insert(&batch).await.unwrap(), [Insertion::Written, Insertion::Taken, Insertion::Written]);
}

async fn a_revision_waits_until_it_is_marked(store: Arc<dyn ProductStore>) {
    let (one, other) = (unique(), unique());
    let revisions = [live(draft(&one), 1), live(draft(&one), 2), gone(&other, 1)];
    store.insert(&revisions).await.unwrap();
    let waiting = store.unpublished(10).await.unwrap();
    assert_eq!(waiting.len(), 3);
    let of_one: Vec<i64> =
        waiting.iter().filter(|revision| revision.sku().as_str() == one).map(|revision| revision.number).collect();
    assert_eq!(of_one, [1, 2], "older numbers of a product come first");
    assert_eq!(store.unpublished(2).await.unwrap().len(), 2);
    store.mark_published(&revisions[..2]).await.unwrap();
    assert_eq!(store.unpublished(10).await.unwrap(), [gone(&other, 1)]);
    // Marking again, or what is not there, is harmless.
    store.mark_published(&[live(draft(&one), 1), live(draft(&one), 99)]).await.unwrap();
    assert_eq!(store.newest(&sku(&one)).await.unwrap().map(|revision| revision.number), Some(2));
}

async fn every_product_is_named_once_and_in_order(store: Arc<dyn ProductStore>) {
    assert!(store.skus().await.unwrap().is_empty());
    let mut names: Vec<String> = (0..8).map(|_| unique()).collect();
    for number in 1..=4 {
        store.insert(&names.iter().map(|name| live(draft(name), number)).collect::<Vec<_>>()).await.unwrap();
    }
    store.insert(&[gone(&names[0], 5)]).await.unwrap();
    names.sort_unstable();
    let named: Vec<String> = store.skus().await.unwrap().iter().map(Sku::to_string).collect();
    assert_eq!(named, names, "what went is named too");
}

async fn a_walk_along_the_products_reads_what_they_are_now(store: Arc<dyn ProductStore>) {
    let names: Vec<String> = (0..120).map(|_| unique()).collect();
    for number in 1..=2 {
        store.insert(&names.iter().map(|name| live(draft(name), number)).collect::<Vec<_>>()).await.unwrap();
    }
    let skus = store.skus().await.unwrap();
    let mut newest = store.newest_readable(&skus).await.unwrap();
    newest.sort_by(|one, other| one.sku().cmp(other.sku()));
    assert_eq!(newest.iter().map(|revision| revision.sku().clone()).collect::<Vec<_>>(), skus);
    assert!(newest.iter().all(|revision| revision.number == 2));
}

async fn the_life_of_a_product_is_read_from_its_end(store: Arc<dyn ProductStore>) {
    let (name, other) = (unique(), unique());
    let revisions: Vec<Revision> = (1..=12).map(|number| live(draft(&name), number)).collect();
    store.insert(&revisions).await.unwrap();
    store.insert(&[live(draft(&other), 7)]).await.unwrap();
    let numbers = async |before: Option<i64>, limit: usize| -> Vec<i64> {
        let history = store.history(&sku(&name), before, limit).await.unwrap();
        history.iter().map(|revision| revision.number).collect()
    };
    assert_eq!(numbers(None, 5).await, [12, 11, 10, 9, 8]);
    assert_eq!(numbers(Some(8), 5).await, [7, 6, 5, 4, 3]);
    assert_eq!(numbers(Some(3), 5).await, [2, 1]);
    assert!(numbers(Some(1), 5).await.is_empty());
    assert!(store.history(&sku(&unique()), None, 5).await.unwrap().is_empty());
}

async fn the_claim_of_a_variant_is_kept_and_told_to_nobody(store: Arc<dyn ProductStore>) {
    let (variant, product, other) = (unique(), unique(), unique());
    let claim = |product: &str| {
        let state = State::VariantOf { sku: sku(&variant), product: sku(product) };
        Revision { state, ..gone(&variant, 1) }
    };
    assert_eq!(store.insert(&[claim(&product)]).await.unwrap(), [Insertion::Written]);
    assert_eq!(store.insert(&[claim(&other)]).await.unwrap(), [Insertion::Taken], "one product has it");
    let kept = store.newest(&sku(&variant)).await.unwrap().unwrap();
    assert_eq!((kept.variant_of(), kept.live()), (Some(&sku(&product)), None));
    assert!(store.unpublished(10).await.unwrap().is_empty());
}

async fn a_version_of_a_schema_belongs_to_whoever_adds_it_first(store: Arc<dyn SchemaStore>) {
    let author = Author { user: UserId::from_uuid(ids::random()), reason: Some("new".to_owned()) };
    let declared = |key: &str, kind: Kind| Declared {
        key: key.to_owned(),
        kind,
        required: true,
        per_variant: key == "size",
        formerly: Some(format!("old_{key}")),
        default: None,
    };
    let schema = Schema {
        family: Family::Gadget,
        version: 2,
        attributes: vec![
            declared("size", Kind::OneOf(vec!["S".to_owned(), "M".to_owned()])),
            declared("weight", Kind::Number { unit: Some("g".to_owned()) }),
            declared("wireless", Kind::Flag),
            declared("note", Kind::Text),
        ],
        open: true,
    };
    assert!(store.schemas().await.unwrap().is_empty());
    let adding = (0..6).map(|_| {
        let (store, schema, author) = (store.clone(), schema.clone(), author.clone());
        tokio::spawn(async move { store.add_schema(&schema, &author).await.unwrap() })
    });
    let outcomes = join_all(adding).await.into_iter().map(|outcome| outcome.unwrap());
    assert_eq!(outcomes.filter(|outcome| *outcome == Insertion::Written).count(), 1);
    let next = Schema { version: 3, attributes: Vec::new(), ..schema.clone() };
    assert_eq!(store.add_schema(&next, &author).await.unwrap(), Insertion::Written);
    let mut kept = store.schemas().await.unwrap();
    kept.sort_by_key(|schema| schema.version);
    assert_eq!(kept, [schema, next]);
}

#[tokio::test]
async fn migrating_twice_changes_nothing_and_the_stand_in_can_look_up() {
    let (url, database) = (testkit::servers().mongo_url, unique());
    for _ in 0..2 {
        catalog::outbound::mongo::migrate(&url, &database, &super::world::ferretdb_postgres()).await.unwrap();
    }
    let postgres = sqlx::PgPool::connect(&super::world::ferretdb_postgres()).await.unwrap();
    let ours: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_indexes WHERE schemaname = $1 AND indexname LIKE 'shopsphere_%'")
            .bind(&database)
            .fetch_one(&postgres)
            .await
            .unwrap();
    assert_eq!(ours, 4);
}

/// More than all connections, asked for by many and given up at once, round after round; afterwards somebody alone is answered.
async fn a_crowd_that_gives_up_leaves_nobody_waiting(store: Arc<dyn ProductStore>) {
    let name = unique();
    store.insert(&[live(draft(&name), 1)]).await.unwrap();
    let wanted = sku(&name);
    for _ in 0..20 {
        let impatient = (0..200).map(|_| {
            let (store, wanted) = (store.clone(), wanted.clone());
            tokio::time::timeout(Duration::from_millis(5), async move { store.newest(&wanted).await })
        });
        join_all(impatient).await;
    }
    // One after the other: each would have to push the next one out of a queue of the dead.
    for round in 0..5 {
        let alone = store.newest(&wanted).await;
        assert!(alone.is_ok(), "{round}: {alone:?}");
    }
}
