//! Who has an attempt and until when, in the books in memory, and what was hinted while somebody had it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::{AttemptId, OrderId};

use super::memory::Books;
use crate::domain::{Attempt, AttemptKind, AttemptState, Tried};

/// Open, due, and nobody's.
pub fn is_free(attempt: &Attempt, now: DateTime<Utc>) -> bool {
    !attempt.state.is_settled()
        && attempt.due_at <= now
        && attempt.leased_until.is_none_or(|leased_until| leased_until <= now)
}

/// What is free is the caller's until the second instant. Whoever takes it looks, so hints from before are answered.
pub fn claim(books: &mut Books, (now, until): (DateTime<Utc>, DateTime<Utc>), limit: usize) -> Vec<Attempt> {
    let Books { attempts, hints, .. } = books;
    let mut due: Vec<_> = attempts.values_mut().filter(|attempt| is_free(attempt, now)).collect();
    due.sort_by_key(|attempt| attempt.due_at);
    let claim = |attempt: &mut Attempt| {
        attempt.leased_until = Some(until);
        hints.remove(&attempt.id);
        attempt.clone()
    };
    due.into_iter().take(limit).map(claim).collect()
}

/// What else the person of each charge tried, for orders placed at or after `since`.
pub fn tried(
    books: &Books,
    charges: &[AttemptId],
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> BTreeMap<AttemptId, Tried> {
    let order = |attempt: &Attempt| books.orders.get(&attempt.order);
    let recent = |attempt: &&Attempt| {
        attempt.kind == AttemptKind::Charge && order(attempt).is_some_and(|order| order.created_at >= since)
    };
    let person = |attempt: &Attempt| order(attempt).map(|order| order.user);
    let of = |mine: &Attempt| {
        let mut tried = Tried::default();
        for theirs in books.attempts.values().filter(recent).filter(|theirs| person(theirs) == person(mine)) {
            if is_lost(theirs) {
                tried.declined += 1;
            }
            if comes_first(theirs, mine, now) {
                tried.ahead += 1;
            }
        }
        tried
    };
    charges.iter().filter_map(|charge| books.attempts.get(charge)).map(|mine| (mine.id, of(mine))).collect()
}

/// The gateway was asked, and no money came of it.
fn is_lost(attempt: &Attempt) -> bool {
    attempt.refused_by.is_none()
        && match attempt.state {
            AttemptState::Declined => true,
            AttemptState::Voided => attempt.intent.is_some(),
            _ => false,
        }
}

/// Open, and either tried already or somebody's to try before this one.
fn comes_first(theirs: &Attempt, mine: &Attempt, now: DateTime<Utc>) -> bool {
    let nothing_sent = theirs.state == AttemptState::Prepared && theirs.intent.is_none() && !theirs.in_doubt;
    let is_taken = theirs.leased_until.is_some_and(|until| until > now);
    let same_claim = theirs.leased_until == mine.leased_until;
    let before = theirs.id != mine.id && (!same_claim || (theirs.created_at, theirs.id) < (mine.created_at, mine.id));
    !theirs.state.is_settled() && if nothing_sent { is_taken && before } else { true }
}

pub fn hint(books: &mut Books, order: OrderId, now: DateTime<Utc>) {
    let Books { attempts, hints, .. } = books;
    let open = attempts.values_mut().filter(|attempt| attempt.order == order && !attempt.state.is_settled());
    for attempt in open.filter(|attempt| attempt.due_at > now || attempt.leased_until.is_some()) {
        attempt.due_at = attempt.due_at.min(now);
        hints.insert(attempt.id, now);
    }
}

pub fn let_go(books: &mut Books, claimed: &Attempt, due_at: DateTime<Utc>) {
    let Some(known) = books.attempts.get(&claimed.id) else { return };
    if !known.state.is_settled() && known.leased_until == claimed.leased_until {
        let free = given_back(books, Attempt { leased_until: None, due_at, ..known.clone() });
        books.attempts.insert(free.id, free);
    }
}

/// A version without a lease gives the attempt back: a hint that came while a worker had it is not written over.
pub fn given_back(books: &Books, attempt: Attempt) -> Attempt {
    let hinted_at = books.hints.get(&attempt.id).filter(|_| attempt.leased_until.is_none());
    Attempt { due_at: hinted_at.map_or(attempt.due_at, |at| attempt.due_at.min(*at)), ..attempt }
}
