//! What a drill found, as a line for whoever watches and as a page for `docs/drills`. Nothing is judged here.

use std::fmt::Write as _;

use anyhow::Result;

use super::told::{Counts, Told};
use super::{Options, flags};
use crate::campaign::commit;

/// One phase.
pub struct Row {
    pub name: &'static str,
    /// For people.
    pub promise: &'static str,
    /// What was done to the region.
    pub done: String,
    /// How the promise was broken; empty when it was held.
    pub broken: Vec<String>,
    pub told: Told,
}

/// Reasons, and examples of what was missing, that a report shows.
const EXAMPLES: usize = 8;

pub const HEAD: &str = "| Phase | Searches | failed | empty | from stand-in | p50 ms | p99 ms | Pages | failed | p99 ms \
                        | Changes | failed | p99 ms | whole after s | Promise |";

impl Row {
    fn verdict(&self) -> &'static str {
        if self.broken.is_empty() { "held" } else { "**BROKEN**" }
    }

    /// The row of the table.
    pub fn line(&self) -> String {
        let Told { searches, pages, writes, whole_after_s, .. } = &self.told;
        format!(
            "| {} | {} | {} | {} | {} | {:.1} | {:.1} | {} | {} | {:.1} | {} | {} | {:.1} | {whole_after_s:.1} | {} |",
            self.name,
            searches.asked,
            searches.failed,
            searches.empty,
            searches.from_stand_in,
            searches.p50_ms,
            searches.p99_ms,
            pages.asked,
            pages.failed,
            pages.p99_ms,
            writes.asked,
            writes.failed,
            writes.p99_ms,
            self.verdict()
        )
    }

    fn story(&self) -> String {
        let mut text = format!(
            "- **{}**: {}.\n  - done: {}\n  - promised: {}\n",
            self.name,
            if self.broken.is_empty() { "held" } else { "BROKEN" },
            self.done,
            self.promise
        );
        // Writing into a String cannot fail.
        for broken in &self.broken {
            let _ = writeln!(text, "  - **broken: {}**", broken.trim().replace('\n', " / "));
        }
        let Told { searches, pages, writes, missing, .. } = &self.told;
        for (what, counts) in [("searches", searches), ("pages", pages), ("changes", writes)] {
            if counts.failed > 0 {
                let _ = writeln!(text, "  - {what} that failed: {}", reasons(counts));
            }
        }
        for missing in missing.iter().take(EXAMPLES) {
            let _ = writeln!(text, "  - missing afterwards: {missing}");
        }
        text
    }
}

/// Why answers failed, the first few reasons.
pub(super) fn reasons(counts: &Counts) -> String {
    let reasons: Vec<String> =
        counts.why.iter().take(EXAMPLES).map(|(why, count)| format!("{count} x {why}")).collect();
    reasons.join(", ")
}

/// The page.
///
/// # Errors
/// When the commit cannot be told.
pub fn page(options: &Options, rows: &[Row], seconds: f64) -> Result<String> {
    let broken = rows.iter().filter(|row| !row.broken.is_empty()).count();
    let verdict = if broken == 0 {
        "Every promise was held.".to_owned()
    } else {
        format!("**{broken} of {} phases broke their promise; see below.**", rows.len())
    };
    let mut text = format!(
        "# A drill of the catalog\n\nWritten by `cargo xtask drill`. {verdict}\n\n\
         - command: `cargo xtask drill {}`\n- commit: {}\n- machine: {} cores; servers, services and load on it together\n\
         - whole run: {seconds:.0} s\n- MongoDB is FerretDB on PostgreSQL here; each store is one process\n\n\
         No question was asked again, except the random changes of the last phase, which are repeated until they are answered. \
         Failed: no answer within 20 s, an answer that is no success, or one to another question. A search by a product's number \
         must give this product first. *Whole after* is the time from the end of the load until every change was found in the index \
         and every page and a change were answered. Times are recorded, not judged: everything shares the machine.\n\n{HEAD}\n",
        flags(options),
        commit()?,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    );
    let columns = HEAD.matches('|').count() - 1;
    let _ = writeln!(text, "|{}", " --- |".repeat(columns));
    for row in rows {
        let _ = writeln!(text, "{}", row.line());
    }
    text.push('\n');
    rows.iter().for_each(|row| text.push_str(&row.story()));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_as_many_cells_as_the_head_and_says_what_was_broken() {
        let broken = vec!["1 searches were empty".to_owned()];
        let row = Row { name: "quiet", promise: "nothing", done: "nothing".to_owned(), broken, told: Told::default() };
        assert_eq!(row.line().matches('|').count(), HEAD.matches('|').count());
        assert!(row.line().ends_with("| **BROKEN** |"), "{}", row.line());
        assert!(row.story().contains("broken: 1 searches were empty"), "{}", row.story());
    }
}
