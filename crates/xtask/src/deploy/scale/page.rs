//! What was reckoned, as tables for whoever watches and as a page for `docs/drills`. Nothing is judged here.

use std::fmt::Write as _;

use anyhow::Result;

use super::Site;
use super::start_times::{FILE, StartTimes};
use super::verdict::Step;
use crate::campaign::commit;

const HEAD: &str = "| Load | Others | Workload | Replicas needed | ready after s | waiting at most | done after s | pods without room |";

/// A table per site.
pub fn tables(sites: &[Site]) -> String {
    let mut text = String::new();
    for site in sites {
        let standby = if site.standby { ", standby: nothing is promised" } else { "" };
        let columns = HEAD.matches('|').count() - 1;
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "\n## {}{standby}\n\nRoom that is kept: {} processors, {} MiB.\n\n{HEAD}\n|{}\n",
            site.name,
            site.room.cpu_m as f64 / 1_000.0,
            site.room.memory_mib,
            " --- |".repeat(columns)
        );
        site.steps.iter().for_each(|step| rows(step, &mut text));
    }
    text
}

fn rows(step: &Step, text: &mut String) {
    let others = if step.alone { "as usual" } else { "the same" };
    let seconds = |after: Option<u32>| after.map_or_else(|| "**never**".to_owned(), |seconds| seconds.to_string());
    for course in &step.courses {
        let _ = writeln!(
            text,
            "| {}x | {others} | {} | {} | {} | {:.0} | {} | {} |",
            step.times,
            course.name,
            course.needed,
            seconds(course.ready_after_s),
            course.queue_most,
            seconds(course.drained_after_s),
            course.without_room
        );
    }
}

/// The page.
///
/// # Errors
/// When the commit cannot be told.
pub fn page(sites: &[Site], times: &StartTimes, tables: &str) -> Result<String> {
    let broken: Vec<String> = sites
        .iter()
        .flat_map(|site| site.broken.iter().map(|broken| format!("- **{}: {broken}**\n", site.name)))
        .collect();
    let verdict = if broken.is_empty() { "Every promise was held." } else { "**Promises were broken:**" };
    let mut text = format!(
        "# Five and ten times the load, reckoned\n\nWritten by `cargo xtask scale`. {verdict}\n{}\n\
         - commit: {}\n- start of our programs ({FILE}): {}\n\nReckoned from the rendered objects, not seen on a cluster. The step is from what the \
         least replicas do half busy to five and ten times that. *Others*: whether the other workloads of the site go on as usual, or meet \
         the same step and want the same room. *Waiting*: requests as though none were turned away, or records of the topic. A pod without \
         room waits two minutes for a node.\n\n| Program | 95 of 100 starts within ms |\n| --- | --- |\n",
        broken.concat(),
        commit()?,
        times.told,
    );
    for (program, ms) in &times.p95_ms {
        let _ = writeln!(text, "| {program} | {ms} |");
    }
    Ok(text + tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::simulation::{Course, Size};

    #[test]
    fn rows_have_as_many_cells_as_the_head_and_never_is_said_aloud() {
        let course = Course {
            name: "user-serve".to_owned(),
            needed: 15,
            ready_after_s: Some(39),
            queue_most: 88_800.4,
            drained_after_s: None,
            without_room: 2,
        };
        let steps = vec![Step { times: 5, alone: true, courses: vec![course] }];
        let room = Size { cpu_m: 6_500, memory_mib: 4_608 };
        let site = Site { name: "rdc-a".to_owned(), standby: false, room, steps, broken: Vec::new() };
        let text = tables(&[site]);
        assert!(text.contains("Room that is kept: 6.5 processors, 4608 MiB."), "{text}");
        assert!(text.contains("| 5x | as usual | user-serve | 15 | 39 | 88800 | **never** | 2 |"), "{text}");
        let cells = |line: &str| line.matches('|').count();
        assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| cells(line) == cells(HEAD)), "{text}");
    }
}
