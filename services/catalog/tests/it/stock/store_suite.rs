//! What every stock store must do: each case runs against memory and against PostgreSQL.

use std::sync::Arc;

use catalog::domain::inventory::{Availability, MovementKind, SupplyKind};
use catalog::domain::lines::Lines;
use catalog::domain::reservation::{Decision, Dispatch, Status, finalise, reject, release, reserve};
use catalog::outbound::memory_stock::MemoryStock;
use catalog::usecases::ports::stock::{Committed, StockStore, StoreError};
use chrono::{DateTime, Utc};
use common::{MessageId, OrderId, ids};

use super::world::{World, counts, lines, new_order, receive, sku};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

macro_rules! for_both_stores {
    ($($case:ident)+) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                super::$case(Arc::new(MemoryStock::default())).await;
            })+
        }

        mod postgres {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                let world = World::new().await;
                super::$case(world.store.clone()).await;
                world.audit().await;
            })+
        }
    };
}

for_both_stores! {
    a_receipt_counts_once_whatever_the_order_of_its_lines
    a_reference_with_other_lines_is_refused
    a_sku_keeps_its_kind_and_a_refused_receipt_counts_nothing
    large_receipts_are_counted_exactly
    an_order_holds_all_lines_or_none
    the_first_short_line_in_sku_order_is_named
    a_message_has_its_effect_once
    a_decision_about_an_older_state_is_overtaken
    a_message_without_effect_is_remembered_too
    what_is_held_can_be_given_back_once
    what_is_sold_is_gone_for_good
    what_is_not_counted_never_runs_out
    a_reservation_is_read_back_as_it_was_written
    a_sku_without_a_receipt_is_absent
}

fn cause() -> MessageId {
    MessageId::from_uuid(ids::random())
}

fn hold(order: OrderId, wanted: &Lines) -> Decision {
    reserve(None, order, wanted.clone(), NOW)
}

async fn held(store: &dyn StockStore, list: &[(&str, u32)]) -> OrderId {
    let order = new_order();
    assert_eq!(store.commit(cause(), &hold(order, &lines(list))).await.unwrap(), Committed::Applied);
    order
}

async fn status(store: &dyn StockStore, order: OrderId) -> Option<(Status, i64)> {
    store.reservation(order).await.unwrap().map(|reservation| (reservation.status, reservation.version))
}

async fn a_receipt_counts_once_whatever_the_order_of_its_lines(store: Arc<dyn StockStore>) {
    use SupplyKind::{Counted, Serialised};
    assert_eq!(receive(&*store, "r1", &[("A", Counted, 3), ("B", Serialised, 2)]).await.unwrap(), Committed::Applied);
    assert_eq!(receive(&*store, "r1", &[("B", Serialised, 2), ("A", Counted, 3)]).await.unwrap(), Committed::Repeated);
    assert_eq!(counts(&*store, "A").await, (3, 0, 0, 3));
    assert_eq!(receive(&*store, "r2", &[("A", Counted, 4)]).await.unwrap(), Committed::Applied);
    assert_eq!(counts(&*store, "A").await, (7, 0, 0, 7));
}

async fn a_reference_with_other_lines_is_refused(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 3)]).await.unwrap();
    assert!(matches!(receive(&*store, "r1", &[("A", SupplyKind::Counted, 4)]).await, Err(StoreError::ReferenceReused)));
    assert_eq!(counts(&*store, "A").await, (3, 0, 0, 3));
}

async fn a_sku_keeps_its_kind_and_a_refused_receipt_counts_nothing(store: Arc<dyn StockStore>) {
    use SupplyKind::{Counted, Serialised};
    receive(&*store, "r1", &[("A", Counted, 3), ("B", Counted, 1)]).await.unwrap();
    let outcome = receive(&*store, "r2", &[("A", Counted, 5), ("B", Serialised, 5)]).await;
    assert!(matches!(outcome, Err(StoreError::KindDiffers(at)) if at == sku("B")));
    assert_eq!(counts(&*store, "A").await, (3, 0, 0, 3));
    assert_eq!(
        receive(&*store, "r2", &[("A", Counted, 5)]).await.unwrap(),
        Committed::Applied,
        "the reference is still free"
    );
}

async fn large_receipts_are_counted_exactly(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 10_000_000)]).await.unwrap();
    receive(&*store, "r2", &[("A", SupplyKind::Counted, 10_000_000)]).await.unwrap();
    assert_eq!(counts(&*store, "A").await, (20_000_000, 0, 0, 20_000_000));
}

async fn an_order_holds_all_lines_or_none(store: Arc<dyn StockStore>) {
    use SupplyKind::Counted;
    receive(&*store, "r1", &[("A", Counted, 3), ("B", Counted, 1)]).await.unwrap();
    held(&*store, &[("A", 2), ("B", 1)]).await;
    assert_eq!((counts(&*store, "A").await, counts(&*store, "B").await), ((1, 2, 0, 3), (0, 1, 0, 1)));
    let order = new_order();
    let outcome = store.commit(cause(), &hold(order, &lines(&[("A", 1), ("B", 1)]))).await;
    assert!(matches!(outcome, Err(StoreError::OutOfStock(at)) if at == sku("B")));
    assert_eq!(counts(&*store, "A").await, (1, 2, 0, 3), "the line that was there is not held either");
    assert_eq!(status(&*store, order).await, None);
}

async fn the_first_short_line_in_sku_order_is_named(store: Arc<dyn StockStore>) {
    use SupplyKind::Counted;
    receive(&*store, "r1", &[("a", Counted, 1), ("B", Counted, 1), ("C", Counted, 9)]).await.unwrap();
    for (wanted, short) in [
        (vec![("a", 2), ("B", 2), ("C", 1)], "B"),
        (vec![("a", 2), ("C", 1)], "a"),
        (vec![("C", 1), ("never-received", 1)], "never-received"),
    ] {
        let outcome = store.commit(cause(), &hold(new_order(), &lines(&wanted))).await;
        assert!(matches!(&outcome, Err(StoreError::OutOfStock(at)) if *at == sku(short)), "{wanted:?}: {outcome:?}");
    }
}

async fn a_message_has_its_effect_once(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 9)]).await.unwrap();
    let (message, order) = (cause(), new_order());
    let decision = hold(order, &lines(&[("A", 2)]));
    assert_eq!(store.commit(message, &decision).await.unwrap(), Committed::Applied);
    assert_eq!(store.commit(message, &decision).await.unwrap(), Committed::Repeated);
    assert_eq!(counts(&*store, "A").await, (7, 2, 0, 9));
}

async fn a_decision_about_an_older_state_is_overtaken(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 9)]).await.unwrap();
    let order = held(&*store, &[("A", 2)]).await;
    let again = store.commit(cause(), &hold(order, &lines(&[("A", 2)]))).await;
    assert!(matches!(again, Err(StoreError::Overtaken)), "{again:?}");
    let seen = store.reservation(order).await.unwrap();
    let giving_back = release(seen.clone(), order, NOW).unwrap();
    let selling =
        finalise(seen, &lines(&[("A", 2)]), &Dispatch { kinds: &[], fulfilment_centre: "rdc-a" }, NOW).unwrap();
    assert_eq!(store.commit(cause(), &giving_back).await.unwrap(), Committed::Applied);
    let late = store.commit(cause(), &selling).await;
    assert!(matches!(late, Err(StoreError::Overtaken)), "{late:?}");
    assert_eq!((status(&*store, order).await, counts(&*store, "A").await), (Some((Status::Released, 2)), (9, 0, 0, 9)));
}

async fn a_message_without_effect_is_remembered_too(store: Arc<dyn StockStore>) {
    let message = cause();
    assert_eq!(store.commit(message, &Decision::Nothing).await.unwrap(), Committed::Applied);
    assert_eq!(store.commit(message, &Decision::Nothing).await.unwrap(), Committed::Repeated);
}

async fn what_is_held_can_be_given_back_once(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 5)]).await.unwrap();
    let order = held(&*store, &[("A", 5)]).await;
    let giving_back = release(store.reservation(order).await.unwrap(), order, NOW).unwrap();
    assert_eq!(store.commit(cause(), &giving_back).await.unwrap(), Committed::Applied);
    assert!(matches!(store.commit(cause(), &giving_back).await, Err(StoreError::Overtaken)));
    assert_eq!(counts(&*store, "A").await, (5, 0, 0, 5));
}

async fn what_is_sold_is_gone_for_good(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Serialised, 5)]).await.unwrap();
    let order = held(&*store, &[("A", 2)]).await;
    let dispatch = Dispatch { kinds: &[SupplyKind::Serialised], fulfilment_centre: "rdc-a" };
    let selling = finalise(store.reservation(order).await.unwrap(), &lines(&[("A", 2)]), &dispatch, NOW).unwrap();
    assert_eq!(store.commit(cause(), &selling).await.unwrap(), Committed::Applied);
    assert_eq!(
        (status(&*store, order).await, counts(&*store, "A").await),
        (Some((Status::Finalised, 2)), (3, 0, 2, 5))
    );
}

async fn what_is_not_counted_never_runs_out(store: Arc<dyn StockStore>) {
    use SupplyKind::{MadeToOrder, Unlimited};
    receive(&*store, "r1", &[("D", Unlimited, 0), ("M", MadeToOrder, 0)]).await.unwrap();
    let order = held(&*store, &[("D", 1_000_000), ("M", 7)]).await;
    assert_eq!((counts(&*store, "D").await, counts(&*store, "M").await), ((0, 1_000_000, 0, 1_000_000), (0, 7, 0, 7)));
    let giving_back = release(store.reservation(order).await.unwrap(), order, NOW).unwrap();
    store.commit(cause(), &giving_back).await.unwrap();
    assert_eq!((counts(&*store, "D").await, counts(&*store, "M").await), ((0, 0, 0, 0), (0, 0, 0, 0)));
}

async fn a_reservation_is_read_back_as_it_was_written(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 5), ("B", SupplyKind::Counted, 5)]).await.unwrap();
    let (order, wanted) = (new_order(), lines(&[("B", 2), ("A", 1)]));
    let Decision::Step(step) = hold(order, &wanted) else { panic!("a new order is a step") };
    assert_eq!(step.movements.as_ref().map(|movements| movements.kind), Some(MovementKind::Held));
    store.commit(cause(), &Decision::Step(step.clone())).await.unwrap();
    assert_eq!(store.reservation(order).await.unwrap(), Some(step.after));
    let rejected = new_order();
    let decision = reject(rejected, wanted.clone(), sku("A"), NOW);
    store.commit(cause(), &decision).await.unwrap();
    let read = store.reservation(rejected).await.unwrap().unwrap();
    assert_eq!((read.status, read.version, read.lines), (Status::Rejected, 1, wanted));
}

async fn a_sku_without_a_receipt_is_absent(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 5), ("D", SupplyKind::Unlimited, 0)]).await.unwrap();
    let availability = store.availability(&[sku("A"), sku("D"), sku("X")]).await.unwrap();
    assert_eq!(availability.get(&sku("A")), Some(&Availability::Counted(5)));
    assert_eq!(availability.get(&sku("D")), Some(&Availability::Digital));
    assert_eq!(availability.get(&sku("X")), None);
}
