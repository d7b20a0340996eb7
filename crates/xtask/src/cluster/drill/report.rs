//! What a drill of the region in Kubernetes found, as lines for whoever watches and as a page for `docs/drills`. Nothing is judged here.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Row, Step};
use crate::campaign::commit;
use crate::drill::rolling::{ALONE_S, Seen, report};

pub const HEAD: &str = "| Step | seconds | What became of it |";

/// What the page tells beside what the load has seen.
pub struct Facts<'a> {
    pub offset: u16,
    pub seed: u64,
    pub plan: &'a [Step],
    pub rows: &'a [Row],
    pub seconds: f64,
}

/// The row of the table.
pub fn line(row: &Row) -> String {
    let said = match &row.outcome {
        Ok(said) => said.clone(),
        Err(why) => format!("**failed**: {why}"),
    };
    // A cell is one line without bars.
    let said = said.trim().replace('\n', " / ").replace('|', "/");
    format!("| {} | {:.1} | {said} |", row.step, row.seconds)
}

/// The page.
///
/// # Errors
/// When the commit cannot be told.
pub fn page(facts: &Facts<'_>, seen: &Seen) -> Result<String> {
    let Facts { offset, seed, plan, rows, seconds } = facts;
    let head = format!(
        "# A region in Kubernetes under harm\n\nWritten by `cargo xtask cluster drill`. {}\n\n\
         - command: `cargo xtask cluster drill --offset {offset} --seed {seed}`, on what `cluster up` has started\n- commit: {}\n\
         - machine: {} cores; Kubernetes, pods, stores, gateway and load on it together\n- whole run: {seconds:.0} s\n\n\
         Two nodes, two pods of each role of each service; the load is alone for {ALONE_S} s before the first step and \
         after the last. No request was sent again. Failed: no answer within 20 s, an answer that is no success, or one to another \
         question. Times are recorded, not judged: everything shares the machine.\n",
        report::verdict(&done(plan, rows), seen),
        commit()?,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    );
    Ok(head + &table(plan, rows) + &report::requests(seen) + &report::events(seen))
}

/// How many steps were done.
fn done(plan: &[Step], rows: &[Row]) -> String {
    format!("{} of {} steps done", rows.iter().filter(|row| row.outcome.is_ok()).count(), plan.len())
}

fn table(plan: &[Step], rows: &[Row]) -> String {
    let columns = HEAD.matches('|').count() - 1;
    let mut text = format!("\n## Steps, in this order\n\n{HEAD}\n|{}\n", " --- |".repeat(columns));
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    for step in plan.iter().skip(rows.len()) {
        let _ = writeln!(text, "| {step} | | not tried |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_what_was_done_and_every_row_has_as_many_cells_as_the_head() {
        let plan = [Step::Replaced("user-serve".to_owned()), Step::Drained, Step::BadRelease];
        let rows = [
            Row { step: plan[0].clone(), seconds: 21.04, outcome: Ok("2 pods replaced".to_owned()) },
            Row { step: Step::Drained, seconds: 0.2, outcome: Err("2 pods stay".to_owned()) },
        ];
        assert_eq!(done(&plan, &rows), "1 of 3 steps done");
        let table = table(&plan, &rows);
        assert!(table.contains("| rolling update of user-serve | 21.0 | 2 pods replaced |\n"), "{table}");
        assert!(table.ends_with("| bad release | | not tried |\n"), "{table}");
        let failed = Err("a | b\nc".to_owned());
        assert_eq!(
            line(&Row { step: Step::BadRelease, seconds: 1.0, outcome: failed }),
            "| bad release | 1.0 | **failed**: a / b / c |"
        );
        let cells = |line: &str| line.matches('|').count();
        assert!(table.lines().filter(|line| line.starts_with('|')).all(|line| cells(line) == cells(HEAD)), "{table}");
    }
}
