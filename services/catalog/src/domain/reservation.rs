//! What an order has reserved, from the first news of the order to its end. Decided here: which step may follow which, what
//! each step moves and tells. Events of one order come from different topics and in any order, so each decision answers
//! for every state it may meet.
//!
//! A compensation that arrives before its order leaves a reservation that is already RELEASED: a tombstone. The late order
//! then reserves nothing and nothing is announced, because order-payment has ended that order itself and waits for nobody.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use common::{OrderId, Sku, UserId};

use super::centre::{Centre, Centres};
use super::entitlement::{Entitlement, Term};
use super::inventory::{MovementKind, SupplyKind};
use super::lines::Lines;
use super::shelves::{Piece, Shelves, Short};
use super::shipment::{Options, Shipment, ShipmentState, let_go, parcels};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Held,
    Rejected,
    Released,
    Finalised,
}

/// Every legal step; `None` is an order not heard of yet. The trigger `reservations_legal_step` knows the same list, and a
/// test compares the two.
pub const LEGAL_STEPS: [(Option<Status>, Status); 7] = [
    (None, Status::Held),
    (None, Status::Rejected),
    (None, Status::Released),
    // The hold is extended: nothing moves.
    (Some(Status::Held), Status::Held),
    (Some(Status::Held), Status::Released),
    (Some(Status::Held), Status::Finalised),
    // Awaited goods leave, sold ones come back.
    (Some(Status::Finalised), Status::Finalised),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a status of a reservation")]
pub struct UnknownStatus;

impl Status {
    pub const ALL: [Self; 4] = [Self::Held, Self::Rejected, Self::Released, Self::Finalised];

    pub fn code(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Rejected => "REJECTED",
            Self::Released => "RELEASED",
            Self::Finalised => "FINALISED",
        }
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.code() == text).ok_or(UnknownStatus)
    }
}

/// Informational: order-payment owns the deadline and says when an order is over; a hold older than this is worth a question.
pub const USUAL_HOLD: TimeDelta = TimeDelta::minutes(15);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub order: OrderId,
    pub status: Status,
    /// From 1; each step adds one, and one more for each further parcel it tells of: an event has a version of its own.
    pub version: i64,
    /// What was asked for; empty for a tombstone.
    pub lines: Lines,
    /// What was chosen of made-to-order products; a SKU without choices is absent.
    pub options: BTreeMap<Sku, Options>,
    /// Where the lines were taken, in the order of SKU and centre; empty where nothing is held.
    pub pieces: Vec<Piece>,
    pub created_at: DateTime<Utc>,
    /// From here on the hold is worth a question to order-payment.
    pub held_until: DateTime<Utc>,
}

/// Something other services are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Reserved,
    /// The first line, in SKU order, that could not be held.
    Rejected(Sku),
    Released,
    Finalised,
    Shipped(Shipment),
}

/// Units that move together because of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movements {
    pub kind: MovementKind,
    pub pieces: Vec<Piece>,
}

/// One step of a reservation: what it was (status and version, for the store to compare), what it becomes, what moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub before: Option<(Status, i64)>,
    pub after: Reservation,
    pub at: DateTime<Utc>,
    pub movements: Option<Movements>,
    /// Parcels that this step makes, or lets go.
    pub shipments: Vec<Shipment>,
    pub granted: Vec<Entitlement>,
    /// Of what the order's entitlements allow, this much ends.
    pub revoked: Vec<(Sku, u32)>,
    pub facts: Vec<Fact>,
}

/// What is to be done about a message. `Nothing` is a decision too: the message is remembered as dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Step(Box<Step>),
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReservationError {
    /// The order itself travels on another topic and is still on its way.
    #[error("reservation not seen yet")]
    NotSeenYet,
    #[error("reservation is {} and cannot become {}", from.code(), to.code())]
    WrongState { from: Status, to: Status },
    #[error("the completed order has other lines than its reservation")]
    LinesDiffer,
    #[error("more of {0} would come back than was sold")]
    ReturnsTooMuch(Sku),
}

/// What a new order asks to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub order: OrderId,
    pub lines: Lines,
    pub options: BTreeMap<Sku, Options>,
}

/// Holds all lines of a new order, or rejects it: the shelves are those that nobody else can change until this is written.
pub fn reserve(
    current: Option<&Reservation>,
    asked: Asked,
    shelves: &mut Shelves,
    centres: &Centres,
    now: DateTime<Utc>,
) -> Decision {
    if current.is_some() {
        return Decision::Nothing;
    }
    match shelves.hold(asked.order, &asked.lines, centres) {
        Ok(pieces) => {
            let movements = Movements { kind: MovementKind::Held, pieces: pieces.clone() };
            let mut step = begin(asked, Status::Held, now).moving(movements).telling([Fact::Reserved]);
            step.after.pieces = pieces;
            step.after.pieces.sort_by(|a, b| (&a.sku, &a.centre).cmp(&(&b.sku, &b.centre)));
            step.decided()
        }
        Err(Short(sku)) => begin(asked, Status::Rejected, now).telling([Fact::Rejected(sku)]).decided(),
    }
}

/// The order is over without a sale: gives back what is held, once.
///
/// # Errors
/// [`ReservationError::WrongState`] when the units were already sold.
pub fn release(current: Option<Reservation>, order: OrderId, now: DateTime<Utc>) -> Result<Decision, ReservationError> {
    let Some(current) = current else {
        let nothing = Asked { order, lines: Lines::none(), options: BTreeMap::new() };
        return Ok(begin(nothing, Status::Released, now).decided());
    };
    match current.status {
        Status::Held => {
            let movements = Movements { kind: MovementKind::Released, pieces: current.pieces.clone() };
            Ok(next(current, Status::Released, now).moving(movements).telling([Fact::Released]).decided())
        }
        Status::Rejected | Status::Released => Ok(Decision::Nothing),
        Status::Finalised => Err(ReservationError::WrongState { from: Status::Finalised, to: Status::Released }),
    }
}

/// What is to be known about a completed order beside its reservation.
#[derive(Clone, Debug)]
pub struct Sale {
    pub user: UserId,
    /// Kinds of the reserved SKUs; a kind never changes, so they may be read before the commit.
    pub kinds: BTreeMap<Sku, SupplyKind>,
    /// How long each subscription on it runs.
    pub terms: BTreeMap<Sku, Term>,
}

/// The order is paid: what is held is gone for good, what has to be sent is on its way or waits for its goods, and what is
/// used and not sent may be used. After the money nothing may fail for a reason of business, so the only errors are a
/// message too early and broken promises.
///
/// # Errors
/// [`ReservationError::NotSeenYet`], [`ReservationError::WrongState`] when nothing is held, [`ReservationError::LinesDiffer`].
pub fn finalise(
    current: Option<Reservation>,
    paid: &Lines,
    sale: &Sale,
    now: DateTime<Utc>,
) -> Result<Decision, ReservationError> {
    let current = current.ok_or(ReservationError::NotSeenYet)?;
    match current.status {
        Status::Finalised => return Ok(Decision::Nothing),
        Status::Rejected | Status::Released => {
            return Err(ReservationError::WrongState { from: current.status, to: Status::Finalised });
        }
        Status::Held => {}
    }
    if current.lines != *paid {
        return Err(ReservationError::LinesDiffer);
    }
    let shipments = parcels(current.order, &current.pieces, &sale.kinds, &current.options, now);
    let movements = Movements { kind: MovementKind::Sold, pieces: current.pieces.clone() };
    let granted = current.lines.iter().filter(|line| sale.kinds.get(&line.sku) == Some(&SupplyKind::Unlimited));
    let granted = granted.map(|line| {
        let term = sale.terms.get(&line.sku).copied().unwrap_or(Term::Endless);
        Entitlement::granted(sale.user, current.order, line.sku.clone(), line.quantity, term, now)
    });
    let granted = granted.collect();
    let facts = std::iter::once(Fact::Finalised).chain(leaving(&shipments));
    let mut step = next(current, Status::Finalised, now).moving(movements).telling(facts);
    let_go(&mut step.after.pieces, &shipments, &sale.kinds);
    Ok(Step { shipments, granted, ..step }.decided())
}

/// Goods that parcels of a paid order waited for may be there now: what can leave leaves. `waiting` names the centres whose
/// parcels wait.
pub fn send(
    current: Reservation,
    waiting: &[Centre],
    kinds: &BTreeMap<Sku, SupplyKind>,
    now: DateTime<Utc>,
) -> Decision {
    if current.status != Status::Finalised {
        return Decision::Nothing;
    }
    let mut shipments = parcels(current.order, &current.pieces, kinds, &current.options, now);
    shipments.retain(|parcel| waiting.contains(&parcel.centre) && parcel.state != ShipmentState::Waiting);
    if shipments.is_empty() {
        return Decision::Nothing;
    }
    let mut step = next(current, Status::Finalised, now).telling(leaving(&shipments));
    let_go(&mut step.after.pieces, &shipments, kinds);
    Step { shipments, ..step }.decided()
}

/// The owner of the deadline says that the order is still open: the hold stays until `until`, and nothing moves.
///
/// # Errors
/// [`ReservationError::NotSeenYet`]
pub fn extend(
    current: Option<Reservation>,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Decision, ReservationError> {
    let current = current.ok_or(ReservationError::NotSeenYet)?;
    if current.status != Status::Held || current.held_until >= until {
        return Ok(Decision::Nothing);
    }
    let mut step = next(current, Status::Held, now);
    step.after.held_until = until;
    Ok(step.decided())
}

/// The money of a paid order came back: for `returned`, or for all that was not given back before. Of these, units that have not left
/// the house are for sale again and rights of use end. Goods that left come back by no message: staff books them when they are there.
///
/// # Errors
/// [`ReservationError::NotSeenYet`] before the sale, [`ReservationError::ReturnsTooMuch`].
pub fn take_back(
    current: Option<Reservation>,
    returned: Option<&Lines>,
    now: DateTime<Utc>,
) -> Result<Decision, ReservationError> {
    let mut current = current.ok_or(ReservationError::NotSeenYet)?;
    match current.status {
        Status::Held => return Err(ReservationError::NotSeenYet),
        // The money of an order that never sold anything came back: nothing of it is here.
        Status::Rejected | Status::Released => return Ok(Decision::Nothing),
        Status::Finalised => {}
    }
    let everything: Vec<(Sku, u32)> = match returned {
        Some(lines) => lines.iter().map(|line| (line.sku.clone(), line.quantity)).collect(),
        None => current.lines.iter().map(|line| (line.sku.clone(), kept(&current.pieces, &line.sku))).collect(),
    };
    let (mut moved, mut revoked) = (Vec::new(), Vec::new());
    for (sku, quantity) in everything.into_iter().filter(|(_, quantity)| *quantity > 0) {
        if kept(&current.pieces, &sku) < quantity {
            return Err(ReservationError::ReturnsTooMuch(sku));
        }
        let mut wanted = quantity;
        for piece in current.pieces.iter_mut().filter(|piece| piece.sku == sku) {
            let units = piece.can_come_back().min(wanted);
            if units > 0 {
                wanted -= units;
                piece.returned += units;
                moved.push(Piece::of(piece.place(), units, 0));
            }
        }
        revoked.push((sku, quantity));
    }
    if moved.is_empty() {
        return Ok(Decision::Nothing);
    }
    let step = next(current, Status::Finalised, now).moving(Movements { kind: MovementKind::Returned, pieces: moved });
    Ok(Step { revoked, ..step }.decided())
}

fn kept(pieces: &[Piece], sku: &Sku) -> u32 {
    pieces.iter().filter(|piece| piece.sku == *sku).map(Piece::kept).sum()
}

fn leaving(shipments: &[Shipment]) -> impl Iterator<Item = Fact> {
    shipments.iter().filter(|parcel| parcel.state == ShipmentState::Ready).cloned().map(Fact::Shipped)
}

fn begin(asked: Asked, status: Status, now: DateTime<Utc>) -> Step {
    let Asked { order, lines, options } = asked;
    let (pieces, held_until) = (Vec::new(), now + USUAL_HOLD);
    let after = Reservation { order, status, version: 1, lines, options, pieces, created_at: now, held_until };
    Step::new(None, after, now)
}

fn next(current: Reservation, status: Status, now: DateTime<Utc>) -> Step {
    let before = Some((current.status, current.version));
    let after = Reservation { status, version: current.version + 1, ..current };
    Step::new(before, after, now)
}

impl Step {
    fn new(before: Option<(Status, i64)>, after: Reservation, at: DateTime<Utc>) -> Self {
        let (shipments, granted, revoked, facts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { before, after, at, movements: None, shipments, granted, revoked, facts }
    }

    fn moving(self, movements: Movements) -> Self {
        Self { movements: Some(movements), ..self }
    }

    fn telling(mut self, facts: impl IntoIterator<Item = Fact>) -> Self {
        self.facts = facts.into_iter().collect();
        self.after.version = self.told().map(|(version, _)| version).max().unwrap_or(self.after.version);
        self
    }

    /// Each fact with the version of its event: parcels count on from the first, everything else has the first.
    pub fn told(&self) -> impl Iterator<Item = (i64, &Fact)> {
        let first = self.before.map_or(0, |(_, version)| version) + 1;
        let mut parcels = 0;
        self.facts.iter().map(move |fact| match fact {
            Fact::Shipped(_) => {
                parcels += 1;
                (first + parcels - 1, fact)
            }
            _ => (first, fact),
        })
    }

    fn decided(self) -> Decision {
        debug_assert!(self.is_legal(), "{self:?}");
        Decision::Step(Box::new(self))
    }

    pub fn is_legal(&self) -> bool {
        LEGAL_STEPS.contains(&(self.before.map(|(status, _)| status), self.after.status))
    }
}

#[cfg(test)]
#[path = "reservation_tests.rs"]
mod tests;
