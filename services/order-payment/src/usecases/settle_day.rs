//! Settles a day: reads the gateway's file of it, matches every row with an attempt and the ledger, and records the total and
//! the difference. Safe to repeat, and repeated until nothing is open.
//!
//! The file is a definitive source: what it says was taken or given back has been. An attempt that is open or given up by us is
//! brought to that end by the same single-winner step as any other news; whoever comes first wins. What cannot be brought
//! together is a finding for a person, and stays one until a later look at the day finds it in order. Money that was taken for no
//! order of ours is matched with what the books say of orphans; where they say nothing yet, the file is who found it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Days, NaiveDate, Utc};
use common::{AttemptId, OrderId};

use messaging::crash::{self, Boundary};

use super::error::{CommitError, StoreError};
use super::ports::{Finding, FindingKind};
use super::process_payment::{captured, refunded};
use super::{App, Failure, settle_orphan};
use crate::domain::settlement::{self, SettlementFile, SettlementKind, SettlementRow, SettlementTotal};
use crate::domain::{Attempt, AttemptKind, AttemptState, Orphan};
use crate::metrics;

/// Rows matched at a time: one statement each way.
const CHUNK: usize = 500;
/// Ledger transactions of a day that no file names, looked at in one go. A day with more has a fault of another kind.
const MOST_MISSING: u16 = 1_000;
/// Days back for which a file is still asked: a gateway that hands them out late, or that was away.
const LOOK_BACK: u64 = 7;

/// What the books keep of settled days.
#[async_trait]
pub trait Settlements: Send + Sync {
    /// The day that was settled last before `day`, and when the gateway closed it.
    async fn settled_before(&self, gateway: &str, day: NaiveDate) -> Result<Option<Settled>, StoreError>;

    async fn settled(&self, gateway: &str, day: NaiveDate) -> Result<Option<Settled>, StoreError>;

    /// The attempts with these orders and numbers, and what the ledger has booked for each.
    async fn booked(&self, wanted: &[(OrderId, u32)]) -> Result<Vec<Booked>, StoreError>;

    /// What the books have for orphans with these payments.
    async fn orphans_booked(&self, gateway: &str, payments: &[String]) -> Result<Vec<BookedOrphan>, StoreError>;

    /// The lowest number of a row, of any day, that was matched with each of these attempts.
    async fn matched_first(&self, gateway: &str, attempts: &[AttemptId]) -> Result<Vec<(AttemptId, i64)>, StoreError>;

    /// The lowest number of a row, of any day, by which this payment without an attempt was matched as coming or going.
    async fn orphan_matched_first(
        &self,
        gateway: &str,
        payment: &str,
        kind: SettlementKind,
    ) -> Result<Option<i64>, StoreError>;

    /// Keeps rows of a day; a known one gets its new outcome.
    async fn keep_rows(&self, gateway: &str, day: NaiveDate, rows: &[JudgedRow]) -> Result<(), CommitError>;

    /// Ledger transactions of a gateway, recorded in `[from, to)`, that no row of any day names.
    async fn unsettled(
        &self,
        gateway: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Unsettled>, StoreError>;

    /// Records the day. Findings of the day that are not among `findings` are resolved.
    async fn close_day(&self, day: &ClosedDay, findings: &[Finding], now: DateTime<Utc>) -> Result<(), CommitError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub day: NaiveDate,
    pub closed_at: DateTime<Utc>,
    pub checksum: String,
    pub open: u64,
}

/// An attempt with what the ledger has for it: positive for money taken, negative for money given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    pub attempt: Attempt,
    pub booked_minor: Option<i64>,
}

/// Money without an order, with what the ledger has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookedOrphan {
    pub orphan: Orphan,
    /// Whether it was booked as taken, and as given back.
    pub taken: bool,
    pub returned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Matched,
    /// The file was the first to say it.
    Resolved,
    /// Not yet; the next look at the day may find it.
    Open,
    Differs,
    /// Another row has settled this attempt before.
    Again,
    /// Nothing of ours.
    Unmatched,
}

impl Outcome {
    pub fn code(self) -> &'static str {
        match self {
            Self::Matched => "MATCHED",
            Self::Resolved => "RESOLVED",
            Self::Open => "OPEN",
            Self::Differs | Self::Again => "DIFFERS",
            Self::Unmatched => "UNMATCHED",
        }
    }

    pub(super) fn agrees(self) -> bool {
        matches!(self, Self::Matched | Self::Resolved)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedRow {
    pub row: SettlementRow,
    pub attempt: Option<AttemptId>,
    pub outcome: Outcome,
}

/// A movement in our ledger that the gateway has not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    pub attempt: AttemptId,
    pub order: OrderId,
    pub amount_minor: i64,
    pub currency: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedDay {
    pub gateway: String,
    pub day: NaiveDate,
    pub closed_at: DateTime<Utc>,
    pub checksum: String,
    pub rows: u64,
    pub open: u64,
    pub totals: BTreeMap<String, DayTotal>,
}

/// One currency of a day, minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayTotal {
    pub theirs: SettlementTotal,
    pub ours: i64,
}

impl DayTotal {
    pub fn difference(&self) -> i64 {
        self.theirs.net() - self.ours
    }
}

/// What came of looking at a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// The gateway has not closed it, or gives no files.
    NoFile,
    Closed(ClosedDay),
}

/// Settles every day of the last week that has a file and is not in order yet, up to yesterday. A day that cannot be settled keeps
/// no other day and no other gateway from it.
///
/// # Errors
/// The last day that could not be settled; the next round tries again.
pub async fn settle_recent_days(app: &App) -> Result<(), Failure> {
    let today = app.clock.now().date_naive();
    let mut outcome = Ok(());
    for gateway in app.gateway.names() {
        for back in (1..=LOOK_BACK).rev() {
            let Some(day) = today.checked_sub_days(Days::new(back)) else { continue };
            if app.store.settled(&gateway, day).await?.is_none_or(|settled| settled.open > 0)
                && let Err(failure) = settle_day(app, &gateway, day).await
            {
                if failure.is_crash() {
                    return Err(failure);
                }
                tracing::error!(gateway, %day, error = %failure, "a day cannot be settled now");
                outcome = Err(failure);
            }
        }
        if let Some(last) = app.store.settled_before(&gateway, today).await? {
            metrics::settled_until(&gateway, last.closed_at.timestamp());
        }
    }
    outcome
}

/// Settles one day of one gateway.
///
/// # Errors
/// A file that cannot be had or believed, one that has changed since the day was settled, books that cannot be read or written.
pub async fn settle_day(app: &App, gateway: &str, day: NaiveDate) -> Result<Look, Failure> {
    let fetched = crash::around(Boundary::GatewaySettlement, app.gateway.settlement(gateway, day)).await?;
    let bytes = fetched.map_err(|reason| Failure::broken(format!("no settlement file of {gateway}: {reason}")))?;
    let Some(bytes) = bytes else { return Ok(Look::NoFile) };
    let file = read(bytes, day)?;
    let known = app.store.settled(gateway, day).await?;
    if known.is_some_and(|known| known.checksum != file.checksum) {
        metrics::alarm("settlement");
        return Err(Failure::broken(format!(
            "the settlement file of {gateway} for {day} has changed since it was read"
        )));
    }
    let mut closed = ClosedDay {
        gateway: gateway.to_owned(),
        day,
        closed_at: file.closed_at,
        checksum: file.checksum.clone(),
        rows: file.rows.len() as u64,
        open: 0,
        totals: file.totals.iter().map(|(code, total)| (code.clone(), DayTotal { theirs: *total, ours: 0 })).collect(),
    };
    let mut findings = Vec::new();
    for rows in file.rows.chunks(CHUNK) {
        // Rows before these are kept by now, so that whoever settles an attempt again is seen in this file too.
        let judged = judge_all(app, gateway, rows, &mut closed, &mut findings).await?;
        app.store.keep_rows(gateway, day, &judged).await?;
    }
    what_is_missing(app, &file, &mut closed, &mut findings).await?;
    for finding in &findings {
        tracing::error!(gateway, %day, reference = finding.reference, detail = finding.detail, "a settlement differs from our books");
    }
    app.store.close_day(&closed, &findings, app.clock.now()).await?;
    for (currency, total) in &closed.totals {
        metrics::settlement_difference(gateway, currency, total.difference());
    }
    tracing::info!(gateway, %day, rows = closed.rows, open = closed.open, "day settled");
    Ok(Look::Closed(closed))
}

fn read(bytes: Bytes, day: NaiveDate) -> Result<SettlementFile, Failure> {
    let file = settlement::parse(&bytes).map_err(|error| {
        metrics::alarm("settlement");
        Failure::broken(format!("the settlement file of {day} is not believed: {error}"))
    })?;
    if file.day == day {
        return Ok(file);
    }
    Err(Failure::broken(format!("the settlement file of {day} is that of {}", file.day)))
}

async fn judge_all(
    app: &App,
    gateway: &str,
    rows: &[SettlementRow],
    closed: &mut ClosedDay,
    findings: &mut Vec<Finding>,
) -> Result<Vec<JudgedRow>, Failure> {
    let wanted: Vec<(OrderId, u32)> = rows.iter().filter_map(named).collect();
    let booked = app.store.booked(&wanted).await?;
    let ids: Vec<AttemptId> = booked.iter().map(|booked| booked.attempt.id).collect();
    let mut firsts: BTreeMap<AttemptId, i64> = app.store.matched_first(gateway, &ids).await?.into_iter().collect();
    let mut orphans = settle_orphan::Firsts::default();
    let mut judged = Vec::with_capacity(rows.len());
    for row in rows {
        let of_row = |booked: &&Booked| Some((booked.attempt.order, booked.attempt.number)) == named(row);
        let mut ours = booked.iter().find(of_row).filter(|booked| booked.attempt.via.name == gateway).cloned();
        let mut outcome = judge(row, ours.as_ref());
        if outcome == Outcome::Open
            && let Some(Booked { attempt, .. }) = ours.take()
        {
            // Whoever was faster had the same news; what they wrote is read back.
            let key = [(attempt.order, attempt.number)];
            let first = resolve(app, row, attempt).await?;
            ours = app.store.booked(&key).await?.into_iter().next();
            outcome = match judge(row, ours.as_ref()) {
                Outcome::Matched if first => Outcome::Resolved,
                outcome => outcome,
            };
        }
        let mut ours_minor = ours.as_ref().and_then(|ours| ours.booked_minor).unwrap_or_default();
        if let Some(ours) = &ours
            && outcome.agrees()
            && *firsts.entry(ours.attempt.id).or_insert(row.sequence) != row.sequence
        {
            // An attempt moves money once. What we booked for it belongs to the first row.
            (outcome, ours_minor) = (Outcome::Again, 0);
        }
        let of_another_payment = |ours: &Booked| ours.attempt.intent.as_ref().is_some_and(|own| *own != row.payment);
        if outcome == Outcome::Differs && ours.as_ref().is_some_and(of_another_payment) {
            // A second charge under the name of one of ours is money without an order.
            (outcome, ours) = (Outcome::Unmatched, None);
        }
        if outcome == Outcome::Unmatched {
            (outcome, ours_minor) = settle_orphan::judge(app, gateway, row, &mut orphans).await?;
        }
        if let Some(total) = closed.totals.get_mut(&row.currency) {
            total.ours += ours_minor;
        }
        if !outcome.agrees() {
            closed.open += 1;
            findings.push(finding(closed, row, outcome));
        }
        judged.push(JudgedRow { row: row.clone(), attempt: ours.map(|ours| ours.attempt.id), outcome });
    }
    Ok(judged)
}

/// Our order and attempt, as the row names them.
fn named(row: &SettlementRow) -> Option<(OrderId, u32)> {
    Some((row.reference.parse::<OrderId>().ok()?, row.attempt?))
}

/// Does the ledger have what the row says?
fn judge(row: &SettlementRow, ours: Option<&Booked>) -> Outcome {
    let Some(Booked { attempt, booked_minor }) = ours else { return Outcome::Unmatched };
    let same = kind_of(attempt) == row.kind
        && attempt.amount.minor() == row.amount_minor
        && attempt.amount.currency().code() == row.currency
        && attempt.intent.as_ref().is_none_or(|intent| *intent == row.payment);
    match booked_minor {
        _ if !same => Outcome::Differs,
        Some(booked) if *booked == row.kind.signed(row.amount_minor) => Outcome::Matched,
        Some(_) => Outcome::Differs,
        None => Outcome::Open,
    }
}

fn kind_of(attempt: &Attempt) -> SettlementKind {
    match attempt.kind {
        AttemptKind::Charge => SettlementKind::Capture,
        AttemptKind::Refund => SettlementKind::Refund,
    }
}

/// Brings an attempt to the end that the file knows. `false`: another one was faster, or it cannot be yet.
async fn resolve(app: &App, row: &SettlementRow, mut attempt: Attempt) -> Result<bool, Failure> {
    let (version, order, state) = (attempt.version, attempt.order, attempt.state);
    if !state.may_become(AttemptState::Captured) {
        // PREPARED: we have not sent what the gateway says it did. For a person.
        return Ok(false);
    }
    attempt.intent.get_or_insert_with(|| row.payment.clone());
    attempt.in_doubt = false;
    attempt.leased_until = None;
    let resolved = match attempt.kind {
        AttemptKind::Charge => captured(app, version, attempt).await,
        AttemptKind::Refund => refunded(app, version, attempt).await,
    };
    match resolved {
        Ok(()) => {
            tracing::warn!(order.id = %order, payment.state = %state, "a settlement file told the outcome of a payment");
            Ok(true)
        }
        Err(failure) if failure.is_lost() => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// What our ledger has and the gateway's files up to this day do not. What we recorded shortly before the closing may belong to
/// the next day by the gateway's clock.
async fn what_is_missing(
    app: &App,
    file: &SettlementFile,
    closed: &mut ClosedDay,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let margin = app.rules.settlement_margin;
    let before = app.store.settled_before(&closed.gateway, closed.day).await?;
    let midnight = closed.day.and_time(chrono::NaiveTime::MIN).and_utc();
    let from = before.map_or(midnight + margin, |before| before.closed_at - margin);
    let missing = app.store.unsettled(&closed.gateway, from, file.closed_at - margin, MOST_MISSING).await?;
    for unsettled in missing {
        closed.open += 1;
        closed.totals.entry(unsettled.currency.clone()).or_default().ours += unsettled.amount_minor;
        findings.push(Finding {
            kind: FindingKind::SettlementDiffers,
            reference: format!("{}/{}/{}", closed.gateway, closed.day, unsettled.attempt),
            order: Some(unsettled.order),
            detail: format!("{} {} in our ledger, not settled", unsettled.amount_minor, unsettled.currency),
            happened_at: Some(midnight),
        });
    }
    Ok(())
}

fn finding(closed: &ClosedDay, row: &SettlementRow, outcome: Outcome) -> Finding {
    let what = match outcome {
        Outcome::Unmatched => "is no attempt of ours",
        Outcome::Open => "is an attempt that cannot end so yet",
        Outcome::Again => "was settled by an earlier row already",
        _ => "is another amount, payment or kind in our books",
    };
    Finding {
        kind: FindingKind::SettlementDiffers,
        reference: format!("{}/{}/{}", closed.gateway, closed.day, row.sequence),
        order: row.reference.parse().ok(),
        detail: format!("{} of {} {} for {} {what}", row.kind.code(), row.amount_minor, row.currency, row.payment),
        happened_at: Some(closed.day.and_time(chrono::NaiveTime::MIN).and_utc()),
    }
}
