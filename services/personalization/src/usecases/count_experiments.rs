//! What happens to people in experiments, written down: they were shown something, they bought, they withdrew.
//!
//! Each change is decided on the record of one person and written together with the sums it changes, only if the record is still the
//! one that was read. So answering processes and learners may work on the same person at once, and whatever comes twice finds its
//! first effect in the record.

use std::collections::{BTreeMap, HashSet};

use common::UserId;

use super::error::StoreUnavailable;
use super::ports::{EnrolmentChange, Tallies};
use super::{Learner, Trials};
use crate::domain::Pseudonym;
use crate::domain::experiment::enrolment::{Enrolments, Exposure, Purchase};
use crate::domain::experiment::tally::{Count, Delta};

/// People written down at once: one round trip of some 100 kB.
const PEOPLE: usize = 500;

/// Looks at a record that others change meanwhile. Two or three processes know one person, so three would do.
const TRIES: usize = 8;

/// An order that was paid, of a person we know by their pseudonym. The user id is for the question whether they still agree, and is
/// not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidOrder {
    pub user: UserId,
    pub who: Pseudonym,
    pub purchase: Purchase,
}

/// What became of orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Orders that count in at least one experiment.
    pub counted: usize,
    /// Orders that count in none: of people who are in none, that counted before, or that came before the exposure.
    pub others: usize,
    /// People who are in no arm any more.
    pub withdrew: usize,
}

/// Writes down what was noted, all of it; returns how many people. Safe to repeat.
///
/// # Errors
/// [`StoreUnavailable`]: what is not written waits.
pub async fn write_exposures(trials: &Trials) -> Result<usize, StoreUnavailable> {
    let mut people = 0;
    loop {
        let taken = trials.running.take(PEOPLE);
        let is_last = taken.len() < PEOPLE;
        if let Err(error) = write(trials, &taken).await {
            trials.running.put_back(taken);
            return Err(error);
        }
        people += taken.len();
        trials.running.written(taken);
        if is_last {
            return Ok(people);
        }
    }
}

async fn write(trials: &Trials, taken: &[(Pseudonym, Exposure)]) -> Result<(), StoreUnavailable> {
    let exposures: BTreeMap<&Pseudonym, Exposure> = taken.iter().map(|(who, exposure)| (who, *exposure)).collect();
    let (plans, key) = (trials.running.plans(), trials.running.key());
    let people = exposures.keys().copied().collect();
    settle(trials.tallies.as_ref(), people, |who, person| {
        let exposure = exposures.get(who);
        exposure.map(|exposure| person.exposed(plans, key, who, *exposure)).unwrap_or_default()
    })
    .await
    .map(|_| ())
}

/// Counts orders of people who were shown something. Safe to repeat: an order is known by its mark. Who has withdrawn their consent
/// by now is in no arm.
///
/// # Errors
/// [`StoreUnavailable`]: the orders are to be counted again.
pub async fn count_orders(app: &Learner, orders: &[PaidOrder]) -> Result<Counted, StoreUnavailable> {
    let tallies = app.trials.tallies.as_ref();
    if app.trials.running.plans().is_empty() || orders.is_empty() {
        return Ok(Counted { others: orders.len(), ..Counted::default() });
    }
    let mut bought: BTreeMap<&Pseudonym, Vec<&PaidOrder>> = BTreeMap::new();
    for order in orders {
        bought.entry(&order.who).or_default().push(order);
    }
    let people: Vec<&Pseudonym> = bought.keys().copied().collect();
    let records = tallies.enrolments(&people).await?;
    let enrolled = people.into_iter().zip(records).filter(|(_, record)| !record.is_empty());
    let enrolled: HashSet<&Pseudonym> = enrolled.map(|(who, _)| who).collect();
    // Only people who are in an experiment are asked about.
    bought.retain(|who, _| enrolled.contains(*who));
    let users: Vec<UserId> = bought.values().flatten().map(|order| order.user).collect();
    let refused: HashSet<UserId> = app.consents.withdrawn(&users).await?;
    let changed = settle(tallies, bought.keys().copied().collect(), |who, person| {
        let orders = bought.get(who).map(Vec::as_slice).unwrap_or_default();
        if orders.iter().any(|order| refused.contains(&order.user)) {
            return person.withdrawn();
        }
        orders.iter().flat_map(|order| person.bought(&order.purchase)).collect()
    })
    .await?;
    let mut counted = Counted::default();
    for deltas in &changed {
        counted.withdrew += usize::from(deltas.iter().any(|delta| delta.of == Count::Withdrew));
        // Of each experiment the same orders may be new; the most is what counts in at least one.
        let mut orders: BTreeMap<&str, usize> = BTreeMap::new();
        for delta in deltas.iter().filter(|delta| delta.of == Count::Orders && delta.by > 0) {
            *orders.entry(&delta.series).or_default() += 1;
        }
        counted.counted += orders.values().max().copied().unwrap_or_default();
    }
    counted.others = orders.len().saturating_sub(counted.counted);
    Ok(counted)
}

/// Takes people out of all arms. Safe to repeat.
///
/// # Errors
/// [`StoreUnavailable`]: some may still be in.
pub async fn withdraw(trials: &Trials, people: Vec<&Pseudonym>) -> Result<(), StoreUnavailable> {
    if trials.running.plans().is_empty() || people.is_empty() {
        return Ok(());
    }
    settle(trials.tallies.as_ref(), people, |_, person| person.withdrawn()).await.map(|_| ())
}

/// Decides about each person and writes what changed, again for those whose record somebody else changed meanwhile. Returns the
/// changes of sums per person who changed.
async fn settle(
    tallies: &dyn Tallies,
    mut people: Vec<&Pseudonym>,
    mut decide: impl FnMut(&Pseudonym, &mut Enrolments) -> Vec<Delta> + Send,
) -> Result<Vec<Vec<Delta>>, StoreUnavailable> {
    let mut changed = Vec::new();
    for _ in 0..TRIES {
        if people.is_empty() {
            return Ok(changed);
        }
        let mut changes = Vec::new();
        for (who, before) in people.iter().zip(tallies.enrolments(&people).await?) {
            let mut after = before.clone();
            let deltas = decide(who, &mut after);
            if after != before {
                changes.push(EnrolmentChange { who: (*who).clone(), before, after, deltas });
            }
        }
        if changes.is_empty() {
            return Ok(changed);
        }
        let written = tallies.change(&changes).await?;
        let mut again = HashSet::new();
        for (change, written) in changes.into_iter().zip(written) {
            if written {
                changed.push(change.deltas);
            } else {
                again.insert(change.who);
            }
        }
        people.retain(|who| again.contains(*who));
    }
    if people.is_empty() {
        return Ok(changed);
    }
    Err(StoreUnavailable(anyhow::anyhow!("{} records are changed by others all the time", people.len())))
}
