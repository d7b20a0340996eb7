//! What each phase of a drill promises, and whether its counts keep it. Decided here: which counts must be nothing, and where answers
//! of the stand-in are wanted, forbidden or nobody's concern. Times are recorded and never judged.

use super::told::{Counts, Told};

/// May searches be answered without the index?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// The index is there; whoever answers without it hides that something is wrong.
    Never,
    /// The index is away: an answer that does not say so is not what it seems.
    Expected,
    Indifferent,
}

/// The promise of one phase.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// For people.
    pub text: &'static str,
    /// No search fails and none is empty.
    pub searches: bool,
    pub stand_in: StandIn,
    /// No page fails.
    pub pages: bool,
    /// No change fails.
    pub writes: bool,
}

impl Promise {
    /// Every sentence of the promise that the counts break; none when it is held. What is missing after the load breaks each promise:
    /// whatever was killed, it comes back by itself.
    pub fn broken_by(&self, told: &Told) -> Vec<String> {
        let Told { searches, pages, writes, missing, whole_after_s: _ } = told;
        let mut broken = Vec::new();
        if self.searches {
            broken.extend(idle("searches", searches));
            broken.extend(some(searches.failed, "searches failed"));
            broken.extend(some(searches.empty, "searches were empty"));
        }
        match self.stand_in {
            StandIn::Never => {
                broken.extend(some(searches.from_stand_in, "searches came from the stand-in, and the index was there"));
            }
            StandIn::Expected if searches.from_stand_in == 0 => {
                broken.push("no search came from the stand-in, and the index was away".to_owned());
            }
            StandIn::Expected | StandIn::Indifferent => {}
        }
        if self.pages {
            broken.extend(idle("pages", pages));
            broken.extend(some(pages.failed, "pages failed"));
        }
        if self.writes {
            broken.extend(idle("changes", writes));
            broken.extend(some(writes.failed, "changes failed"));
        }
        broken.extend(some(missing.len(), "things were missing after the load"));
        broken
    }
}

/// A promise that nobody asked about is not held.
fn idle(what: &str, counts: &Counts) -> Option<String> {
    (counts.asked == 0).then(|| format!("no {what} were asked for"))
}

fn some(count: usize, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Promise =
        Promise { text: "nothing fails", searches: true, stand_in: StandIn::Never, pages: true, writes: true };

    fn good() -> Told {
        let counts = Counts { asked: 100, ..Counts::default() };
        Told { searches: counts.clone(), pages: counts.clone(), writes: counts, ..Told::default() }
    }

    #[test]
    fn a_promise_is_held_or_broken_by_the_counts_alone() {
        let without_index = Promise { stand_in: StandIn::Expected, ..WHOLE };
        let indifferent = Promise { stand_in: StandIn::Indifferent, pages: false, writes: false, ..WHOLE };
        let told = |change: fn(&mut Told)| {
            let mut told = good();
            change(&mut told);
            told
        };
        for (promise, told, broken) in [
            (WHOLE, told(|_| ()), 0),
            (WHOLE, told(|told| told.searches.failed = 1), 1),
            (WHOLE, told(|told| told.searches.empty = 1), 1),
            (WHOLE, told(|told| told.searches.from_stand_in = 1), 1),
            (WHOLE, told(|told| told.searches.asked = 0), 1),
            (WHOLE, told(|told| told.pages.failed = 2), 1),
            (WHOLE, told(|told| told.writes.failed = 3), 1),
            (WHOLE, told(|told| told.missing.push("a page".to_owned())), 1),
            (WHOLE, Told::default(), 3),
            (without_index, told(|_| ()), 1),
            (without_index, told(|told| told.searches.from_stand_in = 40), 0),
            (indifferent, told(|told| told.searches.from_stand_in = 40), 0),
            (indifferent, told(|told| (told.pages.failed, told.writes.failed) = (9, 9)), 0),
            (indifferent, told(|told| told.missing.push("a page".to_owned())), 1),
        ] {
            let found = promise.broken_by(&told);
            assert_eq!(found.len(), broken, "{promise:?} {told:?}: {found:?}");
        }
    }
}
