//! What every stock store must do: each case runs against memory and against PostgreSQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::domain::audit::{Finding, Most};
use catalog::domain::entitlement::Term;
use catalog::domain::inventory::{Availability, SupplyKind};
use catalog::domain::lines::Lines;
use catalog::domain::reservation::{
    Asked, Decision, Sale, Status, Step, USUAL_HOLD, extend, finalise, release, send, take_back,
};
use catalog::usecases::ports::stock::{Committed, OpenFindings, Request, Reserved, StockStore, StoreError, Why};
use chrono::{DateTime, TimeDelta, Utc};
use common::{MessageId, OrderId, ids};

use super::world::{
    CENTRES, SHOPPER, World, audit_all, centre, centres, clerk, counts, lines, memory_stock, new_order, receive,
    receive_at, row, sku, walk,
};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

macro_rules! for_both_stores {
    ($($case:ident)+) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                super::$case(Arc::new(memory_stock())).await;
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
    orders_of_one_batch_are_decided_in_their_order_and_each_for_itself
    an_order_is_taken_from_one_centre_or_from_several
    what_is_missing_is_promised_within_the_limit_and_served_in_order
    a_limit_is_set_for_what_can_run_out
    a_parcel_waits_for_its_goods
    a_hold_is_extended_and_asked_about_once_in_a_while
    what_comes_back_is_for_sale_again_unless_it_left_and_no_more_than_was_sold
    counts_follow_from_movements
    a_long_history_is_added_up_a_few_movements_at_a_time_and_each_is_read_once
    what_moves_while_a_row_is_added_up_is_in_its_sums
    a_message_has_its_effect_once
    a_decision_about_an_older_state_is_overtaken
    decisions_that_meet_end_as_each_would_have_ended_alone
    a_message_without_effect_is_remembered_too
    what_is_held_can_be_given_back_once
    what_is_sold_is_gone_for_good
    what_is_not_counted_never_runs_out
    a_reservation_is_read_back_as_it_was_written
    a_sku_without_a_receipt_is_absent
    a_finding_keeps_the_age_it_had_when_it_was_found_first_until_a_look_finds_its_row_right
}

fn cause() -> MessageId {
    MessageId::from_uuid(ids::random())
}

fn request(order: OrderId, wanted: &Lines) -> Request {
    let asked = Asked { order, lines: wanted.clone(), options: BTreeMap::new() };
    Request { cause: cause(), asked, traceparent: None }
}

async fn reserve(store: &dyn StockStore, list: &[(&str, u32)]) -> (OrderId, Reserved) {
    let order = new_order();
    let mut outcomes = store.reserve(&[request(order, &lines(list))], NOW).await;
    (order, outcomes.remove(0).unwrap())
}

async fn held(store: &dyn StockStore, list: &[(&str, u32)]) -> OrderId {
    let (order, reserved) = reserve(store, list).await;
    assert_eq!(reserved, Reserved { committed: Committed::Applied, status: Some(Status::Held) });
    order
}

async fn commit(store: &dyn StockStore, decision: &Decision) -> Result<Committed, StoreError> {
    store.commit(Why::Message(cause()), decision).await
}

fn step_of(decision: Decision) -> Step {
    match decision {
        Decision::Step(step) => *step,
        Decision::Nothing => panic!("a step was expected"),
    }
}

fn sale(kinds: &[(&str, SupplyKind)]) -> Sale {
    let terms = kinds.iter().map(|(text, _)| (sku(text), Term::Months(1))).collect();
    let kinds = kinds.iter().map(|(text, kind)| (sku(text), *kind)).collect();
    Sale { user: SHOPPER.parse().unwrap(), kinds, terms }
}

async fn sold(store: &dyn StockStore, list: &[(&str, u32)], kinds: &[(&str, SupplyKind)]) -> OrderId {
    let order = held(store, list).await;
    let selling = finalise(store.reservation(order).await.unwrap(), &lines(list), &sale(kinds), NOW).unwrap();
    assert_eq!(commit(store, &selling).await.unwrap(), Committed::Applied);
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
    let (order, reserved) = reserve(&*store, &[("A", 1), ("B", 1)]).await;
    assert_eq!(reserved.status, Some(Status::Rejected));
    assert_eq!(counts(&*store, "A").await, (1, 2, 0, 3), "the line that was there is not held either");
    assert_eq!(status(&*store, order).await, Some((Status::Rejected, 1)));
    assert_eq!(reserve(&*store, &[("never-received", 1)]).await.1.status, Some(Status::Rejected));
}

async fn orders_of_one_batch_are_decided_in_their_order_and_each_for_itself(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 3), ("B", SupplyKind::Counted, 1)]).await.unwrap();
    let (first, second, third, fourth) = (new_order(), new_order(), new_order(), new_order());
    let before = request(new_order(), &lines(&[("B", 1)]));
    store.reserve(std::slice::from_ref(&before), NOW).await.remove(0).unwrap();
    let twin = request(first, &lines(&[("A", 2)]));
    let batch = [
        twin.clone(),
        request(second, &lines(&[("A", 2)])),
        request(third, &lines(&[("A", 1), ("B", 1)])),
        // The same message, an order that is known already, and one committed before.
        twin,
        request(first, &lines(&[("A", 1)])),
        before,
        request(fourth, &lines(&[("A", 1)])),
    ];
    let outcomes: Vec<_> = store.reserve(&batch, NOW).await.into_iter().map(Result::unwrap).collect();
    let applied = |status| Reserved { committed: Committed::Applied, status };
    let repeated = Reserved { committed: Committed::Repeated, status: None };
    assert_eq!(
        outcomes,
        [
            applied(Some(Status::Held)),
            applied(Some(Status::Rejected)),
            applied(Some(Status::Rejected)),
            repeated,
            applied(None),
            repeated,
            applied(Some(Status::Held)),
        ],
        "each is decided about what those before it left"
    );
    assert_eq!((counts(&*store, "A").await, counts(&*store, "B").await), ((0, 3, 0, 3), (0, 1, 0, 1)));
}

async fn an_order_is_taken_from_one_centre_or_from_several(store: Arc<dyn StockStore>) {
    use SupplyKind::{Counted, Serialised};
    receive(&*store, "r1", &[("A", Counted, 2), ("S", Serialised, 1)]).await.unwrap();
    receive_at(&*store, "fc-b", "r2", &[("A", Counted, 5), ("S", Serialised, 3)]).await;
    let pieces = async |order| {
        let pieces = store.reservation(order).await.unwrap().unwrap().pieces.into_iter();
        pieces.map(|piece| (piece.sku.to_string(), piece.centre.to_string(), piece.quantity)).collect::<Vec<_>>()
    };
    let piece = |text: &str, at: &str, units| (text.to_owned(), at.to_owned(), units);
    let whole = held(&*store, &[("A", 2), ("S", 2)]).await;
    assert_eq!(pieces(whole).await, [piece("A", "fc-b", 2), piece("S", "fc-b", 2)]);
    assert_eq!(store.availability(&[sku("A")]).await.unwrap()[&sku("A")], Availability::Counted(5));
    let split = held(&*store, &[("A", 4)]).await;
    assert_eq!(pieces(split).await, [piece("A", "fc-b", 2), piece("A", "rdc-a", 2)]);
    for order in [whole, split] {
        let giving_back = release(store.reservation(order).await.unwrap(), order, NOW).unwrap();
        commit(&*store, &giving_back).await.unwrap();
    }
    assert_eq!((row(&*store, "A", "rdc-a").await.available, row(&*store, "A", "fc-b").await.available), (2, 5));
    // One serial after the other, wherever they lie.
    for units in [1, 3] {
        sold(&*store, &[("S", units)], &[("S", Serialised)]).await;
    }
    assert_eq!(counts(&*store, "S").await, (0, 0, 4, 4));
}

async fn what_is_missing_is_promised_within_the_limit_and_served_in_order(store: Arc<dyn StockStore>) {
    let kind = SupplyKind::Counted;
    receive(&*store, "r1", &[("A", kind, 1)]).await.unwrap();
    store.limit_back_orders(&sku("A"), 5, clerk()).await.unwrap();
    let availability = async || store.availability(&[sku("A")]).await.unwrap()[&sku("A")];
    assert_eq!(availability().await, Availability::BackOrder { there: 1, room: 5 });
    let (early, late) = (held(&*store, &[("A", 3)]).await, held(&*store, &[("A", 2)]).await);
    assert_eq!(availability().await, Availability::BackOrder { there: 0, room: 1 });
    assert_eq!(reserve(&*store, &[("A", 2)]).await.1.status, Some(Status::Rejected), "one more than the limit");
    let waiting = async |order| store.reservation(order).await.unwrap().unwrap().pieces[0].waiting;
    assert_eq!(
        (waiting(early).await, waiting(late).await, row(&*store, "A", CENTRES[0]).await.back_ordered),
        (2, 2, 4)
    );
    // A lower limit takes nothing back.
    store.limit_back_orders(&sku("A"), 0, clerk()).await.unwrap();
    assert_eq!(availability().await, Availability::Counted(0));
    assert_eq!(reserve(&*store, &[("A", 1)]).await.1.status, Some(Status::Rejected));
    receive_at(&*store, "fc-b", "r2", &[("A", kind, 3)]).await;
    assert_eq!((waiting(early).await, waiting(late).await), (0, 1));
    let giving_back = release(store.reservation(early).await.unwrap(), early, NOW).unwrap();
    commit(&*store, &giving_back).await.unwrap();
    assert_eq!(waiting(late).await, 0, "what was given back goes to whoever waits");
    let level = row(&*store, "A", CENTRES[0]).await;
    assert_eq!((level.available, level.held, level.received, level.back_ordered), (2, 2, 4, 0));
    assert_eq!(row(&*store, "A", "fc-b").await.received, 0, "it was booked where it was owed");
}

async fn a_limit_is_set_for_what_can_run_out(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 1), ("D", SupplyKind::Unlimited, 0)]).await.unwrap();
    assert!(
        matches!(store.limit_back_orders(&sku("X"), 1, clerk()).await, Err(StoreError::UnknownSku(at)) if at == sku("X"))
    );
    assert!(
        matches!(store.limit_back_orders(&sku("D"), 1, clerk()).await, Err(StoreError::NotCounted(at)) if at == sku("D"))
    );
    receive_at(&*store, "fc-b", "r2", &[("A", SupplyKind::Counted, 1)]).await;
    store.limit_back_orders(&sku("A"), 7, clerk()).await.unwrap();
    let limits =
        (row(&*store, "A", CENTRES[0]).await.back_order_limit, row(&*store, "A", "fc-b").await.back_order_limit);
    assert_eq!(limits, (7, 0));
}

async fn a_parcel_waits_for_its_goods(store: Arc<dyn StockStore>) {
    let kind = SupplyKind::Counted;
    receive_at(&*store, "fc-b", "r1", &[("A", kind, 1), ("B", kind, 0)]).await;
    receive(&*store, "r2", &[("B", kind, 1)]).await.unwrap();
    store.limit_back_orders(&sku("B"), 5, clerk()).await.unwrap();
    let kinds = [("A", kind), ("B", kind)];
    let order = sold(&*store, &[("A", 1), ("B", 3)], &kinds).await;
    assert_eq!(store.sendable(10).await.unwrap(), [], "the goods of the second parcel are not there");
    let selling = store.reservation(order).await.unwrap().unwrap();
    assert_eq!((selling.status, selling.version), (Status::Finalised, 2), "one parcel left with the sale");
    receive(&*store, "r3", &[("B", kind, 1)]).await.unwrap();
    assert_eq!(store.sendable(10).await.unwrap(), []);
    receive(&*store, "r4", &[("B", kind, 4)]).await.unwrap();
    assert_eq!(store.sendable(10).await.unwrap(), [(order, vec![centre(CENTRES[0])])]);
    let current = store.reservation(order).await.unwrap().unwrap();
    let sending = send(current, &[centre(CENTRES[0])], &sale(&kinds).kinds, NOW);
    assert_eq!(store.commit(Why::Duty("test"), &sending).await.unwrap(), Committed::Applied);
    assert!(matches!(store.commit(Why::Duty("test"), &sending).await, Err(StoreError::Overtaken)));
    assert_eq!(
        (store.sendable(10).await.unwrap(), status(&*store, order).await),
        (vec![], Some((Status::Finalised, 3)))
    );
}

async fn a_hold_is_extended_and_asked_about_once_in_a_while(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 9)]).await.unwrap();
    let (first, second) = (held(&*store, &[("A", 1)]).await, held(&*store, &[("A", 1)]).await);
    let later = NOW + USUAL_HOLD + TimeDelta::seconds(1);
    assert_eq!(store.claim_overdue(NOW, NOW, 10).await.unwrap(), []);
    let extending = extend(store.reservation(first).await.unwrap(), later, NOW).unwrap();
    assert_eq!(step_of(extending.clone()).movements, None);
    commit(&*store, &extending).await.unwrap();
    assert_eq!(status(&*store, first).await, Some((Status::Held, 2)));
    assert_eq!(store.reservation(first).await.unwrap().unwrap().held_until, later);
    assert_eq!(store.claim_overdue(later, later - TimeDelta::seconds(30), 10).await.unwrap(), [second]);
    assert_eq!(store.claim_overdue(later, later - TimeDelta::seconds(30), 10).await.unwrap(), [], "just asked");
    let much_later = later + TimeDelta::seconds(31);
    let mut both = store.claim_overdue(much_later, much_later - TimeDelta::seconds(30), 10).await.unwrap();
    both.sort();
    let mut expected = [first, second];
    expected.sort();
    assert_eq!(both, expected);
    assert_eq!(counts(&*store, "A").await, (7, 2, 0, 9), "asking moves nothing");
}

async fn what_comes_back_is_for_sale_again_unless_it_left_and_no_more_than_was_sold(store: Arc<dyn StockStore>) {
    use SupplyKind::{Counted, Unlimited};
    let kinds = [("A", Counted), ("D", Unlimited)];
    receive(&*store, "r1", &[("A", Counted, 5), ("D", Unlimited, 0)]).await.unwrap();
    let back =
        async |order: OrderId, lines: Option<&Lines>| take_back(store.reservation(order).await.unwrap(), lines, NOW);
    let goods = async || {
        let row = row(&*store, "A", CENTRES[0]).await;
        (row.available, row.sold, row.returned, row.received)
    };
    // What left with its parcel stays out; the download comes back.
    let left = sold(&*store, &[("A", 3), ("D", 2)], &kinds).await;
    for units in [1, 1] {
        let some = lines(&[("A", units)]);
        commit(&*store, &back(left, Some(&some)).await.unwrap()).await.unwrap();
    }
    commit(&*store, &back(left, None).await.unwrap()).await.unwrap();
    assert_eq!(back(left, None).await, Ok(Decision::Nothing));
    assert_eq!(goods().await, (2, 3, 0, 5));
    let download = row(&*store, "D", CENTRES[0]).await;
    assert_eq!((download.available, download.sold, download.returned, download.received), (0, 2, 2, 0));
    // Two of the next three are there, so their parcel waits for the third and all of them are still in the house.
    store.limit_back_orders(&sku("A"), 1, clerk()).await.unwrap();
    let waits = sold(&*store, &[("A", 3)], &kinds).await;
    for units in [1, 1] {
        let some = lines(&[("A", units)]);
        commit(&*store, &back(waits, Some(&some)).await.unwrap()).await.unwrap();
    }
    assert!(back(waits, Some(&lines(&[("A", 2)]))).await.is_err());
    commit(&*store, &back(waits, None).await.unwrap()).await.unwrap();
    assert_eq!(back(waits, None).await, Ok(Decision::Nothing));
    assert_eq!(goods().await, (2, 6, 3, 5));
}

async fn counts_follow_from_movements(store: Arc<dyn StockStore>) {
    use SupplyKind::{Counted, Unlimited};
    receive(&*store, "r1", &[("A", Counted, 5), ("D", Unlimited, 0)]).await.unwrap();
    receive_at(&*store, "fc-b", "r2", &[("A", Counted, 2)]).await;
    sold(&*store, &[("A", 6), ("D", 1)], &[("A", Counted), ("D", Unlimited)]).await;
    let all = audit_all(&*store).await;
    let places: Vec<_> = all.iter().map(|row| (row.place.0.as_str(), row.place.1.as_str())).collect();
    assert_eq!(places, [("A", "fc-b"), ("A", "rdc-a"), ("D", "rdc-a")]);
    assert!(all.iter().all(|row| row.findings().is_empty()), "{all:?}");
    // Row by row it is the same.
    let (by_row, _) = walk(&*store, Most { rows: 1, movements: 1_000 }).await;
    assert_eq!(by_row, all);
}

async fn a_long_history_is_added_up_a_few_movements_at_a_time_and_each_is_read_once(store: Arc<dyn StockStore>) {
    for n in 0..23 {
        receive(&*store, &format!("a{n}"), &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    }
    receive(&*store, "b", &[("B", SupplyKind::Counted, 4), ("C", SupplyKind::Counted, 1)]).await.unwrap();
    let all = audit_all(&*store).await;
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|row| row.findings().is_empty()), "{all:?}");
    for movements in [1, 2, 7, 23, 24, 25, 26] {
        let (audited, read) = walk(&*store, Most { rows: 10, movements }).await;
        assert_eq!(audited, all, "{movements} at a time");
        assert!(read.iter().all(|read| *read <= u64::from(movements)), "{movements} at a time: {read:?}");
        assert_eq!(read.iter().sum::<u64>(), 25, "{movements} at a time: {read:?}");
    }
}

async fn what_moves_while_a_row_is_added_up_is_in_its_sums(store: Arc<dyn StockStore>) {
    for n in 0..5 {
        receive(&*store, &format!("a{n}"), &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    }
    receive(&*store, "b", &[("B", SupplyKind::Counted, 4)]).await.unwrap();
    let most = Most { rows: 10, movements: 3 };
    let (mut audited, mut from) = (Vec::new(), None);
    // Both rows have moved at every look, wherever the walk is.
    for _ in 0..4 {
        let look = store.audit(from.as_ref(), most).await.unwrap();
        audited.extend(look.audited);
        from = look.next;
        held(&*store, &[("A", 1), ("B", 1)]).await;
    }
    assert_eq!(from, None);
    assert_eq!(audited.iter().map(|row| row.place.0.as_str()).collect::<Vec<_>>(), ["A", "B"], "{audited:?}");
    assert!(audited.iter().all(|row| row.findings().is_empty()), "{audited:?}");
}

async fn a_message_has_its_effect_once(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 9)]).await.unwrap();
    let asked = request(new_order(), &lines(&[("A", 2)]));
    for committed in [Committed::Applied, Committed::Repeated] {
        assert_eq!(store.reserve(std::slice::from_ref(&asked), NOW).await.remove(0).unwrap().committed, committed);
    }
    let (message, order) = (Why::Message(cause()), asked.asked.order);
    let giving_back = release(store.reservation(order).await.unwrap(), order, NOW).unwrap();
    assert_eq!(store.commit(message, &giving_back).await.unwrap(), Committed::Applied);
    assert_eq!(store.commit(message, &giving_back).await.unwrap(), Committed::Repeated);
    assert_eq!(counts(&*store, "A").await, (9, 0, 0, 9));
}

async fn a_decision_about_an_older_state_is_overtaken(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 9)]).await.unwrap();
    let order = held(&*store, &[("A", 2)]).await;
    let seen = store.reservation(order).await.unwrap();
    let giving_back = release(seen.clone(), order, NOW).unwrap();
    let selling = finalise(seen, &lines(&[("A", 2)]), &sale(&[("A", SupplyKind::Counted)]), NOW).unwrap();
    assert_eq!(commit(&*store, &giving_back).await.unwrap(), Committed::Applied);
    let late = commit(&*store, &selling).await;
    assert!(matches!(late, Err(StoreError::Overtaken)), "{late:?}");
    assert_eq!((status(&*store, order).await, counts(&*store, "A").await), (Some((Status::Released, 2)), (9, 0, 0, 9)));
}

async fn decisions_that_meet_end_as_each_would_have_ended_alone(store: Arc<dyn StockStore>) {
    use SupplyKind::{Counted, Serialised};
    let kinds = [("A", Serialised), ("B", Counted)];
    receive(&*store, "r1", &[("A", Serialised, 20), ("B", Counted, 9)]).await.unwrap();
    let baskets: [&[(&str, u32)]; 4] = [&[("A", 2)], &[("A", 1), ("B", 2)], &[("B", 3)], &[("A", 4)]];
    let (mut orders, mut seen) = (Vec::new(), Vec::new());
    for basket in baskets {
        orders.push(held(&*store, basket).await);
        seen.push(store.reservation(orders[orders.len() - 1]).await.unwrap());
    }
    let unheard = new_order();
    let selling = |place: usize| finalise(seen[place].clone(), &lines(baskets[place]), &sale(&kinds), NOW).unwrap();
    let giving_back = |place: usize| release(seen[place].clone(), orders[place], NOW).unwrap();
    // The fourth order is sold and given back at once.
    let decisions = [
        selling(0),
        selling(1),
        giving_back(2),
        selling(3),
        giving_back(3),
        release(None, unheard, NOW).unwrap(),
        Decision::Nothing,
    ];
    let mut outcomes = futures::future::join_all(decisions.iter().map(|decision| commit(&*store, decision))).await;
    let of_the_fourth: Vec<_> = outcomes.drain(3..5).collect();
    for outcome in outcomes {
        assert_eq!(outcome.unwrap(), Committed::Applied);
    }
    let is_sold = of_the_fourth[0].is_ok();
    let overtaken = of_the_fourth.iter().filter(|outcome| matches!(outcome, Err(StoreError::Overtaken)));
    assert_eq!((overtaken.count(), is_sold != of_the_fourth[1].is_ok()), (1, true), "{of_the_fourth:?}");
    let ended = if is_sold { Status::Finalised } else { Status::Released };
    for (order, status_after) in orders
        .iter()
        .zip([Status::Finalised, Status::Finalised, Status::Released, ended])
        .map(|(order, after)| (*order, after))
    {
        assert_eq!(status(&*store, order).await, Some((status_after, 2)));
    }
    assert_eq!(status(&*store, unheard).await, Some((Status::Released, 1)));
    let a = if is_sold { (13, 0, 7, 20) } else { (17, 0, 3, 20) };
    assert_eq!((counts(&*store, "A").await, counts(&*store, "B").await), (a, (7, 0, 2, 9)));
}

async fn a_message_without_effect_is_remembered_too(store: Arc<dyn StockStore>) {
    let message = Why::Message(cause());
    assert_eq!(store.commit(message, &Decision::Nothing).await.unwrap(), Committed::Applied);
    assert_eq!(store.commit(message, &Decision::Nothing).await.unwrap(), Committed::Repeated);
}

async fn what_is_held_can_be_given_back_once(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 5)]).await.unwrap();
    let order = held(&*store, &[("A", 5)]).await;
    let giving_back = release(store.reservation(order).await.unwrap(), order, NOW).unwrap();
    assert_eq!(commit(&*store, &giving_back).await.unwrap(), Committed::Applied);
    assert!(matches!(commit(&*store, &giving_back).await, Err(StoreError::Overtaken)));
    assert_eq!(counts(&*store, "A").await, (5, 0, 0, 5));
}

async fn what_is_sold_is_gone_for_good(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Serialised, 5)]).await.unwrap();
    let order = sold(&*store, &[("A", 2)], &[("A", SupplyKind::Serialised)]).await;
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
    commit(&*store, &giving_back).await.unwrap();
    assert_eq!((counts(&*store, "D").await, counts(&*store, "M").await), ((0, 0, 0, 0), (0, 0, 0, 0)));
}

async fn a_reservation_is_read_back_as_it_was_written(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 5), ("B", SupplyKind::Counted, 5)]).await.unwrap();
    let (order, wanted) = (new_order(), lines(&[("B", 2), ("A", 1)]));
    let chosen = vec![("colour".to_owned(), "red".to_owned()), ("size".to_owned(), "m".to_owned())];
    let mut asked = request(order, &wanted);
    asked.asked.options.insert(sku("A"), chosen.clone());
    store.reserve(&[asked], NOW).await.remove(0).unwrap();
    let read = store.reservation(order).await.unwrap().unwrap();
    assert_eq!((read.status, read.version, &read.lines), (Status::Held, 1, &wanted));
    assert_eq!(
        (read.options, read.created_at, read.held_until),
        (BTreeMap::from([(sku("A"), chosen)]), NOW, NOW + USUAL_HOLD)
    );
    let pieces: Vec<_> = read.pieces.iter().map(|piece| (piece.sku.as_str(), &piece.centre, piece.quantity)).collect();
    assert_eq!(pieces, [("A", centres().first(), 1), ("B", centres().first(), 2)]);
    let (rejected, reserved) = reserve(&*store, &[("A", 5)]).await;
    assert_eq!(reserved.status, Some(Status::Rejected));
    let read = store.reservation(rejected).await.unwrap().unwrap();
    assert_eq!((read.status, read.version, read.lines, read.pieces), (Status::Rejected, 1, lines(&[("A", 5)]), vec![]));
}

async fn a_sku_without_a_receipt_is_absent(store: Arc<dyn StockStore>) {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 5), ("D", SupplyKind::Unlimited, 0)]).await.unwrap();
    let availability = store.availability(&[sku("A"), sku("D"), sku("X")]).await.unwrap();
    assert_eq!(availability.get(&sku("A")), Some(&Availability::Counted(5)));
    assert_eq!(availability.get(&sku("D")), Some(&Availability::Digital));
    assert_eq!(availability.get(&sku("X")), None);
}

async fn a_finding_keeps_the_age_it_had_when_it_was_found_first_until_a_look_finds_its_row_right(
    store: Arc<dyn StockStore>,
) {
    let place = |name: &str| (sku(name), centre(CENTRES[0]));
    let sold = |name: &str, found| Finding { place: place(name), counter: "sold", expected: 1, found };
    let held = Finding { counter: "held", ..sold("A", 3) };
    let after = |minutes| NOW + TimeDelta::minutes(minutes);
    assert_eq!(store.findings_by_counter().await.unwrap(), []);
    let note = async |audited: &[&str], findings: &[Finding], at: DateTime<Utc>| {
        let audited: Vec<_> = audited.iter().copied().map(place).collect();
        store.note_findings(&audited, findings, at).await.unwrap()
    };
    assert_eq!(note(&["A"], &[sold("A", 2)], after(0)).await, 1);
    assert_eq!(note(&["B"], &[sold("B", 2)], after(1)).await, 1, "a look at other rows leaves it alone");
    assert_eq!(note(&["A"], &[sold("A", 4), held], after(2)).await, 1, "it is the same, although worse");
    let open = |counter, count, since| OpenFindings { counter, count, since };
    let seen = store.findings_by_counter().await.unwrap();
    assert_eq!(seen, [open("held", 1, after(2)), open("sold", 2, after(0))]);
    assert_eq!(note(&["A"], &[], after(3)).await, 0);
    assert_eq!(store.findings_by_counter().await.unwrap(), [open("sold", 1, after(1))]);
    assert_eq!(note(&["A"], &[sold("A", 2)], after(4)).await, 1, "one that comes back is new");
    assert_eq!(note(&["B"], &[], after(5)).await, 0);
    assert_eq!(store.findings_by_counter().await.unwrap(), [open("sold", 1, after(4))]);
}
