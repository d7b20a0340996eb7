//! What the kill campaign of the click path promises, and whether its counts keep it. The difference between what was accepted and what
//! was counted, or stands in the bad stream, is nothing, whatever was killed. What was not promised (requests without an answer, copies in
//! the bad stream) is told by its number and not judged.

use super::kills::{Kill, VICTIMS, Victim};
use super::told::{Bad, Clicks, OUT_OF_PEOPLE, Pages, Requests, Told, Withdrawals};

/// A page has this for everything; each answer without Redis has to be there by then, by the server's own clock.
pub const WITHOUT_REDIS_MS: f64 = 50.0;
/// From the answer to a withdrawal.
pub const WITHDRAWN_WITHIN_MS: f64 = 5_000.0;

/// A promise, what was counted for it, and how it was broken.
#[derive(Debug)]
pub struct Held {
    pub promise: &'static str,
    pub counted: String,
    /// Empty when it was held.
    pub broken: Vec<String>,
}

/// Every promise. `rounds`: how often each process was to be killed.
pub fn promises(told: &Told, kills: &[Kill], rounds: u64) -> Vec<Held> {
    let Told { requests, clicks, bad, pages, withdrawals, evicted, waiting, .. } = told;
    vec![
        as_meant(kills, rounds, requests, *evicted, *waiting),
        nothing_is_lost(requests, clicks),
        counted_once(clicks),
        difference(clicks),
        bad_are_told(requests, bad),
        always_answered(pages.values()),
        quick_without_redis(kills, pages.get(Victim::Redis.name())),
        consent(withdrawals),
    ]
}

/// Events that were counted, less those of the topic: accepted, and those that arrived without an answer.
pub fn difference_of(clicks: &Clicks) -> i128 {
    let due = i128::from(clicks.accepted) + i128::from(clicks.unknown_in_topic) + i128::from(clicks.refused_in_topic);
    i128::from(clicks.counted) + i128::from(clicks.twice) - i128::from(clicks.short) - due
}

/// A campaign that was not done as meant has shown nothing.
fn as_meant(kills: &[Kill], rounds: u64, requests: &Requests, evicted: u64, waiting: u64) -> Held {
    let mut broken = Vec::new();
    for victim in VICTIMS {
        let times = kills.iter().filter(|kill| kill.victim == victim).count() as u64;
        if times != rounds {
            broken.push(format!("{} was killed {times} times and not {rounds}", victim.name()));
        }
    }
    if requests.why.contains_key(OUT_OF_PEOPLE) {
        broken.push(format!("{OUT_OF_PEOPLE} before the end"));
    }
    broken.extend(some(evicted, "entries were thrown out of a full Redis"));
    broken.extend(some(waiting, "bytes or records still waited at the end"));
    Held {
        promise: "every process of the path is killed as often as asked for, and afterwards nothing waits",
        counted: format!("{} kills; {evicted} entries evicted, {waiting} waiting", kills.len()),
        broken,
    }
}

fn nothing_is_lost(requests: &Requests, clicks: &Clicks) -> Held {
    let mut broken: Vec<String> =
        some(clicks.lost, "clicks were accepted and are not in the topic").into_iter().collect();
    broken.extend(some(clicks.foreign, "clicks of the topic were never sent, or stand under another name"));
    broken.extend(some(requests.misjudged, "answers had another verdict than the one that was due"));
    if clicks.accepted == 0 {
        broken.push("no click was accepted".to_owned());
    }
    Held {
        promise: "every accepted click is in the topic",
        counted: format!("{} accepted, {} lost", clicks.accepted, clicks.lost),
        broken,
    }
}

fn counted_once(clicks: &Clicks) -> Held {
    let uncounted = clicks.in_topic.saturating_sub(clicks.counted);
    let mut broken: Vec<String> = some(uncounted, "clicks of the topic are in no profile").into_iter().collect();
    broken.extend(some(clicks.invented, "clicks are in profiles and not in the topic"));
    broken.extend(some(clicks.twice, "clicks too many are in the weights of profiles"));
    broken.extend(some(clicks.short, "clicks too few are in the weights of profiles"));
    Held {
        promise: "every click of the topic is in its person's profile once, person by person, product by product",
        counted: format!(
            "{} in the topic, {} copies beyond the first; {} counted",
            clicks.in_topic, clicks.copies, clicks.counted
        ),
        broken,
    }
}

fn difference(clicks: &Clicks) -> Held {
    let difference = difference_of(clicks);
    Held {
        promise: "accepted = counted: difference 0, with those that arrived without an answer told apart",
        counted: format!(
            "{} accepted, {} of {} without an answer and {} of {} turned away have arrived; {} counted; difference {difference}",
            clicks.accepted,
            clicks.unknown_in_topic,
            clicks.unknown,
            clicks.refused_in_topic,
            clicks.refused,
            clicks.counted
        ),
        broken: if difference == 0 { Vec::new() } else { vec![format!("the difference is {difference}")] },
    }
}

fn bad_are_told(requests: &Requests, bad: &Bad) -> Held {
    let mut broken: Vec<String> =
        some(bad.lost, "bad events were refused and are not in the bad stream").into_iter().collect();
    broken.extend(some(bad.mistold, "bad events stand there with another reason or name, or were never sent"));
    broken.extend(some(bad.told.abs_diff(bad.in_stream + bad.lost), "bad events are neither there nor missing"));
    // A request that is sent again is told again; whatever else stands in two records is a copy without the name of one.
    broken.extend(some(bad.again.saturating_sub(requests.repeated), "bad events stand in more records than were sent"));
    if bad.told == 0 && requests.accepted > 0 {
        broken.push("no bad event was refused".to_owned());
    }
    Held {
        promise: "every refused event is in the bad stream with its reason: difference 0, copies and those without an answer told apart",
        counted: format!(
            "{} refused, {} in the bad stream, {} lost; {} of {} without an answer have arrived; {} copies of records, {} sent again",
            bad.told, bad.in_stream, bad.lost, bad.unanswered_in_stream, bad.unanswered, bad.copies, bad.again
        ),
        broken,
    }
}

fn always_answered<'a>(pages: impl Iterator<Item = &'a Pages>) -> Held {
    let (asked, failed) = pages.fold((0, 0), |(asked, failed), one| (asked + one.asked, failed + one.failed));
    let mut broken: Vec<String> = some(failed, "questions for recommendations failed").into_iter().collect();
    if asked == 0 {
        broken.push("no recommendations were asked for".to_owned());
    }
    Held {
        promise: "recommendations are answered all the time, whatever is away",
        counted: format!("{asked} asked for, {failed} failed"),
        broken,
    }
}

fn quick_without_redis(kills: &[Kill], seen: Option<&Pages>) -> Held {
    let (mut answers, mut slowest, mut broken) = (0, 0.0_f64, Vec::new());
    for kill in kills.iter().filter(|kill| kill.victim == Victim::Redis) {
        let Some(served) = &kill.served else { continue };
        answers += served.answers;
        slowest = slowest.max(served.max_ms);
        if served.max_ms > WITHOUT_REDIS_MS {
            broken.push(format!("in round {} an answer took {:.1} ms at the server", kill.round, served.max_ms));
        }
        broken.extend(some(served.failed, "answers of the server were no success"));
    }
    if answers == 0 {
        broken.push("nobody was answered while Redis was away".to_owned());
    }
    let degraded = seen.map_or(0, |pages| pages.degraded);
    if degraded == 0 {
        broken.push("no answer said that it is degraded, and Redis was away".to_owned());
    }
    Held {
        promise: "without Redis each recommendation is answered within 50 ms, by the server's clock",
        counted: format!(
            "{answers} answers at the server, the slowest {slowest:.1} ms; {degraded} said that they are degraded"
        ),
        broken,
    }
}

fn consent(told: &Withdrawals) -> Held {
    let Withdrawals { tried, looked_at, used, longest_ms, kept, untried } = told;
    let mut broken: Vec<String> = some(*kept, "profiles of people who withdrew are still there").into_iter().collect();
    if *longest_ms > WITHDRAWN_WITHIN_MS {
        broken.push(format!("a profile was used {:.1} s after the consent to it was withdrawn", longest_ms / 1_000.0));
    }
    if *tried == 0 {
        broken.push("nobody withdrew a consent".to_owned());
    }
    Held {
        promise: "consent withdrawn: no use within 5 s, and the profile is gone at the end",
        counted: format!(
            "{tried} withdrawals, {looked_at} answers after them, {used} used the profile, the last {longest_ms:.0} ms after; {} could not \
             be tried",
            untried.len()
        ),
        broken,
    }
}

fn some(count: u64, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {what}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::kills::Served;
    use super::*;

    fn good() -> (Told, Vec<Kill>) {
        let pages = Pages { asked: 50, degraded: 40, ..Pages::default() };
        let told = Told {
            requests: Requests { accepted: 10, repeated: 2, ..Requests::default() },
            clicks: Clicks {
                accepted: 300,
                unknown: 60,
                unknown_in_topic: 30,
                in_topic: 330,
                counted: 330,
                copies: 30,
                ..Clicks::default()
            },
            bad: Bad { told: 4, in_stream: 4, again: 2, ..Bad::default() },
            pages: BTreeMap::from([("redis".to_owned(), pages)]),
            withdrawals: Withdrawals { tried: 2, looked_at: 80, used: 1, longest_ms: 12.0, ..Withdrawals::default() },
            ..Told::default()
        };
        let served = Served { answers: 200, max_ms: 31.0, ..Served::default() };
        let kill =
            |victim| Kill { victim, served: (victim == Victim::Redis).then(|| served.clone()), ..Kill::default() };
        (told, VICTIMS.map(kill).to_vec())
    }

    fn broken(told: &Told, kills: &[Kill]) -> Vec<String> {
        promises(told, kills, 1).into_iter().flat_map(|held| held.broken).collect()
    }

    #[test]
    fn one_lost_click_one_counted_twice_or_one_slow_answer_breaks_its_promise() {
        let (told, kills) = good();
        assert_eq!(broken(&told, &kills), Vec::<String>::new());
        let with = |change: fn(&mut Told, &mut Vec<Kill>)| {
            let (mut told, mut kills) = good();
            change(&mut told, &mut kills);
            broken(&told, &kills)
        };
        for (found, said) in [
            (
                with(|told, _| (told.clicks.lost, told.clicks.in_topic, told.clicks.counted) = (1, 329, 329)),
                "1 clicks were accepted and are not in the topic; the difference is -1",
            ),
            (
                with(|told, _| told.clicks.counted = 329),
                "1 clicks of the topic are in no profile; the difference is -1",
            ),
            (
                with(|told, _| told.clicks.twice = 1),
                "1 clicks too many are in the weights of profiles; the difference is 1",
            ),
            (
                with(|told, _| told.clicks.short = 2),
                "2 clicks too few are in the weights of profiles; the difference is -2",
            ),
            (with(|told, _| told.clicks.invented = 1), "1 clicks are in profiles and not in the topic"),
            (
                with(|told, _| told.clicks.foreign = 1),
                "1 clicks of the topic were never sent, or stand under another name",
            ),
            (with(|told, _| told.requests.misjudged = 1), "1 answers had another verdict than the one that was due"),
            (
                with(|told, _| (told.bad.in_stream, told.bad.lost) = (3, 1)),
                "1 bad events were refused and are not in the bad stream",
            ),
            (with(|told, _| told.bad.in_stream = 3), "1 bad events are neither there nor missing"),
            (
                with(|told, _| told.bad.mistold = 1),
                "1 bad events stand there with another reason or name, or were never sent",
            ),
            (with(|told, _| told.bad.again = 3), "1 bad events stand in more records than were sent"),
            (
                with(|told, _| told.pages.entry(super::super::told::QUIET.to_owned()).or_default().failed = 1),
                "1 questions for recommendations failed",
            ),
            (with(|_, kills| slowest(kills, 50.1)), "in round 0 an answer took 50.1 ms at the server"),
            (
                with(|_, kills| kills.iter_mut().for_each(|kill| kill.served = None)),
                "nobody was answered while Redis was away",
            ),
            (
                with(|told, _| told.pages.values_mut().for_each(|pages| pages.degraded = 0)),
                "no answer said that it is degraded, and Redis was away",
            ),
            (
                with(|told, _| told.withdrawals.longest_ms = 5_001.0),
                "a profile was used 5.0 s after the consent to it was withdrawn",
            ),
            (with(|told, _| told.withdrawals.kept = 1), "1 profiles of people who withdrew are still there"),
            (with(|told, _| told.withdrawals.tried = 0), "nobody withdrew a consent"),
            (
                with(|told, _| *told.requests.why.entry(OUT_OF_PEOPLE.to_owned()).or_default() += 1),
                "the load ran out of people before the end",
            ),
            (with(|told, _| told.evicted = 1), "1 entries were thrown out of a full Redis"),
            (with(|told, _| told.waiting = 7), "7 bytes or records still waited at the end"),
        ] {
            assert_eq!(found.join("; "), said);
        }
        let unkilled = with(|_, kills| kills.retain(|kill| kill.victim != Victim::Broker));
        assert_eq!(unkilled, ["kafka was killed 0 times and not 1"]);
        // Whose load did nothing has shown nothing.
        assert!(broken(&Told::default(), &[]).len() >= 8);
    }

    fn slowest(kills: &mut [Kill], ms: f64) {
        kills.iter_mut().filter_map(|kill| kill.served.as_mut()).for_each(|served| served.max_ms = ms);
    }

    #[test]
    fn what_was_not_promised_is_told_and_not_judged() {
        let (mut told, kills) = good();
        told.clicks.refused = 90;
        told.clicks.refused_in_topic = 30;
        told.clicks.in_topic += 30;
        told.clicks.counted += 30;
        (told.bad.unanswered, told.bad.unanswered_in_stream, told.bad.copies) = (7, 5, 9);
        told.withdrawals.untried.push("the login failed".to_owned());
        assert_eq!(broken(&told, &kills), Vec::<String>::new());
        assert_eq!(difference_of(&told.clicks), 0);
    }
}
