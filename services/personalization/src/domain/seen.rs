//! Which events of a person were counted lately, so that one that comes twice counts once: a browser repeats what it got no answer for,
//! and the intake repeats what the broker did not confirm. The position in the stream does not tell, because a repetition has a new one.
//!
//! Of each event a mark of 32 bits and the second in which it happened are kept, of each person the [`MOST_SEEN`] that happened last, and
//! until when marks were given up for that. An event from before, without a mark, may have been counted or not; it is left out. So nothing
//! counts twice, however much somebody sends between an event and its repetition, and what somebody reports after [`MOST_SEEN`] later
//! events of theirs, from a disk or a telephone without network, does not count.
//!
//! Only what changes something takes a mark and is judged by marks. What the shop showed, and what concerns no product, may come
//! twice or late and weighs nothing either way: pages full of impressions take no mark from a view.
//!
//! What stays: two different events of one person share a mark once in eight million, and then one click is missing. An event that
//! does not tell its time happened when it was received, so its repetition happened later: among [`MOST_SEEN`] it is known by its mark,
//! beyond them it counts again.

use std::borrow::Cow;
use std::collections::HashSet;

use super::click::{Click, Position, Report};
use super::interest::weight;

/// Events remembered per person, four kilobytes of whoever has that many: all 500 of the largest request that the intake takes, so
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

/// An event that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub mark: u32,
    /// When it happened, in seconds since 1970-01-01 UTC.
    pub at_s: u32,
}

/// What is known of one person's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What happened last stands last.
    pub events: Vec<Counted>,
    /// Up to this second events may have been counted that have no mark here any more; 0 when none was given up.
    pub forgotten_s: u32,
}

impl Seen {
    /// Gives up what happened first when there are too many.
    fn shorten(&mut self) {
        // Usually in order already, which sorting notices.
        self.events.sort_by_key(|event| event.at_s);
        let too_many = self.events.len().saturating_sub(MOST_SEEN);
        for forgotten in self.events.drain(..too_many) {
            self.forgotten_s = self.forgotten_s.max(forgotten.at_s);
        }
    }
}

fn second(at_ms: i64) -> u32 {
    // Until 2106.
    u32::try_from(at_ms.max(0) / 1_000).unwrap_or(u32::MAX)
}

/// Whether a click moves a rating, a list or a visit: of those that weigh nothing, none does, and without a product nothing can.
fn changes_something(click: &Click) -> bool {
    click.sku.is_some() && weight(click.kind) != 0.0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    New,
    /// Counted before.
    Known,
    /// From before marks were given up: counted before or not, nobody knows.
    InDoubt,
}

/// [`Seen`] while one batch is counted. Nothing is given up in between: what a batch brings for the first time counts, however much.
struct Counting {
    seen: Seen,
    /// The same marks once more, when there are so many that looking through the list would take long. Few people ever have that many.
    marks: HashSet<u32>,
    is_changed: bool,
}

impl Counting {
    /// Whether a click has been counted; from now on it has.
    fn judge(&mut self, click: &Click) -> Verdict {
        let Some(mark) = click.mark.filter(|_| changes_something(click)) else { return Verdict::New };
        let known = if self.marks.is_empty() {
            self.seen.events.iter().any(|event| event.mark == mark)
        } else {
            self.marks.contains(&mark)
        };
        let at_s = second(click.at_ms);
        if known {
            return Verdict::Known;
        }
        if self.seen.forgotten_s > 0 && at_s <= self.seen.forgotten_s {
            return Verdict::InDoubt;
        }
        self.is_changed = true;
        self.seen.events.push(Counted { mark, at_s });
        if !self.marks.is_empty() {
            self.marks.insert(mark);
        } else if self.seen.events.len() > 2 * MOST_SEEN {
            self.marks.extend(self.seen.events.iter().map(|event| event.mark));
        }
        Verdict::New
    }

    fn end(mut self) -> Seen {
        if self.is_changed {
            self.seen.shorten();
        }
        self.seen
    }
}

/// What is left of one person's reports, in their order, when each event counts once.
pub struct Once<'a> {
    pub reports: Cow<'a, [Report]>,
    /// From now on.
    pub seen: Seen,
    /// Events that were left out.
    pub repeated: usize,
    /// Those of them that may never have been counted.
    pub in_doubt: usize,
}

/// `before` is what is known of this person; reports at or before `position` were counted and are not looked into.
pub fn once<'a>(reports: &'a [Report], position: Option<Position>, before: &Seen) -> Once<'a> {
    let mut counting = Counting { seen: before.clone(), marks: HashSet::new(), is_changed: false };
    let (mut left, mut repeated, mut in_doubt) = (Cow::Borrowed(reports), 0, 0);
    for (place, report) in reports.iter().enumerate() {
        if position.is_some_and(|position| position.includes(report.position)) {
            continue;
        }
        let verdicts: Vec<Verdict> = report.clicks.iter().map(|click| counting.judge(click)).collect();
        let again = verdicts.iter().filter(|verdict| **verdict != Verdict::New).count();
        if again > 0 {
            repeated += again;
            in_doubt += verdicts.iter().filter(|verdict| **verdict == Verdict::InDoubt).count();
            let mut verdicts = verdicts.into_iter();
            left.to_mut()[place].clicks.retain(|_| verdicts.next().is_none_or(|verdict| verdict == Verdict::New));
        }
    }
    Once { reports: left, seen: counting.end(), repeated, in_doubt }
}

#[cfg(test)]
mod tests {
    use common::Sku;

    use super::super::click::{ClickKind, Pseudonym};
    use super::*;

    /// Events of one report, all of one second.
    fn report_at(offset: i64, second: i64, events: &[&str]) -> Report {
        let click = |id: &&str| Click {
            kind: ClickKind::View,
            sku: Sku::parse("A").ok(),
            at_ms: second * 1_000,
            mark: mark(id),
        };
        Report {
            pseudonym: Pseudonym::parse(&"a".repeat(32)).expect("a pseudonym"),
            consent: true,
            position: Position { partition: 0, offset, received_at_ms: offset },
            traceparent: None,
            clicks: events.iter().map(click).collect(),
        }
    }

    fn report(offset: i64, events: &[&str]) -> Report {
        report_at(offset, offset, events)
    }

    /// Events `from` to `to`, named by their numbers.
    fn numbered(offset: i64, second: i64, from: usize, to: usize) -> Report {
        let names: Vec<String> = (from..to).map(|number| number.to_string()).collect();
        report_at(offset, second, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn left(once: &Once<'_>) -> Vec<usize> {
        once.reports.iter().map(|report| report.clicks.len()).collect()
    }

    /// Batches one after the other; how many clicks of each counted.
    fn counted(batches: &[Report]) -> (Vec<usize>, Seen) {
        let (mut seen, mut counts) = (Seen::default(), Vec::new());
        for batch in batches {
            let once = once(std::slice::from_ref(batch), None, &seen);
            counts.extend(left(&once));
            seen = once.seen;
        }
        (counts, seen)
    }

    #[test]
    fn an_event_counts_once_within_a_batch_and_after_it() {
        let first = [report(1, &["a", "b"]), report(2, &["b", "c", "c"]), report(3, &["", ""])];
        let counted = once(&first, None, &Seen::default());
        assert_eq!((left(&counted), counted.repeated, counted.seen.events.len()), (vec![2, 1, 2], 2, 3));
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
        let known = Counted { mark: mark("a").expect("a mark"), at_s: 5 };
        let before = Seen { events: vec![known], forgotten_s: 0 };
        let counted = once(&reports, Some(reports[0].position), &before);
        assert_eq!((left(&counted), counted.repeated, counted.seen), (vec![2], 0, before));
    }

    #[test]
    fn the_largest_request_counts_once_though_it_comes_again() {
        let together = [numbered(1, 1, 0, 500), numbered(2, 1, 0, 500)];
        assert_eq!(left(&once(&together, None, &Seen::default())), [500, 0], "in one batch");
        // As many others as there is room for.
        let later = [numbered(1, 1, 0, 500), numbered(2, 2, 500, MOST_SEEN), numbered(3, 1, 0, 500)];
        assert_eq!(counted(&later).0, [500, MOST_SEEN - 500, 0], "and in a later one");
    }

    #[test]
    fn however_much_comes_in_between_nothing_counts_twice() {
        // A request without an answer; then the same person sends a hundred times as much; then the request comes again, and half of it
        // once more, and then something new.
        let mut batches = vec![numbered(1, 10, 0, 100)];
        batches
            .extend((0..20).map(|n| numbered(2 + n, 11 + n, 1_000 * (n as usize + 1), 1_000 * (n as usize + 1) + 500)));
        batches.extend([numbered(50, 10, 0, 100), numbered(51, 10, 0, 50), numbered(52, 40, 90_000, 90_003)]);
        let (counts, seen) = counted(&batches);
        assert_eq!(counts[..21], [[100].as_slice(), &[500; 20]].concat());
        assert_eq!(counts[21..], [0, 0, 3]);
        assert_eq!(seen.events.len(), MOST_SEEN);
    }

    #[test]
    fn what_was_done_without_network_counts_and_in_no_order_of_its_requests_twice() {
        // Four requests of 500 events each, all from before the first of them arrives.
        for order in [[0, 1, 2, 3], [3, 0, 1, 2], [3, 2, 0, 1]] {
            let request = |(offset, n): (usize, usize)| numbered(offset as i64, 100 + n as i64, n * 500, n * 500 + 500);
            let batches: Vec<Report> = order.into_iter().enumerate().map(request).collect();
            let (counts, seen) = counted(&batches);
            let told: usize = counts.iter().sum();
            let again = once(&batches, None, &seen);
            assert_eq!(again.repeated, 2_000, "{order:?}: none of them twice");
            // What comes after more later events than there are marks is in doubt, and does not count.
            let expected = if order == [3, 2, 0, 1] { 1_000 } else { 2_000 };
            assert_eq!(told, expected, "{order:?}: {counts:?}");
        }
    }

    #[test]
    fn what_is_older_than_what_was_given_up_is_left_out_and_what_is_newer_is_not() {
        let flood = [numbered(1, 100, 0, 400), numbered(2, 200, 400, 800)];
        let (_, seen) = counted(&flood);
        assert_eq!((seen.events.len(), seen.forgotten_s), (MOST_SEEN, 100));
        for (second, counts, why) in [(99, 0, "before it"), (100, 0, "in the same second"), (101, 1, "after it")] {
            let late = [report_at(3, second, &["late"])];
            assert_eq!(left(&once(&late, None, &seen)), [counts], "{why}");
        }
        let nameless = [report_at(3, 1, &[""])];
        assert_eq!(left(&once(&nameless, None, &seen)), [1], "what has no name is never taken for a repetition");
    }

    #[test]
    fn pages_of_what_was_shown_take_no_mark_from_a_view_that_comes_late() {
        let of_kind = |kind: ClickKind, mut report: Report| {
            report.clicks.iter_mut().for_each(|click| click.kind = kind);
            report
        };
        let mut batches = Vec::new();
        for page in 0..26 {
            let shown = numbered(page, 100 + page, 20 * page as usize, 20 * page as usize + 20);
            batches.push(of_kind(ClickKind::Impression, shown));
        }
        batches.push(of_kind(ClickKind::Custom, numbered(30, 140, 1_000, 1_500)));
        let mut of_nothing = of_kind(ClickKind::Search, numbered(31, 150, 2_000, 2_500));
        of_nothing.clicks.iter_mut().for_each(|click| click.sku = None);
        batches.push(of_nothing);
        // Three views from before all that, out of a disk, and once more.
        batches.extend([numbered(40, 50, 9_000, 9_003), numbered(41, 50, 9_000, 9_003)]);
        let (counts, seen) = counted(&batches);
        assert_eq!(counts[28..], [3, 0], "a view counts once, however much was shown since");
        assert_eq!((seen.events.len(), seen.forgotten_s), (3, 0));
        // Nor is it judged by marks: nothing of it counts.
        let (_, seen) = counted(&[numbered(1, 100, 0, 400), numbered(2, 200, 400, 800)]);
        let old = [of_kind(ClickKind::Impression, numbered(3, 50, 0, 20))];
        let left_out = once(&old, None, &seen);
        assert_eq!((left(&left_out), left_out.repeated), (vec![20], 0));
    }

    #[test]
    fn what_may_never_have_counted_is_told_apart_from_what_has() {
        let (_, seen) = counted(&[numbered(1, 100, 0, 400), numbered(2, 200, 400, 800)]);
        for (report, in_doubt) in [(numbered(3, 200, 700, 800), 0), (numbered(3, 90, 5_000, 5_100), 100)] {
            let again = once(std::slice::from_ref(&report), None, &seen);
            assert_eq!((again.repeated, again.in_doubt), (100, in_doubt));
        }
    }

    #[test]
    fn however_much_one_person_sends_no_more_is_remembered() {
        let reports = [numbered(1, 1, 0, 10_000), numbered(2, 1, 0, 10_000)];
        let counted = once(&reports, None, &Seen::default());
        assert_eq!((left(&counted), counted.seen.events.len()), (vec![10_000, 0], MOST_SEEN));
        assert_eq!(counted.seen.events.last().map(|event| event.mark), mark("9999"));
    }
}
