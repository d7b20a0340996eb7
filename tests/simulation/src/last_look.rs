//! The last comparison of the books, when everything is quiet: by the use case that compares them every minute, a quarter of an hour later.
//!
//! Decided here: of refunds it finds nothing while the books agree; and once a gateway's books are bent, as if money had been given back beside
//! us, or what we booked had never been given, it finds just that. The other checks take the gateways' books as the truth and would not
//! notice a comparison that looks away.

use std::sync::Arc;

use async_trait::async_trait;
use common::OrderId;
use messaging::Epoch;
use order_payment::domain::{Answer, Attempt, AttemptKind, AttemptState, Call, Intent, IntentStatus, Look, Via};
use order_payment::usecases::App;
use order_payment::usecases::ports::{FindingKind, Gateway};
use order_payment::usecases::reconcile::reconcile;

use crate::coverage::Rare;
use crate::processes::orders_app;
use crate::run::at_once;
use crate::world::{Here, OUTSIDE, SimClock, World, lock};

/// Longer than a clock may be ahead, and what happened is given to be in every book.
const LATER_US: i64 = 15 * 60 * 1_000_000;

/// Compares, bends, compares again. The books are afterwards as they were.
pub fn compare_refunds(world: &Arc<World>) {
    let app = onlooker(world);
    if !finds(&app, world, &[], "the books agree") {
        return;
    }
    let Some((charge, order, given)) = most_given_back(world) else { return };
    let beside_us = (given + 1, Rare::BesideUsFound, "a part went back beside us");
    let never_given = (0, Rare::NeverGivenFound, "what we booked was never given");
    for (minor, rare, what) in [beside_us, never_given].into_iter().filter(|(minor, ..)| *minor != given) {
        bend(world, &charge, minor);
        let found = finds(&app, world, &[order], what);
        bend(world, &charge, given);
        if !found {
            return;
        }
        world.count(rare);
    }
    finds(&app, world, &[], "the books agree again");
}

/// Whether the comparison leaves differences of refunds open for just these orders.
fn finds(app: &App, world: &World, orders: &[OrderId], what: &str) -> bool {
    let complaint = match at_once(reconcile(app)) {
        Some(Ok(_)) => {
            let books = world.orders.books();
            let differs =
                books.findings.values().filter(|(found, open)| *open && found.kind == FindingKind::RefundDiffers);
            let open: Vec<OrderId> = differs.filter_map(|(found, _)| found.order).collect();
            (open != orders).then(|| format!("REFUND_DIFFERS is open for {open:?} and not for {orders:?}: {what}"))
        }
        Some(Err(failure)) => Some(format!("the books could not be compared: {failure}")),
        None => Some("the last comparison of the books waits for something".to_owned()),
    };
    let agrees = complaint.is_none();
    if let Some(complaint) = complaint {
        lock(&world.checks).break_off(complaint);
    }
    agrees
}

/// Of the charges that both sides have, the one of which most went back: its id, its order and how much, in minor units.
fn most_given_back(world: &World) -> Option<(String, OrderId, i64)> {
    let (books, gateway) = (world.orders.books(), lock(&world.gateway));
    let both = books.attempts.values().filter_map(|attempt| {
        let charge = gateway.charges.get(attempt.intent.as_ref()?)?;
        let same = attempt.kind == AttemptKind::Charge
            && attempt.state == AttemptState::Captured
            && charge.intent.status == IntentStatus::Succeeded;
        same.then(|| (charge.intent.id.clone(), attempt.order, charge.refunded_minor))
    });
    both.max_by_key(|(.., given)| *given)
}

fn bend(world: &World, charge: &str, refunded_minor: i64) {
    if let Some(charge) = lock(&world.gateway).charges.get_mut(charge) {
        charge.refunded_minor = refunded_minor;
    }
}

/// Somebody who reads the books as they are and asks gateways that are all there.
fn onlooker(world: &Arc<World>) -> App {
    let here = Here { world: Arc::clone(world), process: OUTSIDE };
    let store = world.orders.under(Epoch::new(*lock(&world.reign)));
    App {
        clock: Arc::new(SimClock { world: Arc::clone(world), skew_us: LATER_US }),
        store: Arc::new(store),
        gateway: Arc::new(Shown { world: Arc::clone(world) }),
        ..orders_app(&here)
    }
}

/// The gateways without a network before them. Nothing is sent there any more.
struct Shown {
    world: Arc<World>,
}

#[async_trait]
impl Gateway for Shown {
    async fn send(&self, _: Call, _: &Attempt) -> Answer {
        Answer::NotSent
    }

    async fn look(&self, look: Look, attempt: &Attempt) -> Answer {
        lock(&self.world.gateway).shows(look, attempt)
    }

    async fn intents_between(&self, from: i64, to: i64) -> Result<Vec<Intent>, String> {
        Ok(lock(&self.world.gateway).list(from, to).into_iter().map(|(_, intent)| intent).collect())
    }

    async fn made_between(&self, from: i64, to: i64) -> Result<Vec<(Via, Intent)>, String> {
        Ok(lock(&self.world.gateway).list(from, to))
    }
}
