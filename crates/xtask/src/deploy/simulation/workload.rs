//! What the rendered objects say of a workload that grows by itself, and of the room that is kept for it. Decided here: which of several
//! triggers counts, what one replica can do, and what a start consists of.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::deploy::objects::Object;
use crate::deploy::scale::start_times::StartTimes;

/// A rate over a window tells the truth only when the window is full of the new load.
const DEFAULT_WINDOW: u32 = 60;
/// What KEDA takes when the object does not say.
const DEFAULT_POLL: u32 = 30;
/// Seconds for a place on a node and a container from an image that is on it; a pod that only holds room goes at once.
const PLACING: u32 = 3;

/// What a workload grows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Requests of a second at which one replica is half busy (the charts' `requestsPerSecond`), and seconds of the window of the rate.
    Requests { half_busy: u32, window: u32 },
    /// Records that are one replica's work for a second (the charts' `lag`); read as it is, without a window.
    Lag { a_second: u32 },
}

impl Measure {
    /// What one of the least replicas has to do in a second before the step: half of what it can.
    pub fn usual_of_one(self) -> f64 {
        self.most_of_one() / 2.0
    }

    /// What one replica can do in a second.
    pub fn most_of_one(self) -> f64 {
        match self {
            Measure::Requests { half_busy, .. } => 2.0 * f64::from(half_busy),
            Measure::Lag { a_second } => f64::from(a_second),
        }
    }

    /// Replicas that the controller thinks right for so many requests of a second, or so many records that wait: half busy ones for
    /// requests, and for what comes in a second as many consumers as keep up.
    pub fn replicas_for(self, seen: f64) -> u32 {
        let of_one = match self {
            Measure::Requests { half_busy, .. } => half_busy,
            Measure::Lag { a_second } => a_second,
        };
        // Numbers of replicas are small.
        (seen / f64::from(of_one.max(1))).ceil() as u32
    }
}

/// How fast a workload may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    pub least: u32,
    pub most: u32,
    pub measure: Measure,
    /// Seconds.
    pub poll: u32,
    /// Seconds.
    pub stabilisation: u32,
    /// Percent or pods, value, seconds.
    pub policies: Vec<(bool, u32, u32)>,
}

impl Behaviour {
    /// From the `spec` of a ScaledObject; `None` when it does not say how fast it grows, or by what.
    pub fn read(spec: &Value) -> Option<Self> {
        let up = &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"];
        let policies = up["policies"].as_array()?.iter().map(|policy| {
            Some((policy["type"] == "Percent", small(&policy["value"])?, small(&policy["periodSeconds"])?))
        });
        Some(Self {
            least: small(&spec["minReplicaCount"])?,
            most: small(&spec["maxReplicaCount"])?,
            measure: measure(spec["triggers"].as_array()?)?,
            poll: small(&spec["pollingInterval"]).unwrap_or(DEFAULT_POLL),
            stabilisation: small(&up["stabilizationWindowSeconds"]).unwrap_or(0),
            policies: policies.collect::<Option<_>>()?,
        })
    }
}

/// By requests when there is such a trigger; else by the lag whose records are the most work, since that one falls behind first.
fn measure(triggers: &[Value]) -> Option<Measure> {
    let number = |value: &Value| value.as_str()?.parse::<u32>().ok().filter(|number| *number > 0);
    if let Some(requests) = triggers.iter().find(|trigger| trigger["type"] == "prometheus") {
        let query = requests["metadata"]["query"].as_str()?;
        let window = query.split_once('[').and_then(|(_, rest)| rest.split_once("s]")?.0.parse().ok());
        let half_busy = number(&requests["metadata"]["threshold"])?;
        return Some(Measure::Requests { half_busy, window: window.unwrap_or(DEFAULT_WINDOW) });
    }
    let lags = triggers.iter().filter(|trigger| trigger["type"] == "apache-kafka");
    let a_second = lags.filter_map(|trigger| number(&trigger["metadata"]["lagThreshold"])).min()?;
    Some(Measure::Lag { a_second })
}

/// What a pod asks for, or what is there for pods: thousandths of a processor, MiB of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub cpu_m: u64,
    pub memory_mib: u64,
}

impl Size {
    /// What the containers of a pod ask for; `None` when one does not say, or not in a way we know.
    pub fn of_pod(object: &Object) -> Option<Size> {
        let containers = object.pod()?["spec"]["containers"].as_array()?;
        containers.iter().try_fold(Size::default(), |sum, container| {
            let requests = &container["resources"]["requests"];
            let (cpu, memory) = (requests["cpu"].as_str()?, requests["memory"].as_str()?);
            Some(Size { cpu_m: sum.cpu_m + thousandths(cpu)?, memory_mib: sum.memory_mib + mebibytes(memory)? })
        })
    }

    /// The room of a site: that of the pods which only hold it, and no other, since what else nodes have free is not known.
    pub fn room(objects: &[Object]) -> Size {
        let balloons = objects.iter().filter(|object| {
            object.kind() == "Deployment" && object.label("app.kubernetes.io/component") == "headroom"
        });
        balloons.fold(Size::default(), |sum, balloon| {
            let one = Size::of_pod(balloon).unwrap_or_default();
            let replicas = balloon.value["spec"]["replicas"].as_u64().unwrap_or(0);
            Size { cpu_m: sum.cpu_m + one.cpu_m * replicas, memory_mib: sum.memory_mib + one.memory_mib * replicas }
        })
    }

    /// Takes the place of a pod, if there is one.
    pub fn take(&mut self, pod: Size) -> bool {
        let fits = self.cpu_m >= pod.cpu_m && self.memory_mib >= pod.memory_mib;
        if fits {
            self.cpu_m -= pod.cpu_m;
            self.memory_mib -= pod.memory_mib;
        }
        fits
    }
}

fn thousandths(cpu: &str) -> Option<u64> {
    match cpu.strip_suffix('m') {
        Some(thousandths) => thousandths.parse().ok(),
        None => Some(cpu.parse::<u64>().ok()? * 1_000),
    }
}

fn mebibytes(memory: &str) -> Option<u64> {
    match memory.strip_suffix("Gi") {
        Some(gibibytes) => Some(gibibytes.parse::<u64>().ok()? * 1_024),
        None => memory.strip_suffix("Mi")?.parse().ok(),
    }
}

/// A workload that grows by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub name: String,
    pub behaviour: Behaviour,
    /// Of one pod.
    pub size: Size,
    /// Of the class of its pods; the greater, the sooner it finds room.
    pub priority: i64,
    /// Seconds from the decision to a pod that is ready where there is room: its place, our program, the first probes.
    pub start_s: u32,
}

impl Workload {
    /// What a ScaledObject and the objects beside it say.
    ///
    /// # Errors
    /// What is missing.
    pub fn read(scaled: &Object, objects: &[Object], times: &StartTimes) -> Result<Workload> {
        let behaviour = Behaviour::read(&scaled.value["spec"]).context("does not say how fast it grows")?;
        let target = scaled.value["spec"]["scaleTargetRef"]["name"].as_str().unwrap_or_default();
        let deployment = objects.iter().find(|object| object.kind() == "Deployment" && object.name() == target);
        let deployment = deployment.with_context(|| format!("{target} is no Deployment"))?;
        let size = Size::of_pod(deployment).with_context(|| format!("{target} does not say what its pods need"))?;
        let template = &deployment.value["spec"]["template"]["spec"];
        let class = template["priorityClassName"].as_str().unwrap_or_default();
        let priorities: BTreeMap<&str, i64> = objects
            .iter()
            .filter(|object| object.kind() == "PriorityClass")
            .filter_map(|object| Some((object.name(), object.value["value"].as_i64()?)))
            .collect();
        let container = &template["containers"][0];
        let period = |probe: &str| small(&container[probe]["periodSeconds"]).unwrap_or(0);
        let start_s = PLACING + times.seconds(target)? + period("startupProbe") + period("readinessProbe");
        let priority = priorities.get(class).copied().unwrap_or_default();
        Ok(Workload { name: target.to_owned(), behaviour, size, priority, start_s })
    }

    /// Every workload of a site that grows by itself; what is paused, as consumers of a standby are, does not.
    ///
    /// # Errors
    /// As [`Workload::read`], naming the object.
    pub fn all(objects: &[Object], times: &StartTimes) -> Result<Vec<Workload>> {
        let paused = |object: &&Object| {
            let annotations = &object.value["metadata"]["annotations"];
            !annotations["autoscaling.keda.sh/paused-replicas"].is_null()
        };
        let scaled = objects.iter().filter(|object| object.kind() == "ScaledObject" && !paused(object));
        scaled.map(|object| Workload::read(object, objects, times).with_context(|| object.to_string())).collect()
    }
}

fn small(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them_and_room_is_taken_once() {
        assert_eq!((thousandths("300m"), thousandths("2"), thousandths("a lot")), (Some(300), Some(2_000), None));
        assert_eq!((mebibytes("384Mi"), mebibytes("1Gi"), mebibytes("1G")), (Some(384), Some(1_024), None));
        let mut room = Size { cpu_m: 1_000, memory_mib: 300 };
        let pod = Size { cpu_m: 500, memory_mib: 200 };
        assert!(room.take(pod));
        // Planted: a processor is left, memory is not.
        assert!(!room.take(pod));
        assert_eq!(room, Size { cpu_m: 500, memory_mib: 100 });
    }

    #[test]
    fn requests_count_before_lags_and_of_lags_the_one_whose_records_are_the_most_work() {
        let requests = json!({"type": "prometheus", "metadata": {"query": "sum(rate(a[15s]))", "threshold": "150"}});
        let lag = |records: &str| json!({"type": "apache-kafka", "metadata": {"lagThreshold": records}});
        let by_requests = Measure::Requests { half_busy: 150, window: 15 };
        assert_eq!(measure(&[lag("100"), requests]), Some(by_requests));
        assert_eq!(measure(&[lag("500"), lag("100")]), Some(Measure::Lag { a_second: 100 }));
        assert_eq!((measure(&[lag("0")]), measure(&[])), (None, None));
        assert_eq!((by_requests.replicas_for(450.0), by_requests.replicas_for(451.0)), (3, 4));
    }
}
