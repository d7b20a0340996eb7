//! What was tried on a cluster, concern by concern over all sites. Decided here: one site that fails fails its concern by name and does not
//! keep the others from being tried; a concern that no site came to is skipped, and says so.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::deploy::checks::{Made, Outcome};

/// One concern.
#[derive(Debug)]
struct Row {
    name: &'static str,
    took: Duration,
    said: Vec<String>,
    wrong: Vec<String>,
}

/// All concerns, in the order in which they are told.
#[derive(Debug)]
pub struct Book {
    rows: Vec<Row>,
}

impl Book {
    pub fn new(names: &[&'static str]) -> Book {
        let row = |name: &&'static str| Row { name, took: Duration::ZERO, said: Vec::new(), wrong: Vec::new() };
        Book { rows: names.iter().map(row).collect() }
    }

    /// Does the work of a concern for one site and notes how it went. `None` when it went wrong.
    pub fn note(&mut self, name: &'static str, site: &str, work: impl FnOnce() -> Result<String>) -> Option<()> {
        let began = Instant::now();
        let result = work();
        let row = self.rows.iter_mut().find(|row| row.name == name)?;
        row.took += began.elapsed();
        match result {
            Ok(said) => row.said.push(format!("{site}: {said}")),
            Err(error) => {
                row.wrong.push(format!("{site}: {error:#}"));
                return None;
            }
        }
        Some(())
    }

    /// How the concerns went.
    pub fn made(self) -> Vec<Made> {
        self.rows.into_iter().map(|row| (row.name, row.took, outcome(&row.said, &row.wrong))).collect()
    }
}

fn outcome(said: &[String], wrong: &[String]) -> Outcome {
    match (said.is_empty(), wrong.is_empty()) {
        (_, false) => Outcome::Failed(wrong.join("\n")),
        (false, true) => Outcome::Passed(said.join("; ")),
        (true, true) => Outcome::Skipped("no site came so far".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_site_that_fails_fails_its_concern_and_what_nobody_came_to_is_skipped() {
        let mut book = Book::new(&["install", "upgrade", "drain"]);
        assert!(book.note("install", "rdc-a", || Ok("5 layers".to_owned())).is_some());
        assert!(book.note("install", "dr-a", || bail!("no room")).is_none());
        assert!(book.note("upgrade", "rdc-a", || Ok("5 layers".to_owned())).is_some());
        let made = book.made();
        let outcomes: Vec<_> = made.iter().map(|(name, _, outcome)| format!("{name} {outcome:?}")).collect();
        assert_eq!(
            outcomes,
            [
                "install Failed(\"dr-a: no room\")",
                "upgrade Passed(\"rdc-a: 5 layers\")",
                "drain Skipped(\"no site came so far\")",
            ]
        );
    }
}
