//! Which events of a person were counted lately, so that one that comes twice counts once: a browser repeats what it got no answer for,
//! and the intake repeats what the broker did not confirm. The position in the stream does not tell, because a repetition has a new one.
//!
//! Of each event a mark of 32 bits is kept, of each person the last [`MOST_SEEN`]. Two different events of one person share a mark once
//! in eight million; then one click is missing, and nothing else is wrong. Who repeats an event after [`MOST_SEEN`] newer ones, of
//! the same request or of others, counts it twice.

use std::borrow::Cow;

use super::click::{Click, Position, Report};

/// Events remembered per person, two kilobytes of whoever has that many: all 500 of the largest request that the intake takes, so
/// that it can come again at once.
pub const MOST_SEEN: usize = 512;

/// The mark of an event's name; `None` for one without a name, which is never taken for a repetition.
pub fn mark(event_id: &str) -> Option<u32> {
    // FNV-1a: the same in every version of ours, because it is stored.
    let hash = event_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (!event_id.is_empty()).then_some((hash ^ (hash >> 32)) as u32)
}

/// What is left of one person's reports, in their order, when each event counts once.
pub struct Once<'a> {
    pub reports: Cow<'a, [Report]>,
    /// Marks from now on, the newest last.
    pub seen: Vec<u32>,
    /// Events that were left out.
    pub repeated: usize,
}

/// `before` are the marks of this person, the newest last; reports at or before `position` were counted and are not looked into.
pub fn once<'a>(reports: &'a [Report], position: Option<Position>, before: &[u32]) -> Once<'a> {
    let mut once = Once { reports: Cow::Borrowed(reports), seen: before.to_vec(), repeated: 0 };
    for (place, report) in reports.iter().enumerate() {
        if position.is_some_and(|position| position.includes(report.position)) {
            continue;
        }
        let mut is_new = |click: &Click| {
            let Some(mark) = click.mark else { return true };
            let new = !once.seen.contains(&mark);
            if new {
                once.seen.push(mark);
                shorten(&mut once.seen, 2 * MOST_SEEN);
            }
            new
        };
        let new: Vec<bool> = report.clicks.iter().map(&mut is_new).collect();
        let repeated = new.iter().filter(|new| !**new).count();
        if repeated > 0 {
            let mut new = new.into_iter();
            once.reports.to_mut()[place].clicks.retain(|_| new.next().unwrap_or(true));
            once.repeated += repeated;
        }
    }
    shorten(&mut once.seen, MOST_SEEN);
    once
}

/// Forgets the oldest when there are more than `most`.
fn shorten(seen: &mut Vec<u32>, most: usize) {
    if seen.len() > most {
        seen.drain(..seen.len() - MOST_SEEN);
    }
}

#[cfg(test)]
mod tests {
    use common::Sku;

    use super::super::click::{ClickKind, Pseudonym};
    use super::*;

    fn report(offset: i64, events: &[&str]) -> Report {
        let click = |id: &&str| Click { kind: ClickKind::View, sku: Sku::parse("A").ok(), at_ms: 1, mark: mark(id) };
        Report {
            pseudonym: Pseudonym::parse(&"a".repeat(32)).expect("a pseudonym"),
            consent: true,
            position: Position { partition: 0, offset, received_at_ms: offset },
            traceparent: None,
            clicks: events.iter().map(click).collect(),
        }
    }

    fn left(once: &Once<'_>) -> Vec<usize> {
        once.reports.iter().map(|report| report.clicks.len()).collect()
    }

    #[test]
    fn an_event_counts_once_within_a_batch_and_after_it() {
        let first = [report(1, &["a", "b"]), report(2, &["b", "c", "c"]), report(3, &["", ""])];
        let counted = once(&first, None, &[]);
        assert_eq!((left(&counted), counted.repeated, counted.seen.len()), (vec![2, 1, 2], 2, 3));
        let later = [report(9, &["c", "d", "a"])];
        let again = once(&later, Some(first[2].position), &counted.seen);
        assert_eq!((left(&again), again.repeated), (vec![1], 2));
        let nothing_new = [report(9, &["x"])];
        assert!(
            matches!(once(&nothing_new, None, &counted.seen).reports, Cow::Borrowed(_)),
            "usually nothing is copied"
        );
    }

    #[test]
    fn what_a_position_includes_is_left_as_it_is() {
        let reports = [report(5, &["a", "a"])];
        let counted = once(&reports, Some(reports[0].position), &[mark("a").expect("a mark")]);
        assert_eq!((left(&counted), counted.repeated, counted.seen.len()), (vec![2], 0, 1));
    }

    #[test]
    fn the_largest_request_counts_once_though_it_comes_again() {
        let names: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        let largest = |offset| report(offset, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let together = [largest(1), largest(2)];
        assert_eq!(left(&once(&together, None, &[])), [500, 0], "in one batch");
        let first = once(&together[..1], None, &[]);
        // As many others as there is room for.
        let others: Vec<String> = (500..MOST_SEEN).map(|number| number.to_string()).collect();
        let others = [report(2, &others.iter().map(String::as_str).collect::<Vec<_>>())];
        let between = once(&others, Some(together[0].position), &first.seen);
        let later = [largest(3)];
        let again = once(&later, Some(others[0].position), &between.seen);
        assert_eq!((left(&again), again.repeated), (vec![0], 500), "and in a later one");
    }

    #[test]
    fn however_much_one_person_sends_no_more_is_remembered() {
        let names: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        let reports = [report(1, &names.iter().map(String::as_str).collect::<Vec<_>>())];
        let counted = once(&reports, None, &[]);
        assert_eq!((counted.seen.len(), counted.repeated), (MOST_SEEN, 0));
        assert_eq!(counted.seen.last().copied(), mark("9999"));
    }
}
