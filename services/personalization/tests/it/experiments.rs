//! Experiments on paid orders: who is in which arm, what counts once, what does not count, and who may look.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use chassis::config::Secret;
use chassis::extract::Caller;
use common::{Currency, Money, OrderId, Region, SessionId, UserId, ids};
use contracts::order::v1::OrderCompleted;
use contracts::session::{self, SessionRecord};
use contracts::topics::ORDER_COMPLETED;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use messaging::{BatchConsumer, BatchHandler as _, Record};
use personalization::domain::ClickKind::View;
use personalization::domain::experiment::Arm;
use personalization::domain::experiment::enrolment::{Enrolments, Exposure, Purchase};
use personalization::domain::experiment::evidence::Verdict;
use personalization::domain::experiment::tally::{Count, Delta, Tally};
use personalization::domain::{Pseudonym, Report};
use personalization::inbound::http::{Api, router};
use personalization::inbound::orders::OrderConsumer;
use personalization::outbound::redis::RedisStore;
use personalization::usecases::ports::{Consents as _, EnrolmentChange, Store, Tallies as _};
use personalization::usecases::{
    Command, Kind, PaidOrder, Recommendations, count_orders, generate_recommendations, show_experiment, write_exposures,
};
use prost::Message as _;
use serde_json::Value;
use testkit::kafka::{put_raw, topics};
use testkit::wait;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::support::{self, KEY, NOW, Shop, both, products, report};

both! {
    an_order_counts_once_however_often_it_comes,
    what_was_bought_before_or_by_others_counts_nowhere,
    somebody_who_withdraws_is_in_no_arm,
    the_treated_get_the_change_and_everybody_is_told_their_arm,
    only_accounts_take_part,
    two_processes_at_one_person_lose_nothing,
}

const CALM: &str = "name=calm change=off treated=5000 conversion=100 revenue=50 most=10000";
const SERIES: &str = "calm.5000.off.100.50.10000";

/// When answers are given: the clock of the shop stands still.
const SHOWN: i64 = NOW + 60_000;

fn pseudonym(user: UserId) -> Pseudonym {
    Pseudonym::parse(&contracts::interest::pseudonym(KEY, user)).expect("a pseudonym")
}

fn account() -> UserId {
    UserId::from_uuid(ids::random())
}

fn order_id() -> OrderId {
    OrderId::from_uuid(ids::random())
}

async fn ask<S: Store>(shop: &Shop<S>, user: UserId, takes_part: bool) -> Recommendations {
    let pseudonym = Some(pseudonym(user));
    let command = Command { kind: Kind::ForYou, pseudonym, takes_part, sku: None, limit: 5, explain: false };
    generate_recommendations(&shop.app, &command).await.expect("an answer")
}

/// Somebody is shown the list, which is written down. Nobody asks the store here: on a busy machine it may be late, and then the answer
/// would be degraded.
async fn show<S: Store>(shop: &Shop<S>, user: UserId) {
    shop.app.trials.running.note(&pseudonym(user), Exposure { at_ms: SHOWN, degraded: false });
    write_exposures(&shop.app.trials).await.expect("the store answers");
}

fn completed(order: OrderId, user: UserId, minor: i64, currency: Currency, at_ms: i64) -> OrderCompleted {
    let total = Money::from_minor(minor, currency).expect("an amount");
    OrderCompleted {
        order_id: order.to_string(),
        user_id: user.to_string(),
        lines: Vec::new(),
        total: Some(total.into()),
        completed_at_ms: at_ms,
    }
}

fn paid(order: OrderId, user: UserId, minor: i64) -> OrderCompleted {
    completed(order, user, minor, Currency::Eur, SHOWN + 1_000)
}

fn consumer<S: Store>(shop: &Shop<S>) -> OrderConsumer {
    let pseudonym_key = Arc::new(Secret::new("a-key-of-the-test-stack"));
    OrderConsumer { learner: shop.learner.clone(), pseudonym_key }
}

async fn deliver<S: Store>(shop: &Shop<S>, payloads: Vec<Vec<u8>>) {
    let record = |(offset, payload): (usize, Vec<u8>)| Record {
        topic: String::new(),
        partition: 0,
        offset: offset as i64,
        key: String::new().into(),
        payload: payload.into(),
        headers: Vec::new(),
    };
    let records: Vec<Record> = payloads.into_iter().enumerate().map(record).collect();
    consumer(shop).handle(0, &records).await.expect("the store answers");
}

async fn deliver_orders<S: Store>(shop: &Shop<S>, orders: &[&OrderCompleted]) {
    deliver(shop, orders.iter().map(|order| order.encode_to_vec()).collect()).await;
}

/// Both arms together.
async fn sums<S: Store>(shop: &Shop<S>) -> Tally {
    let sums = shop.app.trials.tallies.sums(SERIES).await.expect("the store answers");
    let mut both = sums.control;
    for of in Count::ALL {
        both.add(of, sums.treatment.get(of));
    }
    both
}

async fn an_order_counts_once_however_often_it_comes<S: Store>(shop: Shop<S>) {
    let shop = shop.trying(CALM);
    let user = account();
    show(&shop, user).await;
    show(&shop, user).await;
    let (one, other) = (paid(order_id(), user, 700), paid(order_id(), user, 300));
    deliver_orders(&shop, &[&one]).await;
    let first = Tally { persons: 1, buyers: 1, orders: 1, revenue_minor: 700, squares: 490_000, ..Tally::default() };
    assert_eq!(sums(&shop).await, first);
    deliver_orders(&shop, &[&one]).await;
    assert_eq!(sums(&shop).await, first, "a batch that comes again");
    deliver_orders(&shop, &[&one, &other, &one, &other]).await;
    deliver_orders(&shop, &[&other, &one]).await;
    let both = Tally { orders: 2, revenue_minor: 1_000, squares: 1_000_000, ..first };
    assert_eq!(sums(&shop).await, both, "batches cut differently, and an order that was sent twice");
}

async fn what_was_bought_before_or_by_others_counts_nowhere<S: Store>(shop: Shop<S>) {
    let shop = shop.trying(CALM);
    let (user, stranger) = (account(), account());
    show(&shop, user).await;
    let good = paid(order_id(), user, 700);
    let early = OrderCompleted { completed_at_ms: SHOWN - 1, ..paid(order_id(), user, 700) };
    let foreign = completed(order_id(), user, 700, Currency::Usd, SHOWN + 1_000);
    let orders = [
        paid(order_id(), stranger, 700),
        early,
        foreign,
        paid(order_id(), user, -700),
        OrderCompleted { total: None, ..good.clone() },
        OrderCompleted { user_id: "me".to_owned(), ..good.clone() },
        OrderCompleted { order_id: String::new(), ..good.clone() },
        OrderCompleted { completed_at_ms: 0, ..good.clone() },
    ];
    let mut payloads: Vec<Vec<u8>> = orders.iter().map(prost::Message::encode_to_vec).collect();
    payloads.push(b"\xff\xff\xff".to_vec());
    deliver(&shop, payloads).await;
    assert_eq!(sums(&shop).await, Tally { persons: 1, ..Tally::default() });
    deliver_orders(&shop, &[&good]).await;
    assert_eq!(sums(&shop).await.revenue_minor, 700, "what cannot be read does not spoil what can");
}

async fn somebody_who_withdraws_is_in_no_arm<S: Store>(shop: Shop<S>) {
    let shop = shop.trying(CALM);
    let (stays, leaves) = (account(), account());
    for user in [stays, leaves] {
        show(&shop, user).await;
        deliver_orders(&shop, &[&paid(order_id(), user, 700)]).await;
    }
    assert_eq!((sums(&shop).await.persons, sums(&shop).await.revenue_minor), (2, 1_400));
    // As the user service tells it.
    let withdrawal = Report { consent: false, ..report(&pseudonym(leaves), 4, &[]) };
    for _ in 0..2 {
        shop.click(vec![withdrawal.clone()]).await;
        deliver_orders(&shop, &[&paid(order_id(), leaves, 700)]).await;
    }
    let (persons, buyers, orders, revenue_minor, withdrew) = (1, 1, 1, 700, 1);
    let left = Tally { persons, buyers, orders, revenue_minor, squares: 490_000, withdrew, ..Tally::default() };
    assert_eq!(sums(&shop).await, left);
}

async fn the_treated_get_the_change_and_everybody_is_told_their_arm<S: Store>(shop: Shop<S>) {
    let shop = shop.trying(CALM);
    shop.learn(&products()).await;
    shop.refresh().await;
    let mut arms = HashSet::new();
    // With two arms of equal shares, 64 people are all in one of them never.
    for _ in 0..64 {
        let user = account();
        let answer = ask(&shop, user, true).await;
        assert_eq!((answer.parts.len(), answer.parts[0].experiment.as_str()), (1, "calm"));
        let arm = answer.parts[0].arm;
        assert_eq!(answer.items.is_empty(), arm == Arm::Treatment, "{answer:?}");
        assert_eq!(ask(&shop, user, true).await.parts, answer.parts, "an arm is kept");
        arms.insert(arm);
    }
    assert_eq!(arms.len(), 2);
    write_exposures(&shop.app.trials).await.expect("the store answers");
    let by_arm = shop.app.trials.tallies.sums(SERIES).await.expect("the store answers");
    assert_eq!(by_arm.control.persons + by_arm.treatment.persons, 64);
    assert!(by_arm.control.persons > 0 && by_arm.treatment.persons > 0, "{by_arm:?}");
}

async fn only_accounts_take_part<S: Store>(shop: Shop<S>) {
    let shop = shop.trying(CALM);
    shop.learn(&products()).await;
    shop.refresh().await;
    for _ in 0..32 {
        let answer = ask(&shop, account(), false).await;
        assert!(answer.parts.is_empty() && !answer.items.is_empty(), "{answer:?}");
    }
    assert_eq!(write_exposures(&shop.app.trials).await.expect("nothing is written"), 0);
    assert_eq!(sums(&shop).await, Tally::default());
}

async fn two_processes_at_one_person_lose_nothing<S: Store>(shop: Shop<S>) {
    let shop = shop.trying(CALM);
    let user = account();
    show(&shop, user).await;
    let orders: Vec<OrderCompleted> = (0..8).map(|_| paid(order_id(), user, 100)).collect();
    let [one, two] = [&orders[..5], &orders[3..]].map(|part| part.iter().collect::<Vec<_>>());
    tokio::join!(deliver_orders(&shop, &one), deliver_orders(&shop, &two));
    let sums = sums(&shop).await;
    assert_eq!((sums.orders, sums.revenue_minor, sums.squares), (8, 800, 640_000));
}

#[tokio::test]
async fn who_is_treated_to_what_is_popular_gets_what_strangers_get() {
    let shop = support::memory().trying(&CALM.replace("change=off", "change=popular"));
    shop.learn(&products()).await;
    let people: Vec<UserId> = (0..64).map(|_| account()).collect();
    let visit = |(offset, user): (i64, &UserId)| report(&pseudonym(*user), offset, &[(View, "C1")]);
    shop.click((0..).zip(&people).map(visit).collect()).await;
    shop.refresh().await;
    let mut arms = HashSet::new();
    for user in people {
        let answer = ask(&shop, user, true).await;
        let expected = match answer.parts[0].arm {
            Arm::Control => "interest-decay-1",
            Arm::Treatment => "popularity-decay-1",
        };
        assert_eq!(answer.model, expected);
        arms.insert(answer.parts[0].arm);
    }
    assert_eq!(arms.len(), 2);
}

#[tokio::test]
async fn exposures_wait_while_the_store_is_away_and_count_once() {
    let shop = support::memory().trying(CALM);
    let user = account();
    shop.store.down.store(true, Ordering::Relaxed);
    ask(&shop, user, true).await;
    write_exposures(&shop.app.trials).await.expect_err("the store is away");
    shop.store.down.store(false, Ordering::Relaxed);
    assert_eq!(write_exposures(&shop.app.trials).await.expect("it is back"), 1);
    show(&shop, user).await;
    assert_eq!(sums(&shop).await.persons, 1);
}

#[tokio::test]
async fn somebody_whose_session_says_no_is_in_no_arm() {
    let shop = support::memory().trying(CALM);
    let user = account();
    show(&shop, user).await;
    deliver_orders(&shop, &[&paid(order_id(), user, 700)]).await;
    shop.store.refusing.lock().expect("no test panicked with it").insert(user);
    deliver_orders(&shop, &[&paid(order_id(), user, 700)]).await;
    assert_eq!(sums(&shop).await, Tally { withdrew: 1, ..Tally::default() });
}

/// As the user service writes them.
#[tokio::test]
async fn consents_are_read_from_the_sessions_of_a_person() {
    let shop = support::redis();
    let client = redis::Client::open(testkit::servers().redis_url).expect("a well-formed URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the test stack runs");
    let (agrees, refuses, absent) = (account(), account(), account());
    for (user, consent) in [(agrees, true), (refuses, true), (refuses, false)] {
        let session = SessionId::parse(&ids::random().to_string()).expect("a session id");
        let record = SessionRecord { user_id: user, region: Region::ALL[0], personalisation_consent: consent };
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(session::key(&session)).arg(record.encode()).arg("EX").arg(60).ignore();
        pipe.cmd("SADD").arg(session::index_key(user)).arg(session.as_str()).arg("over").ignore();
        pipe.cmd("EXPIRE").arg(session::index_key(user)).arg(60).ignore();
        pipe.query_async::<()>(&mut connection).await.expect("redis answers");
    }
    let withdrawn = shop.store.withdrawn(&[agrees, refuses, absent]).await.expect("an answer");
    assert_eq!(withdrawn, HashSet::from([refuses]));
    assert!(shop.store.withdrawn(&[]).await.expect("an answer").is_empty());
    // Whose sessions cannot be read may have withdrawn.
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg(session::index_key(absent)).arg("nonsense").arg("EX").arg(60).ignore();
    pipe.query_async::<()>(&mut connection).await.expect("redis answers");
    shop.store.withdrawn(&[agrees, absent]).await.expect_err("nobody knows");
}

/// What is written when a record or its sums are not what they should be.
#[tokio::test]
async fn a_key_of_another_type_costs_its_person_and_any_other_fault_the_whole_batch() {
    let url = testkit::servers().redis_url;
    let prefix = format!("t{}:", ids::random().simple());
    let store = RedisStore::connect(&url, &prefix).expect("a well-formed URL");
    let client = redis::Client::open(url).expect("a well-formed URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the test stack runs");
    let change = |series: &str| {
        let (arm, by) = (Arm::Control, 1);
        let deltas = vec![Delta { series: series.to_owned(), arm, of: Count::Persons, by }];
        let who = pseudonym(account());
        EnrolmentChange { who, before: Enrolments::default(), after: Enrolments::default(), deltas }
    };
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg(format!("{prefix}experiment:wrong")).arg("nonsense").arg("EX").arg(60).ignore();
    pipe.cmd("HSET").arg(format!("{prefix}experiment:broken")).arg("control:persons").arg("nonsense").ignore();
    pipe.cmd("EXPIRE").arg(format!("{prefix}experiment:broken")).arg(60).ignore();
    pipe.query_async::<()>(&mut connection).await.expect("redis answers");
    let written = store.change(&[change("wrong"), change("good")]).await.expect("the other counts");
    assert_eq!(written, [true, true]);
    assert_eq!(store.sums("good").await.expect("an answer").control.persons, 1);
    store.change(&[change("broken"), change("good")]).await.expect_err("to be tried again");
    for series in ["wrong", "broken"] {
        store.sums(series).await.expect_err("not zero");
    }
}

/// splitmix64: the same shoppers for the same seed.
fn chance(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *seed;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// What the experiment says after 40,000 shoppers, of whom three in ten buy, and of the treated `lift` times as many.
async fn told(lift: f64) -> Verdict {
    let shop = support::memory().trying(&CALM.replace("conversion=100", "conversion=300"));
    let plan = shop.app.trials.running.plans().named("calm").expect("it runs").clone();
    let mut seed = 7;
    for hundred in 0..400_u128 {
        let mut orders = Vec::new();
        for number in 0..100 {
            let user = UserId::from_uuid(uuid::Uuid::from_u128(hundred * 100 + number));
            let who = pseudonym(user);
            shop.app.trials.running.note(&who, Exposure { at_ms: 1, degraded: false });
            let treated = plan.arm(KEY, &who) == Arm::Treatment;
            if chance(&mut seed) < if treated { 0.3 * lift } else { 0.3 } {
                let purchase = Purchase { mark: 1, minor: 2_000 + (6_000.0 * chance(&mut seed)) as i64, at_ms: 2 };
                orders.push(PaidOrder { user, who, purchase });
            }
        }
        write_exposures(&shop.app.trials).await.expect("the store answers");
        count_orders(&shop.learner, &orders).await.expect("the store answers");
    }
    show_experiment(&shop.app, "calm").await.expect("it runs").finding.verdict
}

#[tokio::test]
async fn a_planted_tenth_is_found_in_what_was_counted_and_nothing_where_nothing_is() {
    assert_eq!(told(1.10).await, Verdict::Better);
    assert_eq!(told(1.0).await, Verdict::Open);
}

async fn look<S: Store>(shop: &Shop<S>, name: &str, role: &str) -> (StatusCode, Value) {
    get(shop, &format!("/v1/admin/experiments/{name}"), role, None).await
}

/// As somebody with an account and with consent.
async fn get<S: Store>(shop: &Shop<S>, path: &str, role: &str, header: Option<&str>) -> (StatusCode, Value) {
    let pseudonym_key = Arc::new(Secret::new("a-key-of-the-test-stack"));
    let caller = Caller {
        user_id: account(),
        session_id: SessionId::parse("s").expect("a session id"),
        region: Region::ALL[0],
        roles: vec![role.to_owned()],
        personalisation_consent: true,
    };
    let request = header.into_iter().fold(Request::get(path), |request, name| request.header(name, "1"));
    let request = request.header("authorization", "Bearer read before");
    let request = request.extension(caller).body(Body::empty()).expect("a request");
    let api = Api { app: Arc::new(shop.app.clone()), pseudonym_key };
    let response = router(api).oneshot(request).await.expect("an answer");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn whose_browser_objects_is_in_no_arm() {
    let shop = support::memory().trying(CALM);
    for (header, parts) in [(None, 1), (Some("DNT"), 0), (Some("Sec-GPC"), 0)] {
        let (status, body) = get(&shop, "/v1/recommendations?kind=for_you", "shopper", header).await;
        let told = body["experiments"].as_array().map_or(0, Vec::len);
        assert_eq!((status, told), (StatusCode::OK, parts), "{header:?}: {body}");
        assert_eq!(write_exposures(&shop.app.trials).await.expect("the store answers"), parts, "{header:?}");
    }
}

#[tokio::test]
async fn staff_sees_what_an_experiment_shows_and_nobody_else_does() {
    let shop = support::memory().trying(CALM);
    for _ in 0..16 {
        let user = account();
        show(&shop, user).await;
        deliver_orders(&shop, &[&paid(order_id(), user, 700)]).await;
    }
    let (status, body) = look(&shop, "calm", "shopper").await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &Value::from("forbidden")));
    let (status, body) = look(&shop, "unknown", "staff").await;
    assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &Value::from("not-found")));
    let (status, body) = look(&shop, "calm", "staff").await;
    assert_eq!((status, &body["name"], &body["change"]), (StatusCode::OK, &Value::from("calm"), &Value::from("off")));
    assert_eq!((&body["verdict"], &body["dealt_as_set"]), (&Value::from("open"), &Value::Bool(true)));
    assert_eq!((&body["currency"], &body["conversion_difference"]), (&Value::from("EUR"), &Value::Null));
    let sum = |field: &str| {
        body["arms"].as_array().map(|arms| arms.iter().filter_map(|arm| arm[field].as_i64()).sum::<i64>())
    };
    let [persons, conversions, revenue, share] = ["persons", "conversions", "revenue_minor", "share"].map(sum);
    assert_eq!(
        [persons, conversions, revenue, share],
        [Some(16_i64), Some(16), Some(16 * 700), Some(10_000)],
        "{body}"
    );
    let guards: Vec<&Value> = body["guards"].as_array().into_iter().flatten().map(|guard| &guard["name"]).collect();
    assert_eq!(guards, [&Value::from("degraded answers"), &Value::from("withdrawals")]);
    shop.store.down.store(true, Ordering::Relaxed);
    assert_eq!(look(&shop, "calm", "staff").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paid_order_comes_through_the_broker_and_a_group_that_begins_again_counts_it_once() {
    let kafka = topics(&[&ORDER_COMPLETED]).await;
    let shop = support::redis().trying(CALM);
    let user = account();
    show(&shop, user).await;
    let (one, two) = (paid(order_id(), user, 700), paid(order_id(), user, 300));
    for (group, order, expected) in
        [("personalization-orders", &one, 700), ("personalization-orders-again", &two, 1_000)]
    {
        put_raw(&kafka, &ORDER_COMPLETED, &order.order_id, &order.encode_to_vec(), &[]).await;
        let stop = CancellationToken::new();
        let handler = Arc::new(consumer(&shop));
        let orders = BatchConsumer::new(group, &[&ORDER_COMPLETED], Region::ALL[0], &kafka, handler).expect("settings");
        let running = tokio::spawn(orders.run(stop.clone()));
        wait::until("the order to be counted", Duration::from_secs(30), async || {
            let sums = sums(&shop).await;
            if sums.revenue_minor == expected { Ok(()) } else { Err(sums) }
        })
        .await;
        stop.cancel();
        running.await.expect("a consumer ends in order").expect("no crash point is set");
    }
    assert_eq!((sums(&shop).await.orders, sums(&shop).await.buyers), (2, 1));
}
