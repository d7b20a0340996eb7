//! Takes what a browser reports about its user. *Accepted* means durable: the answer waits until the batch is, with what tells of its
//! refused events.
//!
//! Who clicked is the session's word, never the body's. People who refused personalisation, and browsers that say so by
//! `DNT` or `Sec-GPC`, are answered as everybody else and nothing of theirs is kept, not even under a pseudonym, and not even
//! of an event that was refused. A visitor's objection is told in the log of clicks as that of an account is, so that whoever kept
//! something of them forgets it: one record a request, which the limits bound as they bound those with clicks.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use common::{UserId, VisitorId};
use tracing::Instrument as _;

use super::ports::{Attempt, ClickBatch};
use super::{App, Result, UserError};
use crate::domain::click::{MOST_EVENTS, ToldTime, without_repetitions};
use crate::domain::person::BrokenRule;
use crate::domain::{Click, Event, RefusedClick};
use crate::metrics;

/// Who reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    Person {
        user: UserId,
        personalisation_consent: bool,
    },
    /// A browser without an account; `None` when it did not give its id.
    Visitor(Option<VisitorId>),
}

/// What the browser says about itself and about being watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// `DNT: 1`
    pub do_not_track: bool,
    /// `Sec-GPC: 1`
    pub global_privacy_control: bool,
    /// The visitor said no to whoever asked: `consent=no`.
    pub refuses: bool,
    /// It says that it is a program.
    pub bot: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickReport<'a> {
    pub reporter: Reporter,
    pub signals: Signals,
    pub events: Vec<Event<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    pub accepted: usize,
    pub refused: Vec<RefusedClick>,
}

/// # Errors
/// [`UserError::ClicksOverloaded`] when nobody makes the batch durable; nothing of it was kept then as far as we know.
pub async fn report_clicks(app: &App, report: ClickReport<'_>, source: IpAddr) -> Result<Reported> {
    // First, because reading stops at the first event too many: who reports may stand behind it.
    if report.events.len() > MOST_EVENTS {
        return Err(UserError::TooManyEvents { limit: MOST_EVENTS });
    }
    let pseudonym = match report.reporter {
        Reporter::Person { user, .. } => app.pseudonyms.of_user(user),
        Reporter::Visitor(Some(visitor)) => app.pseudonyms.of_visitor(visitor),
        Reporter::Visitor(None) => {
            return Err(UserError::Fields(vec![
                BrokenRule::invalid("a browser without a login gives its visitor_id").at("/visitor_id"),
            ]));
        }
    };
    app.limits
        .admit(Attempt::ReportClicks { source, pseudonym: &pseudonym })
        .map_err(|retry_after| UserError::TooMany { retry_after })?;

    let now = app.clock.now();
    // Crawlers have no accounts: whoever has one is a person, whatever their program is called.
    let is_person = matches!(report.reporter, Reporter::Person { .. });
    let signals = Signals { bot: report.signals.bot && !is_person, ..report.signals };
    let objection = why_nothing_is_kept(&report);
    let (clicks, refused) = sort_out(report.events, now);
    let accepted = clicks.len();
    for click in &refused {
        metrics::CLICKS_REFUSED.with_label_values(&[click.code]).inc();
    }
    if let Some(reason) = objection {
        if !is_person {
            app.clicks.append(&ClickBatch::refusal(pseudonym, now)).await.map_err(UserError::ClicksOverloaded)?;
        }
        metrics::CLICKS_NOT_KEPT.with_label_values(&[reason]).inc_by(accepted as u64);
        return Ok(Reported { accepted, refused });
    }
    count_what_is_odd(&clicks, signals);
    let clicks = without_repetitions(clicks);
    let batch =
        ClickBatch { pseudonym, personalisation_consent: true, bot: signals.bot, received_at: now, clicks, refused };
    if !batch.is_empty() {
        let span = tracing::info_span!("clicks.publish", clicks.count = batch.clicks.len());
        app.clicks.append(&batch).instrument(span).await.map_err(|down| {
            metrics::CLICKS_REFUSED.with_label_values(&["overloaded"]).inc_by(accepted as u64);
            UserError::ClicksOverloaded(down)
        })?;
    }
    metrics::CLICKS_ACCEPTED.inc_by(accepted as u64);
    Ok(Reported { accepted, refused: batch.refused })
}

fn sort_out(events: Vec<Event<'_>>, now: DateTime<Utc>) -> (Vec<Click<'_>>, Vec<RefusedClick>) {
    let (mut clicks, mut refused) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, event) in events.into_iter().enumerate() {
        match event.form.and_then(|form| Click::parse(form, now)) {
            Ok(click) => clicks.push(click),
            Err(code) => refused.push(RefusedClick::of(index, code, event.sent, refused.len())),
        }
    }
    (clicks, refused)
}

fn why_nothing_is_kept(report: &ClickReport<'_>) -> Option<&'static str> {
    match report {
        ClickReport { reporter: Reporter::Person { personalisation_consent: false, .. }, .. } => Some("no-consent"),
        ClickReport { signals: Signals { refuses: true, .. }, .. } => Some("no-consent"),
        ClickReport { signals: Signals { do_not_track: true, .. }, .. } => Some("dnt"),
        ClickReport { signals: Signals { global_privacy_control: true, .. }, .. } => Some("gpc"),
        _ => None,
    }
}

fn count_what_is_odd(clicks: &[Click<'_>], signals: Signals) {
    let told = |clock| clicks.iter().filter(|click| click.clock == clock).count() as u64;
    for (label, clock) in [("future", ToldTime::Future), ("stale", ToldTime::Stale)] {
        match told(clock) {
            0 => {}
            many => metrics::CLICKS_WITH_A_WRONG_CLOCK.with_label_values(&[label]).inc_by(many),
        }
    }
    if signals.bot {
        metrics::CLICKS_OF_BOTS.inc_by(clicks.len() as u64);
    }
}
