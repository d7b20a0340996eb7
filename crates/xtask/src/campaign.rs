//! `cargo xtask campaign`: very many orders on a region of its own, while processes are killed and the broker is restarted; its
//! report is written to `docs/campaigns`. Decided here: what is killed and when, from the seed, and how soon money without an order, which the
//! demo program makes, goes back. What must hold at the end is that program's closing check (`tools/demo/src/campaign.rs`), which asks no
//! service.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::layout::{self, Layout};
use crate::os;
use crate::ports::Ports;
use crate::progress::Progress;
use crate::stack::up::{Wanted, up};
use crate::stack::{Purpose, Stack};

/// Ports of the campaign's region.
const OFFSET: u16 = 3000;

/// What may be killed: every process of ours that an order meets, and the gateway.
const VICTIMS: [&str; 6] =
    ["order-payment-serve", "order-payment-work", "catalog-serve", "catalog-work", "user-serve", "payment-simulator"];

/// After so many seconds money without an order goes back in this region, so that the run sees it go.
const ORPHAN_DEADLINE_S: u16 = 120;

/// How the demo program ends a campaign that holds.
const HOLDS: &str = "CAMPAIGN HOLDS";

/// Lines of the demo's output that belong into the report; progress does not.
const PROGRESS: &str = "           ";

pub struct Options {
    pub orders: usize,
    pub seed: u64,
    pub concurrency: usize,
    /// Seconds between two kills of a process; 0 for none.
    pub kill_every: u64,
    /// Seconds between two restarts of the broker (kill -9); 0 for none.
    pub broker_every: u64,
    pub release: bool,
    /// The programs are there and are those of this commit.
    pub no_build: bool,
}

/// What was done to the region.
#[derive(Default)]
struct Harm {
    kills: Vec<(String, u64)>,
    failures: Vec<String>,
}

/// Runs a campaign. `false`: a promise is broken.
///
/// # Errors
/// When the region cannot be started, or the demo program does not run.
pub fn run(options: &Options) -> Result<bool> {
    if options.orders == 0 || options.concurrency == 0 {
        bail!("a campaign has at least one order and one shopper at a time");
    }
    let checkout = layout::checkout();
    let layout = Layout::open(&checkout, &PathBuf::from(".dev/campaign"))?;
    let mut stack = Stack::open(layout, Ports::at(OFFSET)?, Purpose::Development, options.release)?;
    stack.orphan_deadline_s = Some(ORPHAN_DEADLINE_S);
    stack.most_declined = Some(0);
    let started = up(&stack, &Progress::new(), Wanted { build: !options.no_build, services: true });
    let outcome = started.and_then(|_| under_fire(&stack, options));
    // Also when it did not start: nobody else would end what did.
    stack.down();
    let (lines, harm, seconds) = outcome?;
    let holds = lines.iter().any(|line| line == HOLDS) && harm.failures.is_empty();
    let report = report(options, &lines, &harm, seconds, holds)?;
    let folder = checkout.join("docs/campaigns");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}-{}-orders.md", today()?, options.orders));
    fs::write(&file, report).with_context(|| format!("write {}", file.display()))?;
    println!("written to {}", file.strip_prefix(&checkout).unwrap_or(&file).display());
    Ok(holds)
}

/// The demo program runs while a thread of ours does harm.
fn under_fire(stack: &Stack, options: &Options) -> Result<(Vec<String>, Harm, f64)> {
    let started = Instant::now();
    let mut demo = Command::new(stack.layout.binaries(options.release).join("demo"))
        .args(["campaign", "--offset", &OFFSET.to_string(), "--orders", &options.orders.to_string()])
        .args(["--seed", &options.seed.to_string(), "--concurrency", &options.concurrency.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .context("start the demo program")?;
    let output = demo.stdout.take().context("the demo program has no output")?;
    let pid = i32::try_from(demo.id())?;
    let ended = AtomicBool::new(false);
    let over = Arc::new(AtomicBool::new(false));
    let harm = Arc::new(Mutex::new(Harm::default()));
    let mut lines = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| do_harm(stack, options, &over, &harm));
        scope.spawn(|| end_with_us(pid, &ended));
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println!("{line}");
            // From here on the region heals, and the check reads what it has become.
            if line.starts_with("placed ") {
                over.store(true, Ordering::Relaxed);
            }
            if !line.starts_with(PROGRESS) {
                lines.push(line);
            }
        }
        over.store(true, Ordering::Relaxed);
        ended.store(true, Ordering::Relaxed);
    });
    demo.wait()?;
    os::check_interrupted()?;
    let harm = std::mem::take(&mut *harm.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((lines, harm, started.elapsed().as_secs_f64()))
}

/// Ctrl-C ends the demo program too, and with it the reading of its lines, so that the region is stopped at once.
fn end_with_us(demo: i32, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        if os::interrupted() {
            os::signal(demo, libc::SIGTERM);
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn do_harm(stack: &Stack, options: &Options, over: &AtomicBool, harm: &Mutex<Harm>) {
    let started = Instant::now();
    let next = |last: u64, every: u64| if every == 0 { u64::MAX } else { last + every };
    let mut kill_at = next(0, options.kill_every);
    let mut broker_at = next(0, options.broker_every);
    let mut dice = options.seed;
    while !over.load(Ordering::Relaxed) && !os::interrupted() {
        std::thread::sleep(Duration::from_millis(200));
        let now = started.elapsed().as_secs();
        let victim = if now >= broker_at {
            broker_at = next(now, options.broker_every);
            "kafka"
        } else if now >= kill_at {
            kill_at = next(now, options.kill_every);
            // A linear congruential step (Knuth, MMIX): the same seed kills in the same order.
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            VICTIMS[usize::try_from(dice >> 33).unwrap_or(0) % VICTIMS.len()]
        } else {
            continue;
        };
        let killed = stack.kill(victim);
        let again = stack.start(victim);
        let mut harm = harm.lock().unwrap_or_else(PoisonError::into_inner);
        match again {
            Ok(()) if killed => harm.kills.push((victim.to_owned(), now)),
            Ok(()) => harm.failures.push(format!("{victim} was not running at {now} s")),
            Err(error) => harm.failures.push(format!("{victim} did not start again at {now} s: {error:#}")),
        }
    }
}

fn report(options: &Options, lines: &[String], harm: &Harm, seconds: f64, holds: bool) -> Result<String> {
    let commit = commit()?;
    let Options { orders, seed, concurrency, kill_every, broker_every, release, no_build: _ } = options;
    let mut text = format!(
        "# A campaign of {orders} orders\n\nWritten by `cargo xtask campaign`. {}\n\n",
        if holds { "Every promise held." } else { "**A promise was broken; see PROBLEM below.**" }
    );
    let build = if *release { " --release" } else { "" };
    let _ = writeln!(
        text,
        "- command: `cargo xtask campaign --orders {orders} --seed {seed} --concurrency {concurrency} --kill-every {kill_every} --broker-every {broker_every}{build}`\n\
         - commit: {commit}\n- machine: {} cores; servers, services, gateway and load on it together\n- whole run: {seconds:.0} s",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    );
    let _ = writeln!(
        text,
        "- money without an order goes back after {ORPHAN_DEADLINE_S} s; a shop waits a day for its order"
    );
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for (name, _) in &harm.kills {
        *counts.entry(name).or_default() += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
    let _ = writeln!(text, "- kill -9 and restart: {} ({})", harm.kills.len(), counts.join(", "));
    for failure in &harm.failures {
        let _ = writeln!(text, "- **{failure}**");
    }
    let _ = writeln!(text, "\n```text\n{}\n```", lines.join("\n"));
    Ok(text)
}

/// The commit that is tried, for a report.
pub(crate) fn commit() -> Result<String> {
    let commit = os::output(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]))?;
    let dirty = !os::output(Command::new("git").args(["status", "--porcelain", "--untracked-files=no"]))?.is_empty();
    Ok(format!("{}{}", commit.trim(), if dirty { " with changes that are not committed" } else { "" }))
}

/// The day of a report.
pub(crate) fn today() -> Result<String> {
    Ok(os::output(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned())
}
