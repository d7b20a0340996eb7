//! What operators are answered, as JSON. No person is in any of it.

use chrono::{DateTime, NaiveDate, Utc};
use common::Money;
use serde::Serialize;

use crate::usecases::compensate_saga::Compensated;
use crate::usecases::desk::{AttemptCard, FindingRow, Report, SagaCard, SagaFile, SettledRow};
use crate::usecases::retry_saga::Retried;

#[derive(Serialize)]
pub struct ListView {
    items: Vec<CardView>,
    page: PageView,
}

#[derive(Serialize)]
struct PageView {
    next_cursor: Option<String>,
}

impl ListView {
    pub fn of(cards: &[SagaCard], next_cursor: Option<String>, now: DateTime<Utc>) -> Self {
        Self { items: cards.iter().map(|card| CardView::of(card, now)).collect(), page: PageView { next_cursor } }
    }
}

#[derive(Serialize)]
struct CardView {
    order_id: String,
    status: &'static str,
    reason: Option<&'static str>,
    total: MoneyView,
    placed_at: DateTime<Utc>,
    moved_at: DateTime<Utc>,
    /// Seconds since its order last took a step.
    unmoved_s: i64,
    deadline_at: DateTime<Utc>,
    /// `relay`, `stock`, `worker`, `gateway`, `cancel`, `refund` or `nothing`.
    waits_for: &'static str,
    attempt: Option<AttemptView>,
}

impl CardView {
    fn of(card: &SagaCard, now: DateTime<Utc>) -> Self {
        Self {
            order_id: card.order.to_string(),
            status: card.status.code(),
            reason: card.reason.map(|reason| reason.code()),
            total: card.total.into(),
            placed_at: card.placed_at,
            moved_at: card.moved_at,
            unmoved_s: (now - card.moved_at).num_seconds().max(0),
            deadline_at: card.deadline_at,
            waits_for: card.waits_for().code(),
            attempt: card.attempt.as_ref().map(Into::into),
        }
    }
}

#[derive(Serialize)]
struct AttemptView {
    number: u32,
    kind: &'static str,
    state: &'static str,
    tries: u32,
    giving_up: Option<&'static str>,
    due_at: DateTime<Utc>,
}

impl From<&AttemptCard> for AttemptView {
    fn from(card: &AttemptCard) -> Self {
        Self {
            number: card.number,
            kind: card.kind.code(),
            state: card.state.code(),
            tries: card.tries,
            giving_up: card.giving_up.map(|reason| reason.code()),
            due_at: card.due_at,
        }
    }
}

#[derive(Serialize)]
struct MoneyView {
    amount: String,
    currency: &'static str,
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> Self {
        Self { amount: money.amount().to_string(), currency: money.currency().code() }
    }
}

#[derive(Serialize)]
pub struct FileView {
    #[serde(flatten)]
    card: CardView,
    lines: Vec<LineView>,
    history: Vec<StepView>,
    attempts: Vec<AttemptFileView>,
    ledger: Vec<EntryView>,
    webhooks: Vec<WebhookView>,
    findings: Vec<FindingView>,
    outbox: Vec<ToldView>,
    inbox: Vec<HeardView>,
    parked: Vec<ParkedView>,
    actions: Vec<ActionView>,
    shipped: bool,
}

#[derive(Serialize)]
struct LineView {
    sku: String,
    quantity: i32,
    unit_price_minor: i64,
}

#[derive(Serialize)]
struct StepView {
    version: i64,
    status: &'static str,
    reason: Option<&'static str>,
    at: DateTime<Utc>,
}

#[derive(Serialize)]
struct AttemptFileView {
    attempt_id: String,
    #[serde(flatten)]
    card: AttemptView,
    amount: MoneyView,
    intent: Option<String>,
    capture_requested: bool,
    refused_by: Option<&'static str>,
    in_doubt: bool,
    leased_until: Option<DateTime<Utc>>,
    version: i64,
    created_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct EntryView {
    attempt_id: Option<String>,
    kind: String,
    account: String,
    amount_minor: i64,
    currency: String,
    recorded_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct WebhookView {
    event_id: String,
    event_type: String,
    received_at: DateTime<Utc>,
    tries: i32,
    outcome: Option<String>,
}

#[derive(Serialize)]
struct ToldView {
    message_id: String,
    topic: String,
    version: i64,
    occurred_at: DateTime<Utc>,
    published_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct HeardView {
    kind: &'static str,
    version: i64,
    applied_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct ParkedView {
    parked_id: i64,
    topic: String,
    reason: String,
    parked_at: DateTime<Utc>,
    redriven_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct ActionView {
    actor: String,
    action: String,
    reason: String,
    outcome: String,
    at: DateTime<Utc>,
}

impl FileView {
    pub fn of(file: SagaFile, now: DateTime<Utc>) -> Self {
        Self {
            card: CardView::of(&file.card, now),
            lines: file
                .lines
                .into_iter()
                .map(|line| LineView {
                    sku: line.sku,
                    quantity: line.quantity,
                    unit_price_minor: line.unit_price_minor,
                })
                .collect(),
            history: file
                .history
                .into_iter()
                .map(|step| StepView {
                    version: step.version,
                    status: step.status.code(),
                    reason: step.reason.map(|reason| reason.code()),
                    at: step.at,
                })
                .collect(),
            attempts: file
                .attempts
                .into_iter()
                .map(|row| AttemptFileView {
                    attempt_id: row.id.to_string(),
                    card: (&row.card).into(),
                    amount: row.amount.into(),
                    intent: row.intent,
                    capture_requested: row.capture_requested,
                    refused_by: row.refused_by.map(|refusal| refusal.code()),
                    in_doubt: row.in_doubt,
                    leased_until: row.leased_until,
                    version: row.version,
                    created_at: row.created_at,
                    changed_at: row.changed_at,
                })
                .collect(),
            ledger: file
                .ledger
                .into_iter()
                .map(|row| EntryView {
                    attempt_id: row.attempt.map(|attempt| attempt.to_string()),
                    kind: row.kind,
                    account: row.account,
                    amount_minor: row.amount_minor,
                    currency: row.currency,
                    recorded_at: row.recorded_at,
                })
                .collect(),
            webhooks: file
                .webhooks
                .into_iter()
                .map(|row| WebhookView {
                    event_id: row.event_id,
                    event_type: row.event_type,
                    received_at: row.received_at,
                    tries: row.tries,
                    outcome: row.outcome,
                })
                .collect(),
            findings: file.findings.into_iter().map(|row| FindingView::of(row, now)).collect(),
            outbox: file
                .told
                .into_iter()
                .map(|row| ToldView {
                    message_id: row.message_id.to_string(),
                    topic: row.topic,
                    version: row.version,
                    occurred_at: row.occurred_at,
                    published_at: row.published_at,
                })
                .collect(),
            inbox: file
                .heard
                .into_iter()
                .map(|row| HeardView { kind: row.kind, version: row.version, applied_at: row.applied_at })
                .collect(),
            parked: file
                .parked
                .into_iter()
                .map(|row| ParkedView {
                    parked_id: row.parked_id,
                    topic: row.topic,
                    reason: row.reason,
                    parked_at: row.parked_at,
                    redriven_at: row.redriven_at,
                })
                .collect(),
            actions: file
                .actions
                .into_iter()
                .map(|row| ActionView {
                    actor: row.actor.to_string(),
                    action: row.action,
                    reason: row.reason,
                    outcome: row.outcome,
                    at: row.at,
                })
                .collect(),
            shipped: file.shipped,
        }
    }
}

#[derive(Serialize)]
struct FindingView {
    kind: String,
    reference: String,
    order_id: Option<String>,
    detail: String,
    state: String,
    age_s: i64,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    acknowledged_by: Option<String>,
    acknowledgement: Option<String>,
    resolved_at: Option<DateTime<Utc>>,
    resolution: Option<String>,
}

impl FindingView {
    fn of(row: FindingRow, now: DateTime<Utc>) -> Self {
        Self {
            kind: row.kind,
            reference: row.reference,
            order_id: row.order.map(|order| order.to_string()),
            detail: row.detail,
            state: row.state,
            age_s: (row.resolved_at.unwrap_or(now) - row.first_seen_at).num_seconds().max(0),
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            acknowledged_by: row.acknowledged_by.map(|user| user.to_string()),
            acknowledgement: row.acknowledgement,
            resolved_at: row.resolved_at,
            resolution: row.resolution,
        }
    }
}

#[derive(Serialize)]
pub struct ReportView {
    counts: Vec<CountView>,
    findings: Vec<FindingView>,
    days: Vec<DayView>,
    settlements: Vec<SettledView>,
}

#[derive(Serialize)]
struct SettledView {
    gateway: String,
    day: NaiveDate,
    currency: String,
    net_minor: i64,
    ours_minor: i64,
    difference_minor: i64,
    open: i64,
    closed_at: DateTime<Utc>,
}

impl From<SettledRow> for SettledView {
    fn from(row: SettledRow) -> Self {
        Self {
            gateway: row.gateway,
            day: row.day,
            currency: row.currency,
            net_minor: row.net_minor,
            ours_minor: row.ours_minor,
            difference_minor: row.difference_minor,
            open: row.open,
            closed_at: row.closed_at,
        }
    }
}

#[derive(Serialize)]
struct CountView {
    kind: String,
    open: i64,
    acknowledged: i64,
    oldest_s: i64,
}

#[derive(Serialize)]
struct DayView {
    day: NaiveDate,
    currency: &'static str,
    orders_minor: i64,
    captured_minor: i64,
    refunded_minor: i64,
    gateway_minor: i64,
    /// The gateway's charges less those in the ledger; not 0: there are findings.
    difference_minor: i64,
    looked_at: DateTime<Utc>,
}

impl ReportView {
    pub fn of(report: Report, now: DateTime<Utc>) -> Self {
        let counts = report.counts.into_iter().map(|count| CountView {
            kind: count.kind,
            open: count.open,
            acknowledged: count.acknowledged,
            oldest_s: (now - count.oldest_at).num_seconds().max(0),
        });
        let days = report.days.into_iter().map(|(sums, looked_at)| DayView {
            day: sums.day,
            currency: sums.currency.code(),
            orders_minor: sums.orders_minor,
            captured_minor: sums.captured_minor,
            refunded_minor: sums.refunded_minor,
            gateway_minor: sums.gateway_minor,
            difference_minor: sums.gateway_minor - sums.captured_minor,
            looked_at,
        });
        Self {
            counts: counts.collect(),
            findings: report.findings.into_iter().map(|row| FindingView::of(row, now)).collect(),
            days: days.collect(),
            settlements: report.settlements.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Serialize)]
pub struct RetriedView {
    /// `made_due`, `told_again` or `nothing_to_do`.
    did: &'static str,
    detail: String,
}

impl From<Retried> for RetriedView {
    fn from(retried: Retried) -> Self {
        match retried {
            Retried::MadeDue { attempt } => Self { did: "made_due", detail: format!("attempt {attempt} is due now") },
            Retried::ToldAgain { topic } => Self { did: "told_again", detail: format!("{topic} goes out once more") },
            Retried::NothingToDo(why) => Self { did: "nothing_to_do", detail: why.to_owned() },
        }
    }
}

#[derive(Serialize)]
pub struct CompensatedView {
    /// `compensated`, `asked` or `already`.
    did: &'static str,
    detail: &'static str,
}

impl From<Compensated> for CompensatedView {
    fn from(outcome: Compensated) -> Self {
        let (did, detail) = match outcome {
            Compensated::Now => ("compensated", "the order has ended; its stock is being released"),
            Compensated::Asked => {
                ("asked", "the intent is stored; the order ends when the gateway has accepted a cancel")
            }
            Compensated::Already => ("already", "the order had ended or is being given up; nothing was changed"),
        };
        Self { did, detail }
    }
}

#[derive(Serialize)]
pub struct OwnedView {
    pub state: &'static str,
}
