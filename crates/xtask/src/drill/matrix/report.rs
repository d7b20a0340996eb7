//! What an upgrade found, as a line for whoever watches and as a page for `docs/drills`. Nothing is judged here beside the sum of all steps.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Options, Row, stages};
use crate::campaign;
use crate::drill::report::reasons;
use crate::drill::rolling::fleet::Step;
use crate::drill::rolling::verdict::{doubled, failed, limited, lost};

pub const HEAD: &str = "| Step | Requests | failed | 429 | Clicks | Orders | Events lost | unreadable | not sent | Books | settled after s \
                        | Promise |";

/// What lies between the two commits.
pub struct Changed {
    pub migrations: Vec<String>,
    pub messages: Vec<String>,
}

/// All steps were tried and none broke its promise.
pub fn held(rows: &[Row]) -> bool {
    rows.len() == stages().len() && rows.iter().all(|row| row.broken.is_empty())
}

/// The row of the table.
pub fn line(row: &Row) -> String {
    let Sums { requests, failed, limited } = sums(row);
    let told = &row.told;
    format!(
        "| {} | {requests} | {failed} | {limited} | {} | {} | {} | {} | {} | {} | {:.1} | {} |",
        row.stage.name(),
        told.clicks.len(),
        told.orders,
        events_lost(row),
        row.unreadable.values().sum::<u64>(),
        told.unsent,
        if told.books_agree { "agree" } else { "**do not**" },
        told.settled_after_s,
        if row.broken.is_empty() { "held" } else { "**BROKEN**" },
    )
}

struct Sums {
    requests: usize,
    failed: usize,
    limited: usize,
}

fn sums(row: &Row) -> Sums {
    let none = Sums { requests: 0, failed: 0, limited: 0 };
    row.told.asked.values().fold(none, |sums, counts| Sums {
        requests: sums.requests + counts.asked,
        failed: sums.failed + failed(counts),
        limited: sums.limited + limited(counts),
    })
}

fn events_lost(row: &Row) -> usize {
    lost(&row.told, &row.recorded) + row.told.orders_missing
}

/// The page.
///
/// # Errors
/// When the commit cannot be told.
pub fn page(options: &Options, before: &str, changed: &Changed, rows: &[Row], seconds: f64) -> Result<String> {
    let Options { before: _, seed, mixed, release, no_build: _ } = options;
    let build = if *release { " --release" } else { "" };
    let mut text = format!(
        "# From one release to the next and back\n\nWritten by `cargo xtask matrix`. {}\n\n\
         - command: `cargo xtask matrix --before {before} --seed {seed} --mixed {mixed}{build}`\n- N: {before}\n- N+1: {}\n\
         - between them: {}; {}\n\
         - machine: {} cores; servers, services, gateway and load on it together\n- whole run: {seconds:.0} s\n\n\
         Each step has a load of its own; no request was sent again. Failed: no answer within 20 s, an answer that is no success, or one to \
         another question. Two processes of each service serve and two work; a step replaces one of each by the other release, keeps \
         the mixture for {mixed} s, and replaces the others. Times are recorded, not judged: everything shares the machine.\n\n{HEAD}\n",
        verdict(rows),
        campaign::commit()?,
        files("migrations", &changed.migrations),
        files("descriptions of messages", &changed.messages),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    );
    let columns = HEAD.matches('|').count() - 1;
    // Writing into a String cannot fail.
    let _ = writeln!(text, "|{}", " --- |".repeat(columns));
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    for stage in stages().into_iter().skip(rows.len()) {
        let _ = writeln!(text, "| {} |{}", stage.name(), " not tried |".repeat(columns - 1));
    }
    text.push('\n');
    rows.iter().for_each(|row| text.push_str(&story(row)));
    Ok(text + &replaced(rows))
}

fn verdict(rows: &[Row]) -> String {
    let (mut requests, mut failures, mut events, mut losses, mut unreadable) = (0, 0, 0, 0, 0);
    for row in rows {
        let sums = sums(row);
        requests += sums.requests;
        failures += sums.failed;
        events += row.told.clicks.len() + row.told.orders;
        losses += events_lost(row);
        unreadable += row.unreadable.values().sum::<u64>();
    }
    let all = format!(
        "{} of {} steps, {requests} requests, {failures} failed; {events} clicks and orders accepted, {losses} lost, {unreadable} records \
         unreadable.",
        rows.len(),
        stages().len()
    );
    if held(rows) { format!("Every promise was held: {all}") } else { format!("**A promise was broken**: {all}") }
}

fn files(what: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("no {what} changed, so this shows nothing of them");
    }
    format!("{what} `{}`", names.join("`, `"))
}

/// What was broken in a step, and why requests failed.
fn story(row: &Row) -> String {
    let mut text = String::new();
    for broken in &row.broken {
        let _ = writeln!(text, "- **{}: {}**", row.stage.name(), broken.trim().replace('\n', " / "));
    }
    for (kind, counts) in row.told.asked.iter().filter(|(_, counts)| !counts.why.is_empty()) {
        let _ = writeln!(text, "- {}: {kind}: {}", row.stage.name(), reasons(counts));
    }
    let twice = doubled(&row.recorded);
    if twice > 0 {
        let _ = writeln!(
            text,
            "- {}: {twice} clicks are in their topic more than once; readers count each once",
            row.stage.name()
        );
    }
    text
}

fn replaced(rows: &[Row]) -> String {
    let mut text =
        "\n## Replaced, in this order\n\n| Step | Old | New | ready after s | old one ended in s |\n".to_owned();
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for row in rows {
        for Step { old, new, ready_s, ended_s } in &row.steps {
            let _ = writeln!(text, "| {} | {old} | {new} | {ready_s:.1} | {ended_s:.1} |", row.stage.name());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::unreadable::Unreadable;
    use super::super::{Stage, stages};
    use super::*;
    use crate::drill::rolling::told::Told;
    use crate::drill::told::Counts;

    fn row(stage: Stage) -> Row {
        let asked = BTreeMap::from([("orders".to_owned(), Counts { asked: 7, ..Counts::default() })]);
        let told = Told { asked, clicks: vec![1, 2], orders: 6, books_agree: true, ..Told::default() };
        let recorded = BTreeMap::from([(1, 1), (2, 1)]);
        Row { stage, steps: Vec::new(), told, recorded, unreadable: Unreadable::new(), broken: Vec::new() }
    }

    #[test]
    fn every_promise_is_held_only_when_every_step_was_tried_and_none_broke_its_own() {
        let mut rows: Vec<Row> = stages().into_iter().map(row).collect();
        assert!(held(&rows));
        assert!(
            verdict(&rows).starts_with("Every promise was held: 14 of 14 steps, 98 requests, 0 failed; 112 clicks")
        );
        // Planted: one step says that a record could not be read.
        rows[5].unreadable.insert("parked in inventory".to_owned(), 1);
        rows[5].broken.push("1 records were not readable: parked in inventory".to_owned());
        assert!(!held(&rows));
        assert!(verdict(&rows).starts_with("**A promise was broken**"), "{}", verdict(&rows));
        assert!(verdict(&rows).ends_with("0 lost, 1 records unreadable."), "{}", verdict(&rows));
        assert!(line(&rows[5]).ends_with("| **BROKEN** |"), "{}", line(&rows[5]));
        assert!(story(&rows[5]).contains("1 records were not readable"), "{}", story(&rows[5]));
        // Planted: the last step was not tried.
        let mut rows: Vec<Row> = stages().into_iter().map(row).collect();
        rows.pop();
        assert!(!held(&rows));
    }

    #[test]
    fn rows_have_as_many_cells_as_the_head_and_an_upgrade_that_changes_no_table_says_so() {
        let cells = |line: &str| line.matches('|').count();
        assert_eq!(cells(&line(&row(Stage::Schema))), cells(HEAD));
        assert_eq!(files("migrations", &[]), "no migrations changed, so this shows nothing of them");
        assert_eq!(files("migrations", &["a.sql".to_owned(), "b.sql".to_owned()]), "migrations `a.sql`, `b.sql`");
    }
}
