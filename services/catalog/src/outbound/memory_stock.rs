//! Stock in memory, for tests of use cases. It passes the same suite as PostgreSQL: what it does not do (the fence, locks,
//! durability) the suite does not ask.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{ErrorKind, MessageId, OrderId, Sku};

use crate::domain::inventory::{LevelError, MovementKind, SerialNumber, StockLevel};
use crate::domain::receipt::{Receipt, ReceiptReference};
use crate::domain::reservation::{Decision, Fact, Movements, Reservation, Step};
use crate::usecases::ports::stock::{Committed, Failure, StockStore, StoreError};

#[derive(Default)]
pub struct MemoryStock(Mutex<State>);

/// A change works on a copy, which replaces the original when it went through: all or nothing.
#[derive(Clone, Default)]
struct State {
    levels: HashMap<Sku, StockLevel>,
    reservations: HashMap<OrderId, Reservation>,
    receipts: HashMap<ReceiptReference, Receipt>,
    serials: Vec<(SerialNumber, OrderId)>,
    applied: HashSet<MessageId>,
    told: Vec<(OrderId, i64, Fact)>,
}

impl MemoryStock {
    /// Order, version and fact of everything told so far, in order.
    pub fn told(&self) -> Vec<(OrderId, i64, Fact)> {
        self.state().told.clone()
    }

    /// Serial numbers handed out, in order, and the orders they went to.
    pub fn serials(&self) -> Vec<(SerialNumber, OrderId)> {
        self.state().serials.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StockStore for MemoryStock {
    async fn reservation(&self, order: OrderId) -> Result<Option<Reservation>, StoreError> {
        Ok(self.state().reservations.get(&order).cloned())
    }

    async fn levels(&self, skus: &[Sku]) -> Result<HashMap<Sku, StockLevel>, StoreError> {
        let state = self.state();
        Ok(skus.iter().filter_map(|sku| state.levels.get(sku).map(|level| (sku.clone(), level.clone()))).collect())
    }

    async fn commit(&self, cause: MessageId, decision: &Decision) -> Result<Committed, StoreError> {
        let mut state = self.state();
        let mut next = state.clone();
        if !next.applied.insert(cause) {
            return Ok(Committed::Repeated);
        }
        if let Decision::Step(step) = decision {
            next.take(step)?;
        }
        *state = next;
        Ok(Committed::Applied)
    }

    async fn receive(&self, receipt: &Receipt, _now: DateTime<Utc>) -> Result<Committed, StoreError> {
        let mut state = self.state();
        match state.receipts.get(receipt.reference()) {
            Some(counted) if counted == receipt => return Ok(Committed::Repeated),
            Some(_) => return Err(StoreError::ReferenceReused),
            None => {}
        }
        let mut next = state.clone();
        next.receipts.insert(receipt.reference().clone(), receipt.clone());
        for line in receipt.lines() {
            let level = next.levels.remove(&line.sku).unwrap_or_else(|| StockLevel::empty(line.kind));
            if level.kind != line.kind {
                return Err(StoreError::KindDiffers(line.sku.clone()));
            }
            let level = level.receive(line.quantity).map_err(|_| StoreError::Full)?;
            next.levels.insert(line.sku.clone(), level);
        }
        *state = next;
        Ok(Committed::Applied)
    }
}

impl State {
    fn take(&mut self, step: &Step) -> Result<(), StoreError> {
        let order = step.after.order;
        let current = self.reservations.get(&order).map(|current| (current.status, current.version));
        if current != step.before {
            return Err(StoreError::Overtaken);
        }
        self.reservations.insert(order, step.after.clone());
        if let Some(movements) = &step.movements {
            self.move_units(order, movements)?;
        }
        self.told.extend(step.facts.iter().map(|fact| (order, step.after.version, fact.clone())));
        Ok(())
    }

    fn move_units(&mut self, order: OrderId, movements: &Movements) -> Result<(), StoreError> {
        for line in movements.lines.iter() {
            let level = self.levels.get(&line.sku).cloned().ok_or_else(|| StoreError::OutOfStock(line.sku.clone()))?;
            let level = level.apply(movements.kind, line.quantity).map_err(|error| match error {
                LevelError::Short => StoreError::OutOfStock(line.sku.clone()),
                LevelError::TooMany => StoreError::Full,
                LevelError::NotHeld => not_held(),
            })?;
            if let (MovementKind::Sold, Some(numbers)) = (movements.kind, level.serials_of_last(line.quantity)) {
                self.serials.extend(numbers.map(|number| (SerialNumber { sku: line.sku.clone(), number }, order)));
            }
            self.levels.insert(line.sku.clone(), level);
        }
        Ok(())
    }
}

fn not_held() -> StoreError {
    StoreError::Failed(Failure {
        message: "units are not held",
        kind: ErrorKind::Internal,
        code: "internal",
        retry_after: None,
        source: None,
    })
}
