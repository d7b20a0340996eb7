//! `GET /v1/admin/experiments/{name}`: what a running experiment shows, for staff. Money is in the smallest unit of the region's
//! currency; differences are treatment minus control, per person, with intervals that hold at every look.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Caller, Path};
use http::header;
use serde::Serialize;

use super::Api;
use crate::domain::experiment::evidence::{Interval, Verdict};
use crate::domain::experiment::tally::Tally;
use crate::domain::experiment::{Arm, WHOLE};
use crate::usecases::{Shown, show_experiment};

/// The realm role that may look.
const STAFF: &str = "staff";

pub fn router() -> Router<Api> {
    Router::new().route("/v1/admin/experiments/{name}", get(show))
}

#[derive(Debug, Serialize)]
struct Answer {
    name: String,
    change: &'static str,
    currency: &'static str,
    /// `open`, `better`, `worse`, `harmful` (a guard got worse than is tolerated) or `misdealt` (believe nothing).
    verdict: &'static str,
    /// The guard that says `harmful`.
    #[serde(skip_serializing_if = "Option::is_none")]
    harmed: Option<String>,
    /// People are in the arms as they were dealt out.
    dealt_as_set: bool,
    arms: Vec<ArmView>,
    /// In parts of 10,000.
    conversion_difference: Option<Range>,
    revenue_difference_minor: Option<Range>,
    guards: Vec<GuardView>,
}

#[derive(Debug, Serialize)]
struct ArmView {
    arm: &'static str,
    /// In parts of 10,000, as set.
    share: u16,
    persons: i64,
    conversions: i64,
    orders: i64,
    revenue_minor: i64,
    degraded: i64,
    withdrew: i64,
}

#[derive(Debug, Serialize)]
struct GuardView {
    name: &'static str,
    /// In parts of 10,000.
    difference: Option<Range>,
    tolerated: f64,
}

/// With two digits: more would only look exact.
#[derive(Debug, Serialize)]
struct Range {
    low: f64,
    high: f64,
}

async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
    caller: Caller,
) -> Result<([(header::HeaderName, &'static str); 1], axum::Json<Answer>), Problem> {
    caller.require_role(STAFF)?;
    let shown = show_experiment(&api.app, &name).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(Answer::from(shown))))
}

impl From<Shown> for Answer {
    fn from(Shown { plan, finding, currency }: Shown) -> Self {
        let (verdict, harmed) = match finding.verdict {
            Verdict::Misdealt => ("misdealt", None),
            Verdict::Harmful(guard) => ("harmful", Some(guard)),
            Verdict::Better => ("better", None),
            Verdict::Worse => ("worse", None),
            Verdict::Open => ("open", None),
        };
        let share = |arm| if arm == Arm::Treatment { plan.treated } else { WHOLE - plan.treated };
        let guards = finding.guards.iter().map(|guard| GuardView {
            name: guard.name,
            difference: guard.difference.map(parts),
            tolerated: rounded(guard.tolerated * f64::from(WHOLE)),
        });
        Self {
            change: plan.change.code(),
            currency: currency.code(),
            verdict,
            harmed,
            dealt_as_set: finding.dealt_as_set,
            arms: Arm::ALL.map(|arm| arm_view(arm, share(arm), finding.sums.of(arm))).into(),
            conversion_difference: finding.conversion.map(parts),
            revenue_difference_minor: finding.revenue.map(|range| range_of(range, 1.0)),
            guards: guards.collect(),
            name: plan.name,
        }
    }
}

fn arm_view(arm: Arm, share: u16, tally: &Tally) -> ArmView {
    let Tally { persons, buyers: conversions, orders, revenue_minor, degraded, withdrew, .. } = *tally;
    ArmView { arm: arm.code(), share, persons, conversions, orders, revenue_minor, degraded, withdrew }
}

fn parts(range: Interval) -> Range {
    range_of(range, f64::from(WHOLE))
}

fn range_of(range: Interval, times: f64) -> Range {
    Range { low: rounded(range.low * times), high: rounded(range.high * times) }
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
