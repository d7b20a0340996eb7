//! Every state that can come about, by trying every step from every state: messages arrive in any order and, within a budget,
//! twice; calls to the gateway arrive, are lost, or arrive late; deadlines and cancels fall anywhere.
//!
//! A repeated message is played against the table itself, without the memory of an inbox: the steps must be harmless twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::state::{Call, Case, Charge, Intent, Message, Order, Published, Refund, Reservation};
use crate::steps::{Command, STEPS, Step, Timer, Trigger};

/// How much may go wrong; `None`: as much as wants to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub units: u8,
    pub faults: Option<u8>,
    pub duplicates: u8,
}

/// States of one exploration at most: memory for a laptop, and far above what the table makes today.
pub const MOST_STATES: usize = 12_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State<const N: usize> {
    pub cases: [Case; N],
    /// For sale.
    pub units: u8,
    faults: u8,
    duplicates: u8,
}

/// The version that stands for every version of a reservation after its first.
pub const AFTER_THE_HOLD: u8 = 2;

/// What an exploration found.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    pub states: usize,
    pub transitions: usize,
    pub final_states: usize,
    /// What one order can have published, whole sets with versions; and those of orders that have ended.
    pub published: std::collections::BTreeSet<Published>,
    pub ended: std::collections::BTreeSet<Published>,
    /// The names of the steps that were taken at least once.
    pub taken: std::collections::BTreeSet<&'static str>,
}

/// A promise that the table does not keep, with the way there.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{complaint}; after: {}", path.join(", "))]
pub struct Counterexample {
    pub complaint: String,
    pub path: Vec<&'static str>,
}

/// Explores `N` orders over one SKU with the saga's own table.
///
/// # Errors
/// [`Counterexample`]: the shortest way to a state that must not be, or that cannot come to an end.
pub fn explore<const N: usize>(limits: Limits) -> Result<Explored, Counterexample> {
    explore_table::<N>(STEPS, limits)
}

/// As [`explore`], with another table: how a test shows that a wrong one is found.
///
/// # Errors
/// As [`explore`].
pub fn explore_table<const N: usize>(steps: &[Step], limits: Limits) -> Result<Explored, Counterexample> {
    let first = State {
        cases: [Case::default(); N],
        units: limits.units,
        faults: limits.faults.unwrap_or(u8::MAX),
        duplicates: limits.duplicates,
    };
    let mut graph =
        Graph { states: vec![first], known: HashMap::from([(first, 0)]), parents: vec![(0, "")], edges: Vec::new() };
    let mut found = Explored::default();
    let mut next = 0;
    while next < graph.states.len() {
        let state = graph.states[next];
        if let Some(complaint) = broken(&state, limits.units) {
            return Err(graph.counterexample(next, complaint));
        }
        for case in &state.cases {
            found.published.insert(case.published);
            if has_ended(case) {
                found.ended.insert(case.published);
            }
        }
        let mut followers = Vec::new();
        for index in 0..N {
            if let Some(complaint) = moves(steps, &state, index, limits, &mut followers) {
                return Err(graph.counterexample(next, complaint));
            }
        }
        for (name, follower) in followers {
            found.taken.insert(name);
            graph.add(next, name, sorted(follower));
        }
        if graph.states.len() > MOST_STATES {
            return Err(graph.counterexample(next, "more states than can be explored".to_owned()));
        }
        next += 1;
    }
    if let Some(stuck) = graph.cannot_end() {
        return Err(graph.counterexample(stuck, format!("N11 no way leads to an end: {:?}", graph.states[stuck].cases)));
    }
    found.states = graph.states.len();
    found.transitions = graph.edges.len();
    found.final_states = graph.states.iter().filter(|state| state.cases.iter().all(has_ended)).count();
    Ok(found)
}

/// Two orders that differ only in their number are one state.
fn sorted<const N: usize>(mut state: State<N>) -> State<N> {
    state.cases.sort_unstable();
    state
}

struct Graph<const N: usize> {
    states: Vec<State<N>>,
    known: HashMap<State<N>, u32>,
    /// The first way to each state.
    parents: Vec<(u32, &'static str)>,
    edges: Vec<(u32, u32)>,
}

impl<const N: usize> Graph<N> {
    fn add(&mut self, from: usize, name: &'static str, state: State<N>) {
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let fresh = u32::try_from(self.states.len()).unwrap_or(u32::MAX);
        let to = match self.known.entry(state) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                place.insert(fresh);
                self.states.push(state);
                self.parents.push((from, name));
                fresh
            }
        };
        self.edges.push((from, to));
    }

    fn counterexample(&self, at: usize, complaint: String) -> Counterexample {
        let mut path = Vec::new();
        let mut at = at;
        while at != 0 {
            let (parent, name) = self.parents[at];
            path.push(name);
            at = parent as usize;
        }
        path.reverse();
        Counterexample { complaint, path }
    }

    /// A state from which no end can be reached: the reverse of the graph, walked from all ends.
    fn cannot_end(&self) -> Option<usize> {
        let mut into: Vec<Vec<u32>> = vec![Vec::new(); self.states.len()];
        for (from, to) in &self.edges {
            into[*to as usize].push(*from);
        }
        let mut reaches = vec![false; self.states.len()];
        let mut walk: Vec<u32> = Vec::new();
        for (index, state) in self.states.iter().enumerate() {
            if state.cases.iter().all(has_ended) {
                reaches[index] = true;
                walk.push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        while let Some(index) = walk.pop() {
            for from in &into[index as usize] {
                if !reaches[*from as usize] {
                    reaches[*from as usize] = true;
                    walk.push(*from);
                }
            }
        }
        reaches.iter().position(|reaches| !reaches)
    }
}

/// All that can happen next to one order; `Some` when a message arrives that no step takes.
fn moves<const N: usize>(
    steps: &[Step],
    state: &State<N>,
    index: usize,
    limits: Limits,
    followers: &mut Vec<(&'static str, State<N>)>,
) -> Option<String> {
    let case = &state.cases[index];
    let mut taken = 0_u16;
    for step in steps.iter().filter(|step| applies(step, case, state.units)) {
        if let Trigger::Message(message) = step.on {
            taken |= 1 << message as usize;
        }
        if step.fault && limits.faults.is_some() && state.faults == 0 {
            continue;
        }
        if let Some(follower) = take(step, state, index, limits) {
            followers.push((step.name, follower));
        }
    }
    for call in Call::ALL.iter().filter(|call| case.calls >> **call as usize & 1 == 1) {
        let heard = steps.iter().any(|step| step.on == Trigger::Call(*call) && applies(step, case, state.units));
        let lost = limits.faults.is_none() || state.faults > 0;
        // A call that changes nothing is gone; one that would is lost as a fault.
        if !heard || lost {
            let mut follower = *state;
            follower.cases[index].calls &= !(1 << *call as usize);
            if heard && limits.faults.is_some() {
                follower.faults -= 1;
            }
            followers.push(("lose a call", follower));
        }
    }
    for message in Message::ALL.iter().copied().filter(|message| is_heard(steps, *message)) {
        if case.is_on_its_way(message) {
            // A completion may wait for its order, which travels on another topic.
            let waits = message == Message::OrderCompleted && case.reservation == Reservation::None;
            if taken >> message as usize & 1 == 0 && !waits {
                return Some(format!("N17 nobody knows what to do about {} in {case:?}", message.code()));
            }
        } else if case.published[message as usize] > 0 && state.duplicates > 0 {
            let mut follower = *state;
            follower.cases[index].applied &= !(1 << message as usize);
            follower.duplicates -= 1;
            followers.push(("deliver again", follower));
        }
    }
    None
}

fn is_heard(steps: &[Step], message: Message) -> bool {
    steps.iter().any(|step| step.on == Trigger::Message(message))
}

fn fits<T: PartialEq>(wanted: &[T], actual: &T) -> bool {
    wanted.is_empty() || wanted.contains(actual)
}

fn applies(step: &Step, case: &Case, units: u8) -> bool {
    let set_off = match step.on {
        // People sign up before they order, and money of a sale that stands comes back after it: neither changes its course.
        Trigger::Command(Command::SignUp | Command::RefundOrder) | Trigger::Message(Message::UserRegistered) => false,
        Trigger::Message(message) => case.is_on_its_way(message),
        Trigger::Call(call) => case.calls >> call as usize & 1 == 1,
        Trigger::Command(_) | Trigger::Bank | Trigger::NoAnswer => true,
        Trigger::Timer(Timer::StockDeadline | Timer::PaymentDeadline | Timer::Payment) => true,
    };
    let when = &step.when;
    set_off
        && fits(when.order, &case.order)
        && fits(when.charge, &case.charge)
        && fits(when.refund, &case.refund)
        && fits(when.reservation, &case.reservation)
        && fits(when.intent, &case.intent)
        && when.giving_up.is_none_or(|giving_up| giving_up == case.giving_up)
        && when.capture_requested.is_none_or(|requested| requested == case.capture_requested)
        && when.in_stock.is_none_or(|in_stock| in_stock == (units > 0))
}

fn take<const N: usize>(step: &Step, state: &State<N>, index: usize, limits: Limits) -> Option<State<N>> {
    let mut next = *state;
    let then = &step.then;
    if step.fault && limits.faults.is_some() {
        next.faults -= 1;
    }
    next.units = next.units.checked_add_signed(then.units)?;
    let case = &mut next.cases[index];
    match step.on {
        Trigger::Message(message) => case.applied |= 1 << message as usize,
        Trigger::Call(call) => case.calls &= !(1 << call as usize),
        _ => {}
    }
    if let Some(order) = then.order {
        case.order = order;
        case.order_version += 1;
    }
    if let Some(reservation) = then.reservation {
        case.reservation = reservation;
        case.reservation_version = (case.reservation_version + 1).min(AFTER_THE_HOLD);
    }
    case.charge = then.charge.unwrap_or(case.charge);
    case.refund = then.refund.unwrap_or(case.refund);
    case.intent = then.intent.unwrap_or(case.intent);
    case.giving_up |= then.gives_up;
    case.capture_requested |= then.requests_capture;
    case.in_spite |= then.in_spite;
    for call in then.calls {
        case.calls |= 1 << *call as usize;
    }
    for message in then.tells {
        let of_reservation = message.topic().writer == crate::Participant::Catalog.service();
        // A hold may be extended any number of times: what comes after it only has to come after its first version.
        let version = if of_reservation { case.reservation_version.min(AFTER_THE_HOLD) } else { case.order_version };
        if case.published[*message as usize] == 0 {
            case.published[*message as usize] = version;
        } else {
            // Told twice: another id, so consumers would apply it twice.
            case.published[*message as usize] = u8::MAX;
        }
    }
    (next != *state).then_some(next)
}

/// The order is over for everybody, and nothing is on its way that could still change something.
pub fn has_ended(case: &Case) -> bool {
    let settled = matches!(case.charge, Charge::None | Charge::Captured | Charge::Declined | Charge::Voided);
    let refunded = matches!(case.refund, Refund::None | Refund::Captured);
    let money_is_right = case.order == Order::Completed || case.intent != Intent::Captured;
    let heard = Message::ALL.iter().all(|message| !is_heard(STEPS, *message) || !case.is_on_its_way(*message));
    matches!(case.order, Order::Completed | Order::Compensated)
        && settled
        && refunded
        && money_is_right
        && case.reservation != Reservation::Held
        && heard
}

/// What must not be, in any state.
fn broken<const N: usize>(state: &State<N>, units: u8) -> Option<String> {
    let kept = |case: &&Case| matches!(case.reservation, Reservation::Held | Reservation::Finalised);
    let away = state.cases.iter().filter(kept).count();
    if usize::from(state.units) + away != usize::from(units) {
        return Some(format!("N12 {} units for sale and {away} held or sold of {units}", state.units));
    }
    state.cases.iter().find_map(|case| {
        let complaint = match case.order {
            Order::Completed if case.intent != Intent::Captured => "N3 completed without standing money",
            Order::Completed if case.charge != Charge::Captured => "N3 completed without a captured attempt",
            Order::Compensated if case.intent == Intent::Captured && !case.in_spite => {
                "N3 compensated while the gateway holds money"
            }
            _ if case.published.contains(&u8::MAX) => "N15 an event was told twice",
            _ if case.published[Message::ShipmentCreated as usize] > 0 && case.order != Order::Completed => {
                "N10 goods leave before the money"
            }
            _ if case.reservation == Reservation::Finalised && case.order != Order::Completed => {
                "N13 sold without a completed order"
            }
            _ if case.reservation == Reservation::Released && case.order == Order::Completed => {
                "N13 paid, and the goods were given back"
            }
            _ if matches!(case.intent, Intent::Authorised | Intent::Processing) && case.charge == Charge::Prepared => {
                "P1 authorised without a committed intent"
            }
            _ if case.intent == Intent::Captured && !case.capture_requested => {
                "N1 money taken without a committed decision"
            }
            _ => return None,
        };
        Some(format!("{complaint}: {case:?}"))
    })
}
