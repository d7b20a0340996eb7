//! The store in memory, for tests of use cases: the same answers as Redis gives, without expiry, and it can be switched off.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use common::{Sku, UserId};

use crate::domain::experiment::enrolment::Enrolments;
use crate::domain::experiment::tally::ByArm;
use crate::domain::popularity::{PAIR_HALF_LIFE_MS, TRENDING_HALF_LIFE_MS, era_and_weight};
use crate::domain::recommend::Popular;
use crate::domain::{Batch, Feature, Marks, Outcome, Person, PersonChange, Pseudonym, Stored};
use crate::outbound::list_codec;
use crate::usecases::ports::{
    Consents, EnrolmentChange, FeatureStore, InterestStore, Lists, MOST_LIST_BYTES, ProductRevision, Saved, Shelf,
    Shelves, Tallies, VisitEntry, VisitStream, WriteDown,
};
use crate::usecases::{Asked, Kept, StoreUnavailable};

#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    /// Answers nothing while set.
    pub down: AtomicBool,
    /// Set: all products are lost, and were not all learned again.
    pub lost_products: AtomicBool,
    /// Calls so far, to count round trips.
    pub calls: AtomicUsize,
    /// People whose sessions say that they do not agree.
    pub refusing: Mutex<HashSet<UserId>>,
}

/// What somebody was shown since they clicked last, all of one mark.
#[derive(Default)]
struct WasShown {
    mark: u64,
    as_of_ms: i64,
    bytes: usize,
    lists: HashMap<Asked, Kept>,
}

#[derive(Default)]
struct Inner {
    people: HashMap<Pseudonym, Person>,
    refused: HashMap<Pseudonym, i64>,
    was_shown: HashMap<Pseudonym, WasShown>,
    counted: HashMap<i32, Marks>,
    refusals_since: HashMap<i32, i64>,
    features: HashMap<Sku, (Feature, i64)>,
    shelves: HashMap<Shelf, BTreeMap<Sku, f64>>,
    categories: BTreeMap<String, f64>,
    visits: Vec<VisitEntry>,
    snapshot: Option<Vec<u8>>,
    enrolments: HashMap<Pseudonym, Enrolments>,
    sums: HashMap<String, ByArm>,
}

impl MemoryStore {
    fn open(&self) -> Result<MutexGuard<'_, Inner>, StoreUnavailable> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreUnavailable(anyhow::anyhow!("switched off")));
        }
        Ok(self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    /// As the script of Redis does.
    fn keep(&mut self, asked: &Asked, kept: &Kept) -> bool {
        let is_known = self.people.get(&asked.who).is_some_and(|person| person.profile.is_some());
        let refused = self.refused.get(&asked.who).is_some_and(|at| kept.as_of_ms < *at);
        if !is_known || refused {
            return false;
        }
        let cost = list_codec::cost(&list_codec::field(asked), &list_codec::encode(kept));
        let shown = self.was_shown.entry(asked.who.clone()).or_default();
        if shown.mark != kept.mark {
            if shown.as_of_ms > kept.as_of_ms {
                return false;
            }
            *shown = WasShown { mark: kept.mark, as_of_ms: kept.as_of_ms, ..WasShown::default() };
        } else if shown.lists.get(asked).is_some_and(|first| first.holds(kept.mark, kept.made_at_ms)) {
            return false;
        }
        shown.bytes += cost;
        if shown.bytes > MOST_LIST_BYTES {
            shown.lists.clear();
            shown.bytes = cost;
        }
        shown.lists.insert(asked.clone(), Kept { as_of_ms: shown.as_of_ms, ..kept.clone() });
        true
    }

    fn add(&mut self, shelf: Shelf, sku: &Sku, weight: f64) {
        *self.shelves.entry(shelf).or_default().entry(sku.clone()).or_default() += weight;
    }

    fn remove(&mut self, shelf: &Shelf, sku: &Sku) {
        if let Some(list) = self.shelves.get_mut(shelf) {
            list.remove(sku);
        }
    }
}

#[async_trait]
impl InterestStore for MemoryStore {
    async fn stored(&self, partition: i32, batch: &Batch) -> Result<Stored, StoreUnavailable> {
        let inner = self.open()?;
        let known = |person: &Pseudonym| inner.people.get(person).map(|known| (person.clone(), known.clone()));
        let feature = |sku: &&Sku| inner.features.get(*sku).map(|(feature, _)| ((*sku).clone(), feature.clone()));
        Ok(Stored {
            people: batch.pseudonyms().filter_map(known).collect(),
            features: batch.skus().iter().filter_map(feature).collect(),
            counted: inner.counted.get(&partition).cloned().unwrap_or_default(),
            refused: batch.pseudonyms().filter_map(|who| Some((who.clone(), *inner.refused.get(who)?))).collect(),
            refusals_since: inner.refusals_since.get(&partition).copied(),
        })
    }

    async fn save(&self, partition: i32, outcome: &Outcome, now_ms: i64) -> Result<Saved, StoreUnavailable> {
        let mut inner = self.open()?;
        if *inner.counted.get(&partition).unwrap_or(&Marks::default()) != outcome.before {
            return Ok(Saved::Overtaken);
        }
        for (pseudonym, change) in &outcome.people {
            match change {
                PersonChange::Remembered { profile, recent, seen } => {
                    let (recent, seen) = (recent.clone(), seen.clone());
                    let person = Person { profile: Some((**profile).clone()), recent, seen };
                    inner.people.insert(pseudonym.clone(), person);
                }
                PersonChange::Forgotten => {
                    inner.people.remove(pseudonym);
                    inner.enrolments.remove(pseudonym);
                }
            }
        }
        for (who, at) in &outcome.refused {
            inner.was_shown.remove(who);
            inner.refused.insert(who.clone(), *at);
        }
        inner.refusals_since.extend(outcome.refusals_since.map(|since| (partition, since)));
        for gain in &outcome.gains {
            let weight = gain.weight * era_and_weight(now_ms, TRENDING_HALF_LIFE_MS).1;
            inner.add(Shelf::Everything, &gain.sku, weight);
            inner.add(Shelf::Category(gain.category.clone()), &gain.sku, weight);
            *inner.categories.entry(gain.category.clone()).or_default() += weight;
        }
        for (pair, times) in &outcome.pairs {
            let weight = f64::from(*times) * era_and_weight(now_ms, PAIR_HALF_LIFE_MS).1;
            inner.add(Shelf::Together(pair.kind, pair.one.clone()), &pair.other, weight);
            inner.add(Shelf::Together(pair.kind, pair.other.clone()), &pair.one, weight);
        }
        if !outcome.steps.is_empty() {
            let position = format!("{}-0", inner.visits.len() + 1);
            inner.visits.push(VisitEntry { position, steps: outcome.steps.clone() });
        }
        inner.counted.insert(partition, outcome.counted.clone());
        Ok(Saved::Written)
    }
}

#[async_trait]
impl FeatureStore for MemoryStore {
    async fn features(&self, skus: &[Sku]) -> Result<HashMap<Sku, Feature>, StoreUnavailable> {
        let inner = self.open()?;
        Ok(skus
            .iter()
            .filter_map(|sku| inner.features.get(sku).map(|(feature, _)| (sku.clone(), feature.clone())))
            .collect())
    }

    async fn learn(&self, products: &[ProductRevision]) -> Result<usize, StoreUnavailable> {
        let mut inner = self.open()?;
        let mut newer = 0;
        for product in products {
            let before = inner.features.get(&product.sku).cloned();
            if before.as_ref().is_some_and(|(_, revision)| *revision >= product.revision) {
                continue;
            }
            newer += 1;
            if let Some((before, _)) = before
                && product.feature.as_ref().is_none_or(|now| now.category != before.category)
            {
                inner.remove(&Shelf::NewestOf(before.category.clone()), &product.sku);
                inner.remove(&Shelf::Category(before.category), &product.sku);
            }
            match &product.feature {
                Some(feature) => {
                    inner.features.insert(product.sku.clone(), (feature.clone(), product.revision));
                    for shelf in [Shelf::Newest, Shelf::NewestOf(feature.category.clone())] {
                        inner.remove(&shelf, &product.sku);
                        inner.add(shelf, &product.sku, product.changed_at_ms as f64);
                    }
                }
                None => {
                    inner.features.remove(&product.sku);
                    inner.remove(&Shelf::Newest, &product.sku);
                    inner.remove(&Shelf::Everything, &product.sku);
                }
            }
        }
        Ok(newer)
    }

    async fn are_learned(&self) -> Result<bool, StoreUnavailable> {
        self.open().map(|_| !self.lost_products.load(Ordering::Relaxed))
    }

    async fn all_learned(&self) -> Result<(), StoreUnavailable> {
        self.open().map(|_| self.lost_products.store(false, Ordering::Relaxed))
    }
}

impl MemoryStore {
    /// Loses what is known of products, as a store does that has lost everything.
    pub fn lose_products(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).features.clear();
        self.lost_products.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Shelves for MemoryStore {
    async fn person(&self, pseudonym: &Pseudonym) -> Result<Person, StoreUnavailable> {
        Ok(self.open()?.people.get(pseudonym).cloned().unwrap_or_default())
    }

    async fn asked(&self, asked: &Asked) -> Result<(Person, Option<Kept>), StoreUnavailable> {
        let inner = self.open()?;
        let kept = inner.was_shown.get(&asked.who).and_then(|shown| shown.lists.get(asked));
        Ok((inner.people.get(&asked.who).cloned().unwrap_or_default(), kept.cloned()))
    }

    async fn lists(
        &self,
        shelves: &[Shelf],
        limit: usize,
        _now_ms: i64,
    ) -> Result<Vec<Vec<Popular>>, StoreUnavailable> {
        let inner = self.open()?;
        Ok(shelves.iter().map(|shelf| strongest(inner.shelves.get(shelf), limit)).collect())
    }

    async fn active_categories(&self, limit: usize, _now_ms: i64) -> Result<Vec<String>, StoreUnavailable> {
        let inner = self.open()?;
        let mut names: Vec<(&String, &f64)> = inner.categories.iter().collect();
        names.sort_by(|one, two| two.1.total_cmp(one.1));
        Ok(names.into_iter().take(limit).map(|(name, _)| name.clone()).collect())
    }
}

#[async_trait]
impl Lists for MemoryStore {
    async fn keep(&self, lists: &[(Asked, Kept)]) -> Result<Vec<bool>, StoreUnavailable> {
        let mut inner = self.open()?;
        Ok(lists.iter().map(|(asked, kept)| inner.keep(asked, kept)).collect())
    }
}

#[async_trait]
impl VisitStream for MemoryStore {
    async fn after(&self, position: &str, limit: usize) -> Result<Vec<VisitEntry>, StoreUnavailable> {
        let inner = self.open()?;
        let read = inner.visits.iter().position(|entry| entry.position == position).map_or(0, |place| place + 1);
        Ok(inner.visits.iter().skip(read).take(limit).cloned().collect())
    }

    async fn oldest(&self) -> Result<Option<String>, StoreUnavailable> {
        Ok(self.open()?.visits.first().map(|entry| entry.position.clone()))
    }

    async fn snapshot(&self) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        Ok(self.open()?.snapshot.clone())
    }

    async fn may_write(&self, _: WriteDown) -> Result<bool, StoreUnavailable> {
        self.open().map(|_| true)
    }

    async fn write_snapshot(&self, bytes: &[u8]) -> Result<(), StoreUnavailable> {
        self.open()?.snapshot = Some(bytes.to_vec());
        Ok(())
    }
}

#[async_trait]
impl Tallies for MemoryStore {
    async fn enrolments(&self, people: &[&Pseudonym]) -> Result<Vec<Enrolments>, StoreUnavailable> {
        let inner = self.open()?;
        Ok(people.iter().map(|who| inner.enrolments.get(*who).cloned().unwrap_or_default()).collect())
    }

    async fn change(&self, changes: &[EnrolmentChange]) -> Result<Vec<bool>, StoreUnavailable> {
        let mut inner = self.open()?;
        let mut written = Vec::new();
        for change in changes {
            let now = inner.enrolments.get(&change.who).cloned().unwrap_or_default();
            written.push(now == change.before);
            if now != change.before {
                continue;
            }
            if change.after.is_empty() {
                inner.enrolments.remove(&change.who);
            } else {
                inner.enrolments.insert(change.who.clone(), change.after.clone());
            }
            for delta in &change.deltas {
                inner.sums.entry(delta.series.clone()).or_default().add(delta);
            }
        }
        Ok(written)
    }

    async fn sums(&self, series: &str) -> Result<ByArm, StoreUnavailable> {
        Ok(self.open()?.sums.get(series).copied().unwrap_or_default())
    }
}

#[async_trait]
impl Consents for MemoryStore {
    async fn withdrawn(&self, users: &[UserId]) -> Result<HashSet<UserId>, StoreUnavailable> {
        let refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(users.iter().filter(|user| refusing.contains(*user)).copied().collect())
    }
}

fn strongest(list: Option<&BTreeMap<Sku, f64>>, limit: usize) -> Vec<Popular> {
    let mut list: Vec<Popular> =
        list.into_iter().flatten().map(|(sku, weight)| Popular { sku: sku.clone(), weight: *weight }).collect();
    // Redis puts equals in falling order of their names.
    list.sort_by(|one, two| two.weight.total_cmp(&one.weight).then_with(|| two.sku.cmp(&one.sku)));
    list.truncate(limit);
    list
}
