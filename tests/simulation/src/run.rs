//! One schedule from its seed to its verdict, and the search for the smallest set of faults that still fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use catalog::domain::inventory::SupplyKind;
use catalog::domain::receipt::{Receipt, ReceiptLine, ReceiptReference};
use catalog::usecases::ports::stock::StockStore as _;
use common::{Money, Sku, TransactionId};
use messaging::Cause;
use order_payment::domain::Transaction;
use order_payment::usecases::Change;
use order_payment::usecases::ports::Store as _;

use crate::checks;
use crate::coverage::{Coverage, Rare};
use crate::extras::{PART_MINOR, Spend};
use crate::faults::Fault;
use crate::gateway::{REGION, take_unasked};
use crate::last_look;
use crate::processes;
use crate::shoppers;
use crate::staff::clerk;
use crate::world::{ORDERS_A, ORDERS_B, OUTSIDE, SERVE, STOCK_A, STOCK_B, Scheduler, Stopped, World, lock};

/// Virtual time by which everything must have come to its end: the deadlines of an order (30 minutes), the latest fault
/// (10 minutes) and a few rounds of the longest back-off, with room.
const DEADLINE_US: i64 = 2 * 3_600 * 1_000_000;
/// A rewind of all topics is replayed within this long.
const REPLAY_US: i64 = 3_600 * 1_000_000;

/// What became of one schedule.
pub struct Outcome {
    pub hash: u64,
    pub polls: u64,
    pub broken: Option<String>,
    pub coverage: Coverage,
    pub faults: Vec<(Fault, bool)>,
    pub lines: Vec<String>,
}

/// Plays the schedule of `seed`, leaving out the faults whose bit is set in `without`.
pub fn run(seed: u64, without: u64, readable: bool) -> Outcome {
    let world = World::new(seed, without, readable);
    let mut scheduler = Scheduler::new(Arc::clone(&world));
    let played = catch_unwind(AssertUnwindSafe(|| play(&world, &mut scheduler)));
    if let Err(panic) = played {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        lock(&world.checks).break_off(format!("panic: {}", text.unwrap_or_default()));
    }
    let polls = scheduler.polls;
    drop(scheduler);
    world.close();
    let kept = Arc::strong_count(&world) - 1;
    if kept > 0 {
        // A million schedules in one process need the memory of one.
        lock(&world.checks).break_off(format!("{kept} things outlive their schedule"));
    }
    let broken = lock(&world.checks).broken();
    let plan = lock(&world.plan).clone();
    let mut trace = lock(&world.trace).clone();
    if let Some(broken) = &broken {
        trace.mix_text(broken);
    }
    let coverage = lock(&world.coverage).clone();
    Outcome {
        hash: trace.hash(),
        polls,
        broken,
        coverage,
        faults: plan.faults.into_iter().zip(plan.fired).collect(),
        lines: trace.into_lines(),
    }
}

fn play(world: &Arc<World>, scheduler: &mut Scheduler) {
    fill_shelves(world);
    give_credit(world);
    let processes: &[usize] = if world.setup.two_of_each {
        &[SERVE, ORDERS_A, ORDERS_B, STOCK_A, STOCK_B]
    } else {
        &[SERVE, ORDERS_A, STOCK_A]
    };
    for process in processes {
        scheduler.start(*process);
    }
    shoppers::open(world);
    operators(world, processes);
    gateways(world, processes);
    if !until_settled(world, scheduler, DEADLINE_US) {
        return;
    }
    checks::at_the_end(world);
    last_look::compare_refunds(world);
    crate::saga_trace::compare(world);
    // A replay of every topic from its beginning must change nothing; every fourth schedule pays for it.
    if world.seed.is_multiple_of(4) && !lock(&world.checks).is_broken() {
        let before = checks::digest(world);
        let orders = || world.orders.books().orders.len();
        let known = orders();
        processes::rewind(world);
        world.note(OUTSIDE, || "all topics are replayed".to_owned());
        let deadline = world.now_us() + REPLAY_US;
        // A shopper who comes late changes something as well, and rightly so.
        if until_settled(world, scheduler, deadline) && orders() == known && checks::digest(world) != before {
            lock(&world.checks).break_off("N15 a replay of the topics changed something".to_owned());
        }
    }
    let digest = checks::digest(world);
    lock(&world.trace).mix_text(&digest);
}

fn until_settled(world: &Arc<World>, scheduler: &mut Scheduler, deadline: i64) -> bool {
    let stopped = scheduler.run(deadline, checks::is_settled);
    match stopped {
        Stopped::Quiet => true,
        Stopped::Broken => false,
        Stopped::Late | Stopped::Dead | Stopped::Circle => {
            let open = checks::open_items(world).join("; ");
            lock(&world.checks).break_off(format!("N11 stuck ({stopped:?}): {open}"));
            false
        }
    }
}

/// The parts of the plan that happen at a time of their own.
fn operators(world: &Arc<World>, processes: &'static [usize]) {
    let faults = lock(&world.plan).faults.clone();
    for (index, fault) in faults.into_iter().enumerate() {
        let here = Arc::clone(world);
        match fault {
            Fault::Rewind { at_ms } => world.later(at_ms * 1_000, async move {
                lock(&here.plan).fired[index] = true;
                here.count(Rare::Rewound);
                here.note(OUTSIDE, || "REWIND of all consumers".to_owned());
                processes::rewind(&here);
            }),
            Fault::Reign { at_ms } => world.later(at_ms * 1_000, async move {
                lock(&here.plan).fired[index] = true;
                let reign = {
                    let mut reign = lock(&here.reign);
                    *reign += 1;
                    *reign
                };
                here.note(OUTSIDE, || format!("REIGN {reign} begins"));
                here.orders.begin_reign(reign);
                here.stock.begin_reign(reign);
                for process in processes {
                    let wait = lock(&here.rng).between(0, 1_500_000);
                    here.sleep(wait).await;
                    here.restart(*process, 100);
                }
            }),
            _ => {}
        }
    }
}

/// What the gateways do by themselves, and what an operator does about it.
fn gateways(world: &Arc<World>, processes: &'static [usize]) {
    for stray in world.setup.extras.strays.clone() {
        let here = Arc::clone(world);
        world.later(stray.at_us, async move { take_unasked(&here, stray) });
    }
    let Some(outage) = world.setup.extras.outage else { return };
    let here = Arc::clone(world);
    world.later(outage.from_us, async move {
        here.note(OUTSIDE, || "the first gateway is AWAY".to_owned());
        lock(&here.gateway).first_is_away = true;
        here.sleep(outage.switch_us - outage.from_us).await;
        here.note(OUTSIDE, || "new payments begin at the second gateway".to_owned());
        lock(&here.gateway).second_is_chosen = true;
        // A setting is read at the start.
        for process in processes.iter().filter(|process| **process <= ORDERS_B) {
            here.restart(*process, 100);
        }
        here.sleep(outage.until_us - outage.switch_us).await;
        here.note(OUTSIDE, || "the first gateway is back".to_owned());
        lock(&here.gateway).first_is_away = false;
    });
}

/// What staff gave people before anybody ordered.
fn give_credit(world: &World) {
    for (index, wish) in world.setup.wishes.iter().enumerate() {
        let minor = match world.setup.extras.spend(index) {
            Spend::Nothing => continue,
            Spend::Part => PART_MINOR,
            Spend::Whole => wish.total_minor(),
        };
        let user = shoppers::user(index).user;
        let Ok(amount) = Money::from_minor(minor, REGION.currency()) else { unreachable!("an amount of ours") };
        let id = TransactionId::derive("grant", &user.to_string());
        let given = Transaction::grant(id, user, "a birthday".to_owned(), amount, chrono::DateTime::UNIX_EPOCH);
        let change = Change { person: Some((user, REGION)), ledger: vec![given], ..Change::default() };
        let booked = at_once(world.orders.commit(Cause::Duty("grant"), change));
        assert!(booked.is_some_and(|outcome| outcome.is_ok()), "the credit could not be given");
    }
}

fn fill_shelves(world: &World) {
    let line = |sku: &str, kind, quantity| ReceiptLine {
        sku: Sku::parse(sku).unwrap_or_else(|_| unreachable!("a SKU of ours")),
        kind,
        quantity,
    };
    let lines = vec![
        line("LAMP", SupplyKind::Counted, world.setup.lamps),
        line("PHONE", SupplyKind::Serialised, world.setup.phones),
        line("SONG", SupplyKind::Unlimited, 0),
    ];
    let receipt = ReceiptReference::parse("opening")
        .and_then(|reference| Receipt::new(reference, crate::shelves::only_centre(), lines));
    let Ok(receipt) = receipt else { unreachable!("a receipt of ours") };
    let stocked = at_once(world.stock.receive(&receipt, clerk(), chrono::DateTime::UNIX_EPOCH));
    assert!(stocked.is_some_and(|outcome| outcome.is_ok()), "the shelves could not be filled");
}

/// The result of work that never waits.
pub(crate) fn at_once<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// The faults that can be left out of a failing schedule while it still fails, and what the smallest one complains about.
pub fn shrink(seed: u64, without: u64) -> (u64, Outcome) {
    let mut smallest = (without, run(seed, without, false));
    loop {
        let left: Vec<u64> = (0..64).filter(|bit| *bit < 8 && smallest.0 >> bit & 1 == 0).collect();
        let better = left.into_iter().find_map(|bit| {
            let tried = smallest.0 | 1 << bit;
            let outcome = run(seed, tried, false);
            let fewer = outcome.faults.len() < smallest.1.faults.len();
            (outcome.broken.is_some() && fewer).then_some((tried, outcome))
        });
        match better {
            Some(better) => smallest = better,
            None => return smallest,
        }
    }
}
