//! What an order has reserved, from the first news of the order to its end. Decided here: which step may follow which, what
//! each step moves and tells. Events of one order come from different topics and in any order, so each decision answers
//! for every state it may meet.
//!
//! A compensation that arrives before its order leaves a reservation that is already RELEASED: a tombstone. The late order
//! then reserves nothing and nothing is announced, because order-payment has ended that order itself and waits for nobody.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use common::{OrderId, Sku};

use super::inventory::{MovementKind, SupplyKind};
use super::lines::Lines;
use super::shipment::Shipment;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Held,
    Rejected,
    Released,
    Finalised,
}

/// Every legal step; `None` is an order not heard of yet. The trigger `reservations_legal_step` knows the same list, and a
/// test compares the two.
pub const LEGAL_STEPS: [(Option<Status>, Status); 5] = [
    (None, Status::Held),
    (None, Status::Rejected),
    (None, Status::Released),
    (Some(Status::Held), Status::Released),
    (Some(Status::Held), Status::Finalised),
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
    /// From 1; each step adds one.
    pub version: i64,
    /// What was asked for; empty for a tombstone.
    pub lines: Lines,
    pub created_at: DateTime<Utc>,
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
    pub lines: Lines,
}

/// One step of a reservation: what it was (status and version, for the store to compare), what it becomes, what moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub before: Option<(Status, i64)>,
    pub after: Reservation,
    pub at: DateTime<Utc>,
    pub movements: Option<Movements>,
    pub shipment: Option<Shipment>,
    pub facts: Vec<Fact>,
}

/// What is to be done about a message. `Nothing` is a decision too: the message is remembered as dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Step(Box<Step>),
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReservationError {
    /// The order itself travels on another topic and is still on its way.
    #[error("reservation not seen yet")]
    NotSeenYet,
    #[error("reservation is {} and cannot become {}", from.code(), to.code())]
    WrongState { from: Status, to: Status },
    #[error("the completed order has other lines than its reservation")]
    LinesDiffer,
}

/// Holds all lines of a new order. The store finds out whether they are there; if not, [`reject`] takes this decision's place.
pub fn reserve(current: Option<&Reservation>, order: OrderId, lines: Lines, now: DateTime<Utc>) -> Decision {
    if current.is_some() {
        return Decision::Nothing;
    }
    let movements = Movements { kind: MovementKind::Held, lines: lines.clone() };
    begin(order, Status::Held, lines, now).moving(movements).telling([Fact::Reserved]).decided()
}

/// Ends a new order whose line `short` could not be held.
pub fn reject(order: OrderId, lines: Lines, short: Sku, now: DateTime<Utc>) -> Decision {
    begin(order, Status::Rejected, lines, now).telling([Fact::Rejected(short)]).decided()
}

/// The order is over without a sale: gives back what is held, once.
///
/// # Errors
/// [`ReservationError::WrongState`] when the units were already sold.
pub fn release(current: Option<Reservation>, order: OrderId, now: DateTime<Utc>) -> Result<Decision, ReservationError> {
    let Some(current) = current else {
        return Ok(begin(order, Status::Released, Lines::none(), now).decided());
    };
    match current.status {
        Status::Held => {
            let movements = Movements { kind: MovementKind::Released, lines: current.lines.clone() };
            Ok(next(current, Status::Released, now).moving(movements).telling([Fact::Released]).decided())
        }
        Status::Rejected | Status::Released => Ok(Decision::Nothing),
        Status::Finalised => Err(ReservationError::WrongState { from: Status::Finalised, to: Status::Released }),
    }
}

/// How a completed order leaves the house.
pub struct Dispatch<'a> {
    /// Kinds of the reserved SKUs; a kind never changes, so they may be read before the commit.
    pub kinds: &'a [SupplyKind],
    pub fulfilment_centre: &'a str,
}

/// The order is paid: what is held is gone for good, and what has to be sent is on its way. After the money nothing may fail
/// for a reason of business, so the only errors are a message too early and broken promises.
///
/// # Errors
/// [`ReservationError::NotSeenYet`], [`ReservationError::WrongState`] when nothing is held, [`ReservationError::LinesDiffer`].
pub fn finalise(
    current: Option<Reservation>,
    paid: &Lines,
    dispatch: &Dispatch<'_>,
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
    let shipment = Shipment::of(current.order, dispatch.kinds, dispatch.fulfilment_centre, now);
    let movements = Movements { kind: MovementKind::Sold, lines: current.lines.clone() };
    let facts = std::iter::once(Fact::Finalised).chain(shipment.clone().map(Fact::Shipped));
    Ok(Step { shipment, ..next(current, Status::Finalised, now).moving(movements).telling(facts) }.decided())
}

fn begin(order: OrderId, status: Status, lines: Lines, now: DateTime<Utc>) -> Step {
    let after = Reservation { order, status, version: 1, lines, created_at: now };
    Step { before: None, after, at: now, movements: None, shipment: None, facts: Vec::new() }
}

fn next(current: Reservation, status: Status, now: DateTime<Utc>) -> Step {
    let before = Some((current.status, current.version));
    let after = Reservation { status, version: current.version + 1, ..current };
    Step { before, after, at: now, movements: None, shipment: None, facts: Vec::new() }
}

impl Step {
    fn moving(self, movements: Movements) -> Self {
        Self { movements: Some(movements), ..self }
    }

    fn telling(self, facts: impl IntoIterator<Item = Fact>) -> Self {
        Self { facts: facts.into_iter().collect(), ..self }
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
mod tests {
    use super::super::lines::Line;
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn order() -> OrderId {
        OrderId::from_uuid("6f1c1f0e-6a4b-5d9c-9a53-1d2f6b9a7c10".parse().unwrap())
    }

    fn lines() -> Lines {
        Lines::new(vec![Line { sku: Sku::parse("A").unwrap(), quantity: 2 }]).unwrap()
    }

    fn reservation(status: Status) -> Reservation {
        let version = if matches!(status, Status::Finalised) { 2 } else { 1 };
        Reservation { order: order(), status, version, lines: lines(), created_at: NOW }
    }

    /// What a decision comes down to: new status and version, what moves, what is told.
    fn summary(decision: Decision) -> Option<(Status, i64, Option<MovementKind>, Vec<&'static str>)> {
        let Decision::Step(step) = decision else { return None };
        let told = step.facts.iter().map(|fact| match fact {
            Fact::Reserved => "reserved",
            Fact::Rejected(_) => "rejected",
            Fact::Released => "released",
            Fact::Finalised => "finalised",
            Fact::Shipped(_) => "shipped",
        });
        Some((step.after.status, step.after.version, step.movements.map(|movements| movements.kind), told.collect()))
    }

    fn finalised(current: Option<Reservation>, kinds: &[SupplyKind]) -> Result<Decision, ReservationError> {
        finalise(current, &lines(), &Dispatch { kinds, fulfilment_centre: "rdc-a" }, NOW)
    }

    #[test]
    fn an_order_is_reserved_once_and_never_after_its_tombstone() {
        assert_eq!(
            summary(reserve(None, order(), lines(), NOW)),
            Some((Status::Held, 1, Some(MovementKind::Held), vec!["reserved"]))
        );
        for status in Status::ALL {
            assert_eq!(reserve(Some(&reservation(status)), order(), lines(), NOW), Decision::Nothing, "{status:?}");
        }
    }

    #[test]
    fn a_rejection_holds_nothing_and_names_the_short_line() {
        let decision = reject(order(), lines(), Sku::parse("A").unwrap(), NOW);
        assert_eq!(summary(decision), Some((Status::Rejected, 1, None, vec!["rejected"])));
    }

    #[test]
    fn a_compensation_gives_back_only_what_is_held() {
        let table = [
            (None, Ok(Some((Status::Released, 1, None, vec![])))),
            (Some(Status::Held), Ok(Some((Status::Released, 2, Some(MovementKind::Released), vec!["released"])))),
            (Some(Status::Rejected), Ok(None)),
            (Some(Status::Released), Ok(None)),
            (
                Some(Status::Finalised),
                Err(ReservationError::WrongState { from: Status::Finalised, to: Status::Released }),
            ),
        ];
        for (status, expected) in table {
            assert_eq!(release(status.map(reservation), order(), NOW).map(summary), expected, "{status:?}");
        }
    }

    #[test]
    fn a_completion_takes_what_is_held_and_waits_for_a_late_order() {
        let sold = (Status::Finalised, 2, Some(MovementKind::Sold), vec!["finalised", "shipped"]);
        let refused = |from| Err(ReservationError::WrongState { from, to: Status::Finalised });
        let table = [
            (None, Err(ReservationError::NotSeenYet)),
            (Some(Status::Held), Ok(Some(sold))),
            (Some(Status::Rejected), refused(Status::Rejected)),
            (Some(Status::Released), refused(Status::Released)),
            (Some(Status::Finalised), Ok(None)),
        ];
        for (status, expected) in table {
            assert_eq!(finalised(status.map(reservation), &[SupplyKind::Counted]).map(summary), expected, "{status:?}");
        }
    }

    #[test]
    fn downloads_are_finalised_without_a_shipment() {
        let decision = finalised(Some(reservation(Status::Held)), &[SupplyKind::Unlimited]);
        assert_eq!(
            decision.map(summary),
            Ok(Some((Status::Finalised, 2, Some(MovementKind::Sold), vec!["finalised"])))
        );
    }

    #[test]
    fn a_completion_with_other_lines_is_refused() {
        let other = Lines::new(vec![Line { sku: Sku::parse("A").unwrap(), quantity: 3 }]).unwrap();
        let dispatch = Dispatch { kinds: &[SupplyKind::Counted], fulfilment_centre: "rdc-a" };
        assert_eq!(
            finalise(Some(reservation(Status::Held)), &other, &dispatch, NOW),
            Err(ReservationError::LinesDiffer)
        );
    }

    #[test]
    fn no_decision_takes_a_step_that_is_not_legal() {
        let mut taken = std::collections::HashSet::new();
        for current in
            [None, Some(Status::Held), Some(Status::Rejected), Some(Status::Released), Some(Status::Finalised)]
        {
            let now = current.map(reservation);
            let decisions = [
                Ok(reserve(now.as_ref(), order(), lines(), NOW)),
                release(now.clone(), order(), NOW),
                finalised(now, &[SupplyKind::Counted]),
            ];
            for decision in decisions.into_iter().flatten() {
                if let Decision::Step(step) = decision {
                    assert!(step.is_legal(), "{step:?}");
                    taken.insert((current, step.after.status));
                }
            }
        }
        taken.insert((None, Status::Rejected));
        assert_eq!(taken, LEGAL_STEPS.into_iter().collect(), "every legal step is taken by some decision");
        for status in Status::ALL {
            assert_eq!(status.code().parse(), Ok(status));
        }
    }
}
