//! Whether one step of an upgrade held what it promises: what a rolling update promises, and beside it that no reader met a record it could
//! not read, and that the mixture of programs was the one that is meant. A step that was not the one that is meant has shown nothing.

use std::path::{Path, PathBuf};

use super::unreadable::Unreadable;
use crate::drill::rolling::told::Told;
use crate::drill::rolling::verdict::{self, Recorded};

/// Every sentence of the promise that is broken; none when it is held.
pub fn broken(told: &Told, recorded: &Recorded, unreadable: &Unreadable) -> Vec<String> {
    let mut broken = verdict::broken(told, recorded);
    broken.extend(unreadable.iter().map(|(place, count)| format!("{count} records were not readable: {place}")));
    broken
}

/// How the processes of a service are other than meant: `wanted` of `of` are the program `to`.
pub fn another_mixture(service: &str, running: &[PathBuf], to: &Path, wanted: usize, of: usize) -> Option<String> {
    let moved = running.iter().filter(|program| program.as_path() == to).count();
    (moved != wanted || running.len() != of).then(|| {
        format!("{moved} of {} processes of {service} were the new program, {wanted} of {of} were meant", running.len())
    })
}

/// May the next step be tried? Where books do not agree, what comes after would be blamed for it.
pub fn goes_on(told: &Told) -> bool {
    told.books_agree && told.unsent == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::drill::told::Counts;

    fn good() -> (Told, Recorded) {
        let asked = BTreeMap::from([("orders".to_owned(), Counts { asked: 100, ..Counts::default() })]);
        let told = Told { asked, clicks: vec![1], orders: 100, books_agree: true, ..Told::default() };
        (told, BTreeMap::from([(1, 1)]))
    }

    #[test]
    fn one_unreadable_record_breaks_the_promise_of_a_step_and_so_does_all_that_breaks_a_rolling_update() {
        let (told, recorded) = good();
        assert_eq!(broken(&told, &recorded, &Unreadable::new()), Vec::<String>::new());
        let parked = Unreadable::from([("parked in inventory".to_owned(), 1)]);
        assert_eq!(broken(&told, &recorded, &parked), ["1 records were not readable: parked in inventory"]);
        let mut failed = told.clone();
        let why = BTreeMap::from([("500 internal".to_owned(), 1)]);
        failed.asked.insert("orders".to_owned(), Counts { asked: 100, failed: 1, why, ..Counts::default() });
        assert_eq!(broken(&failed, &recorded, &Unreadable::new()), ["1 orders failed"]);
        assert_eq!(broken(&told, &Recorded::new(), &Unreadable::new()), ["1 clicks were accepted and are lost"]);
    }

    #[test]
    fn a_step_with_another_mixture_than_is_meant_has_shown_nothing() {
        let (old, new) = (PathBuf::from("/before/user"), PathBuf::from("/now/user"));
        let one_of_each = [old.clone(), new.clone(), old.clone(), new.clone()];
        assert_eq!(another_mixture("user", &one_of_each, &new, 2, 4), None);
        assert_eq!(another_mixture("user", &[new.clone(), new.clone()], &new, 2, 2), None);
        // Planted: nothing was replaced, everything was, and one of them is gone.
        for (running, said) in [
            (vec![old.clone(); 4], "0 of 4 processes of user were the new program, 2 of 4 were meant"),
            (vec![new.clone(); 4], "4 of 4 processes of user were the new program, 2 of 4 were meant"),
            (one_of_each[1..].to_vec(), "2 of 3 processes of user were the new program, 2 of 4 were meant"),
        ] {
            assert_eq!(another_mixture("user", &running, &new, 2, 4).as_deref(), Some(said));
        }
    }

    #[test]
    fn nothing_is_tried_on_books_that_do_not_agree() {
        let (told, _) = good();
        assert!(goes_on(&told));
        assert!(!goes_on(&Told { books_agree: false, ..told.clone() }));
        assert!(!goes_on(&Told { unsent: 1, ..told }));
    }
}
