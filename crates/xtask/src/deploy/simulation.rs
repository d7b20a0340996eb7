//! The loop of autoscaling, reckoned from the objects that drive it: how long after a step of load there are enough ready replicas.
//! Decided here: every delay is taken at its worst (a scrape, the window of the rate, the poll, the controller's turn, the start of a
//! pod), and nodes have room, which is what the balloon pods are for. A real cluster is held against this; it decides nothing alone.

use serde_json::Value;

/// Seconds between two looks of the horizontal autoscaler.
const CONTROLLER: u32 = 15;
/// Scrape interval of the monitors and KEDA's own poll.
const SCRAPE: u32 = 5;
/// From the decision to a pod that is ready: scheduling, the image on the node, the start of a Rust binary, the first readiness probe.
const START: u32 = 8;
/// No loop takes longer; more means never.
const HORIZON: u32 = 600;
/// A rate over a window tells the truth only when the window is full of the new load.
const DEFAULT_WINDOW: u32 = 60;

/// How fast a workload may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    pub least: u32,
    pub most: u32,
    /// Seconds of the window over which load is measured.
    pub window: u32,
    pub poll: u32,
    pub stabilisation: u32,
    /// Percent or pods, value, seconds.
    pub policies: Vec<(bool, u32, u32)>,
}

impl Behaviour {
    /// From the `spec` of a ScaledObject.
    pub fn read(spec: &Value) -> Option<Self> {
        let up = &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"];
        let small = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let policies = up["policies"].as_array()?.iter().map(|policy| {
            Some((policy["type"] == "Percent", small(&policy["value"])?, small(&policy["periodSeconds"])?))
        });
        let query = spec["triggers"].as_array()?.iter().find_map(|trigger| trigger["metadata"]["query"].as_str())?;
        let window = query.split_once('[').and_then(|(_, rest)| rest.split_once("s]")?.0.parse().ok());
        Some(Self {
            least: small(&spec["minReplicaCount"])?,
            most: small(&spec["maxReplicaCount"])?,
            window: window.unwrap_or(DEFAULT_WINDOW),
            poll: small(&spec["pollingInterval"]).unwrap_or(30),
            stabilisation: small(&up["stabilizationWindowSeconds"]).unwrap_or(0),
            policies: policies.collect::<Option<_>>()?,
        })
    }

    /// The most replicas that one period allows from `now`.
    fn step(&self, now: u32) -> u32 {
        let reach = |&(percent, value, period): &(bool, u32, u32)| {
            let more = if percent { now.saturating_mul(value) / 100 } else { value };
            // a policy allows that much per period; the controller looks every fifteen seconds
            more * CONTROLLER / period.max(CONTROLLER)
        };
        now + self.policies.iter().map(reach).max().unwrap_or(0)
    }
}

/// Seconds from a step of load to `times` what the least replicas serve at their target, until that many are ready.
pub fn seconds_to(behaviour: &Behaviour, times: u32) -> Option<u32> {
    let wanted = behaviour.least * times;
    if wanted > behaviour.most {
        return None;
    }
    let mut replicas = behaviour.least;
    let mut at = CONTROLLER + behaviour.stabilisation;
    while at <= HORIZON {
        // what the controller sees now was the load of the window before the last scrape and poll
        let seen = at.saturating_sub(SCRAPE + behaviour.poll).min(behaviour.window);
        let load = behaviour.least + (wanted - behaviour.least) * seen / behaviour.window.max(1);
        replicas = replicas.max(load.min(behaviour.step(replicas)).min(behaviour.most));
        if replicas >= wanted {
            return Some(at + START);
        }
        at += CONTROLLER;
    }
    None
}
