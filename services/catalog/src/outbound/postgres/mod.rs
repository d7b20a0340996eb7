//! Stock in PostgreSQL. Each write goes through `messaging`'s one commit, so that the fence, the mark of the message, the rows
//! and the events are one transaction.
//!
//! How two decisions about the same rows are kept apart: a step names the status and version it was decided about and finds
//! no row when another came first; stock rows are locked in SKU order and changed by conditional updates, so the check is
//! made on the newest version of the row.

mod commit;
mod events;
mod failure;
mod load;
mod receive;

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{MessageId, OrderId, Sku};
use messaging::Database;

use crate::domain::inventory::StockLevel;
use crate::domain::receipt::Receipt;
use crate::domain::reservation::{Decision, Reservation};
use crate::usecases::ports::stock::{Committed, StockStore, StoreError};

/// The stock of a region, in its database `inventory`. Cheap to clone.
#[derive(Clone)]
pub struct PgStock {
    database: Database,
}

impl PgStock {
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl StockStore for PgStock {
    async fn reservation(&self, order: OrderId) -> Result<Option<Reservation>, StoreError> {
        load::reservation(self.database.pool(), order).await
    }

    async fn levels(&self, skus: &[Sku]) -> Result<HashMap<Sku, StockLevel>, StoreError> {
        load::levels(self.database.pool(), skus).await
    }

    async fn commit(&self, cause: MessageId, decision: &Decision) -> Result<Committed, StoreError> {
        commit::commit(&self.database, cause, decision).await
    }

    async fn receive(&self, receipt: &Receipt, now: DateTime<Utc>) -> Result<Committed, StoreError> {
        receive::receive(&self.database, receipt, now).await
    }
}
