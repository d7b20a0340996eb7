//! A small shop for the stories: stores, an application over them, deliveries, and the books read past the code under test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use catalog::MIGRATOR;
use catalog::domain::audit::{Audited, Most};
use catalog::domain::centre::{Centre, Centres};
use catalog::domain::inventory::{StockLevel, SupplyKind};
use catalog::domain::lines::{Line, Lines};
use catalog::domain::receipt::{Receipt, ReceiptLine, ReceiptReference};
use catalog::inbound::events::SagaEvents;
use catalog::outbound::bare;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::outbound::memory_stock::MemoryStock;
use catalog::outbound::postgres::PgStock;
use catalog::usecases::App;
use catalog::usecases::ports::orders::{OrderState, Orders, OrdersDown};
use catalog::usecases::ports::stock::{Committed, StockStore, StoreError};
use catalog::usecases::reservation_batcher::ReservationBatcher;
use chassis::extract::Caller;
use chrono::DateTime;
use common::{ManualClock, MessageId, OrderId, Region, SessionId, Sku, UserId, ids};
use contracts::{Envelope, Event, order};
use messaging::{Delivery, Handler as _, Verdict};
use testkit::postgres::TestDatabase;

/// The catalog over a PostgreSQL database of its own.
pub struct World {
    pub database: TestDatabase,
    pub store: Arc<dyn StockStore>,
    pub app: Arc<App>,
    pub saga: Arc<SagaEvents>,
}

/// Preferred in this order; the first is the one of the older stories, which know no other.
pub const CENTRES: [&str; 3] = ["rdc-a", "fc-b", "fc-c"];

/// Somebody new with this role.
pub fn caller(role: &str) -> Caller {
    Caller {
        user_id: UserId::from_uuid(ids::random()),
        session_id: SessionId::parse("s-1").expect("a session id"),
        region: Region::ALL[0],
        roles: vec![role.to_owned()],
        personalisation_consent: false,
    }
}

pub fn centre(name: &str) -> Centre {
    Centre::parse(name).expect("a centre")
}

pub fn centres() -> Centres {
    Centres::new(centre(CENTRES[0]), CENTRES[1..].iter().map(|name| centre(name)))
}

pub fn memory_stock() -> MemoryStock {
    MemoryStock::new(centres())
}

/// Order-payment as a story wants it: it knows what it was told.
#[derive(Default)]
pub struct KnownOrders(pub Mutex<HashMap<OrderId, OrderState>>);

#[async_trait]
impl Orders for KnownOrders {
    async fn states(&self, orders: &[OrderId]) -> Result<Vec<OrderState>, OrdersDown> {
        let known = self.0.lock().expect("nobody panicked");
        Ok(orders.iter().map(|order| known.get(order).copied().unwrap_or(OrderState::Unknown)).collect())
    }
}

impl World {
    pub async fn new() -> Self {
        let database = TestDatabase::create("inventory", &MIGRATOR).await;
        let store: Arc<dyn StockStore> = Arc::new(PgStock::new(database.database.clone(), centres()));
        let app = app(store.clone());
        let saga = Arc::new(SagaEvents::new(app.clone()));
        Self { database, store, app, saga }
    }

    /// Another process of the same service, over the same database.
    pub fn beside(&self) -> Beside {
        let database = self.database.another_process("inventory", 1);
        Beside(SagaEvents::new(app(Arc::new(PgStock::new(database, centres())))))
    }

    pub async fn deliver(&self, event: &Event) -> Verdict {
        self.saga.handle(&delivery(event)).await
    }

    /// Kinds of the events committed for `order`, in the order of their versions.
    pub async fn told(&self, order: OrderId) -> Vec<String> {
        sqlx::query_scalar("SELECT topic FROM outbox WHERE key = $1 ORDER BY version, seq")
            .bind(order.to_string())
            .fetch_all(&self.database.owner)
            .await
            .expect("outbox can be read")
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.owner).await.expect(sql)
    }

    /// The books: each count of each row follows from the movements, and each movement from a reservation or a receipt.
    pub async fn audit(&self) {
        let audited = audit_all(&*self.store).await;
        let findings: Vec<_> = audited.iter().flat_map(Audited::findings).collect();
        assert_eq!(findings, [], "stock rows that do not follow from their movements");
        let unbalanced = self
            .count("SELECT count(*) FROM stock WHERE available + held + sold - returned <> received + back_ordered")
            .await;
        assert_eq!(unbalanced, 0, "stock rows out of balance");
        let unexplained = self
            .count(
                r#"
                SELECT count(*) FROM reservations r JOIN allocations a USING (order_id)
                WHERE ARRAY(SELECT kind FROM stock_movements m WHERE m.order_id = r.order_id AND m.sku = a.sku AND m.fulfilment_centre = a.fulfilment_centre
                            AND m.quantity = a.quantity AND kind IN ('held', 'sold', 'released') ORDER BY kind)
                   <> CASE status WHEN 'HELD' THEN ARRAY['held'] WHEN 'FINALISED' THEN ARRAY['held', 'sold']
                                  WHEN 'RELEASED' THEN ARRAY['held', 'released'] ELSE ARRAY[]::text[] END
                "#,
            )
            .await;
        assert_eq!(unexplained, 0, "reservations whose movements do not fit their status");
        let untaken = self
            .count(
                r#"
                SELECT count(*) FROM reservations JOIN reservation_lines l USING (order_id)
                WHERE status IN ('HELD', 'FINALISED')
                  AND quantity <> (SELECT COALESCE(sum(quantity), 0) FROM allocations a WHERE a.order_id = l.order_id AND a.sku = l.sku)
                "#,
            )
            .await;
        assert_eq!(untaken, 0, "lines that were not taken in full");
        let serials = self
            .count(
                r#"
                SELECT count(*) FROM (SELECT sku, sum(sold) AS sold FROM stock WHERE kind = 'serialised' GROUP BY sku) s
                WHERE sold <> (SELECT count(*) FROM serial_numbers n WHERE n.sku = s.sku)
                   OR sold <> (SELECT COALESCE(max(number), 0) FROM serial_numbers n WHERE n.sku = s.sku)
                "#,
            )
            .await;
        assert_eq!(serials, 0, "serialised units sold without a number of their own");
        let unsent = self
            .count(
                r#"
                SELECT count(*) FROM allocations a JOIN reservations r USING (order_id) JOIN supplies USING (sku)
                WHERE kind <> 'unlimited' AND (status = 'FINALISED')
                   <> EXISTS (SELECT FROM shipments s WHERE s.order_id = a.order_id AND s.fulfilment_centre = a.fulfilment_centre)
                "#,
            )
            .await;
        assert_eq!(unsent, 0, "orders whose parcels do not fit their status");
        let early = self
            .count(
                r#"
                SELECT count(*) FROM shipments s JOIN back_orders b USING (order_id, fulfilment_centre) WHERE state = 'READY' AND waiting > 0
                "#,
            )
            .await;
        assert_eq!(early, 0, "parcels that left before their goods came in");
        let unusable = self
            .count(
                r#"
                SELECT count(*) FROM reservation_lines l JOIN reservations r USING (order_id) JOIN supplies USING (sku)
                WHERE kind = 'unlimited' AND (status = 'FINALISED') <> EXISTS (SELECT FROM entitlements e WHERE e.order_id = l.order_id AND e.sku = l.sku)
                "#,
            )
            .await;
        assert_eq!(unusable, 0, "orders whose entitlements do not fit their status");
    }
}

/// Whoever takes deliveries.
#[async_trait]
pub trait Worker: Send + Sync {
    async fn take(&self, event: &Event) -> Verdict;
}

#[async_trait]
impl Worker for World {
    async fn take(&self, event: &Event) -> Verdict {
        self.deliver(event).await
    }
}

pub struct Beside(SagaEvents);

#[async_trait]
impl Worker for Beside {
    async fn take(&self, event: &Event) -> Verdict {
        self.0.handle(&delivery(event)).await
    }
}

/// The use cases over any store.
pub fn app(stock: Arc<dyn StockStore>) -> Arc<App> {
    app_with(stock, Arc::new(MemoryProducts::default()))
}

pub fn app_with(stock: Arc<dyn StockStore>, products: Arc<MemoryProducts>) -> Arc<App> {
    let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(1_700_000_000, 0).expect("a valid instant")));
    let products = bare::products(products);
    app_made_of(stock, products, clock, Arc::new(KnownOrders::default()))
}

pub fn app_made_of(
    stock: Arc<dyn StockStore>,
    products: catalog::usecases::ports::products::ProductPorts,
    clock: common::SharedClock,
    orders: Arc<dyn Orders>,
) -> Arc<App> {
    let reservations = ReservationBatcher::default();
    Arc::new(App { region: Region::ALL[0], centres: centres(), clock, stock, orders, reservations, products })
}

pub fn sku(text: &str) -> Sku {
    Sku::parse(text).expect("a SKU")
}

pub fn lines(list: &[(&str, u32)]) -> Lines {
    Lines::new(list.iter().map(|(text, quantity)| Line { sku: sku(text), quantity: *quantity }).collect())
        .expect("valid lines")
}

pub fn receipt(reference: &str, list: &[(&str, SupplyKind, u32)]) -> Receipt {
    receipt_at(CENTRES[0], reference, list)
}

pub fn receipt_at(at: &str, reference: &str, list: &[(&str, SupplyKind, u32)]) -> Receipt {
    let lines =
        list.iter().map(|(text, kind, quantity)| ReceiptLine { sku: sku(text), kind: *kind, quantity: *quantity });
    Receipt::new(ReceiptReference::parse(reference).expect("a reference"), centre(at), lines.collect())
        .expect("a valid receipt")
}

/// Somebody of the warehouse.
pub fn clerk() -> UserId {
    UserId::from_uuid(ids::random())
}

pub async fn receive(
    store: &dyn StockStore,
    reference: &str,
    list: &[(&str, SupplyKind, u32)],
) -> Result<Committed, StoreError> {
    store.receive(&receipt(reference, list), clerk(), DateTime::UNIX_EPOCH).await
}

/// As [`receive`], into any centre.
pub async fn receive_at(store: &dyn StockStore, at: &str, reference: &str, list: &[(&str, SupplyKind, u32)]) {
    let committed = store.receive(&receipt_at(at, reference, list), clerk(), DateTime::UNIX_EPOCH).await;
    assert_eq!(committed.expect("a receipt"), Committed::Applied);
}

/// Every row with its sums, in one look.
pub async fn audit_all(store: &dyn StockStore) -> Vec<Audited> {
    let look = store.audit(None, Most { rows: 1_000, movements: 1_000_000 }).await.expect("rows can be read");
    assert_eq!(look.next, None, "a story has few rows");
    look.audited
}

/// A whole walk in small looks: every row with its sums, and how many movements each look read.
pub async fn walk(store: &dyn StockStore, most: Most) -> (Vec<Audited>, Vec<u64>) {
    let (mut audited, mut read, mut from) = (Vec::new(), Vec::new(), None);
    // More than any story needs.
    for _ in 0..1_000 {
        let look = store.audit(from.as_ref(), most).await.expect("rows can be read");
        audited.extend(look.audited);
        read.push(look.read);
        from = look.next;
        if from.is_none() {
            return (audited, read);
        }
    }
    panic!("the walk does not come to its end: {from:?}");
}

/// The row of a SKU in a centre.
pub async fn row(store: &dyn StockStore, text: &str, at: &str) -> StockLevel {
    let mut rows = store.rows(&[sku(text)]).await.expect("rows can be read");
    rows.remove(&sku(text)).and_then(|mut rows| rows.remove(&centre(at))).expect("the row is there")
}

/// `(available, held, sold, received)` of a SKU, in all centres together.
pub async fn counts(store: &dyn StockStore, text: &str) -> (i64, i64, i64, i64) {
    let rows = store.rows(&[sku(text)]).await.expect("rows can be read");
    let rows = &rows[&sku(text)];
    assert!(rows.values().all(StockLevel::balances), "{text}: {rows:?}");
    let sum = |count: fn(&StockLevel) -> i64| rows.values().map(count).sum();
    (sum(|row| row.available), sum(|row| row.held), sum(|row| row.sold), sum(|row| row.received))
}

pub fn new_order() -> OrderId {
    OrderId::from_uuid(ids::random())
}

fn wire_lines(list: &[(&str, u32)]) -> Vec<order::v1::OrderLine> {
    list.iter().map(|(text, quantity)| wire_line(text, *quantity, &[])).collect()
}

pub fn wire_line(text: &str, quantity: u32, options: &[(&str, &str)]) -> order::v1::OrderLine {
    let choice = |(key, value): &(&str, &str)| order::v1::Choice { key: (*key).to_owned(), value: (*value).to_owned() };
    order::v1::OrderLine { sku: text.to_owned(), quantity, options: options.iter().map(choice).collect() }
}

/// Who ordered, in every story.
pub const SHOPPER: &str = "3b0c9c5e-7f5a-4d8e-9a53-1d2f6b9a7c11";

pub fn created(order: OrderId, list: &[(&str, u32)]) -> Event {
    Event::from(order::v1::OrderCreated { order_id: order.to_string(), lines: wire_lines(list), ..Default::default() })
}

pub fn completed(order: OrderId, list: &[(&str, u32)]) -> Event {
    Event::from(order::v1::OrderCompleted {
        order_id: order.to_string(),
        user_id: SHOPPER.to_owned(),
        lines: wire_lines(list),
        ..Default::default()
    })
}

pub fn payment_pending(order: OrderId, deadline_at_ms: i64) -> Event {
    let pending = order::v1::OrderPaymentPending { order_id: order.to_string(), attempt: 1, deadline_at_ms };
    Event::from(pending)
}

pub fn compensated(order: OrderId) -> Event {
    Event::from(order::v1::OrderCompensated { order_id: order.to_string(), ..Default::default() })
}

/// The money of `list`, or of all of it, came back, told by message number `n`.
pub async fn returned(world: &World, order: OrderId, n: i64, list: Option<&[(&str, u32)]>) -> Verdict {
    let event = Event::from(order::v1::OrderRefunded {
        order_id: order.to_string(),
        whole: list.is_none(),
        lines: list.map(wire_lines).unwrap_or_default(),
        ..Default::default()
    });
    let mut told = delivery(&event);
    told.envelope.id = MessageId::derive(&order.to_string(), n, "order.refunded");
    world.saga.handle(&told).await
}

/// The same event always travels under the same id.
pub fn delivery(event: &Event) -> Delivery {
    let version = match event.kind() {
        "order.created" => 1,
        "order.payment-pending" => 2,
        _ => 3,
    };
    let envelope = Envelope {
        id: MessageId::derive(event.key(), version, event.kind()),
        region: Region::ALL[0],
        epoch: 1,
        version,
        occurred_at_ms: 0,
        source_lsn: 0,
        traceparent: None,
    };
    Delivery { event: event.clone(), envelope }
}
