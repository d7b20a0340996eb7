//! One batch of one partition: gathered per person before any I/O, then decided in one go from what was stored.
//!
//! Counting is exactly-once: a profile carries the position up to which its person is counted in, and the partition carries
//! some up to which all of it is counted, one for each place that is written at once ([`Marks`]). What a position includes is skipped, so a
//! batch that is delivered again, whole or in part, or that was written in some of its places only, changes nothing that it has changed.
//! A batch that does not join the partition's positions would leave a hole in the books: it is not for us to count.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use common::Sku;

use super::click::{Feature, Position, Pseudonym, Report};
use super::interest::{Gains, Profile};
use super::popularity::{self, Gain, Pair};
use super::recent::{self, Recent};
use super::seen::{self, Seen};
use super::visit::{self, VisitStep};

/// Reports of one partition, per person, each person's in the order of the stream.
#[derive(Debug, Default)]
pub struct Batch {
    people: BTreeMap<Pseudonym, Vec<Report>>,
    /// What it was read from; `None` for nothing.
    span: Option<Span>,
}

/// Records of one partition that follow one another, both ends with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub partition: i32,
    pub first: i64,
    pub last: i64,
}

/// What is remembered about one person.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    pub profile: Option<Profile>,
    pub recent: Vec<Recent>,
    /// Which events were counted.
    pub seen: Seen,
}

/// Up to where a partition is counted, in each place that is written, or lost, without the others (ADR 0082). The shop's place is written
/// before those of people, so that what it learns from them can be told as long as they are as they were.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// What the shop learns: popularity, pairs, steps of visits. And everything else, where it is written with that.
    pub shop: Option<Position>,
    /// What is known of people, place by place; who is where, the store knows. None where they are written with the shop.
    pub people: Vec<Option<Position>>,
}

impl Marks {
    /// Up to where everything is counted; `None` when nobody knows of some place.
    pub fn lowest(&self) -> Option<Position> {
        let all = self.people.iter().copied().chain([self.shop]);
        all.min_by_key(|mark| mark.map(|position| position.offset)).flatten()
    }

    fn each(&self, next: impl Fn(Option<Position>) -> Option<Position>) -> Self {
        Self { shop: next(self.shop), people: self.people.iter().map(|mark| next(*mark)).collect() }
    }
}

/// What was stored when the batch came.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub people: HashMap<Pseudonym, Person>,
    pub features: HashMap<Sku, Feature>,
    /// Up to where this partition is counted.
    pub counted: Marks,
    /// When somebody last said no, by the clock of whoever took it down.
    pub refused: HashMap<Pseudonym, i64>,
    /// From when on we know who has said no, in milliseconds since 1970-01-01 UTC; `None`: from the beginning. After a loss we do not
    /// know who said no before.
    pub refusals_since: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PersonChange {
    Remembered {
        profile: Box<Profile>,
        recent: Vec<Recent>,
        seen: Seen,
    },
    /// The newest word of this person on personalisation is no: what is stored must go.
    Forgotten,
}

/// What the batch changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub people: Vec<(Pseudonym, PersonChange)>,
    pub gains: Vec<Gain>,
    pub pairs: BTreeMap<Pair, u32>,
    /// What the index of visits learns, each person's steps in their order.
    pub steps: Vec<VisitStep>,
    /// Up to where the partition was counted when this was decided. It holds only for as long as that is so.
    pub before: Marks,
    /// Up to where it is counted with this: no further where nothing was new.
    pub counted: Marks,
    /// When people said no; kept beyond what is forgotten, because what they did before may still be on its way.
    pub refused: BTreeMap<Pseudonym, i64>,
    /// From when on we know who has said no, where this batch is the first since we forgot. Kept, because what was received before may
    /// still be on its way.
    pub refusals_since: Option<i64>,
    /// Reports that were counted before.
    pub repeated: usize,
    /// Events of new reports that were counted before, or may have been.
    pub repeated_events: usize,
    /// Those of them that may never have been counted.
    pub doubtful_events: usize,
}

impl Batch {
    pub fn gather(reports: impl IntoIterator<Item = Report>) -> Self {
        let mut batch = Self::default();
        for report in reports {
            let Position { partition, offset, .. } = report.position;
            batch = batch.covering(Span { partition, first: offset, last: offset });
            batch.people.entry(report.pseudonym.clone()).or_default().push(report);
        }
        batch
    }

    /// The same, read from these records as well, which may be no reports.
    pub fn covering(mut self, span: Span) -> Self {
        let known = self.span.unwrap_or(span);
        self.span = Some(Span { first: known.first.min(span.first), last: known.last.max(span.last), ..known });
        self
    }

    /// Whether it was read from nothing. A batch without reports is not empty: its records are done with.
    pub fn is_empty(&self) -> bool {
        self.span.is_none()
    }

    /// Whether nothing is missing between what is counted and this batch. Where nothing is counted, only the first record there can be
    /// has nothing before it.
    pub fn joins(&self, counted: Option<Position>) -> bool {
        let next = counted.map_or(0, |counted| counted.offset.saturating_add(1));
        self.span.is_none_or(|span| span.first <= next)
    }

    pub fn pseudonyms(&self) -> impl Iterator<Item = &Pseudonym> {
        self.people.keys()
    }

    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.people.values().flatten()
    }

    /// Products that were clicked, each once.
    pub fn skus(&self) -> BTreeSet<&Sku> {
        self.reports().flat_map(|report| &report.clicks).filter_map(|click| click.sku.as_ref()).collect()
    }

    pub fn decide(&self, stored: &Stored) -> Outcome {
        let mut outcome = Outcome::default();
        let mut gained: BTreeMap<Sku, f64> = BTreeMap::new();
        let nothing_seen = Seen::default();
        for (pseudonym, reports) in &self.people {
            let mut refused = stored.refused.get(pseudonym).copied();
            let reports = agreed_to(reports, &mut refused, stored.refusals_since);
            if let Some(at) = refused.filter(|_| reports.iter().any(|report| !report.consent)) {
                outcome.refused.insert(pseudonym.clone(), at);
            }
            let person = stored.people.get(pseudonym);
            let position = person.and_then(|person| person.profile.as_ref()).map(|profile| profile.position);
            let once = seen::once(&reports, position, person.map_or(&nothing_seen, |person| &person.seen));
            outcome.repeated_events += once.repeated;
            outcome.doubtful_events += once.in_doubt;
            self.decide_person((pseudonym, &once.reports[..], once.seen), person, stored, &mut outcome);
            count(&once.reports, stored, &mut gained);
        }
        outcome.gains = gained
            .into_iter()
            .filter_map(|(sku, weight)| {
                let category = stored.features.get(&sku)?.category.clone();
                Some(Gain { sku, category, weight })
            })
            .collect();
        outcome.counted = stored.counted.each(|mark| self.counted_with(mark).or(mark));
        outcome.before = stored.counted.clone();
        outcome.refusals_since = stored.refusals_since.filter(|_| stored.counted.lowest().is_none());
        outcome
    }

    fn decide_person(
        &self,
        (pseudonym, reports, seen): (&Pseudonym, &[Report], Seen),
        person: Option<&Person>,
        Stored { features, counted, .. }: &Stored,
        outcome: &mut Outcome,
    ) {
        let profile = person.and_then(|person| person.profile.clone());
        let position = profile.as_ref().map(|profile| profile.position);
        let is_new = |report: &&Report| position.is_none_or(|position| !position.includes(report.position));
        let new: Vec<&Report> = reports.iter().filter(is_new).collect();
        outcome.repeated += reports.len() - new.len();
        let Some(newest) = new.last() else { return };
        if !newest.consent {
            // Without a profile there may still be the list of what was seen, so both are named whenever somebody says no.
            outcome.people.push((pseudonym.clone(), PersonChange::Forgotten));
            return;
        }
        // What came before a refusal in the same batch was refused with it.
        let agreed = new.iter().rposition(|report| !report.consent).map_or(0, |refusal| refusal + 1);
        let before = if agreed == 0 { profile } else { None };
        let remembered = person.filter(|_| agreed == 0).map(|person| person.recent.as_slice()).unwrap_or_default();
        let new = &new[agreed..];
        // Of what is new for the person the shop has been told before, when it was written and they were not.
        let is_told = |report: &&Report| counted.shop.is_some_and(|shop| shop.includes(report.position));
        let (told, untold): (Vec<&Report>, Vec<&Report>) = new.iter().copied().partition(is_told);
        let known = recent::remember(remembered, told.iter().flat_map(|report| &report.clicks));
        let recent = recent::remember(&known, untold.iter().flat_map(|report| &report.clicks));
        for pair in popularity::pairs(&known, &recent) {
            if features.contains_key(&pair.one) && features.contains_key(&pair.other) {
                *outcome.pairs.entry(pair).or_default() += 1;
            }
        }
        let clicks = untold.iter().flat_map(|report| &report.clicks);
        outcome.steps.extend(visit::steps(pseudonym, clicks, |sku| features.contains_key(sku)));
        if let Some(profile) = Profile::fold(before, new, features) {
            outcome
                .people
                .push((pseudonym.clone(), PersonChange::Remembered { profile: Box::new(profile), recent, seen }));
        }
    }

    /// Up to where the partition is counted with this batch. Its last record may be no report, and is done with all the same. A topic
    /// that began again has low offsets and late receipts: then the position goes back.
    fn counted_with(&self, counted: Option<Position>) -> Option<Position> {
        let span = self.span?;
        let is_new = |report: &Report| counted.is_none_or(|counted| !counted.includes(report.position));
        let is_further = counted.is_none_or(|counted| counted.offset < span.last);
        if !is_further && !self.reports().any(is_new) {
            return None;
        }
        let latest = self.reports().map(|report| report.position.received_at_ms);
        let latest = latest.chain(counted.map(|counted| counted.received_at_ms)).max();
        // Without a report nobody has heard of a time; then no report is taken for counted.
        Some(Position { partition: span.partition, offset: span.last, received_at_ms: latest.unwrap_or_default() })
    }
}

/// Adds what one person's reports do for popularity, capped per person. Consent is not asked: nothing about the person is kept.
fn count(reports: &[Report], stored: &Stored, gained: &mut BTreeMap<Sku, f64>) {
    let is_new = |report: &&Report| stored.counted.shop.is_none_or(|counted| !counted.includes(report.position));
    let new: Vec<&Report> = reports.iter().filter(is_new).collect();
    let as_of_ms = new.iter().map(|report| report.position.received_at_ms).max().unwrap_or_default();
    let gains = Gains::of(new.iter().flat_map(|report| &report.clicks), as_of_ms, &HashMap::new());
    for (sku, gain) in gains.skus {
        let gain = popularity::contribution(gain);
        if let Ok(sku) = Sku::parse(&sku)
            && gain > 0.0
        {
            *gained.entry(sku).or_default() += gain;
        }
    }
}

/// Without what was received before a refusal that came earlier: it was refused with it, however late it arrives, from a disk or
/// from a request that had passed the door. What was received before we know of refusals may have been refused, so it is left out as well.
/// `refused` becomes the newest refusal.
fn agreed_to<'a>(reports: &'a [Report], refused: &mut Option<i64>, known_since: Option<i64>) -> Cow<'a, [Report]> {
    let mut is_agreed = |report: &Report| {
        let at = report.position.received_at_ms;
        if !report.consent {
            *refused = Some(refused.map_or(at, |before| before.max(at)));
        }
        !report.consent || (*refused).max(known_since).is_none_or(|refused| at >= refused)
    };
    let agreed: Vec<bool> = reports.iter().map(&mut is_agreed).collect();
    if agreed.iter().all(|agreed| *agreed) {
        return Cow::Borrowed(reports);
    }
    reports.iter().zip(agreed).filter(|(_, agreed)| *agreed).map(|(report, _)| report.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::click::{Click, ClickKind};
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn person(digit: char) -> Pseudonym {
        Pseudonym::parse(&digit.to_string().repeat(32)).expect("a pseudonym")
    }

    fn sku(name: &str) -> Sku {
        Sku::parse(name).expect("a SKU")
    }

    fn report(who: char, offset: i64, consent: bool, names: &[&str]) -> Report {
        let at_ms = NOW + offset;
        Report {
            pseudonym: person(who),
            consent,
            position: Position { partition: 0, offset, received_at_ms: at_ms },
            traceparent: None,
            clicks: names
                .iter()
                .map(|name| Click { kind: ClickKind::View, sku: Some(sku(name)), at_ms, mark: None })
                .collect(),
        }
    }

    fn features() -> HashMap<Sku, Feature> {
        let feature = || Feature {
            category: "coats".to_owned(),
            brand: "Aurel".to_owned(),
            family: "fashion".to_owned(),
            ..Feature::default()
        };
        ["A", "B", "C"].into_iter().map(|name| (sku(name), feature())).collect()
    }

    /// What a store would hold after `outcome`.
    fn apply(mut stored: Stored, outcome: Outcome) -> Stored {
        for (pseudonym, change) in outcome.people {
            match change {
                PersonChange::Remembered { profile, recent, seen } => {
                    stored.people.insert(pseudonym, Person { profile: Some(*profile), recent, seen });
                }
                PersonChange::Forgotten => {
                    stored.people.remove(&pseudonym);
                }
            }
        }
        stored.refused.extend(outcome.refused);
        stored.counted = outcome.counted;
        stored
    }

    fn nothing() -> Stored {
        Stored { features: features(), ..Stored::default() }
    }

    #[test]
    fn a_batch_delivered_again_changes_nothing() {
        let reports =
            vec![report('a', 1, true, &["A", "B"]), report('b', 2, false, &["A"]), report('a', 3, true, &["C"])];
        let batch = Batch::gather(reports.clone());
        let first = batch.decide(&nothing());
        assert_eq!((first.people.len(), first.repeated), (2, 0));
        let stored = apply(nothing(), first);
        let again = batch.decide(&stored);
        assert_eq!(again.repeated, 2, "the two reports of the person who agreed");
        assert!(again.gains.is_empty() && again.pairs.is_empty() && again.counted == again.before);
        assert_eq!(again.people, [(person('b'), PersonChange::Forgotten)], "forgetting twice is forgetting");
        // In part: the batch was cut differently the second time and brings one new report.
        let more = Batch::gather(reports.into_iter().skip(2).chain([report('a', 4, true, &["A"])])).decide(&stored);
        assert_eq!(more.repeated, 1);
        assert_eq!(more.gains.iter().map(|gain| (gain.sku.as_str(), gain.weight)).collect::<Vec<_>>(), [("A", 1.0)]);
    }

    #[test]
    fn an_event_that_comes_again_in_another_record_counts_once_for_the_person_and_for_all() {
        let named = |offset, names: &[&str]| {
            let mut report = report('a', offset, true, names);
            report
                .clicks
                .iter_mut()
                .zip(names)
                .for_each(|(click, name)| click.mark = seen::mark(&format!("event {name}")));
            report
        };
        let first = Batch::gather([named(1, &["A", "B"])]).decide(&nothing());
        let stored = apply(nothing(), first);
        let before = stored.people[&person('a')].profile.clone().expect("a profile");
        // The intake did not hear that the broker had it, and sent it once more, with something new behind.
        let again = Batch::gather([named(2, &["A", "B"]), named(3, &["B", "C"])]).decide(&stored);
        assert_eq!((again.repeated, again.repeated_events), (0, 3));
        assert_eq!(again.gains.iter().map(|gain| gain.sku.as_str()).collect::<Vec<_>>(), ["C"]);
        let after = apply(stored, again).people[&person('a')].profile.clone().expect("a profile");
        let weight = |profile: &Profile, key: &str| {
            profile.skus.iter().find(|rating| rating.key == key).map(|rating| (rating.weight * 1e3).round())
        };
        for name in ["A", "B"] {
            assert_eq!(weight(&after, name), weight(&before, name), "{name} counted once");
        }
        assert!(weight(&after, "C").is_some());
    }

    #[test]
    fn events_in_one_record_or_each_in_its_own_come_to_the_same() {
        let at_once = |mut report: Report| {
            report.position.received_at_ms = NOW;
            report.clicks.iter_mut().for_each(|click| click.at_ms = NOW);
            report
        };
        let together = Batch::gather([at_once(report('a', 1, true, &["A", "B", "C"]))]).decide(&nothing());
        let alone = [(1, "A"), (2, "B"), (3, "C")].map(|(offset, name)| at_once(report('a', offset, true, &[name])));
        let alone = Batch::gather(alone).decide(&nothing());
        assert_eq!(alone.gains, together.gains);
        assert_eq!(alone.steps, together.steps);
        let known = |outcome: Outcome| {
            let person = apply(nothing(), outcome).people.remove(&person('a')).expect("a person");
            let profile = person.profile.expect("a profile");
            (profile.skus, profile.categories, profile.brands, person.recent)
        };
        assert_eq!(known(alone), known(together));
    }

    #[test]
    fn without_consent_nothing_is_remembered_but_popularity() {
        let outcome = Batch::gather([report('a', 1, false, &["A"])]).decide(&nothing());
        assert_eq!(outcome.people, [(person('a'), PersonChange::Forgotten)]);
        assert_eq!(outcome.gains.len(), 1);
        assert!(outcome.pairs.is_empty());
    }

    #[test]
    fn a_refusal_forgets_what_came_before_it() {
        let stored = apply(nothing(), Batch::gather([report('a', 1, true, &["A"])]).decide(&nothing()));
        let outcome =
            Batch::gather([report('a', 2, true, &["B"]), report('a', 3, false, &[]), report('a', 4, true, &["C"])])
                .decide(&stored);
        let [(_, PersonChange::Remembered { profile, recent, .. })] = &outcome.people[..] else {
            panic!("{outcome:?}")
        };
        assert_eq!(profile.skus.iter().map(|rating| rating.key.as_str()).collect::<Vec<_>>(), ["C"]);
        assert_eq!(recent.len(), 1);
    }

    #[test]
    fn what_was_received_before_a_refusal_stays_refused_however_late_it_arrives() {
        let at = |report: Report, received_at_ms: i64| {
            let position = Position { received_at_ms, ..report.position };
            Report { position, ..report }
        };
        let refusal = at(report('a', 10, false, &[]), NOW + 10);
        let late = at(report('a', 11, true, &["A"]), NOW + 5);
        let again = at(report('a', 12, true, &["B"]), NOW + 20);
        // In one batch, and in a later one, when the refusal is long done.
        let together = Batch::gather([refusal.clone(), late.clone()]).decide(&nothing());
        assert_eq!(together.people, [(person('a'), PersonChange::Forgotten)]);
        let stored = apply(nothing(), Batch::gather([refusal]).decide(&nothing()));
        let alone = Batch::gather([late.clone()]).decide(&stored);
        assert!(alone.people.is_empty() && alone.gains.is_empty(), "{alone:?}");
        assert_eq!(alone.counted.shop.map(|position| position.offset), Some(11), "it is done");
        // Who agrees again is remembered, and what was refused is not, even then.
        let agreed = apply(stored.clone(), Batch::gather([again]).decide(&stored));
        let after = Batch::gather([at(late, NOW + 6)]).decide(&agreed);
        assert!(after.people.is_empty() && after.gains.is_empty(), "{after:?}");
        let profile = agreed.people[&person('a')].profile.as_ref().expect("a profile");
        assert_eq!(profile.skus.iter().map(|rating| rating.key.as_str()).collect::<Vec<_>>(), ["B"]);
    }

    #[test]
    fn unknown_products_never_become_popular_and_make_no_pairs() {
        let outcome = Batch::gather([report('a', 1, true, &["FAKE-1", "A", "FAKE-2"])]).decide(&nothing());
        assert_eq!(outcome.gains.iter().map(|gain| gain.sku.as_str()).collect::<Vec<_>>(), ["A"]);
        assert!(outcome.pairs.is_empty(), "{outcome:?}");
    }

    #[test]
    fn one_person_counts_for_popularity_up_to_the_cap() {
        let flood: Vec<&str> = vec!["A"; 1000];
        let outcome = Batch::gather([report('a', 1, true, &flood), report('b', 2, true, &["A"])]).decide(&nothing());
        assert!((outcome.gains[0].weight - 17.0).abs() < 1e-3, "{outcome:?}");
    }

    #[test]
    fn a_batch_joins_what_is_counted_or_leaves_a_hole() {
        let at = |offset| Some(Position { partition: 0, offset, received_at_ms: NOW });
        let batch = |first, last| Batch::default().covering(Span { partition: 0, first, last });
        for (batch, counted, joins, why) in [
            (batch(10, 19), at(9), true, "the next records"),
            (batch(10, 19), at(14), true, "half of them are counted"),
            (batch(10, 19), at(500), true, "all of them are counted"),
            (batch(10, 19), at(8), false, "one is missing"),
            (batch(10, 19), None, false, "nobody knows what came before"),
            (batch(0, 19), None, true, "nothing came before"),
            (Batch::default(), at(8), true, "nothing was read"),
        ] {
            assert_eq!(batch.joins(counted), joins, "{why}");
        }
    }

    #[test]
    fn records_that_are_no_reports_are_done_with_as_well() {
        let covered =
            |reports: Vec<Report>, first, last| Batch::gather(reports).covering(Span { partition: 0, first, last });
        let stored = apply(nothing(), covered(vec![report('a', 5, true, &["A"])], 3, 9).decide(&nothing()));
        assert_eq!(stored.counted.shop, Some(Position { partition: 0, offset: 9, received_at_ms: NOW + 5 }));
        let next = covered(Vec::new(), 10, 12);
        assert!(next.joins(stored.counted.lowest()), "no hole where the others were put aside");
        let outcome = next.decide(&stored);
        assert_eq!(outcome.before, stored.counted);
        let stored = apply(stored, outcome);
        assert_eq!(stored.counted.shop, Some(Position { partition: 0, offset: 12, received_at_ms: NOW + 5 }));
        assert_eq!(next.decide(&stored).counted, stored.counted, "and once more is nothing new");
        // The first records of a shop may be a program's: what follows is not taken for counted.
        let stored = apply(nothing(), covered(Vec::new(), 0, 3).decide(&nothing()));
        let outcome = Batch::gather([report('a', 4, true, &["A"])]).decide(&stored);
        assert_eq!((outcome.repeated, outcome.gains.len()), (0, 1));
    }

    #[test]
    fn what_is_counted_everywhere_is_what_is_counted_in_the_place_that_is_furthest_behind() {
        let at = |offset| Some(Position { partition: 0, offset, received_at_ms: NOW });
        for (shop, people, lowest) in [
            (None, vec![], None),
            (at(9), vec![], at(9)),
            (at(9), vec![at(9), at(4)], at(4)),
            (at(3), vec![at(9), at(4)], at(3)),
            (at(9), vec![at(9), None], None),
            (None, vec![at(9)], None),
        ] {
            assert_eq!(Marks { shop, people: people.clone() }.lowest(), lowest, "{shop:?} {people:?}");
        }
        // Each place goes on from where it is, and one that is further is not taken back.
        let counted = Marks { shop: at(9), people: vec![at(4), at(20), None] };
        let batch = Batch::default().covering(Span { partition: 0, first: 5, last: 14 });
        let counted = batch.decide(&Stored { counted, ..nothing() }).counted;
        let offset = |mark: &Option<Position>| mark.map(|position| position.offset);
        assert_eq!(offset(&counted.shop), Some(14));
        assert_eq!(counted.people.iter().map(offset).collect::<Vec<_>>(), [Some(14), Some(20), Some(14)]);
    }

    /// The shop's place was written and nobody's of the people; then the batch comes again, cut anyhow, with one record more behind it.
    #[test]
    fn what_the_shop_was_told_before_people_were_written_it_is_not_told_again() {
        let at_once = |mut report: Report| {
            report.position.received_at_ms = NOW;
            report.clicks.iter_mut().for_each(|click| click.at_ms = NOW);
            report
        };
        let reports: Vec<Report> = [('a', 0, "A"), ('b', 1, "A"), ('a', 2, "B"), ('b', 3, "C")]
            .map(|(who, offset, name)| at_once(report(who, offset, true, &[name])))
            .to_vec();
        let mut next = at_once(report('a', 4, true, &["C"]));
        next.clicks.iter_mut().for_each(|click| click.at_ms += 1_000);
        let first = Batch::gather(reports.clone()).decide(&nothing());
        assert!(first.pairs.len() == 2 && first.gains.len() == 3 && first.steps.len() == 4, "{first:?}");
        let whole = apply(nothing(), first.clone());
        let told_next = Batch::gather([next.clone()]).decide(&whole);
        assert!(!told_next.pairs.is_empty() && !told_next.gains.is_empty() && !told_next.steps.is_empty());
        let whole = apply(whole, told_next.clone());
        for cut in 0..=reports.len() {
            let mut stored = nothing();
            stored.counted.shop = first.counted.shop;
            if cut > 0 {
                let again = Batch::gather(reports[..cut].to_vec()).decide(&stored);
                assert!(again.gains.is_empty() && again.pairs.is_empty() && again.steps.is_empty(), "{again:?}");
                assert!(!again.people.is_empty() && again.repeated == 0, "people are not counted yet: {again:?}");
                stored = apply(stored, again);
            }
            let rest = reports[cut..].iter().cloned().chain([next.clone()]);
            let rest = Batch::gather(rest).decide(&stored);
            assert_eq!((&rest.gains, &rest.pairs, &rest.steps), (&told_next.gains, &told_next.pairs, &told_next.steps));
            assert_eq!(apply(stored, rest).people, whole.people, "cut at {cut}");
        }
    }

    #[test]
    fn a_topic_that_began_again_is_counted_again() {
        let stored = apply(nothing(), Batch::gather([report('a', 900, true, &["A"])]).decide(&nothing()));
        let mut fresh = report('a', 0, true, &["B"]);
        fresh.position.received_at_ms = NOW + 10_000;
        let outcome = Batch::gather([fresh]).decide(&stored);
        assert_eq!((outcome.repeated, outcome.people.len()), (0, 1));
        assert_eq!(outcome.counted.shop.map(|position| position.offset), Some(0));
    }
}
