//! `cluster scale`: a step of load on the region that `cluster up` has started, and a real controller that makes ten of two replicas of
//! order-payment and catalog; seen second by second, judged, held against the simulation, and written to `docs/drills`.
//!
//! Decided here: the order of things. The load is first tried on two replicas without a scaler, and then nobody asks for anything, because
//! the target follows from the two. What stands for KEDA is decided in `scaler`, what is promised in `verdict`, what the simulation is told
//! in `reckoned`, what is asked in the demo program (`tools/demo/src/step.rs`).

mod page;
mod reckoned;
mod scaler;
mod seen;
pub mod told;
mod verdict;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::kubectl::{Kubectl, until};
use super::metrics::{self, RESOLUTION};
use super::node::Nodes;
use super::region::{APPS, SCALERS};
use crate::deploy::objects::{self, Rendered};
use crate::deploy::scale::start_times::{StartTimes, p95};
use crate::deploy::simulation::CONTROLLER;
use crate::drill::load::Load;
use crate::drill::{self, pause};
use crate::layout::Layout;
use crate::os;
use crate::progress::Progress;
use crate::stack::Stack;
use reckoned::{Reckoned, reckoned};
use scaler::{LEAST, MOST, Taken, autoscaler, scaled};
use seen::Sample;
use told::Told;

/// What grows: the two that the requirement names.
pub const DEPLOYMENTS: [&str; 2] = ["order-payment-serve", "catalog-serve"];
/// The load's command of the demo program.
const COMMAND: &str = "step";
/// Two pods where one was, and none of those that an earlier run has left.
const PODS: Duration = Duration::from_secs(240);
/// A scaler looks every 15 s, and first at what it was told before.
const LOOKED: Duration = Duration::from_secs(120);
/// Seconds until what pods take is all of the load, or none of it: two looks of everybody on the way.
const SETTLED_S: u64 = 45;
/// How often it is looked at then.
const LOOKS: usize = 3;
/// Longest wait for ten, far beyond what is allowed: a report is better than a guess.
const LONGEST: Duration = Duration::from_secs(300);
/// The load goes on for so long when all are ready: a pod that cannot work fails requests then.
const HELD: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was seen of one Deployment.
struct Grown {
    name: String,
    taken: Taken,
    /// The scaler's target.
    percent: u32,
    samples: Vec<Sample>,
    /// Seconds from a pod's making until it was ready.
    starts: Vec<u32>,
    restarts: u64,
    /// With a start as the site's simulation has it.
    reckoned: Reckoned,
    /// With the slow ones of `starts`.
    with_seen_start: Option<Reckoned>,
}

impl Grown {
    /// Seconds until all were ready.
    fn ready_after_s(&self) -> Option<f64> {
        seen::reached(&self.samples, MOST, |sample| sample.ready)
    }
}

/// What was done and what was seen.
struct Found {
    grown: Vec<Grown>,
    /// What the load told before there was a scaler.
    tried: Told,
    told: Told,
    /// Seconds from the step to the end of the load.
    ended_s: f64,
    broken: Vec<String>,
}

/// Scales the region. `false`: the promise is broken.
///
/// # Errors
/// When something beside the region does not start, the load is none, or the server does not answer.
pub fn run(layout: &Layout, stack: &Stack, nodes: &Nodes<'_>) -> Result<bool> {
    let (root, kubectl, progress) = (&stack.layout.checkout, &nodes.kubectl, Progress::new());
    let (sites, times) = (objects::read(root)?, StartTimes::read(root)?);
    let site = sites.iter().find(|rendered| rendered.site == stack.region.site);
    let site = site.with_context(|| format!("{} is not rendered", stack.region.site))?;
    progress.step("metrics-server", "ready", || metrics::start(layout, nodes, &DEPLOYMENTS))?;
    let outcome = step(stack, kubectl, &progress, site, &times);
    // also when it went wrong: nobody else would before the next `up`
    let back = progress.step("replicas as before", "wanted", || put_back(kubectl));
    let found = outcome?;
    back?;
    println!("{}", page::tables(&found));
    drill::write("cluster-scale", &page::page(&found, &times)?)?;
    found.broken.iter().for_each(|broken| println!("BROKEN: {broken}"));
    Ok(found.broken.is_empty())
}

fn step(stack: &Stack, kubectl: &Kubectl, progress: &Progress, site: &Rendered, times: &StartTimes) -> Result<Found> {
    progress.step("two of each", "ready", || two_of_each(kubectl))?;
    let (loaded, tried) = progress.step("the load on two", "measured", || {
        let load = Load::start(stack, COMMAND, &[])?;
        let taken = taken(kubectl)?;
        Ok((taken, load.finish::<Told>()?))
    })?;
    let idle = progress.step("the same two, idle", "measured", || taken(kubectl))?;
    let mut grown = Vec::new();
    for (name, (idle, loaded)) in DEPLOYMENTS.iter().zip(idle.iter().zip(&loaded)) {
        // the most of the one and the least of the other: the target has to be right for both
        let taken = Taken { idle_m: idle.1 / f64::from(LEAST), loaded_m: loaded.0 };
        let scaled = scaled(site, name)?;
        let percent = taken.target().with_context(|| (*name).to_owned())?;
        kubectl.fed(&["apply"], name, &[autoscaler(scaled, percent)?])?;
        grown.push(Grown {
            name: (*name).to_owned(),
            taken,
            percent,
            samples: Vec::new(),
            starts: Vec::new(),
            restarts: 0,
            reckoned: reckoned(scaled, site, times, None)?,
            with_seen_start: None,
        });
    }
    progress.step("scalers", "stay at 2", || stay_at_two(kubectl))?;
    let before = pods(kubectl)?;
    let load = Load::start(stack, COMMAND, &[])?;
    let began = Instant::now();
    progress.step("ten of each", "seen", || watch(kubectl, &load, began, &mut grown))?;
    let ended_s = began.elapsed().as_secs_f64();
    let told = load.finish::<Told>()?;
    let now = pods(kubectl)?;
    for one in &mut grown {
        let old: BTreeSet<String> = seen::names(&before, &one.name);
        one.starts = seen::starts(&now, &one.name, &old);
        one.restarts = seen::restarts(&now, &one.name).saturating_sub(seen::restarts(&before, &one.name));
        if let Some(slow) = p95(one.starts.clone()) {
            one.with_seen_start = Some(reckoned(scaled(site, &one.name)?, site, times, Some(slow))?);
        }
    }
    let broken = verdict::broken(&grown, &tried, &told);
    Ok(Found { grown, tried, told, ended_s, broken })
}

fn pods(kubectl: &Kubectl) -> Result<Vec<Value>> {
    kubectl.items(&["-n", APPS, "get", "pods"])
}

/// One look at both Deployments. Its moment is that of the answer, so that nothing is called earlier than it was.
fn looked_at(kubectl: &Kubectl, began: Instant) -> Result<Vec<Sample>> {
    let [one, other] = DEPLOYMENTS;
    let deployments = kubectl.items(&["-n", APPS, "get", "deployments.v1.apps", one, other])?;
    let at_s = began.elapsed().as_secs_f64();
    DEPLOYMENTS.iter().map(|name| Sample::read(&deployments, name, at_s)).collect()
}

/// Two pods as the region has been installed, and none of before on its way out.
fn two_of_each(kubectl: &Kubectl) -> Result<()> {
    until("two replicas of each", PODS, || {
        for name in DEPLOYMENTS {
            let status = kubectl.json(&["-n", APPS, "get", "deployments.v1.apps", name])?["status"].clone();
            ensure!(
                status["replicas"] == LEAST && status["readyReplicas"] == LEAST,
                "{name} has {} replicas, {} of them ready",
                status["replicas"],
                status["readyReplicas"]
            );
        }
        Ok(())
    })
}

/// The least and the most of several looks at what all pods of each Deployment take together, once that has settled.
fn taken(kubectl: &Kubectl) -> Result<[(f64, f64); 2]> {
    pause(SETTLED_S)?;
    let mut found = [(f64::MAX, 0.0_f64); 2];
    for _ in 0..LOOKS {
        pause(u64::from(RESOLUTION))?;
        for (name, (least, most)) in DEPLOYMENTS.iter().zip(&mut found) {
            let pods = metrics::usage(kubectl, name)?;
            ensure!(pods.len() == LEAST as usize, "{} pods of {name} are told, not {LEAST}", pods.len());
            let together: f64 = pods.iter().sum();
            (*least, *most) = ((*least).min(together), (*most).max(together));
        }
    }
    Ok(found)
}

/// A scaler that knows what pods take, and would leave them as they are.
fn stay_at_two(kubectl: &Kubectl) -> Result<()> {
    let at_two = || -> Result<()> {
        for name in DEPLOYMENTS {
            let status = kubectl.json(&["-n", APPS, "get", SCALERS, name])?["status"].clone();
            let known = &status["currentMetrics"][0]["resource"]["current"]["averageUtilization"];
            ensure!(known.is_u64(), "the scaler of {name} does not know what pods take: {}", status["conditions"]);
            ensure!(
                status["desiredReplicas"] == LEAST,
                "nobody asks {name}, and at {known} % it is to be more: {status}"
            );
        }
        Ok(())
    };
    until("what the scalers see", LOOKED, at_two)?;
    pause(u64::from(2 * CONTROLLER))?;
    at_two()
}

/// Looks until all are ready, and a while longer.
fn watch(kubectl: &Kubectl, load: &Load, began: Instant, grown: &mut [Grown]) -> Result<()> {
    let mut all_ready: Option<Instant> = None;
    while began.elapsed() < LONGEST && all_ready.is_none_or(|since| since.elapsed() < HELD) {
        os::check_interrupted()?;
        if load.has_ended() {
            bail!("the load ended by itself");
        }
        let looking = Instant::now();
        for (one, sample) in grown.iter_mut().zip(looked_at(kubectl, began)?) {
            one.samples.push(sample);
        }
        if grown.iter().all(|one| one.ready_after_s().is_some()) {
            all_ready.get_or_insert_with(Instant::now);
        }
        std::thread::sleep(LOOK_EVERY.saturating_sub(looking.elapsed()));
    }
    Ok(())
}

/// As it was before: no scaler, and two of each.
fn put_back(kubectl: &Kubectl) -> Result<()> {
    for name in DEPLOYMENTS {
        kubectl.run(&["-n", APPS, "delete", SCALERS, name, "--ignore-not-found"])?;
        kubectl.run(&["-n", APPS, "scale", "deployment", name, &format!("--replicas={LEAST}")])?;
    }
    Ok(())
}
