//! Processor time: of a process and all it has started, of the whole machine. From `/proc`, in ticks of 10 ms.

use std::fs;

/// Ticks per second of `/proc`; fixed on Linux for user space.
const TICKS: f64 = 100.0;

struct Stat {
    pid: i32,
    parent: i32,
    /// User and system time, of its own and of children it has waited for.
    ticks: u64,
    children_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command in parentheses may hold anything, so fields are counted from the last parenthesis.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        children_ticks: number(13)? + number(14)?,
    })
}

/// Seconds of processor time of a process and everything below it, the ended included.
pub fn of_tree(root: i32) -> f64 {
    let all: Vec<Stat> = fs::read_dir("/proc")
        .map(|entries| entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect())
        .unwrap_or_default();
    let mut known = vec![root];
    let mut ticks = 0;
    // Ends: a process has one parent, so none is met twice.
    while let Some(pid) = known.pop() {
        ticks += all.iter().find(|stat| stat.pid == pid).map_or(0, |stat| stat.ticks + stat.children_ticks);
        known.extend(all.iter().filter(|stat| stat.parent == pid).map(|stat| stat.pid));
    }
    ticks as f64 / TICKS
}

/// Seconds of processor time of the children that we have waited for.
pub fn of_ended_children() -> f64 {
    let ourselves = i32::try_from(std::process::id()).unwrap_or(0);
    stat(ourselves).map_or(0.0, |stat| stat.children_ticks as f64 / TICKS)
}

/// Seconds in which any processor of the machine worked for a process, since it started. Interrupts are left out: they are the
/// network and disk traffic of whoever is measured, and nobody is charged for them.
pub fn of_machine() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        text.lines().next().unwrap_or("").split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: u64 = [0, 1, 2, 7].iter().filter_map(|place| fields.get(*place)).sum();
    busy as f64 / TICKS
}

/// What a stretch of work has used.
pub struct Used {
    /// Processor seconds by party.
    pub by: Vec<(String, f64)>,
    /// Those of the parties that are measured.
    pub tested: f64,
    /// The share of the machine's busy time that belonged to nobody here.
    pub foreign: f64,
}

/// Processor time of every party while `work` runs. `parties` gives the running sums; their names do not change meanwhile.
///
/// # Errors
/// Those of `work`.
pub fn watched<T>(
    parties: &dyn Fn() -> Vec<(String, f64)>,
    tested: &[&str],
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Used)> {
    let (before, machine) = (parties(), of_machine());
    let done = work()?;
    let machine = of_machine() - machine;
    let by: Vec<(String, f64)> = parties()
        .into_iter()
        .zip(before)
        .map(|((name, after), (_, before))| (name, (after - before).max(0.0)))
        .collect();
    let ours: f64 = by.iter().map(|(_, seconds)| seconds).sum();
    let foreign = if machine > 0.0 { ((machine - ours) / machine).max(0.0) } else { 0.0 };
    let of_tested = by.iter().filter(|(name, _)| tested.contains(&name.as_str())).map(|(_, seconds)| seconds).sum();
    Ok((done, Used { by, tested: of_tested, foreign }))
}
