//! Stock in memory, for tests of use cases and for the simulation. It passes the same suite as PostgreSQL: what it does not do
//! (locks, durability) the suite does not ask. Everything is kept in an order of its own, so that two runs over the same
//! history read the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{ErrorKind, MessageId, OrderId, Sku, UserId};
use messaging::{Epoch, Outgoing};

use crate::domain::audit::{Finding, Look, Mark, Most, Part};
use crate::domain::centre::{Centre, Centres};
use crate::domain::correction::Correction;
use crate::domain::entitlement::Entitlement;
use crate::domain::inventory::{Availability, MovementKind, SerialNumber, StockLevel};
use crate::domain::receipt::{Receipt, ReceiptReference};
use crate::domain::reservation::{self, Decision, Fact, Movements, Reservation, Status, Step};
use crate::domain::shelves::{CannotCorrect, Move, NoPromises, Place, ShelfError, Shelves, Waiting, availability};
use crate::domain::shipment::{Shipment, ShipmentState};
use crate::outbound::postgres::events;
use crate::usecases::ports::stock::{
    Committed, Failure, OpenFindings, Request, Reserved, Rows, StockStore, StoreError, Why,
};

/// One process's way to the stock: what it writes, it writes under its own reign.
#[derive(Clone)]
pub struct MemoryStock {
    centres: Centres,
    state: Arc<Mutex<State>>,
    epoch: Epoch,
}

/// A change works on a copy, which replaces the original when it went through: all or nothing.
#[derive(Clone, Default)]
struct State {
    rows: BTreeMap<Place, StockLevel>,
    waiting: Vec<Waiting>,
    moves: Vec<Move>,
    reservations: BTreeMap<OrderId, Reservation>,
    shipments: BTreeMap<(OrderId, Centre), Shipment>,
    entitlements: BTreeMap<(OrderId, Sku), (Entitlement, u32)>,
    receipts: BTreeMap<ReceiptReference, Receipt>,
    /// With who said so.
    corrections: BTreeMap<ReceiptReference, (Correction, UserId)>,
    serials: Vec<(SerialNumber, OrderId)>,
    applied: BTreeSet<MessageId>,
    asked: BTreeMap<OrderId, DateTime<Utc>>,
    /// Open ones, each with when it was found first.
    findings: Vec<(Finding, DateTime<Utc>)>,
    told: Vec<(OrderId, i64, Fact)>,
    outbox: Vec<Outgoing>,
    /// The reign under which writes are accepted.
    reign: i64,
}

impl MemoryStock {
    pub fn new(centres: Centres) -> Self {
        Self { centres, state: Arc::default(), epoch: Epoch::new(0) }
    }

    /// Order, version and fact of everything told so far, in order.
    pub fn told(&self) -> Vec<(OrderId, i64, Fact)> {
        self.state().told.clone()
    }

    /// Serial numbers handed out, in order, and the orders they went to.
    pub fn serials(&self) -> Vec<(SerialNumber, OrderId)> {
        self.state().serials.clone()
    }

    /// Entitlements of an order and how much of each was revoked.
    pub fn entitlements(&self, order: OrderId) -> Vec<(Entitlement, u32)> {
        self.state().entitlements.values().filter(|(granted, _)| granted.order == order).cloned().collect()
    }

    /// What is told to others from the `first`-th event on, in the order of its commits.
    pub fn outbox(&self, first: usize) -> Vec<Outgoing> {
        self.state().outbox.get(first..).unwrap_or_default().to_vec()
    }

    /// Every stock row.
    pub fn all_rows(&self) -> BTreeMap<Place, StockLevel> {
        self.state().rows.clone()
    }

    /// Every reservation.
    pub fn reservations(&self) -> Vec<Reservation> {
        self.state().reservations.values().cloned().collect()
    }

    /// The same stock as a process of the reign `epoch` writes it.
    pub fn under(&self, epoch: Epoch) -> Self {
        Self { centres: self.centres.clone(), state: Arc::clone(&self.state), epoch }
    }

    /// From now on only processes of the reign `epoch` may write.
    pub fn begin_reign(&self, epoch: i64) {
        self.state().reign = epoch;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, work: impl FnOnce(&mut State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut state = self.state();
        if state.reign != self.epoch.get() {
            return Err(not_writable());
        }
        let mut next = state.clone();
        let outcome = work(&mut next)?;
        *state = next;
        Ok(outcome)
    }
}

#[async_trait]
impl StockStore for MemoryStock {
    async fn reservation(&self, order: OrderId) -> Result<Option<Reservation>, StoreError> {
        Ok(self.state().reservation(order))
    }

    async fn rows(&self, skus: &[Sku]) -> Result<HashMap<Sku, Rows>, StoreError> {
        let state = self.state();
        let mut found: HashMap<Sku, Rows> = HashMap::new();
        for ((sku, centre), row) in state.rows.iter().filter(|((sku, _), _)| skus.contains(sku)) {
            found.entry(sku.clone()).or_default().insert(centre.clone(), row.clone());
        }
        Ok(found)
    }

    async fn reserve(&self, requests: &[Request], now: DateTime<Utc>) -> Vec<Result<Reserved, StoreError>> {
        let one = |request: &Request| {
            self.change(|state| {
                if !state.applied.insert(request.cause) {
                    return Ok(Reserved { committed: Committed::Repeated, status: None });
                }
                let current = state.reservations.get(&request.asked.order).cloned();
                let mut shelves = state.shelves();
                let decision =
                    reservation::reserve(current.as_ref(), request.asked.clone(), &mut shelves, &self.centres, now);
                let Decision::Step(step) = decision else {
                    return Ok(Reserved { committed: Committed::Applied, status: None });
                };
                state.put_back(shelves);
                state.tell(&step);
                Ok(Reserved { committed: Committed::Applied, status: Some(step.after.status) })
            })
        };
        requests.iter().map(one).collect()
    }

    async fn commit(&self, why: Why, decision: &Decision) -> Result<Committed, StoreError> {
        self.change(|state| {
            if let Why::Message(cause) = why
                && !state.applied.insert(cause)
            {
                return Ok(Committed::Repeated);
            }
            if let Decision::Step(step) = decision {
                state.take(step)?;
            }
            Ok(Committed::Applied)
        })
    }

    async fn receive(&self, receipt: &Receipt, _by: UserId, _now: DateTime<Utc>) -> Result<Committed, StoreError> {
        self.change(|state| {
            match state.receipts.get(receipt.reference()) {
                Some(counted) if counted == receipt => return Ok(Committed::Repeated),
                Some(_) => return Err(StoreError::ReferenceReused),
                None if state.corrections.contains_key(receipt.reference()) => return Err(StoreError::ReferenceReused),
                None => {}
            }
            state.receipts.insert(receipt.reference().clone(), receipt.clone());
            for line in receipt.lines() {
                if state.rows.iter().any(|((sku, _), row)| *sku == line.sku && row.kind != line.kind) {
                    return Err(StoreError::KindDiffers(line.sku.clone()));
                }
                let place = (line.sku.clone(), receipt.centre().clone());
                state.rows.entry(place).or_insert_with(|| StockLevel::empty(line.kind));
            }
            let mut shelves = state.shelves();
            for line in receipt.lines() {
                shelves.receive(&line.sku, receipt.centre(), line.quantity).map_err(of_shelf)?;
            }
            state.put_back(shelves);
            Ok(Committed::Applied)
        })
    }

    async fn correct(&self, correction: &Correction, by: UserId, _now: DateTime<Utc>) -> Result<Committed, StoreError> {
        self.change(|state| {
            let reference = correction.reference();
            match state.corrections.get(reference) {
                Some((booked, _)) if booked == correction => return Ok(Committed::Repeated),
                Some(_) => return Err(StoreError::ReferenceReused),
                None if state.receipts.contains_key(reference) => return Err(StoreError::ReferenceReused),
                None => {}
            }
            let mut shelves = state.shelves();
            for line in correction.lines() {
                let corrected = shelves.correct(&line.sku, correction.centre(), line.step());
                corrected.map_err(|error| match error {
                    CannotCorrect::Unknown(sku) => StoreError::UnknownSku(sku),
                    CannotCorrect::NotCounted(sku) => StoreError::NotCounted(sku),
                    CannotCorrect::NotForSale(sku) => StoreError::NotForSale(sku),
                    CannotCorrect::Shelf(error) => of_shelf(error),
                })?;
            }
            state.put_back(shelves);
            state.corrections.insert(reference.clone(), (correction.clone(), by));
            Ok(Committed::Applied)
        })
    }

    async fn limit_back_orders(&self, sku: &Sku, limit: u32, _by: UserId) -> Result<(), StoreError> {
        self.change(|state| {
            let mut shelves = state.shelves();
            shelves.limit_promises(sku, limit, &self.centres).map_err(|error| match error {
                NoPromises::Unknown(sku) => StoreError::UnknownSku(sku),
                NoPromises::NotCounted(sku) => StoreError::NotCounted(sku),
            })?;
            state.put_back(shelves);
            Ok(())
        })
    }

    async fn availability(&self, skus: &[Sku]) -> Result<HashMap<Sku, Availability>, StoreError> {
        let rows = self.rows(skus).await?;
        Ok(rows.into_iter().map(|(sku, rows)| (sku, availability(rows.iter(), &self.centres))).collect())
    }

    async fn claim_overdue(
        &self,
        now: DateTime<Utc>,
        asked_before: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<OrderId>, StoreError> {
        self.change(|state| {
            let mut overdue: Vec<_> = state
                .reservations
                .values()
                .filter(|held| held.status == Status::Held && held.held_until < now)
                .filter(|held| state.asked.get(&held.order).is_none_or(|asked| *asked < asked_before))
                .map(|held| (held.held_until, held.order))
                .collect();
            overdue.sort();
            overdue.truncate(limit.into());
            let orders: Vec<OrderId> = overdue.into_iter().map(|(_, order)| order).collect();
            state.asked.extend(orders.iter().map(|order| (*order, now)));
            Ok(orders)
        })
    }

    async fn sendable(&self, limit: u16) -> Result<Vec<(OrderId, Vec<Centre>)>, StoreError> {
        let state = self.state();
        let mut sendable: BTreeMap<OrderId, Vec<Centre>> = BTreeMap::new();
        for ((order, centre), shipment) in &state.shipments {
            let awaited = state
                .waiting
                .iter()
                .any(|waiting| waiting.order == *order && waiting.place.1 == *centre && waiting.units > 0);
            if shipment.state == ShipmentState::Waiting && !awaited {
                sendable.entry(*order).or_default().push(centre.clone());
            }
        }
        Ok(sendable.into_iter().take(limit.into()).collect())
    }

    async fn audit(&self, from: Option<&Mark>, most: Most) -> Result<Look, StoreError> {
        let state = self.state();
        let ahead = state.rows.iter().filter(|(place, _)| from.is_none_or(|mark| mark.is_before(place)));
        let rows: Vec<(Place, StockLevel, i64)> = ahead
            .take(most.rows.into())
            .map(|(place, row)| (place.clone(), row.clone(), state.waiting_at(place)))
            .collect();
        let end = rows.last().map(|(place, ..)| place).filter(|_| rows.len() >= usize::from(most.rows));
        let read = from.map(Mark::last_read);
        // A movement's number is its place among all.
        let numbered = (1_i64..).zip(&state.moves).map(|(number, moved)| (&moved.place, number, moved));
        let mut moves: Vec<(&Place, i64, &Move)> = numbered
            .filter(|(place, number, _)| read.is_none_or(|read| (*place, *number) > read))
            .filter(|(place, ..)| end.is_none_or(|end| *place <= end))
            .collect();
        moves.sort_by_key(|(place, number, _)| (*place, *number));
        let part = |(place, through, moved): (&Place, i64, &Move)| Part {
            place: place.clone(),
            movements: 1,
            through,
            sums: HashMap::from([(moved.kind, i64::from(moved.units))]),
        };
        let limit = usize::try_from(most.movements).unwrap_or(usize::MAX);
        let parts = moves.into_iter().take(limit).map(part).collect();
        Ok(Look::of(from, rows, parts, most))
    }

    async fn note_findings(
        &self,
        audited: &[Place],
        findings: &[Finding],
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        self.change(|state| {
            let same = |one: &Finding, other: &Finding| one.place == other.place && one.counter == other.counter;
            let before = state.findings.clone();
            let since = |new: &Finding| before.iter().find(|(open, _)| same(open, new)).map(|(_, at)| *at);
            state
                .findings
                .retain(|(open, _)| !audited.contains(&open.place) && !findings.iter().any(|again| same(again, open)));
            state.findings.extend(findings.iter().map(|found| (found.clone(), since(found).unwrap_or(now))));
            state.findings.sort_by_key(|(_, at)| *at);
            Ok(findings.iter().filter(|found| since(found).is_none()).count() as u64)
        })
    }

    async fn open_findings(&self, limit: u16) -> Result<Vec<Finding>, StoreError> {
        Ok(self.state().findings.iter().take(limit.into()).map(|(finding, _)| finding.clone()).collect())
    }

    async fn findings_by_counter(&self) -> Result<Vec<OpenFindings>, StoreError> {
        let mut open: BTreeMap<&'static str, OpenFindings> = BTreeMap::new();
        for (finding, at) in &self.state().findings {
            let counter = finding.counter;
            // The oldest comes first.
            open.entry(counter).or_insert(OpenFindings { counter, count: 0, since: *at }).count += 1;
        }
        Ok(open.into_values().collect())
    }
}

impl State {
    /// As it would be read: promises as they stand now.
    fn reservation(&self, order: OrderId) -> Option<Reservation> {
        let mut found = self.reservations.get(&order).cloned()?;
        for piece in &mut found.pieces {
            let place = piece.place();
            let own = self.waiting.iter().filter(|waiting| waiting.order == order && waiting.place == place);
            piece.waiting = own.map(|waiting| waiting.units).sum();
        }
        Some(found)
    }

    /// Units that promises of a row still wait for.
    fn waiting_at(&self, place: &Place) -> i64 {
        let of_row = self.waiting.iter().filter(|waiting| waiting.place == *place);
        of_row.map(|waiting| i64::from(waiting.units)).sum()
    }

    fn shelves(&self) -> Shelves {
        Shelves::new(self.rows.clone(), self.waiting.clone())
    }

    fn put_back(&mut self, shelves: Shelves) {
        self.rows = shelves.rows().clone();
        self.waiting = shelves.waiting().to_vec();
        self.moves.extend(shelves.moves().iter().cloned());
    }

    fn take(&mut self, step: &Step) -> Result<(), StoreError> {
        let order = step.after.order;
        let current = self.reservations.get(&order).map(|current| (current.status, current.version));
        if current != step.before {
            return Err(StoreError::Overtaken);
        }
        if let Some(movements) = &step.movements {
            self.move_units(order, movements)?;
        }
        for shipment in &step.shipments {
            self.shipments.insert((order, shipment.centre.clone()), shipment.clone());
        }
        for granted in &step.granted {
            self.entitlements.insert((order, granted.sku.clone()), (granted.clone(), 0));
        }
        for (sku, units) in &step.revoked {
            if let Some((_, revoked)) = self.entitlements.get_mut(&(order, sku.clone())) {
                *revoked += units;
            }
        }
        self.tell(step);
        Ok(())
    }

    fn tell(&mut self, step: &Step) {
        let order = step.after.order;
        self.reservations.insert(order, step.after.clone());
        self.outbox.extend(events::of_step(step));
        self.told.extend(step.told().map(|(version, fact)| (order, version, fact.clone())));
    }

    fn move_units(&mut self, order: OrderId, movements: &Movements) -> Result<(), StoreError> {
        let mut shelves = self.shelves();
        let serials = match movements.kind {
            MovementKind::Sold => shelves.sell(order, &movements.pieces),
            MovementKind::Returned => shelves.take_back(order, &movements.pieces).map(|()| Vec::new()),
            _ => shelves.release(order, &movements.pieces).map(|()| Vec::new()),
        };
        let numbers = serials.map_err(of_shelf)?.into_iter();
        self.serials.extend(numbers.map(|(sku, number)| (SerialNumber { sku, number }, order)));
        self.put_back(shelves);
        Ok(())
    }
}

/// In the words of the commit that PostgreSQL goes through.
fn not_writable() -> StoreError {
    StoreError::Failed(Failure {
        message: "this site may not write now",
        kind: ErrorKind::Unavailable,
        code: "not-writable",
        retry_after: Some(std::time::Duration::from_secs(1)),
        source: None,
    })
}

fn of_shelf(error: ShelfError) -> StoreError {
    match error {
        ShelfError::Full(_) => StoreError::Full,
        ShelfError::Broken { .. } => StoreError::Failed(Failure {
            message: "units are not held",
            kind: ErrorKind::Internal,
            code: "internal",
            retry_after: None,
            source: Some(Box::new(error)),
        }),
    }
}
