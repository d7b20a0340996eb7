//! Booking what a count of the shelves found: the reference, the counts under their locks, a movement with its reason for each
//! line, and who did it, in one transaction.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::{Region, UserId};
use messaging::operators::{self, Action};
use messaging::{Cause, Change, Database, WriteError};
use sqlx::PgConnection;

use super::failure::{Refusal, counted_once};
use super::receive::{Written, insert_reference};
use super::shelves::{self, Account, of_shelf};
use crate::domain::correction::Correction;
use crate::domain::shelves::CannotCorrect;
use crate::usecases::ports::stock::{Committed, StoreError};

pub(super) async fn correct(
    database: &Database,
    correction: &Correction,
    by: UserId,
    now: DateTime<Utc>,
) -> Result<Committed, StoreError> {
    let change = Change { cause: Cause::Duty("correct_stock"), events: Vec::new(), answer: None };
    let (correction, region) = (Arc::new(correction.clone()), database.region());
    let outcome = database
        .commit(change, move |tx| {
            let correction = correction.clone();
            Box::pin(async move { write(tx, &correction, (region, by), now).await })
        })
        .await;
    counted_once(outcome)
}

async fn write(
    tx: &mut PgConnection,
    correction: &Correction,
    (region, by): (Region, UserId),
    now: DateTime<Utc>,
) -> Written {
    insert_reference(tx, correction.reference(), &correction.canonical(), now).await?;
    let skus: Vec<&str> = correction.lines().iter().map(|line| line.sku.as_str()).collect();
    let mut rows = shelves::lock(tx, &skus).await?;
    for line in correction.lines() {
        rows.correct(&line.sku, correction.centre(), line.step()).map_err(refused)?;
    }
    let (reference, reason) = (correction.reference().as_str(), correction.reason());
    shelves::write(tx, &rows, Account::Correction { reference, reason }, now).await?;
    let (found, lost) = correction.units();
    let action = Action {
        actor: by,
        name: "stock.correct",
        subject: reference.to_owned(),
        reason: reason.to_owned(),
        outcome: format!(
            "{} lines in {}: {found} units found, {lost} missed",
            correction.lines().len(),
            correction.centre()
        ),
    };
    Ok(operators::record(tx, region, &action).await?)
}

fn refused(error: CannotCorrect) -> WriteError<Refusal> {
    WriteError::Refused(match error {
        CannotCorrect::Unknown(sku) => Refusal::UnknownSku(sku),
        CannotCorrect::NotCounted(sku) => Refusal::NotCounted(sku),
        CannotCorrect::NotForSale(sku) => Refusal::NotForSale(sku),
        CannotCorrect::Shelf(error) => return of_shelf(error),
    })
}
