//! `cluster drill`: what is done to a region in Kubernetes while people shop in it. Every Deployment is replaced, pods and processes are
//! killed, a node is drained, and a bad release comes that helm has to take back by itself; no request may fail and no event may be lost.
//! The report is written to `docs/drills`.
//!
//! Decided here: the steps, their order, and how long each may take. What must be so after a step is decided in `verdict`; what is asked
//! meanwhile, and what of it is promised, is that of a rolling update (`drill::rolling`).

mod report;
mod verdict;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::kubectl::{Kubectl, until};
use super::local::{self, Place};
use super::machine;
use super::region::{APPS, Region};
use crate::drill::rolling::under_load;
use crate::os;
use crate::progress::Progress;
use crate::stack::services::SERVICES;
use verdict::{Moment, owner, text};

/// The roles of services that run all the time: balloons and migrations are left alone.
const ROLES: &str = "app.kubernetes.io/component in (serve,work)";
/// New pods of one Deployment and the end of the old ones (45 s each), on cores that everybody shares.
const ROLLOUT: Duration = Duration::from_secs(300);
/// A pod in the place of another: its start, three seconds of being ready, and the end of the old one.
const BACK: Duration = Duration::from_secs(180);
/// Pods are evicted one after the other, and each waits for its successor.
const DRAIN: Duration = Duration::from_secs(480);
/// kubectl's own limit comes first, and says what was missing.
const AFTER_ITS_OWN: Duration = Duration::from_secs(30);

/// One thing that is done, to the Deployment of this name or to all.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Replaced(String),
    /// A pod goes, with the grace that it has.
    Deleted(String),
    /// The process of a pod ends with nothing.
    Killed(String),
    Drained,
    BadRelease,
}

impl fmt::Display for Step {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Replaced(name) => write!(to, "rolling update of {name}"),
            Step::Deleted(name) => write!(to, "pod of {name} deleted"),
            Step::Killed(name) => write!(to, "process of {name} killed"),
            Step::Drained => write!(to, "node drained"),
            Step::BadRelease => write!(to, "bad release"),
        }
    }
}

/// A step that was tried.
#[derive(Debug, Clone)]
struct Row {
    step: Step,
    seconds: f64,
    /// What became of it, with a word for people; or why it was not done.
    outcome: std::result::Result<String, String>,
}

/// All steps, in their order.
fn plan(deployments: &[String]) -> Vec<Step> {
    let replaced = deployments.iter().cloned().map(Step::Replaced);
    let killed = deployments
        .iter()
        .cloned()
        .map(|name| if name.ends_with("-serve") { Step::Deleted(name) } else { Step::Killed(name) });
    replaced.chain(killed).chain([Step::Drained, Step::BadRelease]).collect()
}

/// A release whose order-payment ends at once: no channel can be made to such an address. The migration, which comes before the pods,
/// makes none.
fn bad_release() -> Value {
    json!({"order-payment": {"settings": {"catalog": {"grpc_url": "no address"}}}})
}

/// What [`bad_release`] changes.
const BROKEN_SERVICE: &str = "order-payment";

/// Runs the drill on the region that `cluster up` has started. `false`: a promise is broken. Says why when there can be none here.
///
/// # Errors
/// When no region runs, it cannot be asked, or the demo program does not run.
pub fn run(offset: u16, seed: u64) -> Result<bool> {
    if let Some(why) = machine::impossible() {
        println!("skipped: {why}");
        return Ok(true);
    }
    let begun = Instant::now();
    let mut place = Place::running(offset)?;
    // A few people pay for all the orders of the load.
    place.stack.most_declined = Some(0);
    let nodes = place.nodes()?;
    let region = place.region(&nodes);
    let progress = Progress::new();
    place.build(&progress)?;
    progress.step("region of a drill", "ready", || region.install())?;
    let drill = Drill { region: &region, kubectl: &nodes.kubectl };
    let names: Vec<String> = drill.deployments()?.iter().map(|one| text(one, "/metadata/name").to_owned()).collect();
    let plan = plan(&names);
    let mut rows = Vec::new();
    progress.step("edge", "answers", || local::answers(&place.stack))?;
    println!("\n{}", report::HEAD);
    let mut seen = under_load(&place.stack, seed, || drill.all(&plan, &mut rows))?;
    seen.broken.extend(verdict::steps(&plan, &rows));
    seen.broken.extend(drill.whole().err().map(|error| format!("after all steps: {error:#}")));
    let facts = report::Facts { offset, seed, plan: &plan, rows: &rows, seconds: begun.elapsed().as_secs_f64() };
    crate::drill::write("cluster", &report::page(&facts, &seen)?)?;
    Ok(seen.held())
}

struct Drill<'a> {
    region: &'a Region<'a>,
    kubectl: &'a Kubectl,
}

impl Drill<'_> {
    /// Does the steps until one fails: what comes after would be blamed for it.
    fn all(&self, plan: &[Step], rows: &mut Vec<Row>) -> Result<()> {
        for step in plan {
            let begun = Instant::now();
            let outcome = self.done(step).map_err(|error| format!("{error:#}"));
            os::check_interrupted()?;
            let row = Row { step: step.clone(), seconds: begun.elapsed().as_secs_f64(), outcome };
            println!("{}", report::line(&row));
            let failed = row.outcome.is_err();
            rows.push(row);
            if failed {
                break;
            }
        }
        Ok(())
    }

    fn done(&self, step: &Step) -> Result<String> {
        match step {
            Step::Replaced(name) => self.replace(name),
            Step::Deleted(name) => self.delete(name),
            Step::Killed(name) => self.kill(name),
            Step::Drained => self.drain(),
            Step::BadRelease => self.release_badly(),
        }
    }

    fn deployments(&self) -> Result<Vec<Value>> {
        let found = self.kubectl.items(&["-n", APPS, "get", "deployments", "-l", ROLES])?;
        ensure!(found.len() == 2 * SERVICES.len(), "{} Deployments, not two of each service", found.len());
        Ok(found)
    }

    /// Pods of our Deployments, those on their way out too.
    fn pods(&self) -> Result<Vec<Value>> {
        self.kubectl.items(&["-n", APPS, "get", "pods", "-l", ROLES])
    }

    fn pods_of(&self, name: &str) -> Result<Vec<Value>> {
        Ok(self.pods()?.into_iter().filter(|pod| owner(pod) == name).collect())
    }

    /// All Deployments come to have as many ready pods as they want, and no others.
    fn whole(&self) -> Result<()> {
        until("whole Deployments", BACK, || {
            let pods = self.pods()?;
            self.deployments()?.iter().try_for_each(|one| verdict::whole(one, &pods))
        })
    }

    /// One Deployment comes to be whole, without the pods that were to go.
    fn whole_without(&self, name: &str, gone: &[Value]) -> Result<()> {
        until("a whole Deployment", BACK, || {
            let pods = self.pods_of(name)?;
            verdict::gone(gone, &pods)?;
            verdict::whole(&self.kubectl.json(&["-n", APPS, "get", "deployment", name])?, &pods)
        })
    }

    fn replace(&self, name: &str) -> Result<String> {
        let old = self.pods_of(name)?;
        ensure!(!old.is_empty(), "{name} has no pod");
        let deployment = format!("deployment/{name}");
        self.kubectl.run(&["-n", APPS, "rollout", "restart", &deployment])?;
        let limit = format!("--timeout={}s", ROLLOUT.as_secs());
        let status = ["-n", APPS, "rollout", "status", &deployment, &limit];
        self.kubectl.run_within(&status, ROLLOUT + AFTER_ITS_OWN)?;
        self.whole_without(name, &old)?;
        Ok(format!("{} pods replaced", old.len()))
    }

    fn delete(&self, name: &str) -> Result<String> {
        let pod = self.pods_of(name)?.into_iter().next().with_context(|| format!("{name} has no pod"))?;
        let pod_name = text(&pod, "/metadata/name").to_owned();
        self.kubectl.run(&["-n", APPS, "delete", "pod", &pod_name, "--wait=false"])?;
        self.whole_without(name, &[pod])?;
        Ok(format!("{pod_name} gone, another in its place"))
    }

    /// The pod stays and gets another process.
    fn kill(&self, name: &str) -> Result<String> {
        let pods = self.pods_of(name)?;
        let pod = pods.first().with_context(|| format!("{name} has no pod"))?;
        let container = verdict::container(pod)?;
        self.region.nodes.kill(text(pod, "/spec/nodeName"), container)?;
        until("another process", BACK, || {
            let pods = self.pods_of(name)?;
            verdict::runs_no_more(container, &pods)?;
            verdict::whole(&self.kubectl.json(&["-n", APPS, "get", "deployment", name])?, &pods)
        })?;
        Ok(format!("SIGKILL in {}, another process in its place", text(pod, "/metadata/name")))
    }

    /// Empties the first node and lets it take pods again.
    fn drain(&self) -> Result<String> {
        let nodes = self.kubectl.items(&["get", "nodes"])?;
        let [node, _, ..] = verdict::taking_pods(&nodes)[..] else {
            bail!("fewer than two nodes take pods: those of one would have nowhere to go");
        };
        let on_it = |pods: Vec<Value>| pods.iter().filter(|pod| text(pod, "/spec/nodeName") == node).count();
        let had = on_it(self.pods()?);
        ensure!(had > 0, "no pod of ours is on {node}; draining it would show nothing");
        let limit = format!("--timeout={}s", DRAIN.as_secs());
        let arguments = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", &limit];
        let drained = self.kubectl.run_within(&arguments, DRAIN + AFTER_ITS_OWN).and_then(|_| {
            self.whole()?;
            let left = on_it(self.pods()?);
            ensure!(left == 0, "{left} pods stay on {node}");
            Ok(())
        });
        // also when it was not emptied: nobody else would open it again
        let back = self.kubectl.run(&["uncordon", node]);
        drained?;
        back?;
        Ok(format!("{had} pods left {node}"))
    }

    /// A release whose pods end at once comes and is taken back.
    fn release_badly(&self) -> Result<String> {
        let before = self.moment()?;
        let refused = self.region.try_release(&bad_release()).err().map(|error| format!("{error:#}"));
        os::check_interrupted()?;
        let whole = self.whole();
        let mut broken = verdict::taken_back(BROKEN_SERVICE, refused.as_deref(), &before, &self.moment()?);
        broken.extend(whole.err().map(|error| format!("{error:#}")));
        if !broken.is_empty() {
            bail!("{}", broken.join("; "));
        }
        Ok(format!("helm has failed and taken it back to revision {}", before.revision()))
    }

    fn moment(&self) -> Result<Moment> {
        let history = self.kubectl.history(APPS, APPS)?;
        Ok(Moment::of(&self.deployments()?, &self.pods()?, history))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::layout::checkout;

    #[test]
    fn every_deployment_is_replaced_and_then_loses_a_pod_or_a_process_before_the_bad_release_comes() {
        let names = ["user-serve", "user-work"].map(str::to_owned);
        let [serve, work] = names.clone();
        let expected = [
            Step::Replaced(serve.clone()),
            Step::Replaced(work.clone()),
            Step::Deleted(serve),
            Step::Killed(work),
            Step::Drained,
            Step::BadRelease,
        ];
        assert_eq!(plan(&names), expected);
    }

    /// Helm would refuse a setting that is not there before any pod has seen it.
    #[test]
    fn the_bad_release_changes_a_setting_that_the_service_has() {
        let bad = bad_release();
        let sections = bad[BROKEN_SERVICE]["settings"].as_object().expect("sections");
        let file = checkout().join(format!("deploy/helm/services/{BROKEN_SERVICE}/files/settings.yaml"));
        let known = fs::read_to_string(file).expect("settings");
        for (section, keys) in sections {
            for key in keys.as_object().expect("keys").keys() {
                assert!(known.lines().any(|line| line.starts_with(&format!("{section}.{key}: "))), "{section}.{key}");
            }
        }
        assert_eq!(sections.len(), 1);
    }
}
