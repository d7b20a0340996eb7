//! Lists that were made for somebody stay for as long as their session goes on: what others click changes lists all the time, and a list
//! that somebody leafs through or comes back to must not move under them. Their own next click asks for another one, because it gives
//! them another mark ([`session::mark`]). Nothing is kept of whom nothing is known.
//!
//! Decided here: when a list that was made is the list to show. The store keeps it for all processes; no answer waits for that, so what was
//! made a moment ago waits here to be written, and answers this process meanwhile. Not decided here: what of a list may still be shown, and
//! which of two lists stays in the store ([`Lists::keep`]). See ADR 0067.
//!
//! [`session::mark`]: crate::domain::session::mark

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::Sku;

use super::error::StoreUnavailable;
use super::generate_recommendations::{Command, Kind};
use super::lists::List;
use super::ports::Lists;
use crate::domain::Pseudonym;
use crate::domain::experiment::plan::Change;
use crate::domain::session::SESSION_MS;
use crate::metrics;

/// How long a list waits to be written: shorter than anybody needs to go on to a page that asks for it again, and long enough that the lists
/// of one page, and of all who look at one at this moment, go in one round trip.
pub const WRITE: Duration = Duration::from_millis(50);

/// The same after the store did not take them.
pub const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// Lists that wait at most: while the store takes nothing, over a minute of 50 new lists a second. One of the usual length needs about 2 kB
/// here, so these are 8 MB; if all of them are the longest there are, 70 MB. What finds no room is made anew at the next question.
const MOST_WAITING: usize = 4_000;

/// Lists written at once, so that none of our round trips holds up the store: about 300 kB.
const AT_ONCE: usize = 200;

/// Who asks what: the same question has the same list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    pub who: Pseudonym,
    pub kind: Kind,
    /// The product at hand.
    pub sku: Option<Sku>,
    pub limit: u32,
    /// Of an experiment.
    pub change: Change,
}

impl Asked {
    /// `None`: nothing is kept, because nobody knows who asks, or the list hangs on nobody else.
    pub fn of(command: &Command, change: Change) -> Option<Self> {
        let who = command.pseudonym.clone().filter(|_| command.kind != Kind::Continue)?;
        Some(Self { who, kind: command.kind, sku: command.sku.clone(), limit: command.limit, change })
    }
}

/// A list, when it was made and of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What the person's own clicks had come to.
    pub mark: u64,
    /// Latest receipt of what was counted in their profile, in milliseconds since 1970-01-01 UTC: of two marks this one tells the later. As
    /// read from the store it is that of the first list of this mark.
    pub as_of_ms: i64,
    pub made_at_ms: i64,
    pub list: List,
}

impl Kept {
    /// Whether it is the list to show to somebody of this mark.
    pub fn holds(&self, mark: u64, now_ms: i64) -> bool {
        // The store may hold any number.
        self.mark == mark && now_ms.saturating_sub(self.made_at_ms) < SESSION_MS
    }
}

/// What was made and is not written yet.
#[derive(Default)]
pub struct KeptLists {
    waiting: Mutex<HashMap<Asked, Kept>>,
}

impl KeptLists {
    /// What waits for whoever asks this. To be asked before the store is: what is written in between is in one of the two.
    pub fn waiting(&self, asked: &Asked) -> Option<Kept> {
        self.open().get(asked).cloned()
    }

    /// Takes a list that was made, to be written, and gives back the list to show: this one, unless somebody asked the same at the same time
    /// and was first.
    pub fn keep(&self, asked: Asked, kept: Kept) -> List {
        let mut waiting = self.open();
        match waiting.get(&asked) {
            Some(first) if first.holds(kept.mark, kept.made_at_ms) => return first.list.clone(),
            // An answer that knew less took longer.
            Some(other) if other.mark != kept.mark && other.as_of_ms > kept.as_of_ms => return kept.list,
            None if waiting.len() >= MOST_WAITING => {
                metrics::KEPT_LISTS.with_label_values(&["no-room"]).inc();
                return kept.list;
            }
            _ => {}
        }
        let list = kept.list.clone();
        waiting.insert(asked, kept);
        list
    }

    /// Some of what waits. It goes on waiting, because it may be asked for while it is written.
    fn some(&self, now_ms: i64) -> Vec<(Asked, Kept)> {
        let mut waiting = self.open();
        waiting.retain(|_, kept| kept.holds(kept.mark, now_ms));
        waiting.iter().take(AT_ONCE).map(|(asked, kept)| (asked.clone(), kept.clone())).collect()
    }

    /// The store has these, or others that were there before them.
    fn written(&self, lists: &[(Asked, Kept)]) {
        let mut waiting = self.open();
        for (asked, kept) in lists {
            if waiting.get(asked).is_some_and(|now| now.list.list_id == kept.list.list_id) {
                waiting.remove(asked);
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Asked, Kept>> {
        // Nothing here can be left half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits, all of it. Safe to repeat.
///
/// # Errors
/// [`StoreUnavailable`]: what is not written goes on waiting, and answering, until its session is over.
pub async fn write_lists(kept: &KeptLists, store: &dyn Lists, now_ms: i64) -> Result<(), StoreUnavailable> {
    // Never more than can wait; what comes meanwhile is next time's.
    for _ in 0..MOST_WAITING.div_ceil(AT_ONCE) {
        let some = kept.some(now_ms);
        if some.is_empty() {
            break;
        }
        let answers = store.keep(&some).await?;
        kept.written(&some);
        for stays in answers {
            metrics::KEPT_LISTS.with_label_values(&[if stays { "written" } else { "not-first" }]).inc();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::domain::recommend::{Item, Reason};

    const NOW: i64 = 1_790_000_000_000;

    fn asked(number: u32) -> Asked {
        let who = Pseudonym::parse(&format!("{number:032x}")).expect("a pseudonym");
        Asked { who, kind: Kind::ForYou, sku: None, limit: 20, change: Change::Nothing }
    }

    fn made(mark: u64, as_of_ms: i64, made_at_ms: i64) -> Kept {
        let item = Item { sku: Sku::parse("A").expect("a SKU"), reason: Reason::Trending };
        Kept { mark, as_of_ms, made_at_ms, list: List::of(vec![item], "popularity-decay-1") }
    }

    /// Takes lists, or does not.
    #[derive(Default)]
    struct Store {
        is_away: bool,
        taken: Mutex<Vec<usize>>,
    }

    #[async_trait]
    impl Lists for Store {
        async fn keep(&self, lists: &[(Asked, Kept)]) -> Result<Vec<bool>, StoreUnavailable> {
            if self.is_away {
                return Err(StoreUnavailable(anyhow::anyhow!("away")));
            }
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(lists.len());
            Ok(vec![true; lists.len()])
        }
    }

    #[test]
    fn a_list_holds_until_the_session_is_over_and_for_one_mark() {
        let kept = made(1, NOW, NOW);
        assert!(kept.holds(1, NOW) && kept.holds(1, NOW + SESSION_MS - 1));
        assert!(!kept.holds(1, NOW + SESSION_MS) && !kept.holds(2, NOW));
        assert!(!made(1, NOW, i64::MIN).holds(1, NOW), "whatever was stored");
    }

    #[test]
    fn of_two_who_ask_at_once_both_get_the_list_of_the_first() {
        let kept = KeptLists::default();
        let first = made(1, NOW, NOW);
        assert_eq!(kept.keep(asked(1), first.clone()), first.list);
        assert_eq!(kept.keep(asked(1), made(1, NOW, NOW + 5)), first.list);
        let next = made(1, NOW, NOW + SESSION_MS);
        assert_eq!(kept.keep(asked(1), next.clone()), next.list, "the session was over");
        let clicked = made(2, NOW + 1, NOW + SESSION_MS);
        assert_eq!(kept.keep(asked(1), clicked.clone()), clicked.list, "the person did something");
        assert_eq!(kept.keep(asked(1), next.clone()), next.list, "it is shown to whom it was made for");
        assert_eq!(kept.waiting(&asked(1)), Some(clicked), "and takes the place of nothing newer");
    }

    #[tokio::test]
    async fn what_waits_is_the_list_until_the_store_has_it() {
        let kept = KeptLists::default();
        let first = made(1, NOW, NOW);
        kept.keep(asked(1), first.clone());
        let away = Store { is_away: true, ..Store::default() };
        write_lists(&kept, &away, NOW).await.expect_err("it takes nothing");
        assert_eq!(kept.waiting(&asked(1)), Some(first));
        let store = Store::default();
        write_lists(&kept, &store, NOW).await.expect("it takes them");
        assert_eq!(kept.waiting(&asked(1)), None);
        write_lists(&kept, &store, NOW).await.expect("nothing is asked of it");
        assert_eq!(store.taken.into_inner().expect("no test panicked with it"), [1]);
    }

    #[tokio::test]
    async fn while_the_store_takes_nothing_no_more_than_a_bounded_number_waits_and_no_longer_than_a_session() {
        let kept = KeptLists::default();
        for number in 0..5_000 {
            let list = made(1, NOW, NOW);
            assert_eq!(kept.keep(asked(number), list.clone()), list.list, "it is answered all the same");
        }
        assert_eq!(kept.open().len(), MOST_WAITING);
        let store = Store::default();
        write_lists(&kept, &store, NOW).await.expect("it takes them");
        let taken = store.taken.into_inner().expect("no test panicked with it");
        assert!(taken.iter().all(|number| *number <= AT_ONCE), "{taken:?}");
        assert_eq!((taken.iter().sum::<usize>(), kept.open().len()), (MOST_WAITING, 0));
        kept.keep(asked(1), made(1, NOW, NOW));
        let away = Store { is_away: true, ..Store::default() };
        write_lists(&kept, &away, NOW + SESSION_MS).await.expect("nothing is left to be written");
        assert_eq!(kept.waiting(&asked(1)), None);
    }
}
