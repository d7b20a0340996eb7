//! What must hold: after every commit, after every effect at the gateway, and once everything is quiet. The truth is taken
//! from the gateway's own books, from what shoppers were told, and from the stores read directly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use catalog::domain::reservation::Status;
use common::{OrderId, Sku};
use order_payment::domain::{
    Account, Attempt, AttemptKind, AttemptState, IntentStatus, Order, OrderStatus, Refund, RefundState, RefundTarget,
    Transaction,
};
use order_payment::outbound::memory::Books;
use order_payment::usecases::Change;
use order_payment::usecases::ports::Store as _;

use crate::bus::{ORDERS, STOCK};
use crate::extras::{PART_MINOR, Spend};
use crate::gateway::{Charge, REGION};
use crate::processes::outbox;
use crate::run::at_once;
use crate::setup::Setup;
use crate::shoppers;
use crate::world::{World, lock, us_of};

#[derive(Default)]
pub struct Checks {
    broken: Option<String>,
    ledger: Vec<Transaction>,
    /// Orders whose payment a webhook made due while its outcome was unknown; for the counters.
    pub hinted: BTreeSet<OrderId>,
    pub reconciling: bool,
}

impl Checks {
    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The first complaint counts: what follows is its consequence.
    pub fn break_off(&mut self, complaint: String) {
        self.broken.get_or_insert(complaint);
    }

    pub fn broken(&self) -> Option<String> {
        self.broken.clone()
    }
}

fn complain(world: &World, complaint: String) {
    lock(&world.checks).break_off(complaint);
}

/// After a commit to the books of order-payment.
pub fn after_orders(world: &World, change: &Change) {
    if !change.ledger.is_empty() {
        ledger_only_grows(world);
    }
    let Some(step) = &change.order else { return };
    let order = &step.order;
    let (net, broke_its_word) = {
        let gateway = lock(&world.gateway);
        (gateway.net_of(order.id), gateway.broke_its_word(order.id))
    };
    match order.status {
        // What store credit pays, no gateway holds.
        OrderStatus::Completed if net != order.rest().minor() => {
            complain(
                world,
                format!("N3 order {} is COMPLETED and the gateway holds {net} of {}", order.id, order.rest()),
            );
        }
        OrderStatus::Compensated if net != 0 && !broke_its_word => {
            complain(world, format!("N3 order {} is COMPENSATED while the gateway holds {net}", order.id));
        }
        _ => {}
    }
}

fn ledger_only_grows(world: &World) {
    let now = world.orders.books().ledger.clone();
    let mut checks = lock(&world.checks);
    if !now.starts_with(&checks.ledger) {
        checks.break_off("N8 an entry of the ledger was changed or removed".to_owned());
    }
    if now.iter().any(|transaction| !transaction.is_balanced()) {
        checks.break_off("N8 the ledger is out of balance".to_owned());
    }
    let mut sums: BTreeMap<OrderId, i64> = BTreeMap::new();
    for transaction in &now {
        if let Some(order) = transaction.order {
            *sums.entry(order).or_default() += sign(transaction);
        }
    }
    if let Some((order, sum)) = sums.iter().find(|(_, sum)| **sum < 0) {
        checks.break_off(format!("N9 refunds of order {order} exceed its captures by {}", -sum));
    }
    checks.ledger = now;
}

/// What a transaction added to what the gateway owes us.
fn sign(transaction: &Transaction) -> i64 {
    let owed = transaction.entries.iter().filter(|entry| entry.account == Account::GatewayReceivable);
    owed.map(|entry| entry.amount_minor).sum()
}

/// After the gateway did something.
pub fn after_effect(world: &World) {
    let (gateway, books) = (lock(&world.gateway), world.orders.books());
    let mut nets: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for charge in gateway.charges.values() {
        let Some(order) = charge.intent.order.as_deref() else { continue };
        if charge.stray {
            after_stray(world, charge, &books);
            continue;
        }
        let known: Option<&Order> = order.parse().ok().and_then(|id| books.orders.get(&id));
        let Some(known) = known else {
            complain(world, format!("N2 the gateway has an intent for order {order}, which does not exist"));
            return;
        };
        if charge.intent.amount_minor != known.rest().minor() || charge.intent.currency != known.total.currency().code()
        {
            complain(world, format!("N2 the gateway has another amount for order {order}"));
        }
        if charge.refunded_minor > charge.captured_minor {
            complain(world, format!("N9 more was refunded than taken for order {order}"));
        }
        let ours =
            books.attempts.values().find(|attempt| attempt.kind == AttemptKind::Charge && attempt.order == known.id);
        let intended = ours.is_some_and(|ours| match charge.intent.status {
            IntentStatus::Succeeded => ours.capture_requested,
            IntentStatus::RequiresCapture | IntentStatus::Processing => ours.state != AttemptState::Prepared,
            _ => true,
        });
        if !intended {
            complain(world, format!("P1 money of order {order} moved without a committed intent"));
        }
        let sums = nets.entry(order).or_default();
        sums.0 += charge.captured_minor - charge.refunded_minor;
        sums.1 = known.rest().minor();
    }
    if let Some((order, (net, total))) = nets.into_iter().find(|(_, (net, total))| net > total) {
        complain(world, format!("N1 order {order} is charged {net} for a total of {total}"));
    }
}

/// Money without an order goes back after its deadline, once, and only when the books know of it.
fn after_stray(world: &World, charge: &Charge, books: &Books) {
    let id = &charge.intent.id;
    if charge.refunded_minor == 0 {
        return;
    }
    if charge.refunded_minor != charge.captured_minor {
        complain(world, format!("ORPHAN {} of {} went back of {id}", charge.refunded_minor, charge.captured_minor));
    }
    let Some(orphan) = books.orphans.get(id) else {
        complain(world, format!("ORPHAN {id} went back although the books do not know it"));
        return;
    };
    // Clocks that differ by minutes make a deadline no instant.
    let due_us = us_of(orphan.found_at + world.setup.rules.orphan_deadline);
    if world.setup.skew_us.iter().all(|skew| *skew == 0) && world.now_us() < due_us {
        complain(world, format!("ORPHAN {id} went back before its deadline"));
    }
}

/// After a commit to the stock.
pub fn after_stock(world: &World) {
    for ((sku, _), level) in world.stock.all_rows() {
        let received = received(&world.setup, &sku);
        if !level.balances() || received.is_some_and(|received| level.received != received) {
            complain(world, format!("N12 the units of {sku} do not add up: {level:?}"));
        }
    }
}

/// Goods of an order are on their way.
pub fn after_shipment(world: &World, order: OrderId) {
    let status = world.orders.books().orders.get(&order).map(|order| order.status);
    if status != Some(OrderStatus::Completed) {
        complain(world, format!("N10 goods of order {order} leave while it is {status:?}"));
    }
}

/// What came in, where it is counted.
fn received(setup: &Setup, sku: &Sku) -> Option<i64> {
    match sku.as_str() {
        "LAMP" => Some(setup.lamps.into()),
        "PHONE" => Some(setup.phones.into()),
        _ => None,
    }
}

/// Everything came to its end: nothing is open, on its way or unaccounted for.
pub fn is_settled(world: &World) -> bool {
    open_items(world).is_empty()
}

/// What keeps the world from being settled, in words.
pub fn open_items(world: &World) -> Vec<String> {
    let mut open = Vec::new();
    let (busy, pending) = (lock(&world.clients).busy, world.pending());
    if busy > 0 {
        open.push(format!("{busy} shoppers wait"));
    }
    if pending > 0 {
        open.push(format!("{pending} things are on their way"));
    }
    {
        let books = world.orders.books();
        open.extend(
            books
                .orders
                .values()
                .filter(|order| !order.status.is_final())
                .map(|order| format!("order {} is {}", order.id, order.status)),
        );
        open.extend(
            books
                .attempts
                .values()
                .filter(|attempt| !attempt.state.is_settled())
                .map(|attempt| format!("attempt {} of order {} is {}", attempt.number, attempt.order, attempt.state)),
        );
        open.extend(
            books
                .webhooks
                .values()
                .filter(|(_, end, _)| end.is_none())
                .map(|(hook, ..)| format!("webhook {} waits", hook.event_id)),
        );
        let gateway = lock(&world.gateway);
        let stays = |charge: &&Charge| charge.stray && charge.captured_minor != charge.refunded_minor;
        open.extend(gateway.charges.values().filter(stays).map(|charge| {
            format!("ORPHAN the gateway holds {} without an order ({})", charge.captured_minor, charge.intent.id)
        }));
        open.extend(
            books
                .orphans
                .values()
                .filter(|orphan| !orphan.is_explained())
                .map(|orphan| format!("orphan {} is {}", orphan.intent, orphan.attempt.state)),
        );
        for order in books.orders.values().filter(|order| order.status == OrderStatus::Compensated) {
            if gateway.net_of(order.id) != 0 {
                open.push(format!("the gateway holds money of order {}", order.id));
            }
        }
    }
    open.extend(
        world
            .stock
            .reservations()
            .iter()
            .filter(|held| held.status == Status::Held)
            .map(|held| format!("units of order {} are held", held.order)),
    );
    let rows = [outbox(world, ORDERS).len(), outbox(world, STOCK).len()];
    let bus = lock(&world.bus);
    for (service, rows) in rows.into_iter().enumerate() {
        if bus.marks[service].published.iter().filter(|published| **published).count() < rows {
            open.push(format!("events of service {service} are not published"));
        }
    }
    if !bus.is_drained() {
        open.push("records are not consumed".to_owned());
    }
    open
}

/// The last look, when everything is quiet.
pub fn at_the_end(world: &World) {
    everybody_got_what_they_paid_for(world);
    shoppers_were_told_the_truth(world);
    money_that_went_back_is_accounted_for(world);
    credit_is_conserved(world);
    nobody_tries_more_cards(world);
    events_and_commits_agree(world);
}

fn everybody_got_what_they_paid_for(world: &World) {
    let books = world.orders.books();
    let gateway = lock(&world.gateway);
    let reservations: BTreeMap<OrderId, Status> =
        world.stock.reservations().into_iter().map(|known| (known.order, known.status)).collect();
    let mut sold: BTreeMap<Sku, i64> = BTreeMap::new();
    for order in books.orders.values() {
        let net = gateway.net_of(order.id);
        let booked: i64 = books.ledger.iter().filter(|transaction| transaction.order == Some(order.id)).map(sign).sum();
        let status = reservations.get(&order.id).copied();
        let (money, goods) = match order.status {
            OrderStatus::Completed => {
                let back = |refund: &&Refund| refund.order == order.id && refund.target == RefundTarget::Card;
                let back: i64 = books.refunds.values().filter(back).map(|refund| refund.amount.minor()).sum();
                (order.rest().minor() - back, status == Some(Status::Finalised))
            }
            _ => (0, matches!(status, Some(Status::Released | Status::Rejected))),
        };
        if net != money || booked != money {
            complain(
                world,
                format!("N3 order {} is {}: {net} at the gateway, {booked} in the ledger", order.id, order.status),
            );
        }
        if !goods {
            complain(world, format!("N13 order {} is {} and its reservation is {status:?}", order.id, order.status));
        }
        if order.status == OrderStatus::Completed {
            for line in &order.lines {
                *sold.entry(line.sku.clone()).or_default() += i64::from(line.quantity);
            }
            if order.lines.iter().any(|line| line.sku.as_str() != "SONG") && !books.shipments.contains_key(&order.id) {
                complain(world, format!("N13 order {} is paid and nothing was sent", order.id));
            }
        }
    }
    for ((sku, _), level) in world.stock.all_rows() {
        if level.held != 0 || level.sold != sold.get(&sku).copied().unwrap_or(0) {
            complain(world, format!("N13 units of {sku} are stranded: {level:?}"));
        }
    }
}

fn shoppers_were_told_the_truth(world: &World) {
    let (books, clients) = (world.orders.books(), lock(&world.clients));
    for (order, _) in clients.answers.values() {
        if !books.orders.contains_key(order) {
            complain(world, format!("N4 order {order} was acknowledged and is not there"));
        }
    }
    for (key, order) in &clients.refused {
        if books.orders.contains_key(order) {
            complain(world, format!("N7 the request {key} was refused and its order exists"));
        }
    }
    for order in clients.cancelled.iter().filter(|order| !lock(&world.gateway).broke_its_word(**order)) {
        if books.orders.get(order).is_none_or(|order| order.status != OrderStatus::Compensated) {
            complain(world, format!("N7 the cancel of order {order} was accepted and it was not cancelled"));
        }
    }
}

/// Every refund that staff was told of is done, nobody got back more than was paid, and each orphan came and went in the books.
fn money_that_went_back_is_accounted_for(world: &World) {
    let (books, clients) = (world.orders.books(), lock(&world.clients));
    for (order, told, minor) in &clients.refunds {
        let done = books
            .refunds
            .values()
            .any(|refund| refund.id == *told && refund.amount.minor() == *minor && refund.state == RefundState::Done);
        if !done {
            complain(world, format!("REFUND staff was told that {minor} of order {order} goes back, and it did not"));
        }
    }
    for order in books.orders.values().filter(|order| order.status == OrderStatus::Completed) {
        let back: i64 =
            books.refunds.values().filter(|refund| refund.order == order.id).map(|refund| refund.amount.minor()).sum();
        if back > order.total.minor() {
            complain(world, format!("N9 {back} went back of order {}, which cost {}", order.id, order.total));
        }
    }
    for charge in lock(&world.gateway).charges.values().filter(|charge| charge.stray) {
        let id = charge.intent.id.as_str();
        let moves: Vec<i64> =
            books.ledger.iter().filter(|moved| moved.reference.as_deref() == Some(id)).map(sign).collect();
        if moves != [charge.captured_minor, -charge.captured_minor] {
            complain(
                world,
                format!("ORPHAN the ledger has {moves:?} of {id}, where {} came and went", charge.captured_minor),
            );
        }
    }
}

/// However many orders one person places at once: no more cards are declined than may be, and what we refuse never reached a gateway.
fn nobody_tries_more_cards(world: &World) {
    let rule = world.setup.rules.card_testing;
    if !rule.is_on() {
        return;
    }
    let (books, gateway) = (world.orders.books(), lock(&world.gateway));
    let of = |attempt: &&Attempt| {
        attempt.kind == AttemptKind::Charge
            && match attempt.state {
                AttemptState::Declined => true,
                AttemptState::Voided => attempt.intent.is_some(),
                _ => false,
            }
    };
    let (refused, declined): (Vec<_>, Vec<_>) =
        books.attempts.values().filter(of).partition(|attempt| attempt.refused_by.is_some());
    if declined.len() > usize::try_from(rule.most_declined).unwrap_or(usize::MAX) {
        complain(world, format!("CARDS {} cards of one person were tried for nothing", declined.len()));
    }
    for attempt in refused {
        let name = attempt.order.to_string();
        let moved = |charge: &&Charge| {
            charge.intent.order.as_deref() == Some(&name)
                && !matches!(charge.intent.status, IntentStatus::RequiresConfirmation | IntentStatus::Canceled)
        };
        if gateway.charges.values().any(|charge| moved(&charge)) {
            complain(world, format!("CARDS the payment of order {name} was refused, and a gateway has tried it"));
        }
    }
}

/// What people were given is what they have, less what completed orders spent; nothing is set aside any more.
fn credit_is_conserved(world: &World) {
    for (index, wish) in world.setup.wishes.iter().enumerate() {
        let user = shoppers::user(index).user;
        let given = match world.setup.extras.spend(index) {
            Spend::Nothing => 0,
            Spend::Part => PART_MINOR,
            Spend::Whole => wish.total_minor(),
        };
        let expected = {
            let books = world.orders.books();
            let theirs = || books.orders.values().filter(|order| order.user == user);
            let spent: i64 =
                theirs().filter(|order| order.status == OrderStatus::Completed).map(|order| order.credit.minor()).sum();
            let back = |refund: &&Refund| {
                refund.target == RefundTarget::StoreCredit && theirs().any(|order| order.id == refund.order)
            };
            let back: i64 = books.refunds.values().filter(back).map(|refund| refund.amount.minor()).sum();
            given - spent + back
        };
        let has = at_once(world.orders.credit_of(user, REGION.currency())).and_then(Result::ok);
        if has.is_none_or(|credit| (credit.free.minor(), credit.held.minor()) != (expected, 0)) {
            complain(world, format!("CREDIT shopper {index} should have {expected} of store credit and has {has:?}"));
        }
    }
}

fn events_and_commits_agree(world: &World) {
    let committed: BTreeSet<_> =
        [ORDERS, STOCK].into_iter().flat_map(|service| outbox(world, service)).map(|row| row.message_id()).collect();
    let bus = lock(&world.bus);
    let published: BTreeSet<_> =
        bus.logs.iter().flat_map(|log| &log.records).map(|record| record.envelope.id).collect();
    if committed != published {
        complain(world, format!("N14 {} events were committed and {} published", committed.len(), published.len()));
    }
    if let Some((_, id, reason)) = bus.parked.first() {
        complain(world, format!("N17 message {id} was parked: {reason}"));
    }
}

/// The whole state in one text, to compare before and after a replay.
pub fn digest(world: &World) -> String {
    let mut text = String::new();
    {
        let books = world.orders.books();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{:?} {:?} {:?} {:?} {}",
            books.orders,
            books.attempts,
            books.ledger,
            books.shipments,
            books.outbox.len()
        );
    }
    let _ =
        write!(text, "{:?} {:?} {}", world.stock.all_rows(), world.stock.reservations(), world.stock.outbox(0).len());
    text
}
