//! A row of a settlement file that names no attempt of ours: money without an order, on its way in or back. What the books say of
//! it is matched; of what they know nothing yet, the file is the finder (`orphan_money`).

use std::collections::BTreeMap;

use super::settle_day::{BookedOrphan, Outcome};
use super::{App, Failure, orphan_money};
use crate::domain::settlement::{SettlementKind, SettlementRow};
use crate::domain::{Intent, IntentStatus};

/// The rows of these chunks by which payments came and went first.
#[derive(Default)]
pub(super) struct Firsts(BTreeMap<(String, &'static str), i64>);

/// What the ledger has of a row that is no attempt of ours, and in minor units how much. Money comes once and goes once: what is booked
/// belongs to the first row.
///
/// # Errors
/// [`Failure`] when the books cannot be read or written.
pub(super) async fn judge(
    app: &App,
    gateway: &str,
    row: &SettlementRow,
    firsts: &mut Firsts,
) -> Result<(Outcome, i64), Failure> {
    let (outcome, ours) = match_up(app, gateway, row).await?;
    if !outcome.agrees() {
        return Ok((outcome, ours));
    }
    let known = app.store.orphan_matched_first(gateway, &row.payment, row.kind).await?.unwrap_or(row.sequence);
    let first = *firsts.0.entry((row.payment.clone(), row.kind.code())).or_insert(known);
    Ok(if first == row.sequence { (outcome, ours) } else { (Outcome::Again, 0) })
}

async fn match_up(app: &App, gateway: &str, row: &SettlementRow) -> Result<(Outcome, i64), Failure> {
    let payment = [row.payment.clone()];
    let nothing = (Outcome::Unmatched, 0);
    if let Some(known) = app.store.orphans_booked(gateway, &payment).await?.pop() {
        return Ok(judge_known(row, &known));
    }
    let Some(via) = app.gateway.via(gateway).filter(|_| row.kind == SettlementKind::Capture) else {
        return Ok(nothing);
    };
    let intent = Intent {
        id: row.payment.clone(),
        status: IntentStatus::Succeeded,
        declined: false,
        amount_minor: row.amount_minor,
        currency: row.currency.clone(),
        order: Some(row.reference.clone()),
        attempt: row.attempt,
        created_unix: row.moved_at.timestamp(),
        refunded_minor: None,
    };
    if orphan_money::is_known(app, &intent).await? {
        return Ok(nothing);
    }
    orphan_money::found(app, &intent, via).await?;
    let found = app.store.orphans_booked(gateway, &payment).await?.pop();
    Ok(match found.map(|found| judge_known(row, &found)) {
        Some((Outcome::Matched, ours)) => (Outcome::Resolved, ours),
        other => other.unwrap_or(nothing),
    })
}

/// Do the books have of an orphan what the row says?
fn judge_known(row: &SettlementRow, BookedOrphan { orphan, taken, returned }: &BookedOrphan) -> (Outcome, i64) {
    let refund = &orphan.attempt;
    let same = refund.amount.minor() == row.amount_minor && refund.amount.currency().code() == row.currency;
    let (booked, ours) = match row.kind {
        SettlementKind::Capture => (*taken, true),
        // The gateway names the order of the charge, as it was told when it was made, and the number of our refund.
        SettlementKind::Refund => (*returned, row.attempt == Some(refund.number)),
    };
    match (booked, ours && same) {
        (true, true) => (Outcome::Matched, row.kind.signed(row.amount_minor)),
        // The refund is under way, and the gateway was faster to tell its books than us.
        (false, true) => (Outcome::Open, 0),
        (_, false) => (Outcome::Differs, 0),
    }
}
