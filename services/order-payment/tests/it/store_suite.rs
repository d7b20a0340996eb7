//! One suite that the books in memory and those in PostgreSQL must both pass.

use chrono::{DateTime, Duration, Utc};
use common::{Clock as _, MessageId, Money, RefundId, ids};
use messaging::{Cause, CommitError, Committed};
use order_payment::domain::{
    Attempt, AttemptState, OrderStatus, Reason, Refund, RefundState, RefundTarget, Transaction,
};
use order_payment::usecases::error::Conflict;
use order_payment::usecases::ports::{Finding, FindingKind, Kept, Webhook, WebhookEnd};
use order_payment::usecases::receive_webhook::MOST_FORGOTTEN;
use order_payment::usecases::views::{Position, changes_after, order, orders};
use order_payment::usecases::{AttemptStep, CONSUMER, Change, RefundStep, RefundTold};

use crate::webhooks::kept_webhooks;
use crate::world::{REGION, World, a_key, an_order, shopper, worlds};

async fn commit(world: &World, change: Change) -> Result<Committed, CommitError<Conflict>> {
    world.app.store.commit(Cause::Duty("test"), change).await
}

fn is_lost(outcome: Result<Committed, CommitError<Conflict>>) -> bool {
    matches!(outcome, Err(CommitError::Refused(Conflict::Lost)))
}

#[tokio::test]
async fn an_order_is_read_back_as_it_was_written() {
    for world in worlds().await {
        let id = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
        let order = world.order(id).await;
        assert_eq!(
            (order.status, order.version, order.total.minor(), order.lines.len()),
            (OrderStatus::Created, 1, 4990, 1)
        );
        assert_eq!(order.address.open().city, "Frankfurt");
        let (tax, line) = (order.tax.unwrap(), order.lines[0].tax.unwrap());
        assert_eq!((tax.place.code(), tax.parts, line.rate.percent().as_str()), ("DE", line.parts, "19"));
        assert_eq!((tax.parts.net.minor(), tax.parts.tax.minor(), tax.parts.gross), (4193, 797, order.total));
        assert_eq!(order.lines[0].revision, Some(1));
        assert_eq!(order.token.open().as_str(), "tok_ok");
        assert!(world.app.store.order(ids::random().into()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn of_two_changes_of_one_version_one_wins() {
    for world in worlds().await {
        let id = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
        let (one, other) = (world.order(id).await, world.order(id).await);
        let now = world.app.clock.now();
        let begin = one.begin_payment(1, Duration::minutes(1), now).unwrap();
        let end = other.compensate(Reason::Expired, now).unwrap();
        assert!(matches!(
            commit(&world, Change { order: Some(begin), ..Change::default() }).await,
            Ok(Committed::Applied)
        ));
        assert!(is_lost(commit(&world, Change { order: Some(end), ..Change::default() }).await));
        assert_eq!(world.status(id).await, OrderStatus::PaymentPending);
    }
}

#[tokio::test]
async fn a_lost_change_leaves_nothing_of_itself() {
    for world in worlds().await {
        let order = world.an_order_to_pay().await;
        let attempt = world.charge(order).await;
        let now = world.app.clock.now();
        let stale = AttemptStep::after(
            attempt.version + 7,
            Attempt { state: AttemptState::Sent, intent: Some("pi_x".to_owned()), ..attempt.clone() },
        );
        let change = Change {
            attempts: vec![stale],
            ledger: vec![Transaction::capture(order, attempt.id, attempt.amount, now)],
            ..Change::default()
        };
        assert!(is_lost(commit(&world, change).await));
        assert_eq!(world.ledger(order).await, 0);
        assert_eq!(world.charge(order).await, attempt);
    }
}

#[tokio::test]
async fn a_message_has_its_effect_once() {
    for world in worlds().await {
        let id = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
        let cause = Cause::Message { consumer: CONSUMER, id: MessageId::from_uuid(ids::random()) };
        let step = world.order(id).await.compensate(Reason::OutOfStock, world.app.clock.now()).unwrap();
        let change = Change { order: Some(step), ..Change::default() };
        assert_eq!(world.app.store.commit(cause.clone(), change.clone()).await.unwrap(), Committed::Applied);
        assert_eq!(world.app.store.commit(cause, change).await.unwrap(), Committed::Repeated(None));
    }
}

#[tokio::test]
async fn an_order_has_one_payment() {
    for world in worlds().await {
        let order = world.an_order_to_pay().await;
        let first = world.charge(order).await;
        let second = Attempt { id: common::AttemptId::derive(order, 2), number: 2, version: 1, ..first };
        assert!(is_lost(
            commit(&world, Change { attempts: vec![AttemptStep::new(second)], ..Change::default() }).await
        ));
    }
}

#[tokio::test]
async fn a_claimed_attempt_is_nobody_elses_until_its_lease_ends() {
    for world in worlds().await {
        let order = world.an_order_to_pay().await;
        let now = world.app.clock.now();
        let until = now + Duration::seconds(60);
        let claimed = world.app.store.claim_due(now, until, 5).await.unwrap();
        assert_eq!(claimed.iter().map(|attempt| attempt.order).collect::<Vec<_>>(), [order]);
        assert!(world.app.store.claim_due(now, until, 5).await.unwrap().is_empty());
        assert_eq!(world.app.store.claim_due(until, until + Duration::seconds(60), 5).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_attempt_given_back_is_due_for_anybody_unless_somebody_else_has_it_by_now() {
    for world in worlds().await {
        world.an_order_to_pay().await;
        let now = world.app.clock.now();
        let until = now + Duration::seconds(60);
        let store = &world.app.store;
        let claimed = store.claim_due(now, until, 5).await.unwrap().remove(0);
        store.let_go(&claimed, now + Duration::seconds(1)).await.unwrap();
        assert!(store.claim_due(now, until, 5).await.unwrap().is_empty());
        let later = now + Duration::seconds(2);
        let other = store.claim_due(later, later + Duration::seconds(60), 5).await.unwrap();
        assert_eq!(other.len(), 1);
        // The first one comes back late: the lease is another's now.
        store.let_go(&claimed, later).await.unwrap();
        assert!(store.claim_due(later + Duration::seconds(1), until, 5).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_step_that_could_not_be_committed_is_due_again_long_before_its_lease_ends() {
    let world = World::in_memory();
    let id = world.an_order_to_pay().await;
    world.books().unreachable = 1;
    order_payment::usecases::process_payment::process_payments(&world.app).await.unwrap();
    assert_eq!(world.status(id).await, OrderStatus::PaymentPending);
    world.clock.advance(Duration::seconds(2));
    assert!(world.app.rules.payment_lease > Duration::seconds(2));
    order_payment::usecases::process_payment::process_payments(&world.app).await.unwrap();
    assert_eq!((world.status(id).await, world.ledger(id).await), (OrderStatus::Completed, 4990));
}

#[tokio::test]
async fn money_goes_into_the_books_once() {
    for world in worlds().await {
        let order = world.an_order_to_pay().await;
        world.pay().await;
        assert_eq!((world.status(order).await, world.ledger(order).await), (OrderStatus::Completed, 4990));
        let attempt = world.charge(order).await;
        let again = Transaction::capture(order, attempt.id, attempt.amount, world.app.clock.now());
        assert!(is_lost(commit(&world, Change { ledger: vec![again], ..Change::default() }).await));
        assert_eq!(world.ledger(order).await, 4990);
    }
}

#[tokio::test]
async fn of_two_refunds_that_end_at_once_the_second_has_to_know_of_the_first() {
    for world in worlds().await {
        // Refunds that were open, and refunds that are asked for and done with one commit.
        for is_new in [false, true] {
            let order = world.an_order_to_pay().await;
            world.pay().await;
            let (user, now) = (world.order(order).await.user, world.app.clock.now());
            let refunds = [(1, 2000), (2, 2990)].map(|(number, minor): (u32, i64)| Refund {
                id: RefundId::derive(order, &number.to_string()),
                order,
                number,
                attempt: None,
                amount: Money::from_minor(minor, REGION.currency()).unwrap(),
                target: RefundTarget::StoreCredit,
                reason: "test".to_owned(),
                asked_by: None,
                state: RefundState::Open,
                lines: Vec::new(),
                asked_at: now,
                ended_at: None,
            });
            let open = |refund: &Refund| RefundStep { is_new: true, refund: refund.clone(), told: None };
            if !is_new {
                let change = Change { refunds: refunds.iter().map(open).collect(), ..Change::default() };
                assert!(commit(&world, change).await.is_ok());
            }
            let end = |refund: &Refund, told: RefundTold| {
                let ledger = vec![Transaction::refund_to_credit(order, user, refund.id, refund.amount, now)];
                let refund = refund.clone().ended(RefundState::Done, now);
                let refunds = vec![RefundStep { is_new, refund, told: Some(told) }];
                commit(&world, Change { ledger, refunds, ..Change::default() })
            };
            let first = RefundTold { whole: false, before_minor: 0 };
            let (one, other) = futures::future::join(end(&refunds[0], first), end(&refunds[1], first)).await;
            assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
            let (lost, done) = if one.is_ok() { (&refunds[1], &refunds[0]) } else { (&refunds[0], &refunds[1]) };
            assert!(is_lost(if one.is_ok() { other } else { one }));
            let second = RefundTold { whole: true, before_minor: done.amount.minor() };
            assert!(matches!(end(lost, second).await, Ok(Committed::Applied)));
            let ended = world.app.store.refunds_of(order).await.unwrap();
            assert!(ended.len() == 2 && ended.iter().all(|refund| refund.state == RefundState::Done), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn steps_of_payments_that_meet_end_as_each_would_have_ended_alone() {
    for world in worlds().await {
        let (mut steps, mut orders) = (Vec::new(), Vec::new());
        for place in 0..5 {
            let order = world.an_order_to_pay().await;
            let attempt = world.charge(order).await;
            // The third was decided about a version that nobody has.
            let from = if place == 2 { attempt.version + 7 } else { attempt.version };
            let intent = Some(format!("pi_{}", order.uuid().simple()));
            let next = Attempt { state: AttemptState::Sent, intent, ..attempt };
            steps.push(AttemptStep::after(from, next.clone()));
            // The last two are twins: one of them wins.
            if place == 4 {
                steps.push(AttemptStep::after(from, next));
            }
            orders.push(order);
        }
        let outcomes = futures::future::join_all(steps.into_iter().map(|step| {
            let change = Change { attempts: vec![step], ..Change::default() };
            world.app.store.commit(Cause::Duty("payment-sent"), change)
        }))
        .await;
        let applied: Vec<bool> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Ok(Committed::Applied) => true,
                lost => {
                    assert!(is_lost(lost));
                    false
                }
            })
            .collect();
        assert_eq!(applied[..4], [true, true, false, true]);
        assert_ne!(applied[4], applied[5]);
        for (place, order) in orders.into_iter().enumerate() {
            let charge = world.charge(order).await;
            let expected = if place == 2 { (AttemptState::Prepared, 1) } else { (AttemptState::Sent, 2) };
            assert_eq!((charge.state, charge.version), expected, "attempt {place}");
        }
    }
}

#[tokio::test]
async fn what_came_of_webhooks_is_noted_for_all_and_once_for_each() {
    for world in worlds().await {
        let (store, now) = (&world.app.store, world.clock.now());
        let hooks: Vec<Webhook> = (0..4).map(|place| a_webhook(&format!("evt_{place}"), now)).collect();
        for hook in &hooks {
            assert_eq!(store.keep_webhook(hook).await.unwrap(), Kept::New);
        }
        let later = now + Duration::seconds(30);
        let told = |hook: &Webhook, end| (hook.clone(), end);
        store.finish_webhooks(&[], now).await.unwrap();
        store.finish_webhooks(&[told(&hooks[2], WebhookEnd::Hinted)], now).await.unwrap();
        // The third is ended by now, and stays so.
        let round = [
            told(&hooks[3], WebhookEnd::Later(later)),
            told(&hooks[0], WebhookEnd::NothingToDo),
            told(&hooks[2], WebhookEnd::Later(now)),
        ];
        store.finish_webhooks(&round, now).await.unwrap();
        let due = |at| async move {
            let mut due: Vec<_> = store.due_webhooks(at, 10).await.unwrap();
            due.sort_by(|one, other| one.event_id.cmp(&other.event_id));
            due.into_iter().map(|hook| (hook.event_id, hook.tries)).collect::<Vec<_>>()
        };
        assert_eq!(due(now).await, [("evt_1".to_owned(), 0)]);
        assert_eq!(due(later).await, [("evt_1".to_owned(), 0), ("evt_3".to_owned(), 1)]);
    }
}

#[tokio::test]
async fn finished_webhooks_are_forgotten_after_thirty_days_and_not_all_at_once() {
    for world in worlds().await {
        let (store, now) = (&world.app.store, world.clock.now());
        let old = now - Duration::days(31);
        let ended = |id: &str, at: DateTime<Utc>, end: WebhookEnd| (a_webhook(id, at), end);
        let stay = [
            ended("evt_differs", old, WebhookEnd::Mismatch),
            ended("evt_of_nobody", old, WebhookEnd::GaveUp),
            ended("evt_put_off", old, WebhookEnd::Later(now + Duration::hours(1))),
            ended("evt_young", now - Duration::days(29), WebhookEnd::Hinted),
        ];
        let most = i64::from(MOST_FORGOTTEN);
        let done = [WebhookEnd::Hinted, WebhookEnd::NothingToDo, WebhookEnd::LateSuccess];
        let go: Vec<_> = (0..most + 2)
            .zip(done.into_iter().cycle())
            .map(|(place, end)| ended(&format!("evt_old_{place}"), old + Duration::seconds(place), end))
            .collect();
        let kept = stay.iter().chain(&go).map(|(hook, _)| store.keep_webhook(hook));
        assert!(futures::future::join_all(kept).await.into_iter().all(|kept| kept.unwrap() == Kept::New));
        store.finish_webhooks(&stay, now).await.unwrap();
        assert_eq!(kept_webhooks(&world).await.len(), stay.len() + go.len(), "nothing may go yet");

        store.finish_webhooks(&go, now).await.unwrap();
        let (one, other) = (format!("evt_old_{most}"), format!("evt_old_{}", most + 1));
        let left = ["evt_differs", "evt_of_nobody", one.as_str(), other.as_str(), "evt_put_off", "evt_young"];
        assert_eq!(kept_webhooks(&world).await, left, "the oldest went, as many as may go at once");
        store.finish_webhooks(&[], now).await.unwrap();
        assert_eq!(kept_webhooks(&world).await, ["evt_differs", "evt_of_nobody", "evt_put_off", "evt_young"]);
        store.finish_webhooks(&[ended("evt_put_off", old, WebhookEnd::NothingToDo)], now).await.unwrap();
        assert_eq!(kept_webhooks(&world).await, ["evt_differs", "evt_of_nobody", "evt_young"]);
        assert_eq!(store.keep_webhook(&go[0].0).await.unwrap(), Kept::New, "nobody remembers it");
    }
}

#[tokio::test]
async fn a_webhook_that_an_open_finding_is_about_is_not_forgotten_before_a_person_is_done() {
    for world in worlds().await {
        let (store, now) = (&world.app.store, world.clock.now());
        let old = now - Duration::days(31);
        let of = |id: &str, intent: &str| Webhook { intent: intent.to_owned(), ..a_webhook(id, old) };
        let hooks = [of("evt_clash", "pi_1"), of("evt_not_back", "pi_2"), of("evt_of_neither", "pi_3")];
        for hook in &hooks {
            assert_eq!(store.keep_webhook(hook).await.unwrap(), Kept::New);
        }
        let other_bytes = Webhook { body: b"another".to_vec(), ..hooks[0].clone() };
        assert_eq!(store.keep_webhook(&other_bytes).await.unwrap(), Kept::Clash);
        let not_back = Finding {
            kind: FindingKind::RefundRefused,
            reference: "pi_2".to_owned(),
            order: None,
            detail: "webhook evt_not_back says that a refund failed or was taken back".to_owned(),
            happened_at: Some(old),
        };
        store.note_finding(&not_back, now).await.unwrap();
        let ended: Vec<_> = hooks.into_iter().map(|hook| (hook, WebhookEnd::Hinted)).collect();
        store.finish_webhooks(&ended, now).await.unwrap();
        assert_eq!(kept_webhooks(&world).await, ["evt_clash", "evt_not_back"]);
        resolve_all(&world).await;
        store.finish_webhooks(&[], now).await.unwrap();
        assert!(kept_webhooks(&world).await.is_empty());
    }
}

/// A person is done with every finding.
async fn resolve_all(world: &World) {
    let Some(database) = &world.database else {
        world.books().findings.values_mut().for_each(|(_, open)| *open = false);
        return;
    };
    let resolve = sqlx::query("UPDATE reconciliation_findings SET resolved_at = now(), resolution = 'told'");
    resolve.execute(&database.owner).await.unwrap();
}

#[tokio::test]
async fn a_webhook_is_finished_also_when_old_ones_cannot_be_forgotten() {
    let world = World::in_postgres().await;
    let (store, now) = (&world.app.store, world.clock.now());
    let (old, young) = (a_webhook("evt_old", now - Duration::days(31)), a_webhook("evt_young", now));
    for hook in [&old, &young] {
        assert_eq!(store.keep_webhook(hook).await.unwrap(), Kept::New);
    }
    let owner = &world.database.as_ref().unwrap().owner;
    let revoke = "REVOKE EXECUTE ON FUNCTION forget_webhooks FROM order_payment_app";
    sqlx::query(revoke).execute(owner).await.unwrap();
    let ended = [(old, WebhookEnd::Hinted), (young, WebhookEnd::Hinted)];
    store.finish_webhooks(&ended, now).await.unwrap();
    assert!(store.due_webhooks(now, 10).await.unwrap().is_empty(), "nobody looks at them again");
    let grant = "GRANT EXECUTE ON FUNCTION forget_webhooks TO order_payment_app";
    sqlx::query(grant).execute(owner).await.unwrap();
    store.finish_webhooks(&[], now).await.unwrap();
    assert_eq!(kept_webhooks(&world).await, ["evt_young"]);
}

fn a_webhook(id: &str, now: DateTime<Utc>) -> Webhook {
    Webhook {
        gateway: "simulator".to_owned(),
        event_id: id.to_owned(),
        event_type: "payment_intent.succeeded".to_owned(),
        intent: "pi_of_nobody".to_owned(),
        order: None,
        amount_minor: None,
        currency: None,
        body: id.as_bytes().to_vec(),
        received_at: now,
        tries: 0,
    }
}

#[tokio::test]
async fn a_person_sees_their_own_orders_page_by_page() {
    for world in worlds().await {
        let (mine, other) = (shopper(), shopper());
        let mut placed = Vec::new();
        for _ in 0..5 {
            placed.push(world.place(mine, &a_key(), an_order()).await.unwrap().order);
            // Two orders of the same instant have an order too.
            if placed.len() % 2 == 0 {
                world.clock.advance(Duration::seconds(1));
            }
        }
        let foreign = world.place(other, &a_key(), an_order()).await.unwrap().order;
        let (mut seen, mut before): (Vec<_>, Option<Position>) = (Vec::new(), None);
        loop {
            let page = orders(&world.app, mine, before, 2).await.unwrap();
            assert!(page.items.len() <= 2);
            seen.extend(page.items.iter().map(|card| card.id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 5);
        assert!(placed.iter().all(|id| seen.contains(id)));
        assert!(order(&world.app, mine, foreign).await.is_err());
        assert!(changes_after(&world.app, mine, foreign, 0).await.is_err());
        assert!(orders(&world.app, mine, None, 101).await.is_err());
    }
}

#[tokio::test]
async fn the_view_tells_the_whole_story() {
    for world in worlds().await {
        let me = shopper();
        let id = world.place(me, &a_key(), an_order()).await.unwrap().order;
        assert_eq!(order(&world.app, me, id).await.unwrap().payment, None);
        order_payment::usecases::begin_payment::begin_payment(&world.app, world.message(), id).await.unwrap();
        world.pay().await;
        let view = order(&world.app, me, id).await.unwrap();
        assert_eq!(
            (view.status, view.payment, view.attempts),
            (OrderStatus::Completed, Some(AttemptState::Captured), 1)
        );
        let told: Vec<_> = view.history.iter().map(|change| (change.version, change.status)).collect();
        assert_eq!(told, [(1, OrderStatus::Created), (2, OrderStatus::PaymentPending), (3, OrderStatus::Completed)]);
        let later = changes_after(&world.app, me, id, 1).await.unwrap();
        assert_eq!(later.iter().map(|change| change.version).collect::<Vec<_>>(), [2, 3]);
    }
}
