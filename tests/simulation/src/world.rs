//! One thread, one queue of timers, tasks that belong to processes: time passes only when nothing is left to do now, and a
//! process that crashes loses its tasks where they stand. Decided here: who runs next. Not decided here: what they do.
//!
//! Nothing in here knows a runtime, the machine's clock or a hash map's order, so a seed is a whole history.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use catalog::outbound::memory_stock::MemoryStock;
use chrono::{DateTime, Utc};
use common::Clock;
use order_payment::outbound::memory::MemoryStore;

use crate::bus::Bus;
use crate::checks::Checks;
use crate::coverage::{Coverage, Rare};
use crate::faults::Plan;
use crate::gateway::GatewayBooks;
use crate::rng::Rng;
use crate::setup::{Setup, start_s};
use crate::trace::Trace;

/// Processes by number. What belongs to none of them (shoppers, the gateway's own doings, the operator) is the outside.
pub const SERVE: usize = 0;
pub const ORDERS_A: usize = 1;
pub const ORDERS_B: usize = 2;
pub const STOCK_A: usize = 3;
pub const STOCK_B: usize = 4;
pub const OUTSIDE: usize = 5;
pub const NAMES: [&str; 6] = ["op serve", "op work a", "op work b", "catalog a", "catalog b", "outside"];

/// Polls of one schedule. The longest honest ones take a few thousand; a circle that never sleeps ends here.
const MOST_POLLS: u64 = 400_000;

/// A moment at which a process may stop, be stopped, or be overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Read,
    BeforeCommit,
    /// Committed, and the answer is on its way.
    AfterCommit,
    BeforeSend,
    /// The gateway has done it, and the answer is on its way.
    AfterEffect,
    Claimed,
    Publish,
    BeforeMark,
    BeforeHandle,
    BeforeOffset,
}

/// Something one can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    Outbox(usize),
    Relay(usize),
    Lane(usize),
    Payments,
    Webhooks,
    Deadlines,
    Reply(usize),
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    process: usize,
    work: Work,
    waker: Waker,
}

struct TaskWaker {
    id: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        lock(&self.ready).push_back(self.id);
    }
}

enum Due {
    Wake(Waker),
    Restart(usize),
}

#[derive(Default)]
struct Core {
    now: i64,
    seq: u64,
    timers: BTreeMap<(i64, u64), Due>,
    waiting: BTreeMap<Channel, Vec<(u64, Waker)>>,
    spawned: Vec<(usize, Work)>,
    crashing: Vec<(usize, i64)>,
    frozen_until: [i64; 6],
    /// Frozen longer than a lease since its last success: what it commits next is a zombie's.
    zombie: [bool; 6],
    alive: [bool; 6],
    /// Work outside that has yet to have its effect.
    pending: u32,
}

/// Everything there is in one schedule.
pub struct World {
    pub seed: u64,
    pub setup: Setup,
    core: Mutex<Core>,
    pub rng: Mutex<Rng>,
    pub plan: Mutex<Plan>,
    pub trace: Mutex<Trace>,
    pub coverage: Mutex<Coverage>,
    /// Books of order-payment; processes write through handles of their own reign.
    pub orders: MemoryStore,
    pub stock: MemoryStock,
    pub bus: Mutex<Bus>,
    pub gateway: Mutex<GatewayBooks>,
    pub checks: Mutex<Checks>,
    pub reign: Mutex<i64>,
    pub apps: Mutex<crate::processes::Apps>,
    pub clients: Mutex<crate::shoppers::Clients>,
}

pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(seed: u64, without: u64, readable: bool) -> Arc<Self> {
        let setup = Setup::new(seed);
        let processes = if setup.two_of_each { 5 } else { 4 };
        let mut core = Core::default();
        core.alive[OUTSIDE] = true;
        Arc::new(Self {
            seed,
            core: Mutex::new(core),
            rng: Mutex::new(Rng::new(seed, 2)),
            plan: Mutex::new(Plan::new(seed, without, processes)),
            trace: Mutex::new(Trace::new(readable)),
            coverage: Mutex::default(),
            orders: MemoryStore::default(),
            stock: MemoryStock::new(crate::shelves::centres()),
            bus: Mutex::default(),
            gateway: Mutex::default(),
            checks: Mutex::default(),
            reign: Mutex::new(0),
            apps: Mutex::default(),
            clients: Mutex::default(),
            setup,
        })
    }

    pub fn now_us(&self) -> i64 {
        lock(&self.core).now
    }

    pub fn count(&self, rare: Rare) {
        lock(&self.coverage).count(rare);
    }

    pub fn note(&self, process: usize, text: impl FnOnce() -> String) {
        let now = self.now_us();
        lock(&self.trace).line(now, process, text);
    }

    /// Mixes a fact into the hash of the history.
    pub fn mix(&self, word: u64) {
        lock(&self.trace).mix(word);
    }

    pub fn is_alive(&self, process: usize) -> bool {
        lock(&self.core).alive[process]
    }

    pub fn is_frozen(&self, process: usize) -> bool {
        let core = lock(&self.core);
        core.frozen_until[process] > core.now
    }

    /// Whether `process` was frozen since it was last asked.
    pub fn was_frozen(&self, process: usize) -> bool {
        std::mem::take(&mut lock(&self.core).zombie[process])
    }

    /// A new task of `process`; what the outside does later counts as pending until it is done.
    pub fn spawn(self: &Arc<Self>, process: usize, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.core).spawned.push((process, Box::pin(work)));
    }

    /// Something outside happens after `us`, whoever crashes meanwhile.
    pub fn later(self: &Arc<Self>, us: i64, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.core).pending += 1;
        let world = Arc::clone(self);
        self.spawn(OUTSIDE, async move {
            world.sleep(us).await;
            work.await;
            lock(&world.core).pending -= 1;
        });
    }

    pub fn pending(&self) -> u32 {
        lock(&self.core).pending
    }

    pub fn sleep(self: &Arc<Self>, us: i64) -> Sleep {
        Sleep { world: Arc::clone(self), delay: us.max(0), until: None }
    }

    /// Until somebody notifies `channel`, or `until` comes.
    pub fn wait(self: &Arc<Self>, channel: Channel, until: Option<i64>) -> Wait {
        Wait { world: Arc::clone(self), channel, until, armed: None }
    }

    pub fn notify(&self, channel: Channel) {
        let woken = lock(&self.core).waiting.remove(&channel);
        for (_, waker) in woken.into_iter().flatten() {
            waker.wake();
        }
    }

    /// How long the next small thing takes: mostly nothing, now and then far too long.
    fn latency(&self) -> i64 {
        let mut rng = lock(&self.rng);
        match rng.below(1_000) {
            0..=849 => rng.between(200, 20_000),
            850..=969 => rng.between(20_000, 300_000),
            970..=994 => rng.between(300_000, 3_000_000),
            _ => rng.between(3_000_000, 12_000_000),
        }
    }

    fn freeze(&self, process: usize, for_ms: i64) {
        let mut core = lock(&self.core);
        core.frozen_until[process] = core.now + for_ms * 1_000;
        core.zombie[process] = true;
    }

    fn crash(&self, process: usize, down_ms: i64) {
        lock(&self.core).crashing.push((process, down_ms * 1_000));
    }

    /// Ends all processes and forgets what was still to come: both know this world, which would live for ever with them.
    pub fn close(&self) {
        let core = std::mem::take(&mut *lock(&self.core));
        let (apps, clients) = (std::mem::take(&mut *lock(&self.apps)), std::mem::take(&mut *lock(&self.clients)));
        // Dropped when no lock is held: a wait that ends takes its place out of the queue.
        drop((core, apps, clients));
    }

    /// Stops a process as an operator would who gives it a new reign.
    pub fn restart(&self, process: usize, down_ms: i64) {
        if self.is_alive(process) {
            self.crash(process, down_ms);
        }
    }
}

/// A process as its parts see it.
#[derive(Clone)]
pub struct Here {
    pub world: Arc<World>,
    pub process: usize,
}

impl Here {
    /// A named moment: others may come first, and the process may stop here.
    pub async fn moment(&self, moment: Moment) {
        let fate = lock(&self.world.plan).moment(self.process);
        match fate {
            Some((true, down_ms)) => {
                self.world.note(self.process, || format!("CRASH at {moment:?}, down for {down_ms} ms"));
                match moment {
                    Moment::AfterEffect => self.world.count(Rare::CrashAfterEffect),
                    Moment::BeforeSend => self.world.count(Rare::CrashBeforeSend),
                    Moment::AfterCommit => self.world.count(Rare::CrashInCommit),
                    Moment::BeforeCommit => self.world.count(Rare::CrashBeforeCommit),
                    Moment::BeforeMark => self.world.count(Rare::CrashBetweenPublishAndMark),
                    Moment::BeforeOffset => self.world.count(Rare::CrashBeforeOffset),
                    Moment::Read | Moment::Claimed | Moment::Publish | Moment::BeforeHandle => {}
                }
                self.world.crash(self.process, down_ms);
                std::future::pending::<()>().await;
            }
            Some((false, for_ms)) => {
                self.world.note(self.process, || format!("FROZEN at {moment:?} for {for_ms} ms"));
                self.world.freeze(self.process, for_ms);
                crate::processes::lose_turn(&self.world, self.process);
            }
            None => {}
        }
        let latency = self.world.latency();
        self.world.sleep(latency).await;
    }
}

/// The clock as one process reads it.
pub struct SimClock {
    pub world: Arc<World>,
    pub skew_us: i64,
}

impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        let us = start_s() * 1_000_000 + self.world.now_us() + self.skew_us;
        DateTime::from_timestamp_micros(us).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// The virtual microsecond of an instant.
pub fn us_of(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_micros() - start_s() * 1_000_000
}

pub struct Sleep {
    world: Arc<World>,
    delay: i64,
    until: Option<i64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = Arc::clone(&self.world);
        let mut core = lock(&world.core);
        match self.until {
            Some(until) if core.now >= until => Poll::Ready(()),
            Some(_) => Poll::Pending,
            None => {
                let until = core.now + self.delay;
                self.until = Some(until);
                core.at(until, Due::Wake(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

pub struct Wait {
    world: Arc<World>,
    channel: Channel,
    until: Option<i64>,
    /// Number of this wait, and the timer that ends it.
    armed: Option<(u64, Option<(i64, u64)>)>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = Arc::clone(&self.world);
        let mut core = lock(&world.core);
        if let Some((id, timer)) = self.armed {
            let waits =
                core.waiting.get(&self.channel).is_some_and(|waiting| waiting.iter().any(|(known, _)| *known == id));
            let late = timer.is_some_and(|(at, _)| core.now >= at);
            return if waits && !late { Poll::Pending } else { Poll::Ready(()) };
        }
        core.seq += 1;
        let id = core.seq;
        core.waiting.entry(self.channel).or_default().push((id, context.waker().clone()));
        let timer = self
            .until
            .map(|until| until.max(core.now + 1))
            .map(|until| core.at(until, Due::Wake(context.waker().clone())));
        self.armed = Some((id, timer));
        Poll::Pending
    }
}

impl Drop for Wait {
    /// Leaves neither a place in the queue nor a timer behind: one wait wakes once.
    fn drop(&mut self) {
        let Some((id, timer)) = self.armed else { return };
        let mut core = lock(&self.world.core);
        if let Some(waiting) = core.waiting.get_mut(&self.channel) {
            waiting.retain(|(known, _)| *known != id);
        }
        if let Some(timer) = timer {
            core.timers.remove(&timer);
        }
    }
}

impl Core {
    fn at(&mut self, when: i64, due: Due) -> (i64, u64) {
        self.seq += 1;
        let key = (when, self.seq);
        self.timers.insert(key, due);
        key
    }
}

/// Why the scheduler stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The condition came true in a quiet moment.
    Quiet,
    /// A check found something.
    Broken,
    /// Virtual time ran out.
    Late,
    /// Nothing is left that could ever happen.
    Dead,
    /// It turns in a circle.
    Circle,
}

/// Runs the tasks of a world.
pub struct Scheduler {
    world: Arc<World>,
    tasks: Vec<Option<Task>>,
    ready: Arc<Mutex<VecDeque<usize>>>,
    pub polls: u64,
}

impl Scheduler {
    pub fn new(world: Arc<World>) -> Self {
        Self { world, tasks: Vec::new(), ready: Arc::default(), polls: 0 }
    }

    /// Until `done` holds while nothing is about to happen, or virtual time reaches `deadline`.
    pub fn run(&mut self, deadline: i64, done: impl Fn(&World) -> bool) -> Stopped {
        loop {
            self.adopt();
            while let Some(id) = self.next_ready() {
                self.poll(id);
                if lock(&self.world.checks).is_broken() {
                    return Stopped::Broken;
                }
                if self.polls > MOST_POLLS {
                    return Stopped::Circle;
                }
            }
            let (now, next) = {
                let core = lock(&self.world.core);
                (core.now, core.timers.keys().next().map(|(at, _)| *at))
            };
            // A gap: whoever was busy is done for now.
            if next.is_none_or(|next| next > now + 400_000) && done(&self.world) {
                return Stopped::Quiet;
            }
            match next {
                None => return Stopped::Dead,
                Some(next) if next > deadline => return Stopped::Late,
                Some(_) => self.advance(),
            }
        }
    }

    fn next_ready(&self) -> Option<usize> {
        lock(&self.ready).pop_front()
    }

    fn advance(&mut self) {
        let due = {
            let mut core = lock(&self.world.core);
            let Some(((at, _), due)) = core.timers.pop_first() else { return };
            core.now = core.now.max(at);
            due
        };
        match due {
            Due::Wake(waker) => waker.wake(),
            Due::Restart(process) => {
                lock(&self.world.core).alive[process] = true;
                crate::processes::start(&self.world, process);
            }
        }
    }

    /// Starts a process for the first time.
    pub fn start(&mut self, process: usize) {
        lock(&self.world.core).alive[process] = true;
        crate::processes::start(&self.world, process);
    }

    fn poll(&mut self, id: usize) {
        let Some(task) = self.tasks.get_mut(id).and_then(Option::as_mut) else { return };
        let process = task.process;
        {
            let mut core = lock(&self.world.core);
            let until = core.frozen_until[process];
            if until > core.now {
                core.at(until, Due::Wake(task.waker.clone()));
                return;
            }
        }
        self.polls += 1;
        let now = self.world.now_us();
        {
            let mut trace = lock(&self.world.trace);
            trace.mix(now.cast_unsigned());
            trace.mix(id as u64);
        }
        let waker = task.waker.clone();
        let finished = task.work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if finished {
            self.tasks[id] = None;
        }
        self.bury();
        self.adopt();
    }

    /// Takes the tasks of crashed processes away, where they stand.
    fn bury(&mut self) {
        let crashing = std::mem::take(&mut lock(&self.world.core).crashing);
        for (process, down_us) in crashing {
            // Dropped after the lock is free: what a task holds may want it.
            let _never_began: Vec<(usize, Work)>;
            {
                let mut core = lock(&self.world.core);
                if !core.alive[process] {
                    continue;
                }
                core.alive[process] = false;
                core.frozen_until[process] = 0;
                core.zombie[process] = false;
                let spawned = std::mem::take(&mut core.spawned);
                let (dead, living) = spawned.into_iter().partition(|(owner, _)| *owner == process);
                core.spawned = living;
                _never_began = dead;
                let at = core.now + down_us;
                core.at(at, Due::Restart(process));
            }
            for task in &mut self.tasks {
                if task.as_ref().is_some_and(|task| task.process == process) {
                    *task = None;
                }
            }
            crate::processes::lose_turn(&self.world, process);
        }
    }

    fn adopt(&mut self) {
        let spawned = std::mem::take(&mut lock(&self.world.core).spawned);
        for (process, work) in spawned {
            let id = self.tasks.len();
            let waker = Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.ready) }));
            self.tasks.push(Some(Task { process, work, waker }));
            lock(&self.ready).push_back(id);
        }
    }
}
