//! A shop in miniature: fixed prices, a gateway that keeps its word behind a network that may not, books in memory or in
//! PostgreSQL, a clock moved by hand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use common::{Clock, ManualClock, MessageId, Money, OrderId, Private, Region, Sku, SystemClock, UserId, ids};
use messaging::{Cause, StoredAnswer};
use order_payment::MIGRATOR;
use order_payment::domain::basket::{RawLine, RawOrder};
use order_payment::domain::price_lock::LockKeys;
use order_payment::domain::{
    Answer, Attempt, BasketLine, Call, CouponCode, Intent, IntentStatus, Look, Order, OrderStatus, Reduction,
    ShippingAddress,
};
use order_payment::outbound::fraud::NoFraudCheck;
use order_payment::outbound::gate::NoStandby;
use order_payment::outbound::memory::MemoryStore;
use order_payment::outbound::memory_carts::MemoryCarts;
use order_payment::outbound::postgres::intake::intake;
use order_payment::outbound::postgres::{PostgresCarts, PostgresStore, PostgresViews};
use order_payment::usecases::begin_payment::begin_payment;
use order_payment::usecases::error::PricesError;
use order_payment::usecases::place_order::{Placed, place_order};
use order_payment::usecases::ports::{Carts, CouponWord, FraudCheck, Gateway, Prices, Quote, Quoted, Store, Views};
use order_payment::usecases::process_payment::process_payments;
use order_payment::usecases::{App, CONSUMER, Failure, Rules, Shopper, Signals};
use testkit::TestDatabase;
use tokio_util::sync::CancellationToken;

pub const REGION: Region = Region::Eu;

/// The catalog: a price and a stock per product; everything else is not sold here.
#[derive(Default)]
pub struct FixedPrices(pub Mutex<BTreeMap<String, (i64, u32)>>, pub Mutex<Promotions>);

impl FixedPrices {
    pub fn set(&self, sku: &str, minor: i64, available: u32) {
        self.0.lock().unwrap().insert(sku.to_owned(), (minor, available));
    }
}

/// What the catalog takes off, in minor units of each unit of a product.
#[derive(Default)]
pub struct Promotions {
    pub off: BTreeMap<String, i64>,
    /// With a coupon that is good.
    pub off_with_coupon: BTreeMap<String, i64>,
    pub words: BTreeMap<CouponCode, CouponWord>,
}

impl Promotions {
    fn reductions(&self, line: &BasketLine, with_coupon: bool) -> Vec<Reduction> {
        let all = [
            ("autumn", 3, self.off.get(line.sku.as_str())),
            ("coupon", 4, self.off_with_coupon.get(line.sku.as_str()).filter(|_| with_coupon)),
        ];
        all.into_iter()
            .filter_map(|(promotion, revision, minor)| {
                let amount = Money::from_minor(minor? * i64::from(line.quantity), REGION.currency()).unwrap();
                Some(Reduction { promotion: promotion.to_owned(), revision, amount })
            })
            .collect()
    }
}

/// Music is downloaded; everything else is carried.
fn family(sku: &Sku) -> &'static str {
    if sku.as_str().starts_with("MUSIC-") { "digital_subscription" } else { "gadget" }
}

#[async_trait]
impl Prices for FixedPrices {
    async fn quote(&self, lines: &[BasketLine], coupon: Option<&CouponCode>) -> Result<Quote, PricesError> {
        let promotions = self.1.lock().unwrap();
        let prices = self.0.lock().unwrap();
        if prices.contains_key("CATALOG-IS-DOWN") {
            return Err(PricesError::Unavailable(anyhow::anyhow!("down")));
        }
        let word = coupon.map(|code| promotions.words.get(code).cloned().unwrap_or(CouponWord::Unknown));
        let good = matches!(word, Some(CouponWord::Good(_)));
        let mut quote = Quote { coupon: word, ..Quote::default() };
        for line in lines {
            if let Some((minor, available)) = prices.get(line.sku.as_str()) {
                let unit_price = Money::from_minor(*minor, REGION.currency()).unwrap();
                let quoted = Quoted {
                    name: format!("Product {}", line.sku),
                    family: family(&line.sku).to_owned(),
                    unit_price,
                    revision: 1,
                    available: *available,
                    reductions: promotions.reductions(line, good),
                };
                quote.known.insert(line.sku.clone(), quoted);
            }
        }
        Ok(quote)
    }
}

/// What the network does to the next call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fine,
    LostBefore,
    LostAfter,
    Refused,
}

/// A gateway that keeps its word: one intent per order, one capture per intent.
#[derive(Default)]
pub struct MiniGateway {
    pub intents: Mutex<BTreeMap<String, Intent>>,
    /// By intent, and by the number of the attempt that asked: the same key finds the same refund.
    pub refunded: Mutex<BTreeMap<String, BTreeMap<u32, i64>>>,
    pub refuses_refunds: Mutex<bool>,
    /// The key of a refund is forgotten at once: the same call again gives the money again.
    pub forgets_refund_keys: Mutex<bool>,
    pub weather: Mutex<VecDeque<Weather>>,
    pub calls: Mutex<Vec<Call>>,
    pub declines: Mutex<bool>,
    /// What it lists instead of what it has: a list that was made a moment ago.
    pub list: Mutex<Option<BTreeMap<String, Intent>>>,
    /// The settlement file it hands out.
    pub settlement: Mutex<Option<bytes::Bytes>>,
}

impl MiniGateway {
    pub fn forecast(&self, weather: &[Weather]) {
        *self.weather.lock().unwrap() = weather.iter().copied().collect();
    }

    /// What the gateway has taken for an order, less what it gave back.
    pub fn net(&self, order: OrderId) -> i64 {
        let intents = self.intents.lock().unwrap();
        let refunded = self.refunded.lock().unwrap();
        let mine = intents.values().filter(|intent| intent.order == Some(order.to_string()));
        mine.map(|intent| {
            let taken = if intent.status == IntentStatus::Succeeded { intent.amount_minor } else { 0 };
            taken - refunded.get(&intent.id).into_iter().flat_map(BTreeMap::values).sum::<i64>()
        })
        .sum()
    }

    /// From now on its lists are of this moment, while payments go on; until [`Self::lists_afresh`].
    pub fn lists_as_of_now(&self) {
        *self.list.lock().unwrap() = Some(self.listed());
    }

    /// Its intents as a list shows them: each with what of it went back.
    fn listed(&self) -> BTreeMap<String, Intent> {
        let mut intents = self.intents.lock().unwrap().clone();
        let refunded = self.refunded.lock().unwrap();
        for (id, intent) in &mut intents {
            intent.refunded_minor = Some(refunded.get(id).into_iter().flat_map(BTreeMap::values).sum());
        }
        intents
    }

    pub fn lists_afresh(&self) {
        *self.list.lock().unwrap() = None;
    }

    /// Forces an intent into a status, as nobody at the gateway should.
    pub fn force(&self, order: OrderId, status: IntentStatus) {
        let mut intents = self.intents.lock().unwrap();
        for intent in intents.values_mut().filter(|intent| intent.order == Some(order.to_string())) {
            intent.status = status;
        }
    }

    fn obey(&self, call: Call, attempt: &Attempt) -> Answer {
        let mut intents = self.intents.lock().unwrap();
        let id = intent_of(attempt);
        if call == Call::Create {
            let made = intents.entry(id.clone()).or_insert_with(|| Intent {
                id,
                status: IntentStatus::RequiresConfirmation,
                declined: false,
                amount_minor: attempt.amount.minor(),
                currency: attempt.amount.currency().code().to_owned(),
                order: Some(attempt.order.to_string()),
                attempt: Some(attempt.number),
                created_unix: attempt.created_at.timestamp(),
                refunded_minor: None,
            });
            return Answer::Intent(made.clone());
        }
        let Some(intent) = intents.get_mut(&id) else { return Answer::NotFound };
        match (call, intent.status) {
            (Call::Confirm, IntentStatus::RequiresConfirmation) if *self.declines.lock().unwrap() => {
                intent.status = IntentStatus::Declined;
                return Answer::Declined(Some(intent.clone()));
            }
            (Call::Confirm, IntentStatus::RequiresConfirmation) => intent.status = IntentStatus::RequiresCapture,
            (Call::Capture, IntentStatus::RequiresCapture) => intent.status = IntentStatus::Succeeded,
            (
                Call::Cancel,
                IntentStatus::RequiresConfirmation | IntentStatus::Declined | IntentStatus::RequiresCapture,
            ) => {
                intent.status = IntentStatus::Canceled;
            }
            (Call::Refund, IntentStatus::Succeeded) => {
                let (mut all, taken) = (self.refunded.lock().unwrap(), intent.amount_minor);
                let mine = all.entry(id).or_default();
                let forgotten = *self.forgets_refund_keys.lock().unwrap();
                if let Some(amount_minor) = mine.get(&attempt.number).filter(|_| !forgotten) {
                    return Answer::Refunded { amount_minor: *amount_minor };
                }
                if *self.refuses_refunds.lock().unwrap() {
                    return Answer::Declined(None);
                }
                if mine.values().sum::<i64>() + attempt.amount.minor() > taken {
                    return Answer::StateRefused(Some(intent.clone()));
                }
                *mine.entry(attempt.number).or_default() += attempt.amount.minor();
                return Answer::Refunded { amount_minor: attempt.amount.minor() };
            }
            _ => return Answer::StateRefused(Some(intent.clone())),
        }
        Answer::Intent(intent.clone())
    }
}

#[async_trait]
impl Gateway for MiniGateway {
    async fn send(&self, call: Call, attempt: &Attempt) -> Answer {
        self.calls.lock().unwrap().push(call);
        let weather = self.weather.lock().unwrap().pop_front().unwrap_or(Weather::Fine);
        match weather {
            Weather::Fine => self.obey(call, attempt),
            Weather::LostBefore => Answer::Unknown("lost before".to_owned()),
            Weather::LostAfter => {
                self.obey(call, attempt);
                Answer::Unknown("lost after".to_owned())
            }
            Weather::Refused => Answer::NotSent,
        }
    }

    async fn look(&self, look: Look, attempt: &Attempt) -> Answer {
        let id = intent_of(attempt);
        match look {
            Look::Refund => match self.refunded.lock().unwrap().get(&id).and_then(|mine| mine.get(&attempt.number)) {
                Some(amount_minor) => Answer::Refunded { amount_minor: *amount_minor },
                None => Answer::NotFound,
            },
            Look::Intent | Look::Reference => {
                self.intents.lock().unwrap().get(&id).map_or(Answer::NotFound, |intent| Answer::Intent(intent.clone()))
            }
        }
    }

    async fn settlement(&self, _: &str, _: chrono::NaiveDate) -> Result<Option<bytes::Bytes>, String> {
        Ok(self.settlement.lock().unwrap().clone())
    }

    async fn intents_between(&self, from: i64, to: i64) -> Result<Vec<Intent>, String> {
        let list = self.list.lock().unwrap().clone();
        let list = list.unwrap_or_else(|| self.listed());
        Ok(list.into_values().filter(|intent| (from..=to).contains(&intent.created_unix)).collect())
    }
}

/// One intent per order, unless the attempt is about another.
fn intent_of(attempt: &Attempt) -> String {
    attempt.intent.clone().unwrap_or_else(|| format!("pi_{}", attempt.order.uuid().simple()))
}

/// Everything a story needs. `memory` or `database` is the books behind the application.
pub struct World {
    pub app: Arc<App>,
    pub prices: Arc<FixedPrices>,
    pub gateway: Arc<MiniGateway>,
    pub clock: Arc<ManualClock>,
    pub memory: Option<Arc<MemoryStore>>,
    pub database: Option<Arc<TestDatabase>>,
}

/// Whole microseconds, as PostgreSQL keeps them.
pub fn start() -> DateTime<Utc> {
    let now = SystemClock.now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap()
}

impl World {
    pub fn in_memory() -> Self {
        let store = Arc::new(MemoryStore::default());
        Self::new(store.clone(), store.clone(), Arc::new(MemoryCarts::default()), Some(store), None)
    }

    pub async fn in_postgres() -> Self {
        Self::on(&a_database().await)
    }

    /// Another world on the same database: a new process with a new gateway. Cheap, so a harness can make hundreds.
    pub fn on(database: &Arc<TestDatabase>) -> Self {
        Self::with_store(database, Arc::new(PostgresStore::new(database.database.clone())))
    }

    /// Books in PostgreSQL whose new orders share commits.
    pub fn with_intake(database: &Arc<TestDatabase>) -> Self {
        let (intake, lanes) = intake(database.database.clone(), 64);
        tokio::spawn(lanes.run(CancellationToken::new()));
        Self::with_store(database, Arc::new(PostgresStore::with_intake(database.database.clone(), intake)))
    }

    /// A world on these books.
    pub fn with_store(database: &Arc<TestDatabase>, store: Arc<dyn Store>) -> Self {
        let views = Arc::new(PostgresViews::new(database.database.pool().clone()));
        let carts = Arc::new(PostgresCarts::new(database.database.clone()));
        Self::new(store, views, carts, None, Some(Arc::clone(database)))
    }

    fn new(
        store: Arc<dyn Store>,
        views: Arc<dyn Views>,
        carts: Arc<dyn Carts>,
        memory: Option<Arc<MemoryStore>>,
        database: Option<Arc<TestDatabase>>,
    ) -> Self {
        let (prices, gateway) = (Arc::new(FixedPrices::default()), Arc::new(MiniGateway::default()));
        prices.set("LAMP-1", 4990, 10);
        prices.set("COAT-1", 12_900, 3);
        let clock = Arc::new(ManualClock::at(start()));
        let app = App {
            region: REGION,
            clock: clock.clone(),
            store,
            views,
            prices: prices.clone(),
            carts,
            locks: lock_keys(REGION),
            gateway: gateway.clone(),
            gate: Arc::new(NoStandby),
            fraud: Arc::new(NoFraudCheck),
            rules: Rules::default(),
            signals: Signals::default(),
        };
        Self { app: Arc::new(app), prices, gateway, clock, memory, database }
    }

    /// The memory behind this world.
    pub fn books(&self) -> std::sync::MutexGuard<'_, order_payment::outbound::memory::Books> {
        self.memory.as_ref().expect("a world in memory").books()
    }

    pub async fn place(&self, shopper: Shopper, key: &str, raw: RawOrder) -> Result<Placed, Failure> {
        place_order(&self.app, shopper, key, raw, answer).await
    }

    /// An order whose stock is held, so that its payment is due.
    pub async fn an_order_to_pay(&self) -> OrderId {
        let order = self.place(shopper(), &a_key(), an_order()).await.expect("the order is placed").order;
        begin_payment(&self.app, self.message(), order).await.expect("the payment begins");
        order
    }

    pub fn message(&self) -> Cause {
        Cause::Message { consumer: CONSUMER, id: MessageId::from_uuid(ids::random()) }
    }

    pub async fn status(&self, order: OrderId) -> OrderStatus {
        self.order(order).await.status
    }

    pub async fn order(&self, order: OrderId) -> Order {
        self.app.store.order(order).await.expect("the books can be read").expect("the order exists")
    }

    pub async fn charge(&self, order: OrderId) -> Attempt {
        self.app.store.charge_of(order).await.expect("the books can be read").expect("the attempt exists")
    }

    /// Goes on with payments until nothing is due. Each round is later than the longest pause and the end of any lease.
    pub async fn pay(&self) {
        for _ in 0..30 {
            self.clock.advance(Duration::minutes(6));
            if matches!(process_payments(&self.app).await, Ok(0)) {
                break;
            }
        }
    }

    /// How many rows of a table belong to an order. `column` is where the table names it.
    pub async fn rows_of(&self, table: &str, column: &str, value: impl ToString) -> i64 {
        let query = format!("SELECT count(*) FROM {table} WHERE {column}::text = $1");
        let owner = &self.database.as_ref().expect("a world in PostgreSQL").owner;
        sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(value.to_string()).fetch_one(owner).await.unwrap()
    }

    /// The same books behind other rules and another fraud check.
    pub fn with(&self, rules: Rules, fraud: Arc<dyn FraudCheck>) -> Arc<App> {
        let app = &self.app;
        Arc::new(App {
            region: app.region,
            clock: app.clock.clone(),
            store: app.store.clone(),
            views: app.views.clone(),
            prices: app.prices.clone(),
            carts: app.carts.clone(),
            locks: lock_keys(REGION),
            gateway: app.gateway.clone(),
            gate: app.gate.clone(),
            fraud,
            rules,
            signals: Signals::default(),
        })
    }

    /// What the ledger says we have of an order, in minor units.
    pub async fn ledger(&self, order: OrderId) -> i64 {
        if let Some(database) = &self.database {
            let sum: i64 = sqlx::query_scalar(
                "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries JOIN ledger_transactions USING (transaction_id)
                 WHERE order_id = $1 AND account = 'gateway_receivable'",
            )
            .bind(order.uuid())
            .fetch_one(&database.owner)
            .await
            .unwrap();
            return sum;
        }
        let books = self.books();
        let entries = books
            .ledger
            .iter()
            .filter(|transaction| transaction.order == Some(order))
            .flat_map(|transaction| &transaction.entries);
        entries
            .filter(|entry| entry.account == order_payment::domain::Account::GatewayReceivable)
            .map(|entry| entry.amount_minor)
            .sum()
    }
}

pub fn lock_keys(region: Region) -> LockKeys {
    LockKeys::new(region, "a secret of the tests", None).unwrap()
}

pub async fn a_database() -> Arc<TestDatabase> {
    Arc::new(TestDatabase::create("order_payment", &MIGRATOR).await)
}

/// All kinds of books, one after the other: one suite holds them to the same behaviour.
pub async fn worlds() -> Vec<World> {
    vec![World::in_memory(), World::in_postgres().await, World::with_intake(&a_database().await)]
}

pub fn answer(order: &Order) -> StoredAnswer {
    StoredAnswer {
        status: 201,
        body: format!("{{\"order_id\":\"{}\",\"total\":\"{}\"}}", order.id, order.total).into_bytes(),
    }
}

pub fn shopper() -> Shopper {
    Shopper { user: UserId::from_uuid(ids::random()), region: REGION }
}

pub fn a_key() -> String {
    ids::random().simple().to_string()
}

pub fn an_order() -> RawOrder {
    let address = ShippingAddress {
        name: "Ada Lovelace".to_owned(),
        line1: "Zeil 106".to_owned(),
        line2: None,
        city: "Frankfurt".to_owned(),
        postal_code: "60313".to_owned(),
        country: "DE".to_owned(),
    };
    RawOrder {
        lines: vec![line("LAMP-1", 1)],
        address: Private::new(address),
        method: "card".to_owned(),
        token: Private::new("tok_ok".to_owned()),
        credit: order_payment::domain::basket::RawCredit::Nothing,
        expected_total: ("49.90".to_owned(), "EUR".to_owned()),
        price_lock: None,
        coupon: None,
    }
}

pub fn line(sku: &str, quantity: u32) -> RawLine {
    RawLine {
        sku: Sku::parse(sku).map_or_else(|_| sku.to_owned(), |sku| sku.to_string()),
        quantity,
        options: Vec::new(),
    }
}
