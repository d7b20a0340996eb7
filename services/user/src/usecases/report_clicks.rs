//! Takes what a browser reports about its user. *Accepted* means durable: the answer waits for the broker.
//!
//! Who clicked is the session's word, never the body's. People who refused personalisation, and browsers that say so by
//! `DNT` or `Sec-GPC`, are answered as everybody else and nothing of theirs is kept, not even under a pseudonym.

use std::net::IpAddr;

use common::{UserId, VisitorId};
use tracing::Instrument as _;

use super::ports::{Attempt, ClickBatch};
use super::{App, Result, UserError};
use crate::domain::click::{MOST_EVENTS, without_repetitions};
use crate::domain::person::BrokenRule;
use crate::domain::{Click, ClickForm, RefusedClick};
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

/// What the browser says about being watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// `DNT: 1`
    pub do_not_track: bool,
    /// `Sec-GPC: 1`
    pub global_privacy_control: bool,
}

/// One request. An event that could not even be read stands as the code why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickReport {
    pub reporter: Reporter,
    pub signals: Signals,
    pub events: Vec<std::result::Result<ClickForm, &'static str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    pub accepted: usize,
    pub refused: Vec<RefusedClick>,
}

/// # Errors
/// [`UserError::ClicksOverloaded`] when the broker does not take the batch; nothing of it was kept then as far as we know.
pub async fn report_clicks(app: &App, report: &ClickReport, source: IpAddr) -> Result<Reported> {
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
    if report.events.len() > MOST_EVENTS {
        return Err(UserError::TooManyEvents { limit: MOST_EVENTS });
    }

    let now = app.clock.now();
    let (clicks, refused) = sort_out(&report.events, now);
    let accepted = clicks.len();
    count_refused(&refused);

    if let Some(reason) = why_nothing_is_kept(report) {
        metrics::CLICKS_NOT_KEPT.with_label_values(&[reason]).inc_by(accepted as u64);
        return Ok(Reported { accepted, refused });
    }
    let clicks = without_repetitions(clicks);
    if !clicks.is_empty() {
        let batch = ClickBatch { pseudonym, personalisation_consent: true, received_at: now, clicks };
        let span = tracing::info_span!("clicks.publish", clicks.count = batch.clicks.len());
        app.clicks.append(batch).instrument(span).await.map_err(|down| {
            metrics::CLICKS_REFUSED.with_label_values(&["overloaded"]).inc_by(accepted as u64);
            UserError::ClicksOverloaded(down)
        })?;
    }
    metrics::CLICKS_ACCEPTED.inc_by(accepted as u64);
    Ok(Reported { accepted, refused })
}

fn sort_out(
    events: &[std::result::Result<ClickForm, &'static str>],
    now: chrono::DateTime<chrono::Utc>,
) -> (Vec<Click>, Vec<RefusedClick>) {
    let (mut clicks, mut refused) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, event) in events.iter().enumerate() {
        match event.as_ref().map_err(|code| *code).and_then(|form| Click::parse(form, now)) {
            Ok(click) => clicks.push(click),
            Err(code) => refused.push(RefusedClick { index, code }),
        }
    }
    (clicks, refused)
}

fn why_nothing_is_kept(report: &ClickReport) -> Option<&'static str> {
    match report {
        ClickReport { reporter: Reporter::Person { personalisation_consent: false, .. }, .. } => Some("no-consent"),
        ClickReport { signals: Signals { do_not_track: true, .. }, .. } => Some("dnt"),
        ClickReport { signals: Signals { global_privacy_control: true, .. }, .. } => Some("gpc"),
        _ => None,
    }
}

fn count_refused(refused: &[RefusedClick]) {
    for click in refused {
        metrics::CLICKS_REFUSED.with_label_values(&[click.code]).inc();
    }
}
