//! Lists that were made for somebody, kept in the memory of the process for as long as their session goes on: what others click changes
//! lists all the time, and a list that somebody leafs through or comes back to must not move under them. Their own next click asks
//! for another one, because the key names what their clicks made of them. Nothing is kept of whom nothing is known.
//!
//! Not decided here: what of a list may still be shown. See ADR 0067 for what holds between processes.

use std::sync::Arc;
use std::time::Duration;

use common::Sku;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use uuid::Uuid;

use super::generate_recommendations::{Command, Kind};
use super::lists::List;
use crate::domain::experiment::plan::Change;
use crate::domain::recommend::{Item, Reason};
use crate::domain::session::{self, SESSION_MS};
use crate::domain::{Person, Pseudonym};

/// Bytes of all lists of a process, about: an eighth of what a serving process may use. One of the usual length needs 700 bytes, so these
/// are 90,000 lists, half an hour of 50 new lists a second. Beyond that the one that was asked for least lately goes, and its person may
/// see another list.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What a list costs beside its products: key, entry, and the cache's own books.
const BYTES_BESIDE: usize = 384;

/// For whom a list was made, and of what of theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    who: Pseudonym,
    kind: Kind,
    sku: Option<Sku>,
    limit: u32,
    change: Change,
    /// What their own clicks have come to: [`session::mark`].
    mark: u64,
}

impl Key {
    /// `None`: nothing is kept, because nothing is known of who asks, or the list hangs on nobody else.
    pub fn of(command: &Command, change: Change, person: &Person) -> Option<Self> {
        if command.kind == Kind::Continue {
            return None;
        }
        let (who, mark) = (command.pseudonym.clone()?, session::mark(person)?);
        let (kind, limit) = (command.kind, command.limit);
        Some(Self { who, kind, sku: command.sku.clone(), limit, change, mark })
    }
}

/// A list in few bytes: a name costs its length and no allocation of its own.
#[derive(Debug)]
struct Kept {
    /// A line each, in their order.
    names: Box<str>,
    reasons: Box<[Reason]>,
    model: &'static str,
    from_profile: bool,
    list_id: Uuid,
    made_at_ms: i64,
}

impl Kept {
    fn pack(list: &List, made_at_ms: i64) -> Self {
        let names: Vec<&str> = list.items.iter().map(|item| item.sku.as_str()).collect();
        Self {
            names: names.join("\n").into_boxed_str(),
            reasons: list.items.iter().map(|item| item.reason).collect(),
            model: list.model,
            from_profile: list.from_profile,
            list_id: list.list_id,
            made_at_ms,
        }
    }

    fn unpack(&self) -> List {
        let item = |(name, reason): (&str, &Reason)| Some(Item { sku: Sku::parse(name).ok()?, reason: *reason });
        List {
            items: self.names.lines().zip(self.reasons.iter()).filter_map(item).collect(),
            model: self.model,
            from_profile: self.from_profile,
            list_id: self.list_id,
        }
    }

    fn is_over(&self, now_ms: i64) -> bool {
        now_ms - self.made_at_ms >= SESSION_MS
    }

    fn bytes(&self) -> u32 {
        u32::try_from(BYTES_BESIDE + self.names.len() + self.reasons.len()).unwrap_or(u32::MAX)
    }
}

pub struct KeptLists {
    lists: Cache<Key, Arc<Kept>>,
}

impl Default for KeptLists {
    fn default() -> Self {
        Self::of_bytes(MOST_BYTES)
    }
}

impl KeptLists {
    fn of_bytes(most: u64) -> Self {
        // The clock of the process says when a session is over; the cache's own gives the memory back of whom nobody asks again.
        let lifetime = Duration::from_millis(SESSION_MS.unsigned_abs());
        let lists = Cache::builder()
            .max_capacity(most)
            .weigher(|_: &Key, kept: &Arc<Kept>| kept.bytes())
            // A new session is not worth less than an old one.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(lifetime)
            .build();
        Self { lists }
    }

    pub async fn get(&self, key: &Key, now_ms: i64) -> Option<List> {
        let kept = self.lists.get(key).await?;
        (!kept.is_over(now_ms)).then(|| kept.unpack())
    }

    /// Keeps a list and gives it back, unless somebody asked the same at the same time and was first: then theirs is the list.
    pub async fn keep(&self, key: Key, list: List, now_ms: i64) -> List {
        let kept = Arc::new(Kept::pack(&list, now_ms));
        let is_over = |old: &Arc<Kept>| old.is_over(now_ms);
        let entry = self.lists.entry(key).or_insert_with_if(std::future::ready(kept), is_over).await;
        if entry.is_fresh() { list } else { entry.into_value().unpack() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn key(number: u64) -> Key {
        let who = Pseudonym::parse(&"a".repeat(32)).expect("a pseudonym");
        Key { who, kind: Kind::ForYou, sku: None, limit: 20, change: Change::Nothing, mark: number }
    }

    fn list(products: usize, length: usize) -> List {
        let name = |place: usize| Sku::parse(&format!("{place:0length$}")).expect("a SKU");
        let item = |place| Item { sku: name(place), reason: Reason::Trending };
        List::of((0..products).map(item).collect(), "model")
    }

    #[tokio::test]
    async fn a_list_comes_back_as_it_was_until_the_session_is_over() {
        let kept = KeptLists::default();
        assert!(kept.get(&key(1), NOW).await.is_none());
        let made = kept.keep(key(1), List { from_profile: true, ..list(30, 10) }, NOW).await;
        assert_eq!(kept.get(&key(1), NOW + SESSION_MS - 1).await, Some(made.clone()));
        assert!(kept.get(&key(2), NOW).await.is_none(), "another mark asks for another list");
        assert!(kept.get(&key(1), NOW + SESSION_MS).await.is_none());
        let next = kept.keep(key(1), list(3, 10), NOW + SESSION_MS).await;
        assert_eq!((next.items.len(), kept.get(&key(1), NOW + SESSION_MS).await), (3, Some(next.clone())));
    }

    #[tokio::test]
    async fn of_two_who_ask_at_once_both_get_the_list_of_the_first() {
        let kept = KeptLists::default();
        let first = kept.keep(key(1), list(30, 10), NOW).await;
        assert_eq!(kept.keep(key(1), list(29, 10), NOW).await, first);
    }

    #[tokio::test]
    async fn however_many_ask_for_the_longest_lists_no_more_bytes_are_kept() {
        let most = 1024 * 1024;
        let kept = KeptLists::of_bytes(most);
        let number = 2_000;
        for number in 0..number {
            kept.keep(key(number), list(150, Sku::MAX_LENGTH), NOW).await;
        }
        // Each of these removes so many at most.
        for _ in 0..4 {
            kept.lists.run_pending_tasks().await;
        }
        let left = kept.lists.entry_count();
        assert!(kept.lists.weighted_size() <= most && (50..200).contains(&left), "{left}");
        assert!(kept.get(&key(number - 1), NOW).await.is_some(), "whoever came last is there");
    }

    #[test]
    fn a_list_of_the_usual_length_needs_what_the_bound_was_made_for() {
        let bytes = Kept::pack(&list(30, 10), NOW).bytes();
        assert!((600..800).contains(&bytes), "{bytes}");
    }
}
