//! Many schedules: on a few threads, each schedule whole on one of them. Decided here: when a run is green, red or invalid.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::coverage::{Coverage, Rare};
use crate::run;

/// Failures told in full: the first ones say what the others would.
const MOST_FAILURES: usize = 5;
/// Seeds a thread takes at a time.
const CHUNK: u64 = 64;
/// From this size on, a run that has not seen something rare is invalid.
const BIG: u64 = 20_000;

pub struct Campaign {
    pub from: u64,
    pub seeds: u64,
    pub jobs: u64,
}

/// A schedule that broke, and the smallest set of its faults that still breaks it.
pub struct Failed {
    pub seed: u64,
    pub without: u64,
    pub complaint: String,
    pub faults: Vec<String>,
}

#[derive(Default)]
pub struct Report {
    pub schedules: u64,
    pub polls: u64,
    pub faults_drawn: u64,
    pub faults_fired: u64,
    pub failures: u64,
    pub told: Vec<Failed>,
    pub coverage: Coverage,
    pub took: Duration,
}

impl Report {
    /// What a run of this size should have seen and did not.
    pub fn missing(&self) -> Vec<Rare> {
        if self.schedules < BIG { Vec::new() } else { self.coverage.missing() }
    }

    pub fn is_green(&self) -> bool {
        self.failures == 0 && self.missing().is_empty()
    }
}

/// Plays all schedules of a campaign.
pub fn run(campaign: &Campaign) -> Report {
    let started = Instant::now();
    let next = AtomicU64::new(campaign.from);
    let end = campaign.from + campaign.seeds;
    let total = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..campaign.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if first >= end {
                        return;
                    }
                    let part = play(first, end.min(first + CHUNK));
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.add(part);
                    // The first failures say what the others would.
                    if total.told.len() >= MOST_FAILURES {
                        return;
                    }
                }
            });
        }
    });
    let mut report = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.took = started.elapsed();
    report.told.sort_by_key(|failed| failed.seed);
    for failed in &mut report.told {
        let (without, smallest) = run::shrink(failed.seed, 0);
        failed.without = without;
        failed.complaint = smallest.broken.unwrap_or_default();
        failed.faults = smallest.faults.iter().map(|(fault, _)| fault.to_string()).collect();
    }
    report
}

fn play(first: u64, end: u64) -> Report {
    let mut report = Report::default();
    for seed in first..end {
        let outcome = run::run(seed, 0, false);
        report.schedules += 1;
        report.polls += outcome.polls;
        report.faults_drawn += outcome.faults.len() as u64;
        report.faults_fired += outcome.faults.iter().filter(|(_, fired)| *fired).count() as u64;
        report.coverage.add(&outcome.coverage);
        if let Some(complaint) = outcome.broken {
            report.failures += 1;
            report.told.push(Failed { seed, without: 0, complaint, faults: Vec::new() });
        }
    }
    report
}

impl Report {
    fn add(&mut self, part: Self) {
        self.schedules += part.schedules;
        self.polls += part.polls;
        self.faults_drawn += part.faults_drawn;
        self.faults_fired += part.faults_fired;
        self.failures += part.failures;
        self.coverage.add(&part.coverage);
        self.told.extend(part.told);
        self.told.sort_by_key(|failed| failed.seed);
        self.told.truncate(MOST_FAILURES);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64().max(0.001);
        #[allow(clippy::cast_precision_loss)] // a rate for people
        let rate = self.schedules as f64 / seconds;
        writeln!(out, "{} schedules in {seconds:.1} s ({rate:.0} per second), {} steps", self.schedules, self.polls)?;
        writeln!(out, "{} faults drawn, {} came to it", self.faults_drawn, self.faults_fired)?;
        for rare in Rare::ALL {
            writeln!(out, "{:>10}  {}", self.coverage.of(*rare), rare.text())?;
        }
        for failed in &self.told {
            writeln!(out, "BROKEN seed {}: {}", failed.seed, failed.complaint)?;
            failed.faults.iter().try_for_each(|fault| writeln!(out, "    with {fault}"))?;
            writeln!(
                out,
                "    again: cargo run -p simulation --release -- --seed {} --without {} --trace",
                failed.seed, failed.without
            )?;
        }
        let missing: Vec<&str> = self.missing().into_iter().map(Rare::text).collect();
        match (self.failures, missing.is_empty()) {
            (0, true) => write!(out, "GREEN"),
            (0, false) => write!(out, "INVALID, never seen: {}", missing.join(", ")),
            (failures, _) => write!(out, "RED, {failures} schedules broke"),
        }
    }
}
