//! Seals the books, and checks the seals. The sealer takes what is committed and not sealed yet, in the order of its time; a
//! commit that comes late comes into a later seal, never behind one. The check reckons every root again from the books.

use std::fmt;

use super::{App, Failure};
use crate::domain::ledger_seal::{self, BEGINNING, Hash, Seal};
use crate::metrics;

/// Transactions in one seal: read and hashed within a few milliseconds, and a proof stays at twelve hashes.
pub const MOST_LEAVES: u16 = 4096;
/// Seals read at a time by the check.
const PAGE: u16 = 100;

/// Makes one seal if there is something to seal. Two sealers are harmless: one of them finds nothing or loses.
///
/// # Errors
/// [`Failure`] when the books cannot be read or written; what is not sealed waits.
pub async fn seal_ledger(app: &App) -> Result<Option<Seal>, Failure> {
    let seal = app.store.seal(app.region, app.clock.now(), MOST_LEAVES).await?;
    if let Some(seal) = &seal {
        metrics::sealed(seal.sealed_at.timestamp());
        tracing::debug!(ledger.seal = seal.number, leaves = seal.last - seal.first + 1, "books sealed");
    }
    Ok(seal)
}

/// What the check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Sound {
        seals: i64,
        root: Hash,
    },
    /// The first seal that does not agree with the books, and why.
    Broken {
        seal: i64,
        why: &'static str,
    },
    /// Transactions that no seal covers and that do not wait for one.
    Unsealed(u64),
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound { seals, .. } => write!(out, "{seals} seals agree with the books"),
            Self::Broken { seal, why } => write!(out, "seal {seal} is broken: {why}"),
            Self::Unsealed(count) => write!(out, "{count} transactions have been kept from being sealed"),
        }
    }
}

/// Reckons every seal again, from the first.
///
/// # Errors
/// [`Failure`] when the books cannot be read.
pub async fn verify_ledger(app: &App) -> Result<Verdict, Failure> {
    let (mut number, mut root, mut place) = (0, BEGINNING, 0);
    loop {
        let seals = app.store.seals(number, PAGE).await?;
        if seals.is_empty() {
            break;
        }
        for seal in seals {
            let broken = |why| Ok(Verdict::Broken { seal: number + 1, why });
            if seal.number != number + 1 {
                return broken("it is missing");
            }
            if seal.previous != root || seal.first != place + 1 {
                return broken("it does not follow the one before it");
            }
            let leaves = app.store.leaves(seal.number).await?;
            let expected = leaves.iter().zip(seal.first..).all(|((leaf, _), position)| leaf.position == position);
            if !expected || i64::try_from(leaves.len()).ok() != Some(seal.last - place) {
                return broken("a transaction is missing");
            }
            let agree = |(leaf, transaction): &(ledger_seal::Leaf, Option<_>)| {
                transaction.as_ref().is_some_and(|transaction| ledger_seal::leaf(transaction) == leaf.hash)
            };
            if !leaves.iter().all(agree) {
                return broken("a transaction was changed");
            }
            let hashes: Vec<Hash> = leaves.iter().map(|(leaf, _)| leaf.hash).collect();
            if ledger_seal::root(app.region, seal.number, &root, &hashes) != Some(seal.root) {
                return broken("its root is another");
            }
            (number, root, place) = (seal.number, seal.root, seal.last);
        }
    }
    match app.store.kept_from_seals().await? {
        0 => Ok(Verdict::Sound { seals: number, root }),
        count => Ok(Verdict::Unsealed(count)),
    }
}
