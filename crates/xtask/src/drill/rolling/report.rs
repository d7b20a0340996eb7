//! What a rolling update found, as a page for `docs/drills`. Nothing is judged here.

use std::fmt::Write as _;

use anyhow::Result;

use super::fleet::Step;
use super::verdict::{doubled, failed, limited, lost};
use super::{Found, Options, Seen};
use crate::campaign::commit;
use crate::drill::report::reasons;

const HEAD: &str = "| Asked | Requests | failed | 429 | without the index | p50 ms | p99 ms |";

/// The page.
///
/// # Errors
/// When the commit cannot be told.
pub(super) fn page(options: &Options, found: &Found, seconds: f64) -> Result<String> {
    let Found { steps, seen } = found;
    let Options { seed, rounds, release, no_build: _ } = options;
    let build = if *release { " --release" } else { "" };
    let head = format!(
        "# A rolling update of every service\n\nWritten by `cargo xtask rolling`. {}\n\n\
         - command: `cargo xtask rolling --seed {seed} --rounds {rounds}{build}`\n- commit: {}\n\
         - machine: {} cores; servers, services, gateway and load on it together\n- whole run: {seconds:.0} s\n\n\
         No request was sent again. Failed: no answer within 20 s, an answer that is no success, or one to another question. Times are \
         recorded, not judged: everything shares the machine.\n",
        verdict(&format!("{} processes replaced", steps.len()), seen),
        commit()?,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    );
    Ok(head + &requests(seen) + &events(seen) + &replaced(steps))
}

/// Whether the promise was held, behind what was done the sums, and every sentence that is broken.
pub(crate) fn verdict(done: &str, seen: &Seen) -> String {
    let (requests, failures) = seen
        .told
        .asked
        .values()
        .fold((0, 0), |(requests, failures), counts| (requests + counts.asked, failures + failed(counts)));
    let sums = format!(
        "{done}, {requests} requests, {failures} failed; {} clicks and {} orders accepted, {} lost.",
        seen.told.clicks.len(),
        seen.told.orders,
        lost(&seen.told, &seen.recorded) + seen.told.orders_missing
    );
    if seen.broken.is_empty() {
        format!("The promise was held: {sums}")
    } else {
        // Writing into a String cannot fail.
        let mut text = format!("**The promise was broken**: {sums}\n");
        for broken in &seen.broken {
            let _ = write!(text, "\n- **{}**", broken.trim().replace('\n', " / "));
        }
        text
    }
}

/// A row per kind of question, and why some failed.
pub(crate) fn requests(seen: &Seen) -> String {
    let columns = HEAD.matches('|').count() - 1;
    let mut text = format!("\n## Requests\n\n{HEAD}\n|{}\n", " --- |".repeat(columns));
    for (kind, counts) in &seen.told.asked {
        let _ = writeln!(
            text,
            "| {kind} | {} | {} | {} | {} | {:.1} | {:.1} |",
            counts.asked,
            failed(counts),
            limited(counts),
            counts.from_stand_in,
            counts.p50_ms,
            counts.p99_ms
        );
    }
    text.push('\n');
    for (kind, counts) in seen.told.asked.iter().filter(|(_, counts)| !counts.why.is_empty()) {
        let _ = writeln!(text, "- {kind}: {}", reasons(counts));
    }
    text
}

/// What became of clicks and orders, and what the books say.
pub(crate) fn events(seen: &Seen) -> String {
    let Seen { told, recorded, .. } = seen;
    let mut text = format!(
        "\n## Events\n\n- clicks: {} accepted, {} of them in the topic, {} more than once\n\
         - orders: {} accepted, {} in no book, {} with an end that their card does not allow\n\
         - committed and not sent: {}\n- shop, stock, ledger and gateway {}; {:.1} s after the end of the load\n\n```text\n",
        told.clicks.len(),
        told.clicks.len() - lost(told, recorded),
        doubled(recorded),
        told.orders,
        told.orders_missing,
        told.orders_untrue,
        told.unsent,
        if told.books_agree { "agree" } else { "**do not agree**" },
        told.settled_after_s
    );
    for (end, count) in &told.ends {
        let _ = writeln!(text, "{count:>7} {end}");
    }
    for line in &told.books {
        let _ = writeln!(text, "{line}");
    }
    text.push_str("```\n");
    text
}

fn replaced(steps: &[Step]) -> String {
    let mut text = "\n## Replaced, in this order\n\n".to_owned();
    text.push_str("| Old | New | ready after s | old one ended in s |\n| --- | --- | --- | --- |\n");
    for Step { old, new, ready_s, ended_s } in steps {
        let _ = writeln!(text, "| {old} | {new} | {ready_s:.1} | {ended_s:.1} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::told::Told;
    use super::*;
    use crate::drill::told::Counts;

    #[test]
    fn a_page_says_first_whether_the_promise_was_held_and_rows_have_as_many_cells_as_the_head() {
        let asked = BTreeMap::from([("orders".to_owned(), Counts { asked: 7, ..Counts::default() })]);
        let told = Told { asked, clicks: vec![1, 2], orders: 6, ..Told::default() };
        let mut seen = Seen { told, recorded: BTreeMap::from([(1, 1)]), broken: Vec::new() };
        let said = verdict("0 processes replaced", &seen);
        assert!(said.starts_with("The promise was held: 0 processes"), "{said}");
        seen.broken.push("1 clicks were accepted and are lost".to_owned());
        let said = verdict("0 processes replaced", &seen);
        assert!(said.contains("2 clicks and 6 orders accepted, 1 lost."), "{said}");
        assert!(said.ends_with("\n- **1 clicks were accepted and are lost**"), "{said}");
        let rows = requests(&seen);
        let cells = |line: &str| line.matches('|').count();
        assert!(rows.lines().filter(|line| line.starts_with('|')).all(|line| cells(line) == cells(HEAD)), "{rows}");
    }
}
