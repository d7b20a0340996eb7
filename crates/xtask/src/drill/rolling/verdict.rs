//! Whether a rolling update held what it promises: no request failed, no event was lost. Times are recorded and never judged.

use std::collections::BTreeMap;

use super::told::Told;
use crate::drill::told::Counts;

/// How many times each click of the load is in its topic.
pub type Recorded = BTreeMap<u64, usize>;

/// Of a hundred requests of one kind, so many may be turned away by a limit; more, and the load was not the one that is meant.
const LIMITED_PERCENT: usize = 1;

/// Requests that failed, without those that a limit has turned away.
pub fn failed(counts: &Counts) -> usize {
    counts.failed + counts.empty - limited(counts)
}

/// Requests that a limit has turned away (429): the shop is up and says so.
pub fn limited(counts: &Counts) -> usize {
    counts.why.iter().filter(|(why, _)| why.starts_with("429 ")).map(|(_, count)| count).sum()
}

/// Clicks that were accepted and are not in the topic.
pub fn lost(told: &Told, recorded: &Recorded) -> usize {
    told.clicks.iter().filter(|number| !recorded.contains_key(number)).count()
}

/// Clicks that are in the topic more than once. Readers count an `event_id` once, so this is told and not judged.
pub fn doubled(recorded: &Recorded) -> usize {
    recorded.values().filter(|times| **times > 1).count()
}

/// Every sentence of the promise that is broken; none when it is held.
pub fn broken(told: &Told, recorded: &Recorded) -> Vec<String> {
    let mut broken = Vec::new();
    let mut none = |count: usize, what: &str| {
        if count > 0 {
            broken.push(format!("{count} {what}"));
        }
    };
    for (kind, counts) in &told.asked {
        none(failed(counts), &format!("{kind} failed"));
    }
    none(lost(told, recorded), "clicks were accepted and are lost");
    none(told.orders_missing, "orders were accepted and are lost");
    none(told.orders_untrue, "orders did not end as their card says");
    none(usize::try_from(told.unsent).unwrap_or(usize::MAX), "events were committed and not sent");
    if told.repeated {
        broken.push("the client has repeated requests, so some failed that nobody has counted".to_owned());
    }
    if !told.books_agree {
        broken.push("the books do not agree, or something has not come to its end".to_owned());
    }
    broken.extend(idle(told));
    broken
}

/// A promise that nobody has tried is not held.
fn idle(told: &Told) -> Vec<String> {
    let mut idle = Vec::new();
    for (kind, counts) in &told.asked {
        if counts.asked == 0 {
            idle.push(format!("no {kind} were asked for"));
        } else if limited(counts) * 100 > counts.asked * LIMITED_PERCENT {
            idle.push(format!("{} of {} {kind} met a limit", limited(counts), counts.asked));
        }
    }
    if told.asked.is_empty() {
        idle.push("nothing was asked for".to_owned());
    }
    if told.clicks.is_empty() {
        idle.push("no click was accepted".to_owned());
    }
    if told.orders == 0 {
        idle.push("no order was accepted".to_owned());
    }
    idle
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> (Told, Recorded) {
        let asked = BTreeMap::from([("orders".to_owned(), Counts { asked: 100, ..Counts::default() })]);
        let told = Told { asked, clicks: vec![1, 2, 3], orders: 100, books_agree: true, ..Told::default() };
        (told, BTreeMap::from([(1, 1), (2, 1), (3, 1), (4, 1)]))
    }

    fn refused(why: &str, count: usize) -> Counts {
        Counts { asked: 100, failed: count, why: BTreeMap::from([(why.to_owned(), count)]), ..Counts::default() }
    }

    #[test]
    fn one_failed_request_or_one_lost_event_breaks_the_promise() {
        let (told, recorded) = good();
        assert_eq!(broken(&told, &recorded), Vec::<String>::new());
        let with = |change: fn(&mut Told, &mut Recorded)| {
            let (mut told, mut recorded) = good();
            change(&mut told, &mut recorded);
            broken(&told, &recorded)
        };
        for (found, said) in [
            (with(|told, _| asks(told, refused("503 dependency-down", 1))), "1 orders failed"),
            (with(|told, _| asks(told, refused("no answer", 2))), "2 orders failed"),
            (with(|told, _| asks(told, Counts { asked: 9, empty: 1, ..Counts::default() })), "1 orders failed"),
            (with(|_, recorded| recorded.retain(|number, _| *number != 2)), "1 clicks were accepted and are lost"),
            (with(|told, _| told.clicks.push(5)), "1 clicks were accepted and are lost"),
            (with(|told, _| told.orders_missing = 1), "1 orders were accepted and are lost"),
            (with(|told, _| told.orders_untrue = 1), "1 orders did not end as their card says"),
            (with(|told, _| told.unsent = 3), "3 events were committed and not sent"),
            (
                with(|told, _| told.repeated = true),
                "the client has repeated requests, so some failed that nobody has counted",
            ),
            (with(|told, _| told.books_agree = false), "the books do not agree, or something has not come to its end"),
            (with(|told, _| asks(told, Counts::default())), "no orders were asked for"),
            (with(|told, _| asks(told, refused("429 too-many-requests", 2))), "2 of 100 orders met a limit"),
            (with(|told, _| told.clicks.clear()), "no click was accepted"),
            (with(|told, _| told.orders = 0), "no order was accepted"),
            (with(|told, _| told.asked.clear()), "nothing was asked for"),
        ] {
            assert_eq!(found, [said]);
        }
    }

    fn asks(told: &mut Told, counts: Counts) {
        told.asked.insert("orders".to_owned(), counts);
    }

    #[test]
    fn a_limit_is_no_failure_and_a_click_that_came_twice_is_not_lost() {
        let (mut told, mut recorded) = good();
        asks(&mut told, refused("429 too-many-requests", 1));
        recorded.insert(3, 2);
        assert_eq!(broken(&told, &recorded), Vec::<String>::new());
        assert_eq!((failed(&told.asked["orders"]), limited(&told.asked["orders"]), doubled(&recorded)), (0, 1, 1));
    }
}
