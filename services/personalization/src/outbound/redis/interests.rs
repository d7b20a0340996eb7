//! What a batch needs, in one round trip, and what it changes. Each place is written whole or not at all, with its mark (`guarded`). On one
//! server everything is one place, and a batch one script. On a cluster there are two steps: first the place of the shop, then those of people,
//! which are as many as there are parts, all at the same time.
//!
//! The shop comes first, because what it learns of somebody is decided from what is known of them before: when the second step does not
//! come, or reaches some parts only, the batch comes again, and the domain tells the shop nothing twice. The other way round what the
//! shop had not been told could not be found out any more.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use common::Sku;
use contracts::interest::PROFILE_LIFETIME_SECONDS;
use contracts::places::Place;
use redis::{Pipeline, Value, from_redis_value};

use super::features::{ask_features, read_feature};
use super::{RedisStore, guarded, readable};
use crate::domain::popularity::{self, PAIR_HALF_LIFE_MS, TRENDING_HALF_LIFE_MS};
use crate::domain::{Batch, Marks, Outcome, Person, PersonChange, Position, Pseudonym, Stored};
use crate::outbound::codec;
use crate::usecases::StoreUnavailable;
use crate::usecases::ports::{InterestStore, Saved, Shelf};

/// Products kept per list of popular ones: not what is shown, which is three hundred at most, but where a launch gathers clicks until
/// it is shown. What falls out begins at nothing with its next click, so a list that is hardly longer than what is shown keeps
/// newcomers out for good. About 100 bytes each: 2 MB for the shop, and as much again for all categories of as many products.
const MAX_POPULAR: isize = 20_000;
/// Partners kept per product, for the same reason many more than two pages; and no more than Redis holds in its compact form, below
/// 5 kB a list. A new pair outweighs an old one that came as often, so a newcomer falls out only where 128 others came more often.
const MAX_TOGETHER: isize = 128;
/// Lists that nobody adds to are forgotten after this long, in seconds (60 days): a category that is no more, an old era.
const LIST_LIFETIME_SECONDS: i64 = 60 * 24 * 60 * 60;

/// Marks of events that were counted are forgotten after this long, in seconds (2 days): the topic keeps a day, and few
/// outages are longer. A copy that comes from a disk later than that counts again (ADR 0049).
const SEEN_LIFETIME_SECONDS: u64 = 2 * 24 * 60 * 60;

#[async_trait]
impl InterestStore for RedisStore {
    async fn stored(&self, partition: i32, batch: &Batch) -> Result<Stored, StoreUnavailable> {
        let mut places: BTreeMap<Place, Vec<&Pseudonym>> =
            self.places().into_iter().map(|place| (place, Vec::new())).collect();
        for person in batch.pseudonyms() {
            places.entry(self.home(person)).or_default().push(person);
        }
        let mut stored = Stored::default();
        let mut unknown: Vec<&Sku> = Vec::new();
        for sku in batch.skus() {
            match self.features.get(sku).await {
                Some(feature) => drop(stored.features.insert(sku.clone(), feature)),
                None => unknown.push(sku),
            }
        }
        let mut pipe = redis::pipe();
        for (place, people) in &places {
            pipe.cmd("MGET").arg(self.keys.counted(*place, partition));
            pipe.arg(people.iter().map(|person| self.keys.profile(person)).collect::<Vec<_>>());
            pipe.arg(people.iter().map(|person| self.keys.recent(person)).collect::<Vec<_>>());
            pipe.arg(people.iter().map(|person| self.keys.seen(person)).collect::<Vec<_>>());
            pipe.arg(people.iter().map(|person| self.keys.refused(person)).collect::<Vec<_>>());
            if *place == self.keys.layout.shop() {
                pipe.arg(self.keys.refusals_since(partition));
            }
        }
        ask_features(&mut pipe, &self.keys, &unknown);
        let mut answers = self.run(&pipe).await?.into_iter();
        let mut unreadable = redis::pipe();
        for ((place, people), answer) in places.iter().zip(answers.by_ref()) {
            let blobs: Vec<Option<Vec<u8>>> = readable(answer)?;
            let blob = |nth: usize| blobs.get(nth).and_then(Option::as_deref);
            let mark = blob(0).and_then(|text| self.mark(*place, partition, text, &mut unreadable));
            match place {
                Place::Everything | Place::Shop => stored.counted.shop = mark,
                Place::Part(_) => stored.counted.people.push(mark),
            }
            for (nth, person) in people.iter().enumerate() {
                let theirs = |list: usize| blob(1 + list * people.len() + nth);
                let profile = theirs(0).and_then(codec::decode_profile);
                let recent = theirs(1).map(codec::decode_recent).unwrap_or_default();
                let seen = theirs(2).map(codec::decode_seen).unwrap_or_default();
                let refused = theirs(3).and_then(milliseconds);
                stored.refused.extend(refused.map(|at| ((*person).clone(), at)));
                if profile.is_some() || !recent.is_empty() {
                    stored.people.insert((*person).clone(), Person { profile, recent, seen });
                }
            }
            if *place == self.keys.layout.shop() {
                stored.refusals_since = blob(1 + 4 * people.len()).and_then(milliseconds);
            }
        }
        self.run(&unreadable).await?;
        for (sku, answer) in unknown.into_iter().zip(answers) {
            if let Some((feature, _)) = read_feature(answer) {
                self.features.insert(sku.clone(), feature.clone()).await;
                stored.features.insert(sku.clone(), feature);
            }
        }
        Ok(stored)
    }

    async fn save(&self, partition: i32, outcome: &Outcome, now_ms: i64) -> Result<Saved, StoreUnavailable> {
        for scripts in self.steps(partition, outcome, now_ms) {
            if self.written(&scripts).await? == Saved::Overtaken {
                return Ok(Saved::Overtaken);
            }
        }
        Ok(Saved::Written)
    }
}

impl RedisStore {
    /// Everywhere that a batch writes, also where nobody of it is: the mark of each place moves with each batch, so that one which a server
    /// has lost is missed.
    fn places(&self) -> BTreeSet<Place> {
        let layout = self.keys.layout;
        layout.homes().into_iter().chain([layout.shop()]).collect()
    }

    fn home(&self, person: &Pseudonym) -> Place {
        self.keys.layout.home(person.as_str())
    }

    /// Up to where a partition is counted in a place, as it says there. What cannot be read is none, and is to be removed.
    fn mark(&self, place: Place, partition: i32, text: &[u8], unreadable: &mut Pipeline) -> Option<Position> {
        let mark = codec::decode_counted(partition, text);
        if mark.is_none() {
            tracing::warn!(partition, ?place, "up to where a partition is counted cannot be read and was removed");
            guarded::remove(unreadable, &self.keys.counted(place, partition), text);
        }
        mark
    }

    /// Whether all of these scripts have written.
    async fn written(&self, scripts: &Pipeline) -> Result<Saved, StoreUnavailable> {
        let mut all = Saved::Written;
        for answer in self.run_calls(&guarded::SCRIPT, scripts).await? {
            // No memory, a copy that takes no writes: nothing of this place is in, all is to be tried again.
            let answer = answer.map_err(|error| StoreUnavailable(error.into()))?;
            if guarded::saved(answer)? == Saved::Overtaken {
                all = Saved::Overtaken;
            }
        }
        Ok(all)
    }

    /// A script for each place, in the steps in which they are written. On one server the second has none.
    fn steps(&self, partition: i32, outcome: &Outcome, now_ms: i64) -> [Pipeline; 2] {
        let (mut shop, mut people) = (redis::pipe(), redis::pipe());
        for (place, commands) in self.commands(partition, outcome, now_ms) {
            let (step, before, counted) = match place {
                Place::Everything | Place::Shop => (&mut shop, outcome.before.shop, outcome.counted.shop),
                Place::Part(part) => {
                    let mark = |marks: &Marks| marks.people.get(part).copied().flatten();
                    (&mut people, mark(&outcome.before), mark(&outcome.counted))
                }
            };
            guarded::only_while(step, place, &self.keys.counted(place, partition), before, counted, &commands);
        }
        [shop, people]
    }

    /// What changes in each place.
    fn commands(&self, partition: i32, outcome: &Outcome, now_ms: i64) -> BTreeMap<Place, Pipeline> {
        let mut places: BTreeMap<Place, Pipeline> =
            self.places().into_iter().map(|place| (place, redis::pipe())).collect();
        for (person, change) in &outcome.people {
            self.change_person(places.entry(self.home(person)).or_insert_with(redis::pipe), person, change);
        }
        for (person, at) in &outcome.refused {
            let pipe = places.entry(self.home(person)).or_insert_with(redis::pipe);
            // Also where they said yes again in the same batch, and are remembered anew.
            pipe.cmd("DEL").arg(self.keys.lists(person));
            pipe.cmd("SET").arg(self.keys.refused(person)).arg(*at).arg("EX").arg(PROFILE_LIFETIME_SECONDS);
        }
        let shop = places.entry(self.keys.layout.shop()).or_insert_with(redis::pipe);
        if let Some(since) = outcome.refusals_since {
            // A record from before a profile's lifetime is refused anyway.
            shop.cmd("SET").arg(self.keys.refusals_since(partition)).arg(since).arg("EX").arg(PROFILE_LIFETIME_SECONDS);
        }
        self.add_popularity(shop, outcome, now_ms);
        super::visits::append(shop, &self.keys, &outcome.steps);
        places
    }

    fn change_person(&self, pipe: &mut Pipeline, person: &Pseudonym, change: &PersonChange) {
        let (profile_key, recent_key) = (self.keys.profile(person), self.keys.recent(person));
        let seen_key = self.keys.seen(person);
        match change {
            PersonChange::Remembered { profile, recent, seen } => {
                let (profile, recent) = (codec::encode_profile(profile), codec::encode_recent(recent));
                pipe.cmd("SET").arg(profile_key).arg(profile).arg("EX").arg(PROFILE_LIFETIME_SECONDS);
                pipe.cmd("SET").arg(recent_key).arg(recent).arg("EX").arg(PROFILE_LIFETIME_SECONDS);
                pipe.cmd("SET").arg(seen_key).arg(codec::encode_seen(seen)).arg("EX").arg(SEEN_LIFETIME_SECONDS);
            }
            PersonChange::Forgotten => {
                // In which experiments they are goes as well: while one runs it is gone with its sums already. What they were shown
                // goes with the no that is written beside it.
                let experiments_key = self.keys.enrolments(person);
                pipe.cmd("DEL").arg(profile_key).arg(recent_key).arg(seen_key).arg(experiments_key);
            }
        }
    }

    fn add_popularity(&self, pipe: &mut Pipeline, outcome: &Outcome, now_ms: i64) {
        let (_, weight) = popularity::era_and_weight(now_ms, TRENDING_HALF_LIFE_MS);
        let mut lists = BTreeSet::new();
        for gain in &outcome.gains {
            for shelf in [Shelf::Everything, Shelf::Category(gain.category.clone())] {
                let key = self.keys.shelf(&shelf, now_ms);
                pipe.cmd("ZINCRBY").arg(&key).arg(gain.weight * weight).arg(gain.sku.as_str());
                lists.insert((key, MAX_POPULAR));
            }
            let categories = self.keys.categories(now_ms);
            pipe.cmd("ZINCRBY").arg(&categories).arg(gain.weight * weight).arg(&gain.category);
            lists.insert((categories, MAX_POPULAR));
        }
        let (_, weight) = popularity::era_and_weight(now_ms, PAIR_HALF_LIFE_MS);
        for (pair, times) in &outcome.pairs {
            for (at_hand, other) in [(&pair.one, &pair.other), (&pair.other, &pair.one)] {
                let key = self.keys.shelf(&Shelf::Together(pair.kind, at_hand.clone()), now_ms);
                pipe.cmd("ZINCRBY").arg(&key).arg(f64::from(*times) * weight).arg(other.as_str());
                lists.insert((key, MAX_TOGETHER));
            }
        }
        for (key, longest) in lists {
            pipe.cmd("ZREMRANGEBYRANK").arg(&key).arg(0).arg(-(longest + 1));
            pipe.cmd("EXPIRE").arg(&key).arg(LIST_LIFETIME_SECONDS);
        }
    }
}

fn milliseconds(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An answer as text fields, `None` where Redis had nothing.
pub(super) fn texts(value: Value) -> Vec<Option<String>> {
    from_redis_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use contracts::interest;
    use contracts::places::{Layout, PARTS};
    use redis::Arg;
    use redis::cluster_routing::Slot;

    use super::*;
    use crate::domain::{Click, ClickKind, Feature, Report};
    use crate::usecases::ports::ProductRevision;

    const NOW: i64 = 1_790_000_000_000;

    fn one_server() -> RedisStore {
        RedisStore::connect("redis://127.0.0.1:9", "t1:").expect("a well-formed URL")
    }

    fn a_cluster() -> RedisStore {
        RedisStore::connect("redis+cluster://127.0.0.1:9", "t1:").expect("a well-formed URL")
    }

    fn words(command: &redis::Cmd) -> Vec<String> {
        let text = |word: Arg<&[u8]>| match word {
            Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
            _ => panic!("a cursor"),
        };
        command.args_iter().map(text).collect()
    }

    /// The slots of all keys of a command that is no script.
    fn slots(words: &[String]) -> HashSet<Slot> {
        let keys = if matches!(words[0].as_str(), "DEL" | "MGET") { words.len() - 1 } else { 1 };
        words[1..=keys].iter().map(Slot::for_key).collect()
    }

    /// The slots of all keys of a guarded write: those that it declares, which are all that its commands name.
    fn slots_of_a_script(words: &[String]) -> HashSet<Slot> {
        assert_eq!(words[0], "EVALSHA");
        let keys = words[2].parse::<usize>().expect("a number of keys");
        let declared: HashSet<Slot> = words[3..3 + keys].iter().map(Slot::for_key).collect();
        // Behind them stand the marks before and after.
        let mut at = 3 + keys + 2;
        while at < words.len() {
            let last = at + words[at].parse::<usize>().expect("a number of words");
            assert!(slots(&words[at + 1..=last]).is_subset(&declared), "{words:?}");
            at = last + 1;
        }
        declared
    }

    /// Two thousand people, so that each part has somebody; some of them withdraw.
    fn batch() -> Batch {
        let report = |number: u128| {
            let who = interest::pseudonym(b"key", common::UserId::from_uuid(uuid::Uuid::from_u128(number)));
            let offset = i64::try_from(number).expect("a small number");
            let click = |name: &str| Click { kind: ClickKind::Buy, sku: Sku::parse(name).ok(), at_ms: NOW, mark: None };
            Report {
                pseudonym: Pseudonym::parse(&who).expect("a pseudonym"),
                consent: !number.is_multiple_of(5),
                position: Position { partition: 3, offset, received_at_ms: NOW },
                traceparent: None,
                clicks: ["A", "B", "C"].map(click).to_vec(),
            }
        };
        Batch::gather((0..2_000).map(report))
    }

    /// What the batch comes to where nothing is counted yet.
    fn outcome() -> Outcome {
        let feature = || Feature { category: "coats".to_owned(), ..Feature::default() };
        let features = ["A", "B", "C"].map(|name| (Sku::parse(name).expect("a SKU"), feature()));
        let outcome =
            batch().decide(&Stored { features: features.into(), refusals_since: Some(NOW), ..Stored::default() });
        assert!(!outcome.pairs.is_empty() && !outcome.gains.is_empty() && !outcome.steps.is_empty());
        assert!(!outcome.refused.is_empty() && outcome.refusals_since.is_some());
        outcome
    }

    #[tokio::test]
    async fn on_one_server_a_batch_is_one_script_for_the_shop_and_people_alike() {
        let (store, outcome) = (one_server(), outcome());
        let [script, nothing] = store.steps(3, &outcome, NOW);
        assert_eq!((script.len(), nothing.len()), (1, 0));
        let script = words(script.cmd_iter().next().expect("a script"));
        assert_eq!(script[2..4], ["1", "t1:clicks-counted:3"], "the one mark");
        let named: HashSet<String> = script.into_iter().collect();
        let of_people = outcome.people.iter().map(|(who, _)| store.keys.seen(who));
        let popular = store.keys.shelf(&Shelf::Everything, NOW);
        for key in of_people.chain([popular, store.keys.visits(), store.keys.refusals_since(3)]) {
            assert!(named.contains(&key), "{key}");
        }
    }

    #[tokio::test]
    async fn each_script_of_a_batch_stays_in_the_slot_of_its_mark() {
        let [shop, people] = a_cluster().steps(3, &outcome(), NOW);
        assert_eq!((shop.len(), people.len()), (1, PARTS), "the shop before people");
        let mut places = HashSet::new();
        for script in shop.cmd_iter().chain(people.cmd_iter()).map(words) {
            let slots = slots_of_a_script(&script);
            assert_eq!(slots.len(), 1, "{script:?}");
            assert_ne!(script[2], "1", "somebody is in each part: {script:?}");
            places.extend(slots);
        }
        assert_eq!(places.len(), 1 + PARTS, "no two places share a slot, so each may go elsewhere");
    }

    #[test]
    fn the_parts_lie_evenly_on_the_masters_of_a_cluster() {
        // The slots are handed out in ranges of the same length.
        for masters in 2..=8_u64 {
            let mut parts: BTreeMap<u64, usize> = BTreeMap::new();
            for home in Layout::Cluster.homes() {
                let home = Slot::for_key(home.key("any"));
                let slot = (0..16_384_u16).find(|slot| Slot::new(*slot) == Some(home));
                *parts.entry(u64::from(slot.expect("a slot")) * masters / 16_384).or_default() += 1;
            }
            let share = PARTS / usize::try_from(masters).expect("a few");
            assert!(parts.values().all(|parts| parts.abs_diff(share) <= 2), "{masters} masters: {parts:?}");
        }
    }

    #[tokio::test]
    async fn what_is_learned_of_products_stays_in_one_slot() {
        let store = a_cluster();
        let product = |feature: Option<Feature>| ProductRevision {
            sku: Sku::parse("A").expect("a SKU"),
            revision: 2,
            changed_at_ms: NOW,
            feature,
        };
        let feature = |category: &str| Feature { category: category.to_owned(), ..Feature::default() };
        let mut pipe = redis::pipe();
        store.write(&mut pipe, &product(Some(feature("coats"))), Some(feature("drones")));
        store.write(&mut pipe, &product(None), Some(feature("coats")));
        let slots: HashSet<Slot> = pipe.cmd_iter().flat_map(|command| slots(&words(command))).collect();
        assert_eq!(slots, HashSet::from([Slot::for_key(Place::Shop.key("any"))]));
    }
}
