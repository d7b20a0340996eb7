//! Whether what was accepted is what was counted, person by person. A profile tells it twice: by the marks of the events that it has
//! counted, and by the weights of products, which are sums over them. Marks say which events were counted, weights how often.
//!
//! Decided here: what a difference is. Where things are read is decided in `stream`, and what is promised in `cargo xtask clicks`.

use std::collections::{BTreeMap, HashMap, HashSet};

use redis::aio::MultiplexedConnection;
use xtask::drill::clicks::told::{Bad, Clicks};

use super::crowd::{Ended, Sent};
use super::people::{self, CLICKS, EVENTS, People, REQUESTS};
use super::stream::{Found, Seen};

/// A click weighs half as much after this long (`personalization/domain/interest.rs`).
const HALF_LIFE_MS: f64 = 7.0 * 24.0 * 60.0 * 60.0 * 1000.0;
/// Weights are stored with seven digits, fifteen times over at most; one event is nearly 1.
const TOLERANCE: f64 = 0.05;
/// People whose profiles are asked for at once: about a megabyte.
const AT_ONCE: usize = 200;
/// Examples of what is wrong that are told.
const EXAMPLES: usize = 8;

/// What Redis holds of one person.
#[derive(Debug, Default)]
pub struct Held {
    marks: HashSet<u32>,
    /// By product.
    weights: HashMap<String, f64>,
    /// The moment for which the weights hold.
    as_of_ms: i64,
}

impl Held {
    fn read(profile: Option<&[u8]>, seen: Option<&[u8]>) -> Self {
        let profile = profile.and_then(contracts::interest::decode_profile).unwrap_or_default();
        // A byte for the layout, four for what was given up, then for each event four for its mark and four for its time
        // (`personalization/outbound/codec.rs`).
        let events = seen.and_then(|bytes| bytes.strip_prefix(&[2])?.get(4..)).unwrap_or_default();
        let marks = events.as_chunks::<8>().0.iter();
        let marks = marks.filter_map(|event| event.first_chunk::<4>().map(|mark| u32::from_le_bytes(*mark))).collect();
        let weights = profile.skus.into_iter().map(|rating| (rating.key, f64::from(rating.weight))).collect();
        Self { marks, weights, as_of_ms: profile.as_of_ms }
    }
}

/// One person: what was sent and how it was answered, what is in the topic, what is held.
pub fn of_person<'a>(
    ended: &[Ended; REQUESTS],
    marks: &[u32],
    seen: &Seen,
    held: &Held,
    sku: impl Fn(usize) -> &'a str,
) -> Clicks {
    let mut clicks = Clicks { copies: seen.copies, ..Clicks::default() };
    let (mut weights, mut theirs) = ([0.0_f64; EVENTS], HashSet::new());
    for (place, mark) in marks.iter().enumerate().take(CLICKS) {
        let at_ms = seen.at_ms(place);
        let there = u64::from(at_ms.is_some());
        match ended[place / EVENTS] {
            Ended::Accepted => {
                clicks.accepted += 1;
                clicks.lost += 1 - there;
            }
            Ended::Unknown => {
                clicks.unknown += 1;
                clicks.unknown_in_topic += there;
            }
            Ended::Refused => {
                clicks.refused += 1;
                clicks.refused_in_topic += there;
            }
            Ended::Unsent => clicks.foreign += there,
        }
        clicks.in_topic += there;
        if let Some(at_ms) = at_ms.filter(|_| held.marks.contains(mark)) {
            clicks.counted += 1;
            theirs.insert(*mark);
            let age = (held.as_of_ms - at_ms).max(0) as f64;
            weights[place % EVENTS] += (-age / HALF_LIFE_MS).exp2();
        }
    }
    clicks.invented = held.marks.difference(&theirs).count() as u64;
    for (event, weight) in weights.into_iter().enumerate() {
        let more = held.weights.get(sku(event)).copied().unwrap_or(0.0) - weight;
        if more.abs() > TOLERANCE {
            let events = more.abs().round().max(1.0) as u64;
            *(if more > 0.0 { &mut clicks.twice } else { &mut clicks.short }) += events;
        }
    }
    clicks
}

/// Is everything of the topic counted once, and nothing else?
pub fn is_whole(clicks: &Clicks) -> bool {
    clicks.counted == clicks.in_topic && clicks.invented + clicks.twice + clicks.short == 0
}

fn add(sum: &mut Clicks, one: &Clicks) {
    let Clicks {
        accepted,
        unknown,
        refused,
        lost,
        unknown_in_topic,
        refused_in_topic,
        foreign,
        in_topic,
        copies,
        counted,
        invented,
        twice,
        short,
    } = one;
    for (sum, one) in [
        (&mut sum.accepted, accepted),
        (&mut sum.unknown, unknown),
        (&mut sum.refused, refused),
        (&mut sum.lost, lost),
        (&mut sum.unknown_in_topic, unknown_in_topic),
        (&mut sum.refused_in_topic, refused_in_topic),
        (&mut sum.foreign, foreign),
        (&mut sum.in_topic, in_topic),
        (&mut sum.copies, copies),
        (&mut sum.counted, counted),
        (&mut sum.invented, invented),
        (&mut sum.twice, twice),
        (&mut sum.short, short),
    ] {
        *sum += one;
    }
}

/// Everybody, and examples of what is wrong.
///
/// # Errors
/// Redis does not answer.
pub async fn compare(
    people: &People,
    skus: &[String],
    sent: &Sent,
    found: &HashMap<u64, Seen>,
    redis: &mut MultiplexedConnection,
) -> anyhow::Result<(Clicks, Vec<String>)> {
    let (mut sum, mut examples, nothing) = (Clicks::default(), Vec::new(), Seen::default());
    let everybody: Vec<(&u64, &[Ended; REQUESTS])> = sent.iter().collect();
    for some in everybody.chunks(AT_ONCE) {
        let numbers: Vec<u64> = some.iter().map(|(person, _)| **person).collect();
        for ((person, ended), held) in some.iter().zip(held(people, &numbers, redis).await?) {
            let Some(marks) = people.marks(**person) else { continue };
            let seen = found.get(*person).unwrap_or(&nothing);
            let clicks = of_person(ended, &marks, seen, &held, |event| people::sku(**person, event, skus));
            if examples.len() < EXAMPLES && !(is_whole(&clicks) && clicks.lost + clicks.foreign == 0) {
                examples.push(format!("person {person}, {}: {clicks:?}", people.pseudonym(**person)));
            }
            add(&mut sum, &clicks);
        }
    }
    // Clicks of people who are not among those who sent any.
    let strangers = found.iter().filter(|(person, _)| !sent.contains_key(*person));
    sum.foreign +=
        strangers.map(|(_, seen)| (0..CLICKS).filter(|place| seen.at_ms(*place).is_some()).count() as u64).sum::<u64>();
    Ok((sum, examples))
}

async fn held(people: &People, numbers: &[u64], redis: &mut MultiplexedConnection) -> anyhow::Result<Vec<Held>> {
    let names: Vec<String> = numbers.iter().map(|person| people.pseudonym(*person)).collect();
    let profiles = names.iter().map(|name| contracts::interest::profile_key(name));
    let keys: Vec<String> = profiles.chain(names.iter().map(|name| contracts::interest::key("seen", name))).collect();
    let blobs: Vec<Option<Vec<u8>>> = redis::cmd("MGET").arg(keys).query_async(redis).await?;
    let blob = |place: usize| blobs.get(place).and_then(Option::as_deref);
    Ok((0..names.len()).map(|place| Held::read(blob(place), blob(names.len() + place))).collect())
}

/// Refused events that were told, against those of the bad stream, event by event.
pub fn of_bad(sent: &Sent, found: &Found) -> Bad {
    let mut bad = Bad { copies: found.bad_copies, again: found.bad_again, ..Bad::default() };
    bad.mistold = found.bad.values().filter(|due| !**due).count() as u64;
    for (person, ended) in sent {
        for (request, ended) in ended.iter().enumerate() {
            let Some(due) = people::bad(*person, request) else { continue };
            let there = u64::from(found.bad.contains_key(&(*person, request)));
            match ended {
                Ended::Accepted => {
                    bad.told += 1;
                    *bad.reasons.entry(due.code.to_owned()).or_default() += 1;
                    bad.in_stream += there;
                    bad.lost += 1 - there;
                }
                Ended::Unknown | Ended::Refused => {
                    bad.unanswered += 1;
                    bad.unanswered_in_stream += there;
                }
                Ended::Unsent => bad.mistold += there,
            }
        }
    }
    bad
}

/// Examples of bad events that are missing, by people and requests.
pub fn missing_bad(sent: &Sent, found: &Found) -> Vec<String> {
    let told =
        sent.iter().flat_map(|(person, ended)| ended.iter().enumerate().map(move |(at, end)| (*person, at, *end)));
    let missing = told.filter(|(person, request, ended)| {
        *ended == Ended::Accepted
            && people::bad(*person, *request).is_some()
            && !found.bad.contains_key(&(*person, *request))
    });
    missing
        .take(EXAMPLES)
        .map(|(person, request, _)| format!("the bad event of person {person}, request {request}"))
        .collect()
}

/// The sum of a metric over all its series that have `label` in their braces.
pub fn metric(text: &str, name: &str, label: &str) -> f64 {
    let series = text.lines().filter_map(|line| line.strip_prefix(name));
    let ours = series.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
    // The sum of nothing is -0.
    0.0 + ours.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
}

/// A number in the list of facts that Redis tells of itself.
pub fn fact(facts: &str, name: &str) -> u64 {
    let known: BTreeMap<&str, &str> = facts.lines().filter_map(|line| line.trim().split_once(':')).collect();
    known.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_OF: i64 = 1_790_000_600_000;

    fn people() -> People {
        People::new("0123456789ab", "eu")
    }

    fn skus() -> Vec<String> {
        (0..EVENTS).map(|number| format!("S-{number}")).collect()
    }

    /// A person with four requests: two accepted, one without an answer that arrived, one that was turned away and did not.
    struct Case {
        ended: [Ended; REQUESTS],
        seen: Seen,
        held: Held,
    }

    fn case() -> Case {
        let (people, skus) = (people(), skus());
        let marks = people.marks(0).expect("they differ");
        let mut ended = [Ended::Unsent; REQUESTS];
        ended[..4].copy_from_slice(&[Ended::Accepted, Ended::Accepted, Ended::Unknown, Ended::Refused]);
        let (mut seen, mut held) = (Seen::default(), Held { as_of_ms: AS_OF, ..Held::default() });
        for (place, mark) in marks.iter().enumerate().take(3 * EVENTS) {
            // The first is ten minutes old at the end.
            let at_ms = AS_OF - 600_000 + i64::try_from(place).expect("few") * 1_000;
            seen.note(place, at_ms);
            held.marks.insert(*mark);
            let weight = (-((AS_OF - at_ms) as f64) / HALF_LIFE_MS).exp2();
            *held.weights.entry(people::sku(0, place % EVENTS, &skus).to_owned()).or_default() += weight;
        }
        seen.note(5, AS_OF);
        Case { ended, seen, held }
    }

    fn judged(case: &Case) -> Clicks {
        let (people, skus) = (people(), skus());
        let marks = people.marks(0).expect("they differ");
        of_person(&case.ended, &marks, &case.seen, &case.held, |event| people::sku(0, event, &skus))
    }

    #[test]
    fn what_was_counted_once_is_whole_and_a_copy_in_the_topic_changes_nothing() {
        let clicks = judged(&case());
        let expected = Clicks {
            accepted: 60,
            unknown: 30,
            refused: 30,
            unknown_in_topic: 30,
            in_topic: 90,
            copies: 1,
            counted: 90,
            ..Clicks::default()
        };
        assert_eq!(clicks, expected);
        assert!(is_whole(&clicks));
    }

    #[test]
    fn one_lost_event_and_one_counted_twice_are_seen() {
        // Lost on the way to the topic: accepted, and nowhere.
        let mut lost = case();
        let mark = people().marks(0).expect("they differ")[0];
        let first = people::sku(0, 0, &skus()).to_owned();
        let one = (-600_000.0 / HALF_LIFE_MS).exp2();
        lost.seen.at_ms_for_tests(0, 0);
        lost.held.marks.remove(&mark);
        *lost.held.weights.get_mut(&first).expect("rated") -= one;
        let clicks = judged(&lost);
        assert_eq!((clicks.lost, clicks.in_topic, clicks.counted, clicks.twice + clicks.short), (1, 89, 89, 0));

        // Lost between the topic and the profile.
        let mut uncounted = case();
        uncounted.held.marks.remove(&mark);
        *uncounted.held.weights.get_mut(&first).expect("rated") -= one;
        let clicks = judged(&uncounted);
        assert_eq!((clicks.lost, clicks.in_topic, clicks.counted, clicks.short), (0, 90, 89, 0));
        assert!(!is_whole(&clicks));

        // Counted twice, and marked once.
        let mut twice = case();
        *twice.held.weights.get_mut(&first).expect("rated") += one;
        assert_eq!((judged(&twice).twice, judged(&twice).counted), (1, 90));

        // Marked, and not counted; and a mark of nothing that was ever sent.
        let mut short = case();
        *short.held.weights.get_mut(&first).expect("rated") -= one;
        short.held.marks.insert(7);
        assert_eq!((judged(&short).short, judged(&short).invented), (1, 1));
    }

    #[test]
    fn a_person_who_is_forgotten_has_nothing_counted() {
        let forgotten = Case { held: Held::default(), ..case() };
        assert_eq!((judged(&forgotten).counted, judged(&forgotten).in_topic), (0, 90));
        assert!(Held::read(Some(b"\xff\xff"), Some(b"\x01abcdefghijkl")).marks.is_empty());
        let marks_and_times = [2, 9, 9, 9, 9, 7, 0, 0, 0, 1, 1, 1, 1, 8, 0, 0, 0, 1, 1, 1, 1];
        let held = Held::read(None, Some(&marks_and_times));
        assert_eq!(held.marks, HashSet::from([7, 8]));
    }

    #[test]
    fn a_bad_event_that_was_told_is_there_or_missing_and_one_without_an_answer_is_neither() {
        let mut ended = [Ended::Accepted; REQUESTS];
        (ended[3], ended[6]) = (Ended::Refused, Ended::Unknown);
        let sent = Sent::from([(0, ended), (1, [Ended::Unsent; REQUESTS])]);
        let mut found = Found::default();
        (found.bad_copies, found.bad_again) = (2, 1);
        // Requests 0, 3, 6, 9 and 12 have one. Planted: 9 is gone, 12 has another reason, and one is there that was never sent.
        found.bad.extend([((0, 0), true), ((0, 6), true), ((0, 12), false), ((1, 0), true)]);
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        for request in [0, 9, 12] {
            *reasons.entry(people::bad(0, request).expect("a bad event").code.to_owned()).or_default() += 1;
        }
        let expected = Bad {
            told: 3,
            reasons,
            in_stream: 2,
            lost: 1,
            mistold: 2,
            copies: 2,
            again: 1,
            unanswered: 2,
            unanswered_in_stream: 1,
        };
        assert_eq!(of_bad(&sent, &found), expected);
        assert_eq!(missing_bad(&sent, &found), ["the bad event of person 0, request 9"]);
    }

    #[test]
    fn metrics_and_facts_are_summed_by_name() {
        let text = "# HELP lag of a group\nlag{group=\"a\",partition=\"0\"} 3\nlag{group=\"a\",partition=\"1\"} 4\nlag{group=\"b\"} 50\nlagging 9\nbytes 7\n";
        assert_eq!(metric(text, "lag", "group=\"a\"").to_string(), "7");
        assert_eq!(
            (metric(text, "bytes", "").to_string(), metric(text, "none", "").to_string()),
            ("7".to_owned(), "0".to_owned())
        );
        assert_eq!((fact("# Stats\r\nevicted_keys:12\r\n", "evicted_keys"), fact("", "evicted_keys")), (12, 0));
    }
}
