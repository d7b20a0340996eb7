//! Holds past their time: order-payment is asked, and no clock of the catalog ever gives anything away.

use std::sync::Arc;

use catalog::domain::inventory::SupplyKind;
use catalog::domain::reservation::{Status, USUAL_HOLD};
use catalog::inbound::events::SagaEvents;
use catalog::outbound::bare;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::usecases::App;
use catalog::usecases::ask_about_holds::ask_about_holds;
use catalog::usecases::ports::orders::OrderState;
use catalog::usecases::ports::stock::StockStore;
use chrono::{DateTime, TimeDelta};
use common::{Clock as _, ManualClock, OrderId};
use messaging::{Handler as _, Verdict};

use super::world::{
    KnownOrders, World, app_made_of, compensated, counts, created, delivery, memory_stock, new_order, payment_pending,
    receive,
};

struct Shop {
    clock: Arc<ManualClock>,
    orders: Arc<KnownOrders>,
    app: Arc<App>,
    saga: SagaEvents,
}

async fn shop(store: Arc<dyn StockStore>) -> Shop {
    receive(&*store, "r1", &[("A", SupplyKind::Counted, 9)]).await.unwrap();
    let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(1_700_000_000, 0).unwrap()));
    let orders = Arc::new(KnownOrders::default());
    let products = bare::products(Arc::new(MemoryProducts::default()));
    let app = app_made_of(store, products, clock.clone(), orders.clone());
    Shop { clock, orders, saga: SagaEvents::new(app.clone()), app }
}

impl Shop {
    async fn hold(&self) -> OrderId {
        let order = new_order();
        assert_eq!(self.saga.handle(&delivery(&created(order, &[("A", 1)]))).await, Verdict::Done);
        order
    }

    fn says(&self, order: OrderId, state: OrderState) {
        self.orders.0.lock().unwrap().insert(order, state);
    }

    async fn status(&self, order: OrderId) -> (Status, i64) {
        let found = self.app.stock.reservation(order).await.unwrap().unwrap();
        (found.status, found.version)
    }
}

async fn what_an_answer_means(store: Arc<dyn StockStore>) {
    let shop = shop(store).await;
    let (open, over, unknown) = (shop.hold().await, shop.hold().await, shop.hold().await);
    assert_eq!(ask_about_holds(&shop.app).await.unwrap(), 0, "they are young");
    shop.clock.advance(USUAL_HOLD + TimeDelta::seconds(1));
    let deadline = shop.clock.now() + TimeDelta::minutes(10);
    shop.says(open, OrderState::Open { deadline });
    shop.says(over, OrderState::Over);
    assert_eq!(ask_about_holds(&shop.app).await.unwrap(), 3);
    // The open one stays until its owner's deadline; nothing at all was given away.
    assert_eq!(shop.app.stock.reservation(open).await.unwrap().unwrap().held_until, deadline);
    assert_eq!(
        (shop.status(open).await, shop.status(over).await, shop.status(unknown).await),
        ((Status::Held, 2), (Status::Held, 1), (Status::Held, 1)),
        "no answer gives anything away"
    );
    assert_eq!(counts(&*shop.app.stock, "A").await, (6, 3, 0, 9));
    assert_eq!(ask_about_holds(&shop.app).await.unwrap(), 0, "they were just asked about");
    shop.clock.advance(TimeDelta::seconds(31));
    assert_eq!(ask_about_holds(&shop.app).await.unwrap(), 2);
    // Only the event ends a hold.
    assert_eq!(shop.saga.handle(&delivery(&compensated(over))).await, Verdict::Done);
    assert_eq!(shop.status(over).await, (Status::Released, 2));
    shop.clock.advance(TimeDelta::seconds(31));
    assert_eq!(ask_about_holds(&shop.app).await.unwrap(), 1, "the one that nobody knows is an incident and stays one");
    assert_eq!(counts(&*shop.app.stock, "A").await, (7, 2, 0, 9));
}

#[tokio::test]
async fn what_an_answer_means_in_memory() {
    what_an_answer_means(Arc::new(memory_stock())).await;
}

#[tokio::test]
async fn what_an_answer_means_in_postgresql() {
    let world = World::new().await;
    what_an_answer_means(world.store.clone()).await;
    world.audit().await;
}

/// Whenever the payment is under way when the hold runs out, it is not even asked about.
#[tokio::test]
async fn a_payment_under_way_extends_the_hold() {
    let shop = shop(Arc::new(memory_stock())).await;
    let order = shop.hold().await;
    let deadline = shop.clock.now() + USUAL_HOLD * 2;
    let pending = delivery(&payment_pending(order, deadline.timestamp_millis()));
    assert_eq!(shop.saga.handle(&pending).await, Verdict::Done);
    assert_eq!(shop.saga.handle(&pending).await, Verdict::Done);
    assert_eq!(shop.status(order).await, (Status::Held, 2));
    shop.clock.advance(USUAL_HOLD + TimeDelta::seconds(1));
    assert_eq!(ask_about_holds(&shop.app).await.unwrap(), 0);
    assert_eq!(counts(&*shop.app.stock, "A").await, (8, 1, 0, 9));
}

#[tokio::test]
async fn two_sweepers_ask_about_different_holds() {
    let world = World::new().await;
    let shop = shop(world.store.clone()).await;
    for _ in 0..9 {
        shop.hold().await;
    }
    let later = shop.clock.now() + USUAL_HOLD * 2;
    let claim = || world.store.claim_overdue(later, later - TimeDelta::seconds(30), 5);
    let (one, other) = tokio::join!(claim(), claim());
    let mut all = [one.unwrap(), other.unwrap()].concat();
    let asked = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), asked, "one hold, one question");
    // What a locked row made one of them skip is found by the next look.
    all.extend(claim().await.unwrap());
    all.extend(claim().await.unwrap());
    assert_eq!(all.len(), 9);
}
