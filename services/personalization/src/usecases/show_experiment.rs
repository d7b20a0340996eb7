//! What an experiment shows at this moment. It may be asked as often as one likes: see `domain/experiment/evidence`.

use common::Currency;

use super::App;
use super::error::NotShown;
use crate::domain::experiment::plan::Plan;
use crate::domain::experiment::tally::{self, Finding};

/// The plan, what it shows, and the currency of its money.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub plan: Plan,
    pub finding: Finding,
    pub currency: Currency,
}

/// # Errors
/// [`NotShown`]: nothing of that name runs, or the store does not answer.
pub async fn show_experiment(app: &App, name: &str) -> Result<Shown, NotShown> {
    let running = &app.trials.running;
    let plan = running.plans().named(name).ok_or(NotShown::Unknown)?;
    let sums = app.trials.tallies.sums(&plan.series()).await?;
    Ok(Shown { plan: plan.clone(), finding: tally::find(plan, sums), currency: running.currency() })
}
