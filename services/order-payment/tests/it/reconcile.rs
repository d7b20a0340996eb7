//! Books compared: differences are noted, stay open while they last, and are resolved.

use chrono::Duration;
use common::OrderId;
use order_payment::domain::{Answer, Call, IntentStatus, OrderStatus};
use order_payment::outbound::postgres::PostgresDesk;
use order_payment::usecases::compensate_order::sweep_deadlines;
use order_payment::usecases::own_finding::{acknowledge_finding, resolve_finding};
use order_payment::usecases::ports::{FindingKind, Gateway as _};
use order_payment::usecases::process_payment::process_payments;
use order_payment::usecases::reconcile::reconcile;

use crate::refunds::{amount, clerk, refund};
use crate::world::{Weather, World, worlds};

#[tokio::test]
async fn agreeing_books_have_no_findings() {
    for world in worlds().await {
        for _ in 0..3 {
            world.an_order_to_pay().await;
        }
        world.pay().await;
        assert_eq!(reconcile(&world.app).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_charge_nobody_ordered_is_found_and_a_charge_that_vanished_too() {
    let world = World::in_postgres().await;
    let (vanished, kept) = (world.an_order_to_pay().await, world.an_order_to_pay().await);
    world.pay().await;
    let attempt = world.charge(kept).await;
    let vanished = world.charge(vanished).await.intent.unwrap();
    world.gateway.intents.lock().unwrap().remove(&vanished);
    let Answer::Intent(mut orphan) = world.gateway.look(order_payment::domain::Look::Intent, &attempt).await else {
        panic!("no intent")
    };
    orphan.id = "pi_orphan".to_owned();
    orphan.status = IntentStatus::Succeeded;
    world.gateway.intents.lock().unwrap().insert(orphan.id.clone(), orphan);

    let mut kinds: Vec<_> = reconcile(&world.app).await.unwrap().into_iter().map(|finding| finding.kind).collect();
    kinds.sort();
    assert_eq!(kinds, [FindingKind::ChargeWithoutOrder, FindingKind::OrderWithoutCharge]);
    assert_eq!(open(&world).await, 2);
    world.gateway.intents.lock().unwrap().remove("pi_orphan");
    world.clock.advance(Duration::minutes(1));
    reconcile(&world.app).await.unwrap();
    assert_eq!(open(&world).await, 1, "what is no longer found is resolved");
    let backlog = world.app.store.backlog().await.unwrap();
    assert!(
        backlog.open.iter().any(|row| row.what == "finding" && row.state == "ORDER_WITHOUT_CHARGE" && row.count == 1),
        "{backlog:?}"
    );
}

/// Does to our own books what nothing of ours can do: the triggers are off for it.
async fn spoil(world: &World, table: &str, statement: &str) {
    let spoilt =
        format!("ALTER TABLE {table} DISABLE TRIGGER USER; {statement}; ALTER TABLE {table} ENABLE TRIGGER USER");
    sqlx::raw_sql(sqlx::AssertSqlSafe(spoilt)).execute(&world.database.as_ref().unwrap().owner).await.unwrap();
}

async fn found(world: &World) -> Vec<(FindingKind, Option<OrderId>)> {
    let mut found: Vec<_> =
        reconcile(&world.app).await.unwrap().into_iter().map(|finding| (finding.kind, finding.order)).collect();
    found.sort();
    found
}

#[tokio::test]
async fn orders_that_do_not_agree_with_the_ledger_are_found() {
    let world = World::in_postgres().await;
    let (unbooked, short, kept) =
        (world.an_order_to_pay().await, world.an_order_to_pay().await, world.an_order_to_pay().await);
    world.pay().await;
    assert_eq!(found(&world).await, []);
    let of = |order: OrderId| {
        format!("transaction_id = (SELECT attempt_id FROM payment_attempts WHERE order_id = '{order}')")
    };
    spoil(&world, "ledger_entries", &format!("DELETE FROM ledger_entries WHERE {}", of(unbooked))).await;
    spoil(&world, "ledger_transactions", &format!("DELETE FROM ledger_transactions WHERE {}", of(unbooked))).await;
    spoil(
        &world,
        "ledger_entries",
        &format!("UPDATE ledger_entries SET amount_minor = sign(amount_minor) * 4989 WHERE {}", of(short)),
    )
    .await;
    let ended = "status = 'COMPENSATED', reason = 'CANCELLED'";
    spoil(&world, "orders", &format!("UPDATE orders SET {ended} WHERE order_id = '{kept}'")).await;
    let mut expected = vec![
        (FindingKind::AttemptWithoutLedger, Some(unbooked)),
        (FindingKind::AmountDiffers, Some(short)),
        (FindingKind::OrderNotBalanced, Some(kept)),
    ];
    expected.sort();
    assert_eq!(found(&world).await, expected);
    spoil(
        &world,
        "payment_attempts",
        &format!("UPDATE payment_attempts SET state = 'VOIDED' WHERE order_id = '{kept}'"),
    )
    .await;
    let kinds: Vec<_> = found(&world).await.into_iter().filter(|(_, order)| *order == Some(kept)).collect();
    // The gateway charged, we say voided, and the ledger has it: told from both sides.
    assert!(kinds.contains(&(FindingKind::LedgerWithoutAttempt, Some(kept))), "{kinds:?}");
}

#[tokio::test]
async fn what_left_the_window_is_not_taken_for_mended() {
    for world in worlds().await {
        let lost = world.an_order_to_pay().await;
        world.pay().await;
        let intent = world.charge(lost).await.intent.unwrap();
        world.gateway.intents.lock().unwrap().remove(&intent);
        assert_eq!(found(&world).await, [(FindingKind::OrderWithoutCharge, Some(lost))]);
        // Two days later nobody has done anything about it; it is only too old to be looked at.
        world.clock.advance(Duration::hours(49));
        assert_eq!(found(&world).await, []);
        let open_now = match &world.memory {
            Some(_) => i64::from(world.books().findings.values().any(|(_, open)| *open)),
            None => open(&world).await,
        };
        assert_eq!(open_now, 1, "a difference that was never mended stays open");
    }
}

/// What the gateway has given back of this order, as it says from now on.
async fn gave_back(world: &World, order: OrderId, minor: i64) {
    let intent = world.charge(order).await.intent.unwrap();
    // Under a number that no attempt of ours has.
    world.gateway.refunded.lock().unwrap().insert(intent, [(99, minor)].into());
}

#[tokio::test]
async fn what_went_back_there_and_not_here_is_found_and_the_other_way_round_until_both_agree() {
    for world in worlds().await {
        let (untouched, part) = (world.an_order_to_pay().await, world.an_order_to_pay().await);
        world.pay().await;
        refund(&world, clerk(), part, amount("20.00")).await.unwrap();
        world.pay().await;
        assert_eq!((world.gateway.net(part), world.gateway.net(untouched)), (2990, 4990));
        assert_eq!(found(&world).await, []);
        // Somebody gives money back at the gateway's own pages.
        gave_back(&world, untouched, 1).await;
        assert_eq!(found(&world).await, [(FindingKind::RefundDiffers, Some(untouched))]);
        gave_back(&world, untouched, 0).await;
        // The bank has sent it back, or the gateway forgot it; or it gave twice.
        for there in [0, 1999, 4000] {
            gave_back(&world, part, there).await;
            assert_eq!(found(&world).await, [(FindingKind::RefundDiffers, Some(part))], "{there} there");
        }
        gave_back(&world, part, 2000).await;
        world.clock.advance(Duration::minutes(1));
        assert_eq!(found(&world).await, []);
        let open_now = match &world.memory {
            Some(_) => i64::from(world.books().findings.values().any(|(_, open)| *open)),
            None => open(&world).await,
        };
        assert_eq!(open_now, 0, "what agrees again is resolved");
    }
}

#[tokio::test]
async fn a_refund_whose_answer_was_lost_is_no_difference_while_it_is_under_way() {
    for world in worlds().await {
        for (sky, given) in [(Weather::LostAfter, 2000), (Weather::LostBefore, 0)] {
            let order = world.an_order_to_pay().await;
            world.pay().await;
            refund(&world, clerk(), order, amount("20.00")).await.unwrap();
            world.gateway.forecast(&[sky]);
            process_payments(&world.app).await.unwrap();
            assert_eq!(world.gateway.net(order), 4990 - given, "{sky:?}");
            world.clock.advance(Duration::minutes(5));
            assert_eq!(found(&world).await, [], "{sky:?}");
            world.pay().await;
            assert_eq!((world.gateway.net(order), found(&world).await), (2990, vec![]), "{sky:?}");
        }
    }
}

/// A payment that is authorised, and whose capture does not get through for some minutes.
async fn nearly_captured(world: &World) -> OrderId {
    world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::Refused]);
    let order = world.an_order_to_pay().await;
    process_payments(&world.app).await.unwrap();
    assert_eq!(world.gateway.calls.lock().unwrap().last(), Some(&Call::Capture));
    world.clock.advance(Duration::minutes(5));
    order
}

#[tokio::test]
async fn a_payment_that_is_captured_between_the_two_readings_is_no_difference() {
    for world in worlds().await {
        let order = nearly_captured(&world).await;
        world.gateway.lists_as_of_now();
        world.pay().await;
        assert_eq!(world.status(order).await, OrderStatus::Completed);
        assert_eq!(found(&world).await, [], "the gateway's list is older than our books");
    }
}

#[tokio::test]
async fn a_payment_that_is_given_up_between_the_two_readings_is_no_difference() {
    for world in worlds().await {
        let order = nearly_captured(&world).await;
        world.gateway.lists_as_of_now();
        world.clock.advance(Duration::minutes(16));
        sweep_deadlines(&world.app).await.unwrap();
        world.pay().await;
        assert_eq!(world.status(order).await, OrderStatus::Compensated);
        assert_eq!(found(&world).await, []);
        // The same of a hold whose id never reached us.
        world.gateway.lists_afresh();
        world.gateway.forecast(&[Weather::LostAfter]);
        let order = world.an_order_to_pay().await;
        process_payments(&world.app).await.unwrap();
        world.gateway.force(order, IntentStatus::RequiresCapture);
        world.gateway.lists_as_of_now();
        world.clock.advance(Duration::minutes(16));
        sweep_deadlines(&world.app).await.unwrap();
        world.pay().await;
        world.gateway.force(order, IntentStatus::Canceled);
        assert_eq!((world.status(order).await, world.charge(order).await.intent), (OrderStatus::Compensated, None));
        assert_eq!(found(&world).await, []);
    }
}

#[tokio::test]
async fn a_difference_that_lasts_is_written_at_the_first_look_whatever_the_gateway_says_when_asked_again() {
    for world in worlds().await {
        // It says the same again.
        let order = nearly_captured(&world).await;
        world.pay().await;
        world.gateway.force(order, IntentStatus::RequiresCapture);
        assert_eq!(found(&world).await, [(FindingKind::OrderWithoutCharge, Some(order))]);
        // It lists nothing and knows nothing.
        let intent = world.charge(order).await.intent.unwrap();
        world.gateway.intents.lock().unwrap().remove(&intent);
        assert_eq!(found(&world).await, [(FindingKind::OrderWithoutCharge, Some(order))]);
        // By now it says that it took something else.
        let other = nearly_captured(&world).await;
        world.gateway.lists_as_of_now();
        world.pay().await;
        for intent in world.gateway.intents.lock().unwrap().values_mut() {
            intent.amount_minor -= 1;
        }
        assert!(found(&world).await.contains(&(FindingKind::AmountDiffers, Some(other))));
    }
}

#[tokio::test]
async fn a_finding_has_an_owner_an_end_and_a_history_that_nobody_changes() {
    let world = World::in_postgres().await;
    let database = world.database.as_ref().unwrap();
    let desk = PostgresDesk::new(database.database.clone());
    let lost = world.an_order_to_pay().await;
    world.pay().await;
    let intent = world.charge(lost).await.intent.unwrap();
    world.gateway.intents.lock().unwrap().remove(&intent);
    reconcile(&world.app).await.unwrap();
    let (kind, operator) = ("ORDER_WITHOUT_CHARGE", common::UserId::from_uuid(common::ids::random()));
    let named = (kind, intent.as_str());
    let why = |text: &str| text.to_owned();
    acknowledge_finding(&world.app, &desk, operator, named, why("asked the gateway")).await.unwrap();
    let again = acknowledge_finding(&world.app, &desk, operator, named, why("me too")).await.unwrap_err();
    assert_eq!(common::Explain::code(&again), "state-conflict");
    let absent = acknowledge_finding(&world.app, &desk, operator, (kind, "pi_none"), why("?")).await.unwrap_err();
    assert_eq!(common::Explain::code(&absent), "not-found");
    let report = order_payment::usecases::desk::Desk::report(&desk).await.unwrap();
    assert_eq!((report.counts[0].open, report.counts[0].acknowledged), (0, 1));
    assert_eq!(report.findings[0].acknowledged_by, Some(operator));

    world.clock.advance(Duration::minutes(1));
    resolve_finding(&world.app, &desk, operator, named, why("gateway's mistake, they told us")).await.unwrap();
    // It is still there: the next look opens it anew, without an owner, and its age counts from then.
    world.clock.advance(Duration::minutes(1));
    reconcile(&world.app).await.unwrap();
    let report = order_payment::usecases::desk::Desk::report(&desk).await.unwrap();
    assert_eq!((report.counts[0].open, report.counts[0].acknowledged), (1, 0));
    assert_eq!(report.counts[0].oldest_at, world.app.clock.now());
    let history: Vec<(String, String)> =
        sqlx::query_as("SELECT state, note FROM reconciliation_history ORDER BY history_id")
            .fetch_all(&database.owner)
            .await
            .unwrap();
    let told: Vec<(&str, &str)> = history.iter().map(|(state, note)| (state.as_str(), note.as_str())).collect();
    assert_eq!(
        told,
        [
            ("OPEN", "captured here, not charged there"),
            ("ACKNOWLEDGED", "asked the gateway"),
            ("RESOLVED", "gateway's mistake, they told us"),
            ("OPEN", "captured here, not charged there"),
        ]
    );
    for statement in [
        "UPDATE reconciliation_history SET note = ''",
        "DELETE FROM reconciliation_history",
        "DELETE FROM reconciliation_findings",
    ] {
        assert!(sqlx::query(statement).execute(&database.owner).await.is_err(), "{statement}");
    }
    let actions: i64 =
        sqlx::query_scalar("SELECT count(*) FROM operator_actions").fetch_one(&database.owner).await.unwrap();
    assert_eq!(actions, 2, "refused ones are not written down as done");
}

#[tokio::test]
async fn whole_days_are_added_up_in_three_books() {
    let world = World::in_postgres().await;
    world.an_order_to_pay().await;
    world.pay().await;
    // The next day is whole once the window has both its ends.
    world.clock.advance(Duration::hours(20));
    reconcile(&world.app).await.unwrap();
    let desk = PostgresDesk::new(world.database.as_ref().unwrap().database.clone());
    let report = order_payment::usecases::desk::Desk::report(&desk).await.unwrap();
    let sums: Vec<_> = report
        .days
        .iter()
        .map(|(day, _)| (day.orders_minor, day.captured_minor, day.refunded_minor, day.gateway_minor))
        .collect();
    assert_eq!(sums, [(4990, 4990, 0, 4990)]);
}

async fn open(world: &World) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM reconciliation_findings WHERE resolved_at IS NULL")
        .fetch_one(&world.database.as_ref().unwrap().owner)
        .await
        .unwrap()
}
