//! Seals over the books: a Merkle tree per seal, a chain over the seals. Whoever changes, removes or reorders what is sealed
//! changes a root, and every root after it.
//!
//! Decided here: which bytes of a transaction count, how they become a root, and how one transaction is proven to be under
//! it. Not decided here: when a seal is made, and what is in it (the sealer's order).

use chrono::{DateTime, Utc};
use common::{Region, TransactionId};
use sha2::{Digest as _, Sha256};

use super::Transaction;

pub type Hash = [u8; 32];

/// What stands before the first seal.
pub const BEGINNING: Hash = [0; 32];

/// Leaves, inner nodes and roots are hashed under different first bytes, so that none can pass for another.
const LEAF: u8 = 0;
const NODE: u8 = 1;
const ROOT: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// From 1.
    pub number: i64,
    pub previous: Hash,
    pub root: Hash,
    /// The place of the first leaf among all that were ever sealed, from 1.
    pub first: i64,
    pub last: i64,
    pub sealed_at: DateTime<Utc>,
}

/// A transaction under a seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub position: i64,
    pub transaction: TransactionId,
    pub hash: Hash,
}

impl Seal {
    /// The seal over `leaves`, after `before`. `None` without a leaf: there is nothing to seal.
    pub fn over(region: Region, before: Option<&Self>, leaves: &[Hash], now: DateTime<Utc>) -> Option<Self> {
        let (number, previous, place) =
            before.map_or((1, BEGINNING, 0), |before| (before.number + 1, before.root, before.last));
        let root = root(region, number, &previous, leaves)?;
        let last = place + i64::try_from(leaves.len()).ok()?;
        Some(Self { number, previous, root, first: place + 1, last, sealed_at: now })
    }
}

/// `SHA-256(2 ‖ region ‖ 0 ‖ number ‖ previous root ‖ count ‖ tree)`.
pub fn root(region: Region, number: i64, previous: &Hash, leaves: &[Hash]) -> Option<Hash> {
    let tree = tree(leaves)?;
    let digest = Sha256::new()
        .chain_update([ROOT])
        .chain_update(region.code())
        .chain_update([0])
        .chain_update(number.to_be_bytes())
        .chain_update(previous)
        .chain_update((leaves.len() as u64).to_be_bytes())
        .chain_update(tree);
    Some(digest.finalize().into())
}

/// The hash of a transaction: all that was written of it, in a fixed order, each part with its length.
pub fn leaf(transaction: &Transaction) -> Hash {
    let mut digest = Sha256::new_with_prefix([LEAF]);
    let mut add = |part: &str| {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    };
    let absent = String::new;
    add(&transaction.id.to_string());
    add(transaction.kind.code());
    add(&transaction.order.map_or_else(absent, |order| order.to_string()));
    add(&transaction.attempt.map_or_else(absent, |attempt| attempt.to_string()));
    add(&transaction.user.map_or_else(absent, |user| user.to_string()));
    add(transaction.reference.as_deref().unwrap_or_default());
    add(&transaction.reverses.map_or_else(absent, |reverses| reverses.to_string()));
    add(transaction.currency.code());
    add(&transaction.at.timestamp_micros().to_string());
    add(&transaction.entries.len().to_string());
    for entry in &transaction.entries {
        add(entry.account.code());
        add(&entry.amount_minor.to_string());
    }
    digest.finalize().into()
}

/// The Merkle tree of RFC 6962: the left side of a node is the largest full power of two.
fn tree(leaves: &[Hash]) -> Option<Hash> {
    match leaves {
        [] => None,
        [only] => Some(*only),
        many => {
            let (left, right) = many.split_at(half(many.len()));
            Some(node(&tree(left)?, &tree(right)?))
        }
    }
}

fn half(len: usize) -> usize {
    len.next_power_of_two() / 2
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([NODE]).chain_update(left).chain_update(right).finalize().into()
}

/// A neighbour on the way from a leaf to the root of its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    Left(Hash),
    Right(Hash),
}

/// What shows that leaf `index` is under the tree of `leaves`: its neighbours, from the leaf upwards.
pub fn proof(leaves: &[Hash], index: usize) -> Option<Vec<Neighbour>> {
    match leaves {
        [] => None,
        [_] => (index == 0).then(Vec::new),
        many => {
            let (left, right) = many.split_at(half(many.len()));
            let (mut path, neighbour) = if index < left.len() {
                (proof(left, index)?, Neighbour::Right(tree(right)?))
            } else {
                (proof(right, index - left.len())?, Neighbour::Left(tree(left)?))
            };
            path.push(neighbour);
            Some(path)
        }
    }
}

/// Whether `leaf` with its `path` is under the seal with these parts: all that is needed to check one transaction without
/// the others.
pub fn proves(region: Region, seal: &Seal, leaf: Hash, path: &[Neighbour]) -> bool {
    let top = path.iter().fold(leaf, |below, neighbour| match neighbour {
        Neighbour::Left(left) => node(left, &below),
        Neighbour::Right(right) => node(&below, right),
    });
    let count = u64::try_from(seal.last - seal.first + 1).unwrap_or_default();
    let digest = Sha256::new()
        .chain_update([ROOT])
        .chain_update(region.code())
        .chain_update([0])
        .chain_update(seal.number.to_be_bytes())
        .chain_update(seal.previous)
        .chain_update(count.to_be_bytes())
        .chain_update(top);
    Hash::from(digest.finalize()) == seal.root
}

#[cfg(test)]
mod tests {
    use common::{AttemptId, Currency, Money, OrderId};
    use proptest::prelude::*;

    use super::*;

    fn transactions(count: u128) -> Vec<Transaction> {
        let make = |number: u128| {
            let order = OrderId::from_uuid(uuid::Uuid::from_u128(number));
            let amount = Money::from_minor(i64::try_from(number).unwrap() + 1, Currency::Eur).unwrap();
            Transaction::capture(order, AttemptId::derive(order, 1), amount, DateTime::UNIX_EPOCH)
        };
        (0..count).map(make).collect()
    }

    fn leaves(count: u128) -> Vec<Hash> {
        transactions(count).iter().map(leaf).collect()
    }

    #[test]
    fn each_part_of_a_transaction_counts() {
        let [one] = &transactions(1)[..] else { panic!("one") };
        let other = |change: &dyn Fn(&mut Transaction)| {
            let mut changed = one.clone();
            change(&mut changed);
            leaf(&changed)
        };
        let changed = [
            other(&|one| one.order = None),
            other(&|one| one.attempt = None),
            other(&|one| one.reference = Some("x".to_owned())),
            other(&|one| one.user = Some(uuid::Uuid::nil().into())),
            other(&|one| one.reverses = Some(uuid::Uuid::nil().into())),
            other(&|one| one.currency = Currency::Usd),
            other(&|one| one.at += chrono::Duration::microseconds(1)),
            other(&|one| one.entries[0].amount_minor += 1),
            other(&|one| one.entries.reverse()),
            other(&|one| one.kind = super::super::LedgerKind::Refund),
        ];
        assert!(changed.iter().all(|changed| *changed != leaf(one)));
    }

    #[test]
    fn a_seal_carries_the_one_before_it() {
        let first = Seal::over(Region::Eu, None, &leaves(3), DateTime::UNIX_EPOCH).unwrap();
        let second = Seal::over(Region::Eu, Some(&first), &leaves(2), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((first.first, first.last, second.first, second.last, second.previous), (1, 3, 4, 5, first.root));
        let forged = Seal { root: BEGINNING, ..first };
        assert_ne!(Seal::over(Region::Eu, Some(&forged), &leaves(2), DateTime::UNIX_EPOCH).unwrap().root, second.root);
        assert!(Seal::over(Region::Eu, None, &[], DateTime::UNIX_EPOCH).is_none());
    }

    proptest! {
        #[test]
        fn one_transaction_is_proven_without_the_others(count in 1_u128..40, index in 0_usize..40, bent in 0_usize..40) {
            let leaves = leaves(count);
            let seal = Seal::over(Region::Eu, None, &leaves, DateTime::UNIX_EPOCH).unwrap();
            let index = index % leaves.len();
            let path = proof(&leaves, index).unwrap();
            prop_assert!(path.len() <= 6);
            prop_assert!(proves(Region::Eu, &seal, leaves[index], &path));
            prop_assert!(!proves(Region::Us, &seal, leaves[index], &path));
            let other = leaves[bent % leaves.len()];
            prop_assert_eq!(proves(Region::Eu, &seal, other, &path), other == leaves[index]);
        }

        #[test]
        fn no_leaf_can_be_changed_removed_or_moved(count in 2_u128..40, at in 0_usize..40) {
            let honest = leaves(count);
            let at = at % honest.len();
            let root_of = |leaves: &[Hash]| root(Region::Eu, 1, &BEGINNING, leaves);
            let mut changed = honest.clone();
            changed[at][0] ^= 1;
            let mut removed = honest.clone();
            removed.remove(at);
            let mut moved = honest.clone();
            moved.swap(at, (at + 1) % honest.len());
            for bent in [changed, removed, moved] {
                prop_assert_ne!(root_of(&bent), root_of(&honest));
            }
        }
    }
}
