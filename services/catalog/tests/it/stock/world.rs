//! A small shop for the stories: stores, an application over them, deliveries, and the books read past the code under test.

use std::sync::Arc;

use catalog::MIGRATOR;
use catalog::domain::inventory::SupplyKind;
use catalog::domain::lines::{Line, Lines};
use catalog::domain::receipt::{Receipt, ReceiptLine, ReceiptReference};
use catalog::inbound::events::SagaEvents;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::outbound::postgres::PgStock;
use catalog::usecases::App;
use catalog::usecases::ports::stock::{Committed, StockStore, StoreError};
use chrono::DateTime;
use common::{ManualClock, MessageId, OrderId, Region, Sku, ids};
use contracts::{Envelope, Event, order};
use messaging::{Delivery, Handler as _, Verdict};
use testkit::postgres::TestDatabase;

/// The catalog over a PostgreSQL database of its own.
pub struct World {
    pub database: TestDatabase,
    pub store: Arc<dyn StockStore>,
    pub saga: Arc<SagaEvents>,
}

impl World {
    pub async fn new() -> Self {
        let database = TestDatabase::create("inventory", &MIGRATOR).await;
        let store: Arc<dyn StockStore> = Arc::new(PgStock::new(database.database.clone()));
        let saga = Arc::new(SagaEvents::new(app(store.clone())));
        Self { database, store, saga }
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
        let unbalanced = self
            .count(
                r#"
                SELECT count(*) FROM stock
                WHERE available + held + sold - returned <> received
                   OR held <> COALESCE((SELECT sum(CASE kind WHEN 'held' THEN quantity WHEN 'received' THEN 0 ELSE -quantity END)
                                        FROM stock_movements m WHERE m.sku = stock.sku), 0)
                   OR sold <> COALESCE((SELECT sum(quantity) FROM stock_movements m WHERE m.sku = stock.sku AND kind = 'sold'), 0)
                   OR (kind IN ('counted', 'serialised')
                       AND received <> COALESCE((SELECT sum(quantity) FROM stock_movements m WHERE m.sku = stock.sku AND kind = 'received'), 0))
                "#,
            )
            .await;
        assert_eq!(unbalanced, 0, "stock rows that do not follow from their movements");
        let unexplained = self
            .count(
                r#"
                SELECT count(*) FROM reservations r JOIN reservation_lines l USING (order_id)
                WHERE ARRAY(SELECT kind FROM stock_movements m WHERE m.order_id = r.order_id AND m.sku = l.sku AND m.quantity = l.quantity ORDER BY kind)
                   <> CASE status WHEN 'HELD' THEN ARRAY['held'] WHEN 'FINALISED' THEN ARRAY['held', 'sold']
                                  WHEN 'RELEASED' THEN ARRAY['held', 'released'] ELSE ARRAY[]::text[] END
                "#,
            )
            .await;
        assert_eq!(unexplained, 0, "reservations whose movements do not fit their status");
        let serials = self.count("SELECT count(*) FROM stock WHERE kind = 'serialised' AND sold <> (SELECT count(*) FROM serial_numbers s WHERE s.sku = stock.sku)").await;
        assert_eq!(serials, 0, "serialised units sold without a number of their own");
        let unsent = self
            .count(
                r#"
                SELECT count(*) FROM reservations r
                WHERE (status = 'FINALISED' AND EXISTS (SELECT FROM reservation_lines l JOIN stock USING (sku) WHERE l.order_id = r.order_id AND kind <> 'unlimited'))
                   <> EXISTS (SELECT FROM shipments s WHERE s.order_id = r.order_id)
                "#,
            )
            .await;
        assert_eq!(unsent, 0, "orders whose shipment does not fit their status");
    }
}

/// The use cases over any store.
pub fn app(stock: Arc<dyn StockStore>) -> Arc<App> {
    app_with(stock, Arc::new(MemoryProducts::default()))
}

pub fn app_with(stock: Arc<dyn StockStore>, products: Arc<MemoryProducts>) -> Arc<App> {
    let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(1_700_000_000, 0).expect("a valid instant")));
    let products = super::bare_shop::ports(products);
    Arc::new(App { region: Region::ALL[0], site: "rdc-a".to_owned(), clock, stock, products })
}

pub fn sku(text: &str) -> Sku {
    Sku::parse(text).expect("a SKU")
}

pub fn lines(list: &[(&str, u32)]) -> Lines {
    Lines::new(list.iter().map(|(text, quantity)| Line { sku: sku(text), quantity: *quantity }).collect())
        .expect("valid lines")
}

pub fn receipt(reference: &str, list: &[(&str, SupplyKind, u32)]) -> Receipt {
    let lines =
        list.iter().map(|(text, kind, quantity)| ReceiptLine { sku: sku(text), kind: *kind, quantity: *quantity });
    Receipt::new(ReceiptReference::parse(reference).expect("a reference"), lines.collect()).expect("a valid receipt")
}

pub async fn receive(
    store: &dyn StockStore,
    reference: &str,
    list: &[(&str, SupplyKind, u32)],
) -> Result<Committed, StoreError> {
    store.receive(&receipt(reference, list), DateTime::UNIX_EPOCH).await
}

/// `(available, held, sold, received)` of a SKU.
pub async fn counts(store: &dyn StockStore, text: &str) -> (i64, i64, i64, i64) {
    let levels = store.levels(&[sku(text)]).await.expect("levels can be read");
    let level = &levels[&sku(text)];
    assert!(level.balances(), "{text}: {level:?}");
    (level.available, level.held, level.sold, level.received)
}

pub fn new_order() -> OrderId {
    OrderId::from_uuid(ids::random())
}

fn wire_lines(list: &[(&str, u32)]) -> Vec<order::v1::OrderLine> {
    list.iter().map(|(text, quantity)| order::v1::OrderLine { sku: (*text).to_owned(), quantity: *quantity }).collect()
}

pub fn created(order: OrderId, list: &[(&str, u32)]) -> Event {
    Event::from(order::v1::OrderCreated { order_id: order.to_string(), lines: wire_lines(list), ..Default::default() })
}

pub fn completed(order: OrderId, list: &[(&str, u32)]) -> Event {
    Event::from(order::v1::OrderCompleted {
        order_id: order.to_string(),
        lines: wire_lines(list),
        ..Default::default()
    })
}

pub fn compensated(order: OrderId) -> Event {
    Event::from(order::v1::OrderCompensated { order_id: order.to_string(), ..Default::default() })
}

/// The same event always travels under the same id.
pub fn delivery(event: &Event) -> Delivery {
    let version = if event.kind() == "order.created" { 1 } else { 3 };
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
