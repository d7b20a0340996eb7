//! The shoppers: they ask, lose patience, ask again with the same key, and remember what they were told. What they remember
//! is the truth that the checks hold our books to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{ErrorKind, Explain as _, OrderId, Private, RefundId, UserId};
use messaging::StoredAnswer;
use order_payment::domain::basket::{RawCredit, RawLine, RawOrder};
use order_payment::domain::{Order, OrderStatus, ShippingAddress};
use order_payment::usecases::cancel_order::cancel_order;
use order_payment::usecases::place_order::place_order;
use order_payment::usecases::{App, Failure, Shopper};
use uuid::Uuid;

use crate::coverage::Rare;
use crate::extras::{PART_MINOR, Spend};
use crate::gateway::REGION;
use crate::setup::Wish;
use crate::staff;
use crate::world::{Channel, OUTSIDE, SERVE, World, lock};

/// A shopper waits this long for an answer.
const PATIENCE_US: i64 = 8_000_000;
/// Tries of one request; a shop that answers nobody for half an hour is broken.
pub const MOST_TRIES: i64 = 400;

/// What the shoppers were told.
#[derive(Default)]
pub struct Clients {
    pub busy: u32,
    requests: usize,
    /// Answers by request key.
    pub answers: BTreeMap<String, (OrderId, Vec<u8>)>,
    /// Keys whose request was refused for good, and never in doubt.
    pub refused: Vec<(String, OrderId)>,
    pub cancelled: Vec<OrderId>,
    /// Refunds that staff was told of, each with its amount in minor units.
    pub refunds: Vec<(OrderId, RefundId, i64)>,
}

/// Who places the order of this index.
fn buyer(world: &World, index: usize) -> Shopper {
    user(if world.setup.extras.one_person { 0 } else { index })
}

pub fn user(index: usize) -> Shopper {
    Shopper { user: UserId::from_uuid(Uuid::from_u128(index as u128 + 1)), region: REGION }
}

fn raw(wish: &Wish, spend: Spend) -> RawOrder {
    let address = ShippingAddress {
        name: "Ada Lovelace".to_owned(),
        line1: "Zeil 106".to_owned(),
        line2: None,
        city: "Frankfurt".to_owned(),
        postal_code: "60313".to_owned(),
        country: "DE".to_owned(),
    };
    let (minor, currency) = (wish.total_minor(), REGION.currency().code());
    let decimal = |minor: i64| format!("{}.{:02}", minor / 100, minor % 100);
    let line =
        |(sku, quantity): &(&str, u32)| RawLine { sku: (*sku).to_owned(), quantity: *quantity, options: Vec::new() };
    RawOrder {
        lines: wish.lines.iter().map(line).collect(),
        address: Private::new(address),
        method: "card".to_owned(),
        token: Private::new(wish.card.token().to_owned()),
        credit: match spend {
            Spend::Nothing => RawCredit::Nothing,
            Spend::Part => RawCredit::Amount(decimal(PART_MINOR), currency.to_owned()),
            Spend::Whole => RawCredit::AsMuchAsThereIs,
        },
        expected_total: (decimal(minor), currency.to_owned()),
        price_lock: None,
        coupon: None,
    }
}

fn render(order: &Order) -> StoredAnswer {
    StoredAnswer {
        status: 201,
        body: format!("{} {} {} {}", order.id, order.status, order.total, order.created_at).into_bytes(),
    }
}

/// Sends everybody shopping.
pub fn open(world: &Arc<World>) {
    for (index, wish) in world.setup.wishes.iter().enumerate() {
        let tabs = [Some(0), wish.twin_after_us];
        for (tab, after) in tabs.into_iter().enumerate().filter_map(|(tab, after)| Some((tab, after?))) {
            lock(&world.clients).busy += 1;
            if tab == 1 {
                world.count(Rare::Twins);
            }
            let (here, wish) = (Arc::clone(world), wish.clone());
            world.spawn(OUTSIDE, async move {
                here.sleep(wish.at_us + after).await;
                shop(&here, index, &wish, tab).await;
                lock(&here.clients).busy -= 1;
            });
        }
    }
}

async fn shop(world: &Arc<World>, index: usize, wish: &Wish, tab: usize) {
    let key = format!("key-{index}");
    let buyer = buyer(world, index);
    let order = OrderId::derive(REGION, buyer.user, &key);
    let spend = world.setup.extras.spend(index);
    // A twin may succeed where this tab was refused.
    let mut in_doubt = wish.twin_after_us.is_some();
    for attempt in 1..=MOST_TRIES {
        let (wish_now, key_now) = (wish.clone(), key.clone());
        let told = ask(world, move |app| {
            Box::pin(async move { place_order(&app, buyer, &key_now, raw(&wish_now, spend), render).await })
        })
        .await;
        match told {
            Some(Ok(placed)) => {
                remember(world, &key, placed.order, placed.answer.body);
                if tab == 0 && wish.cancel_after_us.is_some() {
                    think_again(world, index, wish, order).await;
                }
                if tab == 0 {
                    staff::give_back(world, index, order).await;
                }
                return;
            }
            Some(Err(failure)) if is_final(world, "place", &failure) => {
                if !in_doubt {
                    lock(&world.clients).refused.push((key, order));
                }
                return;
            }
            _ => in_doubt = true,
        }
        world.sleep(pause(attempt)).await;
    }
    world.note(OUTSIDE, || format!("shopper {index} gave up asking"));
}

pub fn pause(attempt: i64) -> i64 {
    (attempt * 300_000).min(15_000_000)
}

/// Every tab must be told the same.
fn remember(world: &World, key: &str, order: OrderId, body: Vec<u8>) {
    let known = lock(&world.clients).answers.insert(key.to_owned(), (order, body.clone()));
    world.note(OUTSIDE, || format!("shopper with {key} was told {}", String::from_utf8_lossy(&body)));
    if known.is_some_and(|known| known != (order, body)) {
        lock(&world.checks).break_off("N6 one key got two different answers".to_owned());
    }
}

/// Asking again with the same request would change nothing.
pub fn is_final(world: &World, what: &str, failure: &Failure) -> bool {
    if failure.kind() == ErrorKind::Internal {
        lock(&world.checks).break_off(format!("{what}: {failure}"));
    }
    !failure.kind().retryable() && failure.code() != "request-in-progress"
}

async fn think_again(world: &Arc<World>, index: usize, wish: &Wish, order: OrderId) {
    world.sleep(wish.cancel_after_us.unwrap_or(0)).await;
    let buyer = buyer(world, index);
    for attempt in 1..=MOST_TRIES {
        let told = ask(world, move |app| {
            Box::pin(async move { cancel_order(&app, buyer, "second-thoughts", order, render).await })
        })
        .await;
        match told {
            Some(Ok(_)) => {
                world.count(Rare::CancelWon);
                world.note(OUTSIDE, || format!("shopper {index} was told that the order will be cancelled"));
                lock(&world.clients).cancelled.push(order);
                return;
            }
            Some(Err(failure)) if is_final(world, "cancel", &failure) => {
                let ended = world.orders.books().orders.get(&order).map(|order| order.status);
                if ended != Some(OrderStatus::Compensated) {
                    world.count(Rare::CancelLost);
                }
                return;
            }
            _ => world.sleep(pause(attempt)).await,
        }
    }
}

pub type Asked<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// Asks the serving process. `None`: no answer came in time, which says nothing.
pub async fn ask<T: Send + 'static>(
    world: &Arc<World>,
    request: impl FnOnce(Arc<App>) -> Asked<T> + Send + 'static,
) -> Option<Result<T, Failure>> {
    let app = lock(&world.apps).serve.clone().filter(|_| world.is_alive(SERVE))?;
    let id = {
        let mut clients = lock(&world.clients);
        clients.requests += 1;
        clients.requests
    };
    let slot: Arc<Mutex<Option<Result<T, Failure>>>> = Arc::default();
    let (inside, told) = (Arc::clone(world), Arc::clone(&slot));
    world.spawn(SERVE, async move {
        let answer = request(app).await;
        *lock(&told) = Some(answer);
        inside.notify(Channel::Reply(id));
    });
    let until = world.now_us() + PATIENCE_US;
    world.wait(Channel::Reply(id), Some(until)).await;
    let lost = lock(&world.plan).answer_is_lost();
    lock(&slot).take().filter(|_| !lost)
}
