//! A worker some of whose partitions are behind: how fast it works them off, and what the people of the other partitions notice of it.
//! Decided here: what a turn is, and how much comes in meanwhile.
//!
//! In our turns a quarter of the partitions has been held up, a backlog has grown there, and is let go while reports come in for the other
//! partitions at a fixed rate. In the turns against it the same reports come in and nothing is behind. One worker and one source run all
//! the time, so nobody joins a group within a turn.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Result, bail};

use super::abba::{self, Better, Turn};
use super::program::{self, Program, TESTED};
use super::results::Side;
use super::rig::{self, Fsync, Rig};
use super::stream::{PREFIX, broker_and_redis, brokers, redis, words};
use super::{Invalid, Measured, Options, cpu};

/// Reports of a backlog: at 20 clicks each it takes one processor seconds.
const BACKLOG: u64 = 40_000;
const CLICKS: u64 = 20;
/// What comes in is this part of what the worker folds when it does nothing else. A region has a twentieth of it in ordinary times when
/// its processors are half busy at ten times that, as the capacity model plans.
const LIVE: f64 = 0.1;
/// Partitions that are held up, and those that are not.
const LAGGING: f64 = 6.0;
const OTHERS: f64 = 18.0;
/// A source or a worker that does not get so much of the rate through while nothing is behind has measured nothing.
const PACE: f64 = 0.95;
/// Between the first live report and the backlog, or the window in which there is none.
const STEADY: Duration = Duration::from_secs(1);
/// A word is answered within this, a backlog is worked off within that.
const SOON: Duration = Duration::from_secs(30);
const WITHIN: Duration = Duration::from_secs(180);

const BOTH: [&str; 4] = [
    "one topic of 24 partitions on one broker; in turn with it, 6 of them were held up while 40,000 reports of 20 clicks came in for them, as fast as the broker takes them, and go on at once; the worker holds all 24, as in the service, with one thread and with Redis",
    "all the time 20 clicks a report come in for the 18 other partitions, evenly at a tenth of what the worker folds a second alone, which is measured first; each report is received when it was due, so a late source makes it late",
    "checked after each turn: every report of both kinds was folded, exactly once, and without a backlog the rate was kept",
    "processor 0: the worker; the others: broker, Redis and source",
];

pub const RATE_SETTINGS: &[&str] = &[
    BOTH[0],
    BOTH[1],
    "values are clicks per second: of the backlog from the moment it is let go until its last one is folded; of the live partitions in turns without a backlog",
    BOTH[2],
    BOTH[3],
];

pub const LIVE_SETTINGS: &[&str] = &[
    BOTH[0],
    BOTH[1],
    "values are milliseconds from when a report was due until it was folded, 99th percentile of the live partitions: while the backlog is worked off, and in turns of the usual length without one",
    BOTH[2],
    BOTH[3],
];

/// Clicks of the backlog a second against those that come in.
pub fn rate(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    measure(options, count, ("clicks per second", Better::More), |window| {
        let clicks = if window.behind > 0 { window.behind } else { window.live };
        (clicks * CLICKS) as f64 / window.seconds
    })
}

/// How late the others are while it is worked off, and without it.
pub fn live(options: &Options, _: Fsync, count: usize) -> Result<Measured> {
    measure(options, count, ("ms at the 99th percentile", Better::Less), |window| window.p99_ms as f64)
}

fn measure(options: &Options, count: usize, unit: (&str, Better), value: fn(&Window) -> f64) -> Result<Measured> {
    let bench = Bench::open(options)?;
    // The first joins the group and is no measurement.
    bench.catch_up(0)?;
    let alone = bench.catch_up(0)?;
    let rate = (LIVE * alone.behind as f64 / alone.seconds).max(1.0) as u64;
    let (caught, quiet) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let mut ours = || bench.catch_up(rate).map(|window| keep(&caught, window, value));
    let mut theirs = || bench.quiet(rate, options.side_s).map(|window| keep(&quiet, window, value));
    ours()?;
    theirs()?;
    caught.borrow_mut().clear();
    quiet.borrow_mut().clear();
    let pairs = abba::pairs(count, unit, &mut ours, &mut theirs)?;
    let facts = facts(&alone, rate, (&caught.borrow(), &quiet.borrow()));
    Ok(Measured { fdatasync_us: 0.0, pairs, facts })
}

/// The window as a turn; what it told is kept for the facts.
fn keep(windows: &RefCell<Vec<Told>>, window: Window, value: fn(&Window) -> f64) -> Turn {
    let told =
        Told { behind_per_second: window.behind as f64 / window.seconds, p50: window.p50_ms, p99: window.p99_ms };
    windows.borrow_mut().push(told);
    let clicks = ((window.behind + window.live) * CLICKS) as f64;
    let per_second = value(&window);
    let per_cpu_second = clicks / window.used.tested.max(0.01);
    Turn { side: Side { per_second, per_cpu_second, cpu: window.used.by }, foreign: window.used.foreign }
}

/// What is told of a window besides its value.
struct Told {
    /// Reports of the backlog.
    behind_per_second: f64,
    p50: u64,
    p99: u64,
}

fn facts(alone: &Window, rate: u64, (caught, quiet): (&[Told], &[Told])) -> Vec<String> {
    let middle = |windows: &[Told], of: fn(&Told) -> f64| {
        let mut values: Vec<f64> = windows.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let of_each = middle(caught, |told| told.behind_per_second) / LAGGING / (rate as f64 / OTHERS);
    let late = |windows: &[Told]| {
        format!(
            "{:.0} ms and {:.0} ms",
            middle(windows, |told| told.p50 as f64),
            middle(windows, |told| told.p99 as f64)
        )
    };
    vec![
        format!(
            "alone the worker works off {:.0} clicks a second; {rate} reports, {} clicks, come in a second",
            (alone.behind * CLICKS) as f64 / alone.seconds,
            rate * CLICKS
        ),
        format!(
            "a partition that is behind goes {of_each:.1} times as fast as one that is not: so many seconds of backlog go in one"
        ),
        format!(
            "live reports are folded after {} (median and 99th percentile) while the backlog is worked off, after {} without one",
            late(caught),
            late(quiet)
        ),
    ]
}

struct Bench {
    worker: Program,
    source: Program,
    /// Reports sent so far.
    live: Cell<u64>,
    behind: Cell<u64>,
    rig: Rig,
}

/// A stretch of time, as the worker saw it.
struct Window {
    seconds: f64,
    /// Reports that were folded in it.
    behind: u64,
    live: u64,
    p50_ms: u64,
    p99_ms: u64,
    used: cpu::Used,
}

impl Bench {
    fn open(options: &Options) -> Result<Self> {
        let (rig, folder) = broker_and_redis(options, "catch-up")?;
        // It makes the topics that the worker reads.
        let filling = words(&rig, &["source", &brokers(&rig), PREFIX]);
        let source = Program::start("source", &rig::others(), &filling, &folder)?;
        let working = words(&rig, &["lagging", &brokers(&rig), PREFIX, &redis(&rig)]);
        let worker = Program::start("worker", TESTED, &working, &folder)?;
        Ok(Self { worker, source, live: Cell::new(0), behind: Cell::new(0), rig })
    }

    /// A backlog grows and is worked off, while `rate` reports a second come in for the others.
    fn catch_up(&self, rate: u64) -> Result<Window> {
        self.worker.ask("hold", SOON)?;
        self.begin(rate)?;
        self.source.ask(&format!("behind {BACKLOG}"), WITHIN)?;
        self.behind.set(self.behind.get() + BACKLOG);
        let window = self.window(&format!("work {BACKLOG}"))?;
        self.end(rate)?;
        Ok(window)
    }

    /// As long a time in which nothing is behind.
    fn quiet(&self, rate: u64, seconds: u64) -> Result<Window> {
        self.begin(rate)?;
        let window = self.window(&format!("watch {}", seconds * 1_000))?;
        self.end(rate)?;
        kept_pace(&window, rate)?;
        Ok(window)
    }

    fn begin(&self, rate: u64) -> Result<()> {
        if rate > 0 {
            self.source.ask(&format!("live {rate}"), SOON)?;
            std::thread::sleep(STEADY);
        }
        Ok(())
    }

    /// Nothing comes in any more, and what came in was folded once.
    fn end(&self, rate: u64) -> Result<()> {
        if rate > 0 {
            let sent = self.source.ask("stop", SOON)?;
            self.live.set(self.live.get() + sent.first().copied().unwrap_or(0));
        }
        let (live, behind) = (self.live.get(), self.behind.get());
        let said = self.worker.ask(&format!("settle {live} {behind}"), WITHIN)?;
        whole(&said, [live, behind])
    }

    fn window(&self, ask: &str) -> Result<Window> {
        let parties = || program::parties(self.rig.parties("ended"), &[&self.worker, &self.source]);
        let (said, used) = cpu::watched(&parties, &["worker"], || self.worker.ask(ask, WITHIN))?;
        let [behind, ms, live, p50_ms, p99_ms] = said[..] else {
            bail!(Invalid(format!("the worker said {said:?} of a window")));
        };
        Ok(Window { seconds: ms.max(1) as f64 / 1_000.0, behind, live, p50_ms, p99_ms, used })
    }
}

/// A worker that folded fewer or more reports than were sent has not worked them off.
fn whole(said: &[u64], sent: [u64; 2]) -> Result<()> {
    if said != sent {
        bail!(Invalid(format!("{said:?} live and lagging reports were folded, and {sent:?} were sent")));
    }
    Ok(())
}

/// Where even without a backlog less came through than was to come in, nothing is known of the rate.
fn kept_pace(window: &Window, rate: u64) -> Result<()> {
    let kept = window.live as f64 / window.seconds;
    if kept < rate as f64 * PACE {
        bail!(Invalid(format!("{kept:.0} live reports a second were folded, and {rate} were to come in")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(behind: u64, live: u64, p99_ms: u64) -> Window {
        let used = cpu::Used { by: Vec::new(), tested: 1.0, foreign: 0.0 };
        Window { seconds: 2.0, behind, live, p50_ms: p99_ms / 2, p99_ms, used }
    }

    #[test]
    fn a_turn_that_lost_or_doubled_a_report_says_nothing() {
        whole(&[7, 40_000], [7, 40_000]).unwrap();
        for wrong in [&[6, 40_000][..], &[8, 40_000], &[7, 39_999], &[7, 40_001], &[7], &[]] {
            assert!(whole(wrong, [7, 40_000]).unwrap_err().is::<Invalid>(), "{wrong:?}");
        }
    }

    #[test]
    fn a_rate_that_was_not_kept_without_a_backlog_says_nothing() {
        kept_pace(&window(0, 1_000, 9), 500).unwrap();
        kept_pace(&window(0, 960, 9), 500).unwrap();
        assert!(kept_pace(&window(0, 900, 9), 500).unwrap_err().is::<Invalid>());
    }

    #[test]
    fn the_backlog_is_told_for_all_and_for_each_partition() {
        let (caught, quiet) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        // 6 partitions work off 300 a second and 18 get 90: 50 against 5 for each of them.
        let turn = keep(&caught, window(600, 180, 40), |window| window.p99_ms as f64);
        assert_eq!((turn.side.per_second, turn.side.per_cpu_second), (40.0, 15_600.0));
        keep(&quiet, window(0, 180, 20), |window| window.p99_ms as f64);
        let told = facts(&window(900, 0, 0), 90, (&caught.borrow(), &quiet.borrow()));
        assert!(told[0].contains("9000 clicks a second; 90 reports, 1800 clicks"), "{told:?}");
        assert!(told[1].contains("10.0 times"), "{told:?}");
        assert!(told[2].contains("20 ms and 40 ms") && told[2].contains("10 ms and 20 ms"), "{told:?}");
    }
}
