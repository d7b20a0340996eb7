//! What a campaign of the click path found, and what a feed did, as pages for `docs/drills`. Nothing is judged here.

use std::fmt::Write as _;

use anyhow::Result;

use super::flat::Curve;
use super::kills::{Kill, Served};
use super::told::{Fed, Pages, Told};
use super::verdict::Held;
use super::{MemoryOptions, Options, flags};
use crate::campaign::commit;

const PROMISES: &str = "| Promise | Counted | |";
const KILLS: &str =
    "| Round | Killed (-9) | started after s | ready after s | answers meanwhile | p50 ms | p99 ms | slowest ms |";
const PAGES: &str = "| Away | Asked | failed | degraded | empty | p50 ms | p99 ms | slowest ms |";
const CURVES: &str = "| Memory | second quarter MiB | last quarter MiB | growth | MiB per million events | |";
const SAMPLES: &str = "| Events | Redis MiB | bytes of one person | resident MiB |";

/// Reasons that a report shows of one kind.
const EXAMPLES: usize = 8;
/// Samples that a report shows.
const SHOWN: usize = 20;
const MIB: f64 = 1024.0 * 1024.0;

/// The page of a campaign.
///
/// # Errors
/// When the commit cannot be told.
pub fn page(options: &Options, told: &Told, kills: &[Kill], promises: &[Held], seconds: f64) -> Result<String> {
    let broken = promises.iter().filter(|held| !held.broken.is_empty()).count();
    let verdict = if broken == 0 {
        "Every promise was held.".to_owned()
    } else {
        format!("**{broken} of {} promises were broken; see below.**", promises.len())
    };
    let rate = (told.clicks.accepted + told.bad.told) as f64 / told.seconds.max(1.0);
    let mut text = format!(
        "# Kills on the path of a click\n\nWritten by `cargo xtask clicks`. {verdict}\n\n\
         - command: `cargo xtask clicks {}`\n- commit: {}\n- machine: {}\n- whole run: {seconds:.0} s, {:.0} s of load: {} people, \
         {rate:.0} events per second, outages included\n- Redis writes what it holds to its disk, `appendfsync {}`; one broker, one process \
         of each service\n- {:.1} s from the end of the load until every click of the topic was counted, or the time for it was over\n\n\
         Times of *answers meanwhile* are the server's own, of all others those of who asks; everything shares the machine.\n",
        flags(options),
        commit()?,
        machine(),
        told.seconds,
        told.people,
        options.fsync,
        told.settled_after_s
    );
    text.push_str(&promised(promises));
    text.push_str(&killed(kills));
    text.push_str(&asked(told));
    text.push_str(&requests(told));
    Ok(text)
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores; servers, services and load on it together")
}

fn table(title: &str, head: &str) -> String {
    format!("\n## {title}\n\n{head}\n|{}\n", " --- |".repeat(head.matches('|').count() - 1))
}

fn promised(promises: &[Held]) -> String {
    let mut text = table("Promised", PROMISES);
    // Writing into a String cannot fail.
    for Held { promise, counted, broken } in promises {
        let verdict = if broken.is_empty() { "held" } else { "**BROKEN**" };
        let _ = writeln!(text, "| {promise} | {counted} | {verdict} |");
    }
    text.push('\n');
    for broken in promises.iter().flat_map(|held| &held.broken) {
        let _ = writeln!(text, "- **broken: {}**", broken.trim().replace('\n', " / "));
    }
    text
}

fn killed(kills: &[Kill]) -> String {
    let mut text = table("Killed, in this order", KILLS);
    for Kill { round, victim, paused_s, away_s, served } in kills {
        let _ = write!(text, "| {round} | {} | {paused_s} | {away_s:.1} |", victim.name());
        let _ = match served {
            Some(Served { answers, failed: _, p50_ms, p99_ms, max_ms }) => {
                writeln!(text, " {answers} | {p50_ms:.1} | {p99_ms:.1} | {max_ms:.1} |")
            }
            None => writeln!(text, " | | | |"),
        };
    }
    text
}

fn asked(told: &Told) -> String {
    let mut text = table("Recommendations, by what was away", PAGES);
    for (away, Pages { asked, failed, degraded, empty, p50_ms, p99_ms, max_ms, why: _ }) in &told.pages {
        let _ = writeln!(
            text,
            "| {away} | {asked} | {failed} | {degraded} | {empty} | {p50_ms:.1} | {p99_ms:.1} | {max_ms:.1} |"
        );
    }
    for (away, pages) in told.pages.iter().filter(|(_, pages)| !pages.why.is_empty()) {
        let _ = writeln!(text, "\n- {away}: {}", reasons(&pages.why));
    }
    text
}

fn requests(told: &Told) -> String {
    let Told { requests, clicks, bad, withdrawals, examples, .. } = told;
    let mut text = format!(
        "\n## Requests\n\nA request without an answer, or turned away, was sent again by every other browser until it was answered.\n\n\
         - accepted: {} requests, {} clicks\n- unknown (no answer in the end): {} requests, {} clicks, {} of them in the topic\n\
         - refused (another answer in the end): {} requests, {} clicks, {} of them in the topic\n- never sent: {} requests\n\
         - tries behind the first: {} ({})\n- refused events by reason: {}\n",
        requests.accepted,
        clicks.accepted,
        requests.unknown,
        clicks.unknown,
        clicks.unknown_in_topic,
        requests.refused,
        clicks.refused,
        clicks.refused_in_topic,
        requests.unsent,
        requests.repeated,
        reasons(&requests.why),
        reasons(&bad.reasons)
    );
    for untried in withdrawals.untried.iter().take(EXAMPLES) {
        let _ = writeln!(text, "- a withdrawal could not be tried: {untried}");
    }
    for example in examples {
        let _ = writeln!(text, "- wrong: {example}");
    }
    text
}

fn reasons<Count: std::fmt::Display>(why: &std::collections::BTreeMap<String, Count>) -> String {
    let reasons: Vec<String> = why.iter().take(EXAMPLES).map(|(why, count)| format!("{count} x {why}")).collect();
    if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") }
}

/// The page of a feed.
///
/// # Errors
/// When the commit cannot be told.
pub fn memory(options: &MemoryOptions, fed: &Fed, curves: &[Curve], broken: &[String], seconds: f64) -> Result<String> {
    let MemoryOptions { seed, events, people, release, no_build: _ } = options;
    let build = if *release { " --release" } else { "" };
    let verdict = if broken.is_empty() { "The promise was held." } else { "**The promise was broken; see below.**" };
    let mut text = format!(
        "# Memory of the click path\n\nWritten by `cargo xtask clicks --memory`. {verdict}\n\n\
         - command: `cargo xtask clicks --memory --events {events} --people {people} --seed {seed}{build}`\n- commit: {}\n- machine: {}\n\
         - whole run: {seconds:.0} s, {:.0} s of feeding: {} events of {} people in {} records, {:.0} events per second\n\n\
         The records have the format of the intake and are put into the topic directly, so the intake is not in this path. Promised: memory \
         of each process of the service, of Redis and of one person is flat, that is, the mean of the last quarter of all samples is at most \
         1.1 times that of the second. The first quarter is left out: caches and profiles fill up in it.\n",
        commit()?,
        machine(),
        fed.seconds,
        fed.events,
        fed.people,
        fed.records,
        fed.events as f64 / fed.seconds.max(1.0)
    );
    text.push_str(&curved(curves));
    text.push('\n');
    for broken in broken {
        let _ = writeln!(text, "- **broken: {broken}**");
    }
    text.push_str(&sampled(fed));
    Ok(text)
}

fn curved(curves: &[Curve]) -> String {
    let mut text = table("Curves", CURVES);
    for curve in curves {
        let verdict = match (curve.judged, curve.is_flat()) {
            (false, _) => "told, not judged",
            (true, true) => "flat",
            (true, false) => "**grows**",
        };
        let growth = if curve.second > 0.0 { curve.last / curve.second } else { 0.0 };
        let Curve { what, second, last, slope, .. } = curve;
        let _ = writeln!(
            text,
            "| {what} | {:.4} | {:.4} | {growth:.3} x | {:+.5} | {verdict} |",
            second / MIB,
            last / MIB,
            slope / MIB
        );
    }
    text
}

fn sampled(fed: &Fed) -> String {
    let mut text = table("Samples", SAMPLES);
    let every = fed.samples.len().div_ceil(SHOWN).max(1);
    for sample in fed.samples.iter().skip(every - 1).step_by(every) {
        let rss = sample.rss.iter().map(|(name, bytes)| format!("{name} {:.1}", *bytes as f64 / MIB));
        let rss = rss.collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| {} | {:.1} | {} | {rss} |", sample.events, sample.redis as f64 / MIB, sample.person);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::kills::Victim;
    use super::super::told::Sample;
    use super::*;

    fn rows_fit(text: &str, head: &str) {
        let cells = |line: &str| line.matches('|').count();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 2 && rows.iter().all(|line| cells(line) == cells(head)), "{text}");
    }

    #[test]
    fn rows_have_as_many_cells_as_their_head_and_a_broken_promise_is_seen() {
        let held = |broken: &[&str]| Held {
            promise: "nothing is lost",
            counted: "7 accepted".to_owned(),
            broken: broken.iter().map(|text| (*text).to_owned()).collect(),
        };
        let said = promised(&[held(&[]), held(&["1 click\nis lost"])]);
        rows_fit(&said, PROMISES);
        assert!(said.contains("| **BROKEN** |") && said.ends_with("- **broken: 1 click / is lost**\n"), "{said}");
        let away = Kill { victim: Victim::Redis, served: Some(Served::default()), ..Kill::default() };
        rows_fit(&killed(&[Kill::default(), away]), KILLS);
        let pages = BTreeMap::from([("redis".to_owned(), Pages::default())]);
        let told = Told { pages, ..Told::default() };
        rows_fit(&asked(&told), PAGES);
        assert!(requests(&told).contains("refused events by reason: none"));
    }

    #[test]
    fn a_report_shows_some_of_very_many_samples() {
        let sample = |events| Sample { events, rss: BTreeMap::from([("redis".to_owned(), 5)]), redis: 1, person: 1 };
        let fed = Fed { samples: (1..=200).map(sample).collect(), ..Fed::default() };
        let said = sampled(&fed);
        rows_fit(&said, SAMPLES);
        assert_eq!(said.lines().filter(|line| line.starts_with("| ") && !line.contains("MiB")).count() - 1, SHOWN);
        let curve = |judged, last| Curve { what: "Redis".to_owned(), second: 1.0, last, slope: 0.0, judged };
        let said = curved(&[curve(true, 1.0), curve(true, 2.0), curve(false, 2.0)]);
        rows_fit(&said, CURVES);
        assert!(said.contains("flat") && said.contains("**grows**") && said.contains("told, not judged"), "{said}");
    }
}
