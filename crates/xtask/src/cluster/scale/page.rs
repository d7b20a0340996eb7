//! What a step of load has shown, as tables for whoever watches and as a page for `docs/drills`. Nothing is judged here.

use std::fmt::Write as _;

use anyhow::Result;

use super::super::metrics::{HOUSEKEEPING, RESOLUTION};
use super::super::region::CPU_M;
use super::scaler::{LEAST, MOST, allows_m};
use super::seen::{Sample, reached, steps};
use super::told::{Told, sums};
use super::verdict::{FACTOR, TURNS};
use super::{Found, Grown};
use crate::campaign::commit;
use crate::deploy::scale::start_times::StartTimes;
use crate::deploy::simulation::CONTROLLER;

const GROWN: &str = "| Deployment | Ten wanted after s | ready after s | simulation s | ratio | simulation, start as seen | ratio \
                     | new pods ready within s (quickest, middle, slowest) | restarts |";
const TARGETS: &str = "| Deployment | Idle, each | Two under the load | Target | a pod at it | Needed under the load |";
const ASKED: &str = "| When | Asked | Requests | failed | p50 ms | p99 ms |";

/// Everything that was counted.
pub fn tables(found: &Found) -> String {
    let mut text = head(GROWN);
    found.grown.iter().for_each(|one| text.push_str(&row(one)));
    text.push_str("\nReplicas at seconds after the step:\n\n");
    for one in &found.grown {
        let said = |of: fn(&Sample) -> u32| {
            let steps = steps(&one.samples, of).into_iter();
            steps.map(|(number, at_s)| format!("{number} at {at_s:.0}")).collect::<Vec<_>>().join(", ")
        };
        // Writing into a String cannot fail.
        let (wanted, ready) = (said(|sample| sample.wanted), said(|sample| sample.ready));
        let _ = writeln!(text, "- {}: wanted {wanted}; ready {ready}", one.name);
    }
    text.push('\n');
    text.push_str(&head(ASKED));
    for (when, told) in [("before the step", &found.tried), ("step", &found.told)] {
        text.push_str(&asked(when, told));
    }
    text
}

fn head(columns: &str) -> String {
    format!("{columns}\n|{}\n", " --- |".repeat(columns.matches('|').count() - 1))
}

fn seconds(after: Option<f64>) -> String {
    after.map_or_else(|| "**never**".to_owned(), |seconds| format!("{seconds:.0}"))
}

fn row(one: &Grown) -> String {
    let wanted = reached(&one.samples, MOST, |sample| sample.wanted);
    let ready = one.ready_after_s();
    let ratio = |said: Option<f64>| {
        let both = ready.zip(said);
        both.map_or_else(|| "-".to_owned(), |(seen, said)| format!("{:.2}", seen / said))
    };
    let said = one.reckoned.ready_after_s.map(f64::from);
    let with_start = one.with_seen_start.map(|reckoned| reckoned.ready_after_s.map(f64::from));
    let starts = match one.starts.as_slice() {
        [] => "none".to_owned(),
        all => format!("{}, {}, {}", all[0], all[all.len() / 2], all[all.len() - 1]),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {starts} | {} |\n",
        one.name,
        seconds(wanted),
        seconds(ready),
        seconds(said),
        ratio(said),
        // without a new pod there is no start to reckon with
        with_start.map_or_else(|| "-".to_owned(), seconds),
        ratio(with_start.flatten()),
        one.restarts
    )
}

fn targets(one: &Grown) -> String {
    format!(
        "| {} | {:.1}m | {:.0}m | {} % | {:.1}m | {:.1} |\n",
        one.name,
        one.taken.idle_m,
        one.taken.loaded_m,
        one.percent,
        allows_m(one.percent),
        one.taken.loaded_m / allows_m(one.percent)
    )
}

fn asked(when: &str, told: &Told) -> String {
    let mut text = String::new();
    for (kind, counts) in &told.asked {
        let failed = counts.failed + counts.empty;
        let _ = writeln!(
            text,
            "| {when} | {kind} | {} | {failed} | {:.1} | {:.1} |",
            counts.asked, counts.p50_ms, counts.p99_ms
        );
    }
    text
}

/// Why requests failed.
fn reasons(told: &Told) -> String {
    let mut text = String::new();
    for (kind, counts) in &told.asked {
        for (why, count) in &counts.why {
            let _ = writeln!(text, "- {kind}: {count} x {why}");
        }
    }
    text
}

fn verdict(found: &Found) -> String {
    let (requests, failed) = sums(&found.told);
    let reached = found.grown.iter().filter(|one| one.ready_after_s().is_some()).count();
    let sum = format!(
        "{reached} of {} Deployments from {LEAST} to {MOST}, {requests} requests under the step, {failed} failed.",
        found.grown.len()
    );
    if found.broken.is_empty() {
        return format!("The promise was held: {sum}");
    }
    let broken: Vec<String> = found.broken.iter().map(|broken| format!("\n- **{broken}**")).collect();
    format!("**The promise was broken**: {sum}\n{}", broken.concat())
}

/// The page.
///
/// # Errors
/// When the commit cannot be told.
pub fn page(found: &Found, times: &StartTimes) -> Result<String> {
    let start_s = found.grown.iter().map(|one| one.reckoned.start_s).max().unwrap_or(0);
    let mut text = format!(
        "# From two replicas to ten on a real cluster\n\nWritten by `cargo xtask cluster scale`. {}\n\n\
         - commit: {}\n- machine: {} cores; control plane, nodes, pods, stores, edge and load on it together\n\
         - start of our programs in the simulation: {}\n- the load went on until {:.0} s after the step\n\n\
         A HorizontalPodAutoscaler with the `behavior` of the site's rendered ScaledObject, between {LEAST} and {MOST} replicas. There is no \
         KEDA and no Prometheus here, so it does not follow requests of a second but the processor that pods take, by metrics-server: \
         the kubelet looks every {HOUSEKEEPING} s, metrics-server every {RESOLUTION} s, the controller every {CONTROLLER} s. What is shown is \
         the controller, its behaviour and the start of pods, not the query of production.\n\n",
        verdict(found),
        commit()?,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        times.told,
        found.ended_s,
    );
    text.push_str(&tables(found));
    let _ = write!(
        text,
        "\nNo request was sent again. *Simulation*: the same behaviour, turns of the controller and delays of the metric, a step to exactly ten, \
         a pod that starts within {start_s} s; the second one with the start that 95 of 100 new pods had here. It may take {FACTOR} times the \
         first one, because everything shares the machine, and ten are to be wanted at most {TURNS} turns later. From a pod's making to its being ready is told by Kubernetes in whole seconds. \
         Growing smaller was not waited for: the behaviour allows it after five minutes.\n\n## Why ten\n\n\
         Each pod asks for {CPU_M}m of a processor. The controller wants `ceil(replicas * utilisation / target)`, which is what all pods take \
         together divided by what one may take at the target. The target was chosen from the load on two replicas without a scaler, so that a \
         little more than {MOST} are needed, and idle pods are well below it.\n\n"
    );
    text.push_str(&head(TARGETS));
    found.grown.iter().for_each(|one| text.push_str(&targets(one)));
    let why = reasons(&found.tried) + &reasons(&found.told);
    if !why.is_empty() {
        let _ = write!(text, "\n## Why requests failed\n\n{why}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::reckoned::Reckoned;
    use super::super::scaler::Taken;
    use super::*;
    use crate::drill::told::Counts;

    #[test]
    fn rows_have_as_many_cells_as_their_heads_and_never_is_said_aloud() {
        let sample = |at_s, wanted, ready| Sample { at_s, wanted, ready };
        let mut one = Grown {
            name: "catalog-serve".to_owned(),
            taken: Taken { idle_m: 2.0, loaded_m: 100.0 },
            percent: 40,
            samples: vec![sample(0.6, 2, 2), sample(41.0, 10, 2), sample(81.0, 10, 10)],
            starts: vec![9, 12, 30],
            restarts: 0,
            reckoned: Reckoned { start_s: 9, ready_after_s: Some(54) },
            with_seen_start: None,
        };
        let said = row(&one);
        assert_eq!(said, "| catalog-serve | 41 | 81 | 54 | 1.50 | - | - | 9, 12, 30 | 0 |\n");
        one.with_seen_start = Some(Reckoned { start_s: 9, ready_after_s: None });
        assert!(row(&one).contains("| 1.50 | **never** | - |"), "{}", row(&one));
        assert_eq!(targets(&one), "| catalog-serve | 2.0m | 100m | 40 % | 8.0m | 12.5 |\n");
        let why = BTreeMap::from([("no answer".to_owned(), 2)]);
        let counts = Counts { asked: 9, failed: 2, why, ..Counts::default() };
        let told = Told { asked: BTreeMap::from([("orders".to_owned(), counts)]), repeated: false };
        for (rows, columns) in [(said, GROWN), (targets(&one), TARGETS), (asked("step", &told), ASKED)] {
            assert_eq!(rows.matches('|').count(), columns.matches('|').count(), "{rows}");
        }
        assert_eq!(reasons(&told), "- orders: 2 x no answer\n");
        let (grown, broken) = (vec![one], vec!["2 of 9 requests failed under the step".to_owned()]);
        let mut found = Found { grown, tried: Told::default(), told, ended_s: 101.0, broken };
        let text = tables(&found);
        assert!(text.contains("- catalog-serve: wanted 2 at 1, 10 at 41; ready 2 at 1, 10 at 81\n"), "{text}");
        let said = verdict(&found);
        assert!(said.starts_with("**The promise was broken**: 1 of 1 Deployments from 2 to 10, 9 requests"), "{said}");
        assert!(said.ends_with("\n- **2 of 9 requests failed under the step**"), "{said}");
        found.broken.clear();
        assert!(verdict(&found).starts_with("The promise was held: "), "{}", verdict(&found));
    }
}
