//! What only looks like a difference because our books were read after the gateway's list: a payment that was captured, or given
//! up, between the two readings has ended here and not there. Such a one is asked for once more, at the gateway and by itself,
//! before anything is written.
//!
//! Decided here: what is asked for again, and what the answer does. What has ended here stays as it is, so a gateway that still says
//! otherwise really differs: nothing that lasts is hidden. What is charged there and not here needs no second look: our row was
//! read later, and a worker that commits at this moment works it off by itself.

use messaging::crash::{self, Boundary};

use super::Window;
use super::matching::{Matter, Odd, judge};
use crate::domain::{Answer, Attempt, Intent, Look};
use crate::usecases::ports::FindingKind;
use crate::usecases::{App, Failure};

/// Differences asked for again per look, the others are taken at their word. Payments that end between two readings are a handful; more than
/// these are no accident of reading, and a minute is long enough to ask for so many.
const MOST: usize = 200;

/// Those that still differ.
///
/// # Errors
/// [`Failure`] when this process is stopped in between.
pub(super) async fn confirmed(app: &App, window: Window, odd: Vec<Odd>) -> Result<Vec<Odd>, Failure> {
    let (mut confirmed, mut asked) = (Vec::with_capacity(odd.len()), 0);
    for odd in odd {
        match &odd.about {
            Matter::Attempt(attempt) if asked < MOST && may_be_of_two_moments(odd.finding.kind) => {
                asked += 1;
                confirmed.extend(match again(app, attempt).await? {
                    Some(intent) => judge(window, Some(&intent), (**attempt).clone()),
                    None => Some(odd),
                });
            }
            Matter::Attempt(_) | Matter::Stray(..) => confirmed.push(odd),
        }
    }
    Ok(confirmed)
}

fn may_be_of_two_moments(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::OrderWithoutCharge | FindingKind::HeldAfterEnd)
}

/// What the gateway says by now; [`None`] when it does not say, or knows nothing of it.
async fn again(app: &App, attempt: &Attempt) -> Result<Option<Intent>, Failure> {
    match crash::around(Boundary::GatewayLook, app.gateway.look(Look::Intent, attempt)).await? {
        Answer::Intent(intent) => Ok(Some(intent)),
        _ => Ok(None),
    }
}
