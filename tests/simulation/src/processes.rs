//! The processes: our use cases behind simulated stores, fed by the same tables of events as in production, and driven by
//! loops that find what is due as the real timers do, only without asking when nothing can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use catalog::outbound::bare;
use catalog::usecases::reservation_batcher::ReservationBatcher;
use common::{Money, SharedClock};
use contracts::Envelope;
use messaging::{Delivery, Epoch, Handler, Outgoing, Verdict};
use order_payment::domain::price_lock::LockKeys;
use order_payment::domain::{BasketLine, CouponCode, OrderStatus};
use order_payment::outbound::fraud::NoFraudCheck;
use order_payment::outbound::memory_carts::MemoryCarts;
use order_payment::usecases::compensate_order::sweep_deadlines;
use order_payment::usecases::error::PricesError;
use order_payment::usecases::orphan_money::refund_orphans;
use order_payment::usecases::ports::{GateClosed, Prices, Quote, Quoted, ReplicationGate};
use order_payment::usecases::process_payment::{CONCURRENCY, carry_claimed, claim_payments};
use order_payment::usecases::receive_webhook::process_webhooks;
use order_payment::usecases::reconcile::reconcile;
use order_payment::usecases::store_credit::sweep_paid_by_credit;
use order_payment::usecases::{App, Signals};

use crate::bus::{ORDERS, STOCK};
use crate::coverage::Rare;
use crate::extras::Spend;
use crate::faults::PublishFault;
use crate::gateway::{REGION, SimGateway};
use crate::setup::PRICE_MINOR;
use crate::shelves;
use crate::stock::Stock;
use crate::stores::Orders;
use crate::world::{
    Channel, Here, Moment, ORDERS_A, ORDERS_B, OUTSIDE, SERVE, STOCK_A, STOCK_B, SimClock, World, lock, us_of,
};

/// How long the broker and the database take to notice that a process is gone.
const SESSION_US: i64 = 2_000_000;
/// A message that still asks for a retry is parked after this long, as in `messaging::consumer`.
const RETRY_BUDGET_US: i64 = 60_000_000;
const FIRST_PAUSE_US: i64 = 50_000;
const LAST_PAUSE_US: i64 = 5_000_000;
/// Events per relay round: few, so that rounds end between two events of one order.
const BATCH: usize = 3;
/// Looks at the books of the gateway; rarer than in production, so that webhooks and polls get their chance first.
const RECONCILE_US: i64 = 300_000_000;
/// Between two sweeps of what credit pays, as in production.
const CREDIT_US: i64 = 2_000_000;

/// What runs in which process now.
#[derive(Default)]
pub struct Apps {
    pub serve: Option<Arc<App>>,
    handlers: BTreeMap<usize, Arc<dyn Handler>>,
}

fn group_of(process: usize) -> Option<usize> {
    match process {
        ORDERS_A | ORDERS_B => Some(ORDERS),
        STOCK_A | STOCK_B => Some(STOCK),
        _ => None,
    }
}

fn members(group: usize) -> [usize; 2] {
    if group == ORDERS { [ORDERS_A, ORDERS_B] } else { [STOCK_A, STOCK_B] }
}

/// Starts a process with nothing in its memory.
pub fn start(world: &Arc<World>, process: usize) {
    let here = Here { world: Arc::clone(world), process };
    world.note(process, || "starts".to_owned());
    match process {
        SERVE => lock(&world.apps).serve = Some(Arc::new(orders_app(&here))),
        ORDERS_A | ORDERS_B => {
            let app = Arc::new(orders_app(&here));
            lock(&world.apps)
                .handlers
                .insert(process, Arc::new(order_payment::inbound::events::Events(Arc::clone(&app))));
            world.spawn(process, relay(here.clone(), ORDERS));
            world.spawn(process, payments(here.clone(), Arc::clone(&app)));
            world.spawn(process, webhooks(here.clone(), Arc::clone(&app)));
            world.spawn(process, deadlines(here.clone(), Arc::clone(&app)));
            // Loops that only few schedules have work for; in the others they would cost time.
            if world.setup.extras.credit.contains(&Spend::Whole) {
                world.spawn(process, credit(here.clone(), Arc::clone(&app)));
            }
            if !world.setup.extras.strays.is_empty() {
                world.spawn(process, orphans(here.clone(), Arc::clone(&app)));
            }
            world.spawn(process, reconciler(here, app));
        }
        _ => {
            let app = stock_app(&here);
            lock(&world.apps).handlers.insert(process, Arc::new(catalog::inbound::events::SagaEvents::new(app)));
            world.spawn(process, relay(here, STOCK));
        }
    }
    if let Some(group) = group_of(process) {
        release(world, process);
        rebalance(world, group);
    }
}

/// Order-payment as one process runs it.
pub fn orders_app(here: &Here) -> App {
    let world = &here.world;
    let inner = world.orders.under(Epoch::new(*lock(&world.reign)));
    App {
        region: REGION,
        clock: clock(here),
        store: Arc::new(Orders { here: here.clone(), inner: inner.clone() }),
        views: Arc::new(inner),
        prices: Arc::new(SimPrices { here: here.clone() }),
        carts: Arc::new(MemoryCarts::default()),
        locks: locks(),
        gateway: Arc::new(SimGateway { here: here.clone() }),
        gate: Arc::new(SimGate { here: here.clone() }),
        fraud: Arc::new(NoFraudCheck),
        rules: world.setup.rules,
        signals: Signals::default(),
    }
}

/// Nobody here brings a locked price; the application wants keys all the same.
fn locks() -> LockKeys {
    let Some(keys) = LockKeys::new(REGION, "a secret of the simulation", None) else {
        unreachable!("a secret of ours")
    };
    keys
}

fn stock_app(here: &Here) -> Arc<catalog::usecases::App> {
    let world = &here.world;
    let inner = world.stock.under(Epoch::new(*lock(&world.reign)));
    Arc::new(catalog::usecases::App {
        region: REGION,
        centres: shelves::centres(),
        clock: clock(here),
        stock: Arc::new(Stock { here: here.clone(), inner }),
        orders: Arc::new(bare::Absent),
        reservations: ReservationBatcher::default(),
        products: bare::products(Arc::default()),
    })
}

fn clock(here: &Here) -> SharedClock {
    Arc::new(SimClock { world: Arc::clone(&here.world), skew_us: here.world.setup.skew_us[here.process] })
}

/// A process crashed or stands still: after a while others take over what it held.
pub fn lose_turn(world: &Arc<World>, process: usize) {
    let Some(group) = group_of(process) else { return };
    let here = Arc::clone(world);
    world.spawn(OUTSIDE, async move {
        here.sleep(SESSION_US).await;
        if here.is_alive(process) && !here.is_frozen(process) {
            // Consumers that were sent back meanwhile found nobody to give its lanes to.
            rebalance(&here, group);
            return;
        }
        release(&here, process);
        rebalance(&here, group);
        // A frozen process that is alone gets its lanes back when it wakes.
        while here.is_frozen(process) {
            here.sleep(SESSION_US).await;
        }
        rebalance(&here, group);
    });
}

/// Takes lanes and the relay lock from a process.
fn release(world: &World, process: usize) {
    let mut woken = Vec::new();
    {
        let mut bus = lock(&world.bus);
        for (index, lane) in bus.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.owner == Some(process)) {
            lane.owner = None;
            lane.generation += 1;
            woken.push(Channel::Lane(index));
        }
        for service in [ORDERS, STOCK] {
            if bus.marks[service].relay == Some(process) {
                bus.marks[service].relay = None;
                woken.push(Channel::Relay(service));
            }
        }
    }
    woken.into_iter().for_each(|channel| world.notify(channel));
}

/// Gives each lane without an owner to a living process of its group.
fn rebalance(world: &Arc<World>, group: usize) {
    let able: Vec<usize> =
        members(group).into_iter().filter(|process| world.is_alive(*process) && !world.is_frozen(*process)).collect();
    if able.is_empty() {
        return;
    }
    let mut given = Vec::new();
    {
        let mut bus = lock(&world.bus);
        for (index, lane) in
            bus.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.group == group && lane.owner.is_none())
        {
            let owner = able[index % able.len()];
            lane.owner = Some(owner);
            lane.generation += 1;
            given.push((index, lane.generation, owner));
        }
    }
    for (lane, generation, owner) in given {
        let handler = lock(&world.apps).handlers.get(&owner).cloned();
        if let Some(handler) = handler {
            let here = Here { world: Arc::clone(world), process: owner };
            world.spawn(owner, consume(here, lane, generation, handler));
        }
    }
    world.notify(Channel::Relay(group));
}

/// All consumers go back to the beginning.
pub fn rewind(world: &Arc<World>) {
    let lanes = {
        let mut bus = lock(&world.bus);
        for lane in &mut bus.lanes {
            lane.committed = 0;
            lane.owner = None;
            lane.generation += 1;
        }
        bus.lanes.len()
    };
    (0..lanes).for_each(|lane| world.notify(Channel::Lane(lane)));
    rebalance(world, ORDERS);
    rebalance(world, STOCK);
}

async fn consume(here: Here, lane: usize, generation: u64, handler: Arc<dyn Handler>) {
    let world = Arc::clone(&here.world);
    let mine = || lock(&world.bus).lanes[lane].generation == generation;
    let mut position = lock(&world.bus).lanes[lane].committed;
    while mine() {
        let record = lock(&world.bus).read(lane, position);
        let Some(record) = record else {
            world.wait(Channel::Lane(lane), None).await;
            continue;
        };
        let slow = lock(&world.plan).delivery();
        if let Some(ms) = slow {
            world.sleep(ms * 1_000).await;
        }
        here.moment(Moment::BeforeHandle).await;
        let id = record.envelope.id;
        world.note(here.process, || {
            format!("gets {} of {} ({})", record.event.kind(), &record.event.key()[..8], &id.to_string()[..8])
        });
        notice_late_order(&world, &record.event);
        let delivery = Delivery { event: record.event, envelope: record.envelope };
        let (started, mut pause) = (world.now_us(), FIRST_PAUSE_US);
        loop {
            let reason = match handler.handle(&delivery).await {
                Verdict::Done => break,
                Verdict::Park(reason) => reason,
                Verdict::Retry if world.now_us() - started > RETRY_BUDGET_US => "retried for too long".to_owned(),
                Verdict::Retry => {
                    if !mine() {
                        return;
                    }
                    let wait = lock(&world.rng).between(pause / 2, pause);
                    world.sleep(wait).await;
                    pause = (pause * 2).min(LAST_PAUSE_US);
                    continue;
                }
            };
            // Parking is a commit of the same database: a process that lost its turn or its reign cannot do it.
            if mine() {
                world.note(here.process, || format!("PARKS {}: {reason}", delivery.event.kind()));
                lock(&world.bus).parked.push((lane, id, format!("{}: {reason}", delivery.event.kind())));
            }
            break;
        }
        here.moment(Moment::BeforeOffset).await;
        let mut bus = lock(&world.bus);
        let lane = &mut bus.lanes[lane];
        if lane.generation != generation {
            return;
        }
        position += 1;
        lane.committed = position;
    }
}

fn notice_late_order(world: &World, event: &contracts::Event) {
    if let contracts::Event::OrderCreated(created) = event
        && world
            .stock
            .reservations()
            .iter()
            .any(|known| known.order.to_string() == created.order_id && known.lines.is_empty())
    {
        world.count(Rare::OrderAfterTombstone);
    }
}

/// Claim, publish, mark, as `messaging::relay` does.
async fn relay(here: Here, service: usize) {
    let world = Arc::clone(&here.world);
    loop {
        let mine = *lock(&world.bus).marks[service].relay.get_or_insert(here.process) == here.process;
        if !mine {
            world.wait(Channel::Relay(service), None).await;
            continue;
        }
        let batch = claim(&world, service);
        if batch.is_empty() {
            world.wait(Channel::Outbox(service), None).await;
            continue;
        }
        here.moment(Moment::Claimed).await;
        let (mut published, mut failed) = (Vec::new(), false);
        for (row, claim, outgoing) in batch {
            let fault = lock(&world.plan).publish();
            if let Some(PublishFault::Slow { ms }) = fault {
                world.sleep(ms * 1_000).await;
            }
            here.moment(Moment::Publish).await;
            publish(&here, &outgoing);
            match fault {
                Some(PublishFault::Twice) => publish(&here, &outgoing),
                // Behind a failure nothing of the batch counts as published: it all goes out again, in order.
                Some(PublishFault::AckLost) => {
                    failed = true;
                    break;
                }
                _ => {}
            }
            published.push((row, claim));
        }
        here.moment(Moment::BeforeMark).await;
        for (row, claim) in published {
            let marks = &mut lock(&world.bus).marks[service];
            if marks.claims[row] == claim {
                marks.published[row] = true;
            } else {
                world.count(Rare::ZombieRelay);
            }
        }
        if failed {
            world.sleep(500_000).await;
        }
    }
}

/// The next rows that nobody has published, claimed.
fn claim(world: &World, service: usize) -> Vec<(usize, u32, Outgoing)> {
    let rows = outbox(world, service);
    let mut bus = lock(&world.bus);
    let marks = &mut bus.marks[service];
    marks.published.resize(rows.len(), false);
    marks.claims.resize(rows.len(), 0);
    let open: Vec<usize> = (0..rows.len()).filter(|row| !marks.published[*row]).take(BATCH).collect();
    open.into_iter()
        .map(|row| {
            marks.claims[row] += 1;
            (row, marks.claims[row], rows[row].clone())
        })
        .collect()
}

/// Everything a service ever committed for others to hear.
pub fn outbox(world: &World, service: usize) -> Vec<Outgoing> {
    if service == ORDERS { world.orders.books().outbox.clone() } else { world.stock.outbox(0) }
}

fn publish(here: &Here, outgoing: &Outgoing) {
    let world = &here.world;
    let id = outgoing.message_id();
    let envelope = Envelope {
        id,
        region: REGION,
        epoch: *lock(&world.reign),
        version: outgoing.version,
        occurred_at_ms: world.now_us() / 1_000,
        source_lsn: 0,
        traceparent: None,
    };
    world.note(here.process, || {
        format!("publishes {} of {} ({})", outgoing.event.kind(), &outgoing.event.key()[..8], &id.to_string()[..8])
    });
    let (again, lanes) = {
        let mut bus = lock(&world.bus);
        let again = bus.logs.iter().flat_map(|log| &log.records).any(|record| record.envelope.id == id);
        (again, bus.append(outgoing.event.clone(), envelope))
    };
    if again {
        world.count(Rare::PublishedTwice);
    }
    lanes.into_iter().for_each(|lane| world.notify(Channel::Lane(lane)));
}

async fn payments(here: Here, app: Arc<App>) {
    let world = Arc::clone(&here.world);
    loop {
        let now = app.clock.now();
        let due = {
            let books = world.orders.books();
            let open = books.attempts.values().filter(|attempt| !attempt.state.is_settled());
            open.map(|attempt| attempt.leased_until.map_or(attempt.due_at, |lease| lease.max(attempt.due_at))).min()
        };
        match due {
            Some(due) if due <= now => match claim_payments(&app, CONCURRENCY).await {
                Ok(claimed) if !claimed.is_empty() => {
                    for attempt in claimed {
                        let app = Arc::clone(&app);
                        world.spawn(here.process, async move { drop(carry_claimed(&app, attempt).await) });
                    }
                }
                Ok(_) => world.sleep(20_000).await,
                Err(_) => world.sleep(250_000).await,
            },
            due => world.wait(Channel::Payments, due.map(|due| us_of(due) - skew(&here))).await,
        }
    }
}

fn skew(here: &Here) -> i64 {
    here.world.setup.skew_us[here.process]
}

async fn webhooks(here: Here, app: Arc<App>) {
    let world = Arc::clone(&here.world);
    loop {
        let now = app.clock.now();
        let due = {
            let books = world.orders.books();
            books.webhooks.values().filter(|(_, end, _)| end.is_none()).map(|(_, _, due)| *due).min()
        };
        match due {
            Some(due) if due <= now => {
                if process_webhooks(&app).await.is_err() {
                    world.sleep(500_000).await;
                }
            }
            // Whoever kept one may have died before it could tell; the real loop looks by its timer, here once in a while does.
            due => {
                let look = now + chrono::Duration::seconds(30);
                let next = due.map_or(look, |due| due.min(look));
                world.wait(Channel::Webhooks, Some(us_of(next) - skew(&here))).await;
            }
        }
    }
}

async fn deadlines(here: Here, app: Arc<App>) {
    let world = Arc::clone(&here.world);
    loop {
        let now = app.clock.now();
        let due = {
            let books = world.orders.books();
            let given_up =
                |id| books.attempts.values().any(|attempt| attempt.order == id && attempt.giving_up.is_some());
            books
                .orders
                .values()
                .filter(|order| !order.status.is_final() && !given_up(order.id))
                .map(|order| order.deadline_at)
                .min()
        };
        match due {
            Some(due) if due <= now => {
                // The sweeper does not watch the clock: it comes by.
                let late = lock(&world.rng).between(0, 500_000);
                world.sleep(late).await;
                if sweep_deadlines(&app).await.is_err() {
                    world.sleep(1_000_000).await;
                }
            }
            due => world.wait(Channel::Deadlines, due.map(|due| us_of(due) - skew(&here))).await,
        }
    }
}

async fn reconciler(here: Here, app: Arc<App>) {
    let world = Arc::clone(&here.world);
    loop {
        let pause = lock(&world.rng).between(RECONCILE_US / 2, RECONCILE_US);
        world.sleep(pause).await;
        lock(&world.checks).reconciling = true;
        let outcome = reconcile(&app).await;
        lock(&world.checks).reconciling = false;
        world.note(here.process, || match outcome {
            Ok(findings) => format!("compares the books: {} findings", findings.len()),
            Err(failure) => format!("could not compare the books: {failure}"),
        });
    }
}

/// Completes what credit pays and a process that stopped left behind.
async fn credit(here: Here, app: Arc<App>) {
    let world = Arc::clone(&here.world);
    loop {
        let waits = {
            let books = world.orders.books();
            books.orders.values().any(|order| order.status == OrderStatus::PaymentPending && order.rest().is_zero())
        };
        if waits {
            world.sleep(CREDIT_US).await;
            let swept = sweep_paid_by_credit(&app).await;
            world.note(here.process, || format!("completes what credit pays: {}", swept.is_ok()));
        } else {
            world.wait(Channel::Deadlines, None).await;
        }
    }
}

/// Sends money without an order back when its time has come.
async fn orphans(here: Here, app: Arc<App>) {
    let world = Arc::clone(&here.world);
    loop {
        let now = app.clock.now();
        let due = {
            let books = world.orders.books();
            let open = books.orphans.values().filter(|orphan| !orphan.is_explained()).map(|orphan| &orphan.attempt);
            open.map(|attempt| attempt.leased_until.map_or(attempt.due_at, |lease| lease.max(attempt.due_at))).min()
        };
        match due {
            Some(due) if due <= now => match refund_orphans(&app).await {
                Ok(0) => world.sleep(20_000).await,
                Ok(_) => {}
                Err(_) => world.sleep(1_000_000).await,
            },
            due => world.wait(Channel::Payments, due.map(|due| us_of(due) - skew(&here))).await,
        }
    }
}

struct SimPrices {
    here: Here,
}

#[async_trait]
impl Prices for SimPrices {
    async fn quote(&self, lines: &[BasketLine], _: Option<&CouponCode>) -> Result<Quote, PricesError> {
        self.here.moment(Moment::Read).await;
        let world = &self.here.world;
        let rows = world.stock.all_rows();
        // What the shop shows is often a little old.
        let stale = lock(&world.rng).percent(50);
        let mut quote = Quote::default();
        for line in lines {
            let mine = rows.iter().filter(|((sku, _), _)| *sku == line.sku);
            let available: i64 = mine.map(|(_, row)| if row.kind.is_counted() { row.available } else { 99 }).sum();
            let available = u32::try_from(available).unwrap_or(0);
            let unit_price = Money::from_minor(PRICE_MINOR, REGION.currency())
                .map_err(|error| PricesError::Crooked(error.to_string()))?;
            let quoted = Quoted {
                name: line.sku.to_string(),
                family: "gadget".to_owned(),
                unit_price,
                revision: 1,
                reductions: Vec::new(),
                available: if stale { 99 } else { available },
            };
            quote.known.insert(line.sku.clone(), quoted);
        }
        Ok(quote)
    }
}

struct SimGate {
    here: Here,
}

#[async_trait]
impl ReplicationGate for SimGate {
    async fn pass(&self) -> Result<(), GateClosed> {
        let now_ms = self.here.world.now_us() / 1_000;
        if lock(&self.here.world.plan).gate_is_closed(now_ms) {
            self.here.world.count(Rare::GateClosed);
            return Err(GateClosed("the standby does not answer".to_owned()));
        }
        Ok(())
    }
}
