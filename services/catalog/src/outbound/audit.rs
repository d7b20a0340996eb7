//! What staff did, in `operator_actions` of the database `inventory`; and in memory, for tests and for shops without a database.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chassis::problem::chain;
use messaging::{Action, Database};

use crate::usecases::ports::audit::{Act, Audit, AuditDown};

pub struct OperatorActions(Database);

impl OperatorActions {
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl Audit for OperatorActions {
    async fn note(&self, act: Act) -> Result<(), AuditDown> {
        let Act { by, name, subject, reason, outcome } = act;
        let recorded = self.0.record_action(Action { actor: by, name, subject, reason, outcome }).await;
        recorded.map(drop).map_err(|error| AuditDown(chain(&error)))
    }
}

#[derive(Default)]
pub struct Notes(Mutex<Vec<Act>>);

impl Notes {
    /// Everything that was done, in its order.
    pub fn acts(&self) -> Vec<Act> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Audit for Notes {
    async fn note(&self, act: Act) -> Result<(), AuditDown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(act);
        Ok(())
    }
}
