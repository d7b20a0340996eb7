//! The adapter and the whole payment against the payment simulator in this process: every magic card and amount ends right,
//! and money, ledger and the gateway's books agree to the cent.

use std::sync::Arc;
use std::time::Duration;

use chassis::config::Secret;
use common::{OrderId, Private, SystemClock};
use messaging::Epoch;
use order_payment::MIGRATOR;
use order_payment::domain::basket::RawOrder;
use order_payment::domain::{Answer, Attempt, AttemptState, Call, Flow, Look, OrderStatus, Reason, Via};
use order_payment::inbound::http::{Api, WebhookSettings, WebhookWire, router};
use order_payment::inbound::timers;
use order_payment::outbound::fraud::NoFraudCheck;
use order_payment::outbound::gate::NoStandby;
use order_payment::outbound::gateway::{Gateways, PaymentIntents, Square};
use order_payment::outbound::memory_carts::MemoryCarts;
use order_payment::outbound::postgres::{PostgresStore, PostgresViews};
use order_payment::usecases::begin_payment::begin_payment;
use order_payment::usecases::place_order::place_order;
use order_payment::usecases::ports::Gateway as _;
use order_payment::usecases::reconcile::reconcile;
use order_payment::usecases::{App, Rules, Signals};
use payment_simulator::{EntryKind, Running, Settings, Timings};
use testkit::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::world::{FixedPrices, REGION, a_key, an_order, answer, line, lock_keys, shopper};

/// Short enough that a hundred lost answers fit into a test.
const CALL_TIMEOUT: Duration = Duration::from_millis(700);

pub struct Shop {
    pub app: Arc<App>,
    prices: Arc<FixedPrices>,
    pub database: TestDatabase,
    pub simulator: Running,
    shutdown: CancellationToken,
    workers: Vec<tokio::task::JoinHandle<()>>,
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_at("simulator").await
    }

    /// A shop with its workers, its webhook routes on a real port, and both gateways, which send webhooks there. New attempts
    /// begin at `chosen`.
    pub async fn open_at(chosen: &str) -> Self {
        let database = TestDatabase::create("order_payment", &MIGRATOR).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = |name: &str| format!("http://{}/v1/payments/webhooks/{name}", listener.local_addr().unwrap());
        let (webhook_url, square_url) = (hook("simulator"), hook("square"));
        let state = std::env::temp_dir().join(format!("order-payment-test-{}.redb", common::ids::random()));
        let simulator = payment_simulator::start(Settings {
            webhook_url: Some(webhook_url),
            webhook_secret: "whsec_test".to_owned(),
            square_webhook_url: Some(square_url.clone()),
            square_webhook_secret: "square_test".to_owned(),
            timings: Timings {
                slow: Duration::from_millis(300),
                hold: Duration::from_secs(2),
                settle: Duration::from_millis(500),
                webhook_retry: Duration::from_millis(100),
                ..Timings::default()
            },
            ..Settings::new(state.clone())
        })
        .await
        .unwrap();
        // It has the file open; nothing is left when it ends.
        std::fs::remove_file(state).unwrap();
        let gateways = gateways(&simulator.base_url, chosen);
        let prices = Arc::new(FixedPrices::default());
        let app = Arc::new(App {
            region: REGION,
            clock: Arc::new(SystemClock),
            store: Arc::new(PostgresStore::new(database.database.clone())),
            views: Arc::new(PostgresViews::new(database.database.pool().clone())),
            prices: prices.clone(),
            carts: Arc::new(MemoryCarts::default()),
            locks: lock_keys(REGION),
            gateway: Arc::new(gateways),
            gate: Arc::new(NoStandby),
            fraud: Arc::new(NoFraudCheck),
            rules: Rules {
                reconcile_grace: chrono::Duration::zero(),
                settlement_margin: chrono::Duration::zero(),
                ..Rules::default()
            },
            signals: Signals::default(),
        });
        let shutdown = CancellationToken::new();
        let settings = vec![
            WebhookSettings {
                name: "simulator".to_owned(),
                wire: WebhookWire::PaymentIntents,
                secrets: vec![Secret::new("whsec_test")],
            },
            WebhookSettings {
                name: "square".to_owned(),
                wire: WebhookWire::Square { notification_url: square_url },
                secrets: vec![Secret::new("square_test")],
            },
        ];
        let routes = router(Api::new(Arc::clone(&app), settings, 10, shutdown.clone()));
        let server = axum::serve(listener, routes).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let workers = vec![
            tokio::spawn(async move { server.await.unwrap() }),
            tokio::spawn(timers::payments(Arc::clone(&app), shutdown.clone())),
            tokio::spawn(timers::webhooks(Arc::clone(&app), shutdown.clone())),
            tokio::spawn(timers::deadlines(Arc::clone(&app), shutdown.clone())),
        ];
        Self { app, prices, database, simulator, shutdown, workers }
    }

    pub async fn order(&self, token: &str, minor: i64) -> OrderId {
        let sku = format!("P{minor}");
        self.prices.set(&sku, minor, 10);
        let raw = RawOrder {
            lines: vec![line(&sku, 1)],
            token: Private::new(token.to_owned()),
            expected_total: (format!("{}.{:02}", minor / 100, minor % 100), "EUR".to_owned()),
            ..an_order()
        };
        let id = place_order(&self.app, shopper(), &a_key(), raw, answer).await.unwrap().order;
        let cause = messaging::Cause::Message { consumer: "order-payment", id: common::ids::random().into() };
        begin_payment(&self.app, cause, id).await.unwrap();
        id
    }

    pub async fn end_of(&self, id: OrderId, what: &str) -> OrderStatus {
        testkit::wait::until(what, Duration::from_secs(60), async || {
            let order = self.app.store.order(id).await.unwrap().unwrap();
            let attempt = self.app.store.charge_of(id).await.unwrap();
            if order.status.is_final() { Ok(order.status) } else { Err((order.status, attempt)) }
        })
        .await
    }

    pub async fn ledger(&self, id: OrderId) -> i64 {
        sqlx::query_scalar(
            "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries JOIN ledger_transactions USING (attempt_id)
             WHERE order_id = $1 AND account = 'gateway_receivable'",
        )
        .bind(id.uuid())
        .fetch_one(&self.database.owner)
        .await
        .unwrap()
    }

    /// What the gateway's own books say it took for an order, and how often.
    pub async fn taken(&self, id: OrderId) -> (i64, usize) {
        let books = self.simulator.books().await.unwrap();
        let mine: Vec<_> =
            books.iter().filter(|entry| entry.reference.as_deref() == Some(id.to_string().as_str())).collect();
        let sum = mine.iter().map(|entry| match entry.kind {
            EntryKind::Capture => entry.amount,
            EntryKind::Refund => -entry.amount,
            _ => 0,
        });
        (sum.sum(), mine.iter().filter(|entry| entry.kind == EntryKind::Capture).count())
    }

    pub async fn close(self) {
        self.shutdown.cancel();
        for worker in self.workers {
            worker.await.unwrap();
        }
        self.simulator.stop().await;
    }
}

/// Both adapters at the one simulator, as a site with two gateways has them.
fn gateways(base_url: &str, chosen: &str) -> Gateways {
    let (key, epoch) = (Secret::new("sk_test_local"), Epoch::new(1));
    let intents = PaymentIntents::with_timeout(base_url, key.clone(), REGION, epoch.clone(), CALL_TIMEOUT).unwrap();
    let square = Square::with_timeout(base_url, key, REGION, epoch, CALL_TIMEOUT).unwrap();
    let second = Via { name: "square".to_owned(), flow: Flow::MadeAuthorised };
    Gateways::new(Via::default(), Arc::new(intents.settled_at(&format!("{base_url}/settlements"))))
        .and(second, Arc::new(square.settled_at(&format!("{base_url}/v2/settlements"))))
        .choose(chosen)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_magic_card_and_amount_ends_right_and_the_books_agree() {
    every_card_ends_right(Shop::open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_magic_card_and_amount_ends_right_at_a_gateway_that_authorises_at_once() {
    every_card_ends_right(Shop::open_at("square").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_ends_at_the_gateway_it_was_begun_with_whichever_is_chosen_now() {
    let shop = Shop::open().await;
    let here = shop.order("tok_ok", 4990).await;
    shop.end_of(here, "the first order to end").await;
    assert_eq!(shop.app.store.charge_of(here).await.unwrap().unwrap().via, Via::default());
    let switched = gateways(&shop.simulator.base_url, "square");
    let (attempt, second) = (shop.app.store.charge_of(here).await.unwrap().unwrap(), switched.choice());
    assert_eq!((second.name.as_str(), second.flow), ("square", Flow::MadeAuthorised));
    assert!(matches!(switched.look(Look::Intent, &attempt).await, Answer::Intent(_)), "the old one is still asked");
    let retired = Attempt { via: Via { name: "retired".to_owned(), ..second }, ..attempt };
    assert_eq!(switched.send(Call::Cancel, &retired).await.label(), "misconfigured", "an alarm, and no decline");
    assert!(gateways_named(&shop.simulator.base_url, "nowhere").is_err());
    shop.close().await;
}

fn gateways_named(base_url: &str, chosen: &str) -> anyhow::Result<Gateways> {
    let intents = PaymentIntents::new(base_url, Secret::new("x"), REGION, Epoch::new(1))?;
    Gateways::new(Via::default(), Arc::new(intents)).choose(chosen)
}

async fn every_card_ends_right(shop: Shop) {
    use OrderStatus::{Compensated, Completed};
    let table = [
        ("tok_ok", 4990, Completed),
        ("tok_visa", 1, Completed),
        ("tok_declined", 4990, Compensated),
        ("tok_insufficient", 4990, Compensated),
        ("tok_slow", 4990, Completed),
        ("tok_timeout_charged", 4990, Completed),
        ("tok_timeout_not_charged", 4990, Completed),
        ("tok_error500_charged", 4990, Completed),
        ("tok_reset", 4990, Completed),
        ("tok_webhook_only", 4990, Completed),
        ("tok_webhook_twice", 4990, Completed),
        ("tok_webhook_early", 4990, Completed),
        // A card of another merchant: the gateway does not know it.
        ("tok_somebody_elses", 4990, Compensated),
        ("tok_ok", 9_999_901, Compensated),
        ("tok_ok", 9_999_902, Completed),
        ("tok_ok", 9_999_903, Completed),
        ("tok_ok", 9_999_904, Completed),
        ("tok_ok", 9_999_905, Completed),
        ("tok_ok", 9_999_906, Completed),
        ("tok_ok", 9_999_907, Completed),
        ("tok_ok", 9_999_908, Compensated),
        ("tok_declined", 9_999_910, Compensated),
        ("tok_ok", 9_999_911, Completed),
        ("tok_ok", 9_999_912, Completed),
    ];
    let mut orders = Vec::new();
    for (token, minor, expected) in table {
        orders.push((shop.order(token, minor).await, token, minor, expected));
    }
    for (id, token, minor, expected) in &orders {
        assert_eq!(shop.end_of(*id, &format!("{token} {minor} to end")).await, *expected, "{token} {minor}");
        let (net, times) = if *expected == Completed { (*minor, 1) } else { (0, 0) };
        assert_eq!(shop.ledger(*id).await, net, "ledger of {token} {minor}");
        assert_eq!(shop.taken(*id).await, (net, times), "gateway's books of {token} {minor}");
        if *expected == Compensated {
            let order = shop.app.store.order(*id).await.unwrap().unwrap();
            assert_eq!(order.reason, Some(Reason::PaymentDeclined));
            assert_eq!(shop.app.store.charge_of(*id).await.unwrap().unwrap().state, AttemptState::Declined);
        }
    }
    assert_eq!(reconcile(&shop.app).await.unwrap(), []);
    let summary = shop.simulator.summary().await.unwrap();
    assert_eq!(summary.charged_twice.len(), 0);
    testkit::wait::until("all webhooks to be taken", Duration::from_secs(20), async || {
        let waiting = shop.simulator.webhooks_waiting().await.unwrap();
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM webhooks WHERE processed_at IS NULL")
            .fetch_one(&shop.database.owner)
            .await
            .unwrap();
        if waiting == 0 && open == 0 { Ok(()) } else { Err((waiting, open)) }
    })
    .await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_away_delays_a_payment_and_never_declines_it() {
    let shop = Shop::open().await;
    let id = shop.order("tok_ok", 4990).await;
    shop.end_of(id, "the order to end").await;
    let gone =
        PaymentIntents::with_timeout("http://127.0.0.1:9", Secret::new("x"), REGION, Epoch::new(1), CALL_TIMEOUT)
            .unwrap();
    let attempt = shop.app.store.charge_of(id).await.unwrap().unwrap();
    // Refused connections, then an open circuit: nothing was sent either way.
    for _ in 0..8 {
        assert_eq!(gone.send(Call::Create, &attempt).await, Answer::NotSent);
    }
    assert_eq!(gone.look(Look::Intent, &attempt).await, Answer::NotSent);
    assert!(gone.intents_between(0, 1).await.is_err());
    shop.close().await;
}
