//! Settled days: the gateway's file against our attempts and ledger, in both directions, and what it resolves.

use chrono::{DateTime, Days, NaiveDate, Utc};
use common::Clock as _;
use order_payment::domain::{AttemptState, Call, OrderStatus};
use order_payment::usecases::orphan_money::refund_orphans;
use order_payment::usecases::ports::{Finding, FindingKind};
use order_payment::usecases::process_payment::process_payments;
use order_payment::usecases::reconcile::reconcile;
use order_payment::usecases::settle_day::{ClosedDay, Look, settle_day, settle_recent_days};
use sha2::{Digest as _, Sha256};

use crate::gateway::Shop;
use crate::orphans::{strange_charge, suspense};
use crate::world::{Weather, World, worlds};

const GATEWAY: &str = "simulator";

/// A file with these rows, as a gateway would seal it.
fn file(day: NaiveDate, closed_at: DateTime<Utc>, rows: &[(i64, &str, String, u32, String, i64)]) -> bytes::Bytes {
    let mut text = format!("file,1,intents,{day},{}\n", closed_at.to_rfc3339());
    let (mut captured, mut refunded) = (0, 0);
    for (sequence, kind, order, attempt, payment, amount) in rows {
        *(if *kind == "refund" { &mut refunded } else { &mut captured }) += amount;
        text +=
            &format!("row,{sequence},{kind},{order},{attempt},{payment},ch,,{amount},EUR,{}\n", closed_at.to_rfc3339());
    }
    if !rows.is_empty() {
        text += &format!("total,EUR,{captured},{refunded},{},{}\n", captured - refunded, rows.len());
    }
    text += &format!("checksum,sha256,{}\n", hex::encode(Sha256::digest(&text)));
    text.into()
}

fn today(world: &World) -> NaiveDate {
    world.clock.now().date_naive()
}

fn tonight(world: &World) -> DateTime<Utc> {
    today(world).checked_add_days(Days::new(1)).unwrap().and_time(chrono::NaiveTime::MIN).and_utc()
}

/// What the gateway would write about the charge of an order.
async fn charge_row(
    world: &World,
    sequence: i64,
    order: common::OrderId,
) -> (i64, &'static str, String, u32, String, i64) {
    let id = format!("pi_{}", order.uuid().simple());
    (sequence, "capture", order.to_string(), world.charge(order).await.number, id, 4990)
}

async fn settle(world: &World) -> ClosedDay {
    match settle_day(&world.app, GATEWAY, today(world)).await.unwrap() {
        Look::Closed(closed) => closed,
        Look::NoFile => panic!("no file"),
    }
}

async fn open_findings(world: &World) -> Vec<String> {
    if let Some(database) = &world.database {
        return sqlx::query_scalar(
            "SELECT detail FROM reconciliation_findings WHERE resolved_at IS NULL AND kind = 'SETTLEMENT_DIFFERS' ORDER BY reference",
        )
        .fetch_all(&database.owner)
        .await
        .unwrap();
    }
    let books = world.books();
    let open =
        books.findings.values().filter(|(Finding { kind, .. }, open)| *open && *kind == FindingKind::SettlementDiffers);
    open.map(|(finding, _)| finding.detail.clone()).collect()
}

#[tokio::test]
async fn a_day_in_order_is_closed_with_its_total_and_no_difference_however_often() {
    for world in worlds().await {
        let (one, two) = (world.an_order_to_pay().await, world.an_order_to_pay().await);
        world.pay().await;
        let rows = [charge_row(&world, 1, one).await, charge_row(&world, 2, two).await];
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &rows));
        for _ in 0..2 {
            let closed = settle(&world).await;
            let total = closed.totals["EUR"];
            assert_eq!(
                (closed.rows, closed.open, total.theirs.net(), total.ours, total.difference()),
                (2, 0, 9980, 9980, 0)
            );
        }
        assert_eq!(open_findings(&world).await, Vec::<String>::new());
        // The day is in the books.
        let settled = world.app.store.settled(GATEWAY, today(&world)).await.unwrap().unwrap();
        assert_eq!((settled.open, settled.closed_at), (0, tonight(&world)));
        // A closed day does not change.
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &rows[..1]));
        let changed = settle_day(&world.app, GATEWAY, today(&world)).await.unwrap_err();
        assert!(changed.to_string().contains("has changed"), "{changed}");
    }
}

#[tokio::test]
async fn an_unknown_payment_is_resolved_by_the_file_once() {
    for world in worlds().await {
        world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::LostAfter]);
        let id = world.an_order_to_pay().await;
        process_payments(&world.app).await.unwrap();
        assert_eq!(world.charge(id).await.state, AttemptState::Unknown);
        let row = charge_row(&world, 1, id).await;
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &[row]));
        for _ in 0..2 {
            assert_eq!(settle(&world).await.totals["EUR"].difference(), 0);
            assert_eq!((world.status(id).await, world.ledger(id).await), (OrderStatus::Completed, 4990));
        }
        assert_eq!(world.charge(id).await.state, AttemptState::Captured);
        world.pay().await;
        assert_eq!(world.ledger(id).await, 4990, "whoever comes second finds it done");
    }
}

#[tokio::test]
async fn money_taken_for_an_order_that_was_given_up_is_booked_and_sent_back() {
    for world in worlds().await {
        world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::Refused]);
        let id = world.an_order_to_pay().await;
        process_payments(&world.app).await.unwrap();
        world.clock.advance(chrono::Duration::minutes(16));
        order_payment::usecases::compensate_order::sweep_deadlines(&world.app).await.unwrap();
        world.pay().await;
        assert_eq!(world.charge(id).await.state, AttemptState::Voided);
        assert_eq!(world.gateway.calls.lock().unwrap().last(), Some(&Call::Cancel));
        world.gateway.force(id, order_payment::domain::IntentStatus::Succeeded);
        let row = charge_row(&world, 1, id).await;
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &[row]));
        assert_eq!(settle(&world).await.open, 0);
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (0, 0));
    }
}

#[tokio::test]
async fn what_does_not_agree_is_a_finding_until_it_does() {
    for world in worlds().await {
        let (good, unsettled) = (world.an_order_to_pay().await, world.an_order_to_pay().await);
        world.pay().await;
        let mut wrong = charge_row(&world, 2, good).await;
        wrong.5 = 4000;
        let nobody = common::OrderId::from_uuid(common::ids::random());
        let by_hand = (3, "refund", nobody.to_string(), 1, "pi_nobodys".to_owned(), 100);
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &[wrong, by_hand]));
        let closed = settle(&world).await;
        // Theirs 3900; ours 4990 of the row that differs and 4990 that no file names.
        assert_eq!((closed.open, closed.totals["EUR"].difference()), (3, 3900 - 2 * 4990));
        let found = open_findings(&world).await;
        assert_eq!(found.len(), 3, "{found:?}");
        for part in ["4990 EUR in our ledger, not settled", "is no attempt of ours", "another amount"] {
            assert!(found.iter().any(|detail| detail.contains(part)), "{part}: {found:?}");
        }
        reconcile(&world.app).await.unwrap();
        assert_eq!(
            open_findings(&world).await.len(),
            3,
            "a look at the gateway's list says nothing about a settled day"
        );
        assert_eq!(world.ledger(unsettled).await, 4990, "nothing is changed by a difference");
    }
}

#[tokio::test]
async fn an_attempt_that_is_settled_twice_is_in_our_books_once() {
    for world in worlds().await {
        let order = world.an_order_to_pay().await;
        world.pay().await;
        let rows = [charge_row(&world, 3, order).await, charge_row(&world, 5, order).await];
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &rows));
        for _ in 0..2 {
            let closed = settle(&world).await;
            assert_eq!((closed.open, closed.totals["EUR"].difference()), (1, 4990));
            let found = open_findings(&world).await;
            assert!(found.len() == 1 && found[0].contains("settled by an earlier row"), "{found:?}");
        }
        // The next day's file takes the same money once more.
        world.clock.advance(chrono::Duration::days(1));
        let again = charge_row(&world, 9, order).await;
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &[again]));
        assert_eq!(settle(&world).await.open, 1);
    }
}

#[tokio::test]
async fn a_day_with_money_without_an_order_closes_when_it_came_and_when_it_went_back() {
    for world in worlds().await {
        let intent = strange_charge(&world);
        let named = common::ids::random().to_string();
        let came = (1, "capture", named.clone(), 1, intent.clone(), 4990);
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &[came]));
        for _ in 0..2 {
            let closed = settle(&world).await;
            assert_eq!((closed.open, closed.totals["EUR"].difference()), (0, 0), "the file is who found it");
        }
        assert_eq!(suspense(&world, &intent).await, (4990, 1), "once");
        world.clock.advance(world.app.rules.orphan_deadline + chrono::Duration::minutes(1));
        // A gateway names what it was told with the charge, and the number of our refund.
        let went = (2, "refund", named.clone(), 1, intent.clone(), 4990);
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &[went]));
        let closed = settle(&world).await;
        assert_eq!((closed.open, closed.totals["EUR"].difference()), (1, -4990), "their books are ahead of ours");
        refund_orphans(&world.app).await.unwrap();
        let closed = settle(&world).await;
        assert_eq!((closed.open, closed.totals["EUR"].difference()), (0, 0));
        assert_eq!(suspense(&world, &intent).await, (0, 2));
        // Money that goes back twice is seen, whichever file it is in.
        world.clock.advance(chrono::Duration::days(1));
        let again = (3, "refund", named, 1, intent, 4990);
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &[again]));
        let closed = settle(&world).await;
        assert_eq!((closed.open, closed.totals["EUR"].difference()), (1, -4990));
    }
}

#[tokio::test]
async fn a_second_charge_under_the_name_of_one_of_ours_is_money_without_an_order() {
    for world in worlds().await {
        let order = world.an_order_to_pay().await;
        world.pay().await;
        let first = charge_row(&world, 1, order).await;
        let mut second = charge_row(&world, 2, order).await;
        second.4 = format!("pi_{}", common::ids::random().simple());
        let intent = second.4.clone();
        *world.gateway.settlement.lock().unwrap() = Some(file(today(&world), tonight(&world), &[first, second]));
        for _ in 0..2 {
            let closed = settle(&world).await;
            assert_eq!((closed.open, closed.totals["EUR"].difference()), (0, 0));
        }
        assert_eq!((world.ledger(order).await, suspense(&world, &intent).await), (4990, (4990, 1)));
    }
}

#[tokio::test]
async fn a_day_that_cannot_be_settled_keeps_no_other_day_from_it() {
    for world in worlds().await {
        let order = world.an_order_to_pay().await;
        world.pay().await;
        let (day, rows) = (today(&world), [charge_row(&world, 1, order).await]);
        *world.gateway.settlement.lock().unwrap() = Some(file(day, tonight(&world), &rows));
        world.clock.advance(chrono::Duration::days(1));
        // Every other day of the week is answered with this one's file, which is not believed.
        settle_recent_days(&world.app).await.unwrap_err();
        assert_eq!(world.app.store.settled(GATEWAY, day).await.unwrap().map(|settled| settled.open), Some(0));
    }
}

#[tokio::test]
async fn a_damaged_file_or_another_days_file_is_not_believed() {
    let world = World::in_memory();
    assert_eq!(settle_day(&world.app, GATEWAY, today(&world)).await.unwrap(), Look::NoFile);
    let yesterday = today(&world).checked_sub_days(Days::new(1)).unwrap();
    let sealed = file(yesterday, tonight(&world), &[]);
    let damaged = bytes::Bytes::from(sealed.iter().rev().copied().collect::<Vec<u8>>());
    for bad in [sealed, damaged] {
        *world.gateway.settlement.lock().unwrap() = Some(bad);
        assert!(settle_day(&world.app, GATEWAY, today(&world)).await.is_err());
    }
    assert!(world.app.store.settled(GATEWAY, today(&world)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulators_day_settles_to_nothing_at_both_gateways() {
    for name in ["simulator", "square"] {
        let shop = Shop::open_at(name).await;
        let mut orders = Vec::new();
        for (token, minor) in
            [("tok_ok", 4990), ("tok_timeout_charged", 100), ("tok_declined", 700), ("tok_ok", 12_900)]
        {
            orders.push(shop.order(token, minor).await);
        }
        for id in orders {
            shop.end_of(id, "the order to end").await;
        }
        let day = shop.app.clock.now().date_naive();
        assert_eq!(settle_day(&shop.app, name, day).await.unwrap(), Look::NoFile, "the day is open");
        shop.simulator.close_day(day).await.unwrap();
        let Look::Closed(closed) = settle_day(&shop.app, name, day).await.unwrap() else { panic!("no file") };
        let total = closed.totals["EUR"];
        assert_eq!((closed.rows, closed.open, total.theirs.net(), total.difference()), (3, 0, 17_990, 0), "{name}");
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM settlement_rows WHERE outcome = 'MATCHED'")
            .fetch_one(&shop.database.owner)
            .await
            .unwrap();
        assert_eq!(kept, 3);
        shop.close().await;
    }
}
