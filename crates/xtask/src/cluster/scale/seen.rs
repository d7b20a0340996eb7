//! What was seen of a Deployment while it grew: replicas second by second, and how long its new pods took. Nothing is judged here.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

/// One look, seconds after the step of load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub at_s: f64,
    pub wanted: u32,
    pub ready: u32,
}

impl Sample {
    /// What a Deployment says of itself.
    ///
    /// # Errors
    /// When it is not among these.
    pub fn read(deployments: &[Value], name: &str, at_s: f64) -> Result<Sample> {
        let found = deployments.iter().find(|one| one["metadata"]["name"] == name);
        let found = found.with_context(|| format!("there is no Deployment {name}"))?;
        // A number that is zero is left out.
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        Ok(Sample {
            at_s,
            wanted: number(&found["spec"]["replicas"]),
            ready: number(&found["status"]["readyReplicas"]),
        })
    }
}

/// Each number that was seen beyond all before, and when first.
pub fn steps(samples: &[Sample], of: impl Fn(&Sample) -> u32) -> Vec<(u32, f64)> {
    let mut steps: Vec<(u32, f64)> = Vec::new();
    for sample in samples {
        if steps.last().is_none_or(|(most, _)| of(sample) > *most) {
            steps.push((of(sample), sample.at_s));
        }
    }
    steps
}

/// When so many were seen first; `None`: never.
pub fn reached(samples: &[Sample], number: u32, of: impl Fn(&Sample) -> u32) -> Option<f64> {
    samples.iter().find(|sample| of(sample) >= number).map(|sample| sample.at_s)
}

fn named<'p>(pods: &'p [Value], deployment: &str) -> impl Iterator<Item = (&'p str, &'p Value)> {
    let ours = format!("{deployment}-");
    let named = pods.iter().filter_map(|pod| Some((pod["metadata"]["name"].as_str()?, pod)));
    named.filter(move |(name, _)| name.starts_with(&ours))
}

/// Names of the pods of a Deployment.
pub fn names(pods: &[Value], deployment: &str) -> BTreeSet<String> {
    named(pods, deployment).map(|(name, _)| name.to_owned()).collect()
}

/// Seconds from the making of each new pod until it was ready, the quickest first; those that are not ready are left out.
pub fn starts(pods: &[Value], deployment: &str, before: &BTreeSet<String>) -> Vec<u32> {
    let new = named(pods, deployment).filter(|(name, _)| !before.contains(*name));
    let mut starts: Vec<u32> = new
        .filter_map(|(_, pod)| {
            let mut conditions = pod["status"]["conditions"].as_array()?.iter();
            let ready = conditions.find(|one| one["type"] == "Ready" && one["status"] == "True")?;
            let (made, ready) = (pod["metadata"]["creationTimestamp"].as_str()?, ready["lastTransitionTime"].as_str()?);
            Some((of_day(ready)? + DAY - of_day(made)?) % DAY)
        })
        .collect();
    starts.sort_unstable();
    starts
}

/// How often containers of a Deployment were started again.
pub fn restarts(pods: &[Value], deployment: &str) -> u64 {
    let containers = named(pods, deployment).filter_map(|(_, pod)| pod["status"]["containerStatuses"].as_array());
    containers.flatten().filter_map(|container| container["restartCount"].as_u64()).sum()
}

/// Seconds of a day. A start that takes a day is none.
const DAY: u32 = 86_400;

/// The second of its day in `2026-11-27T06:50:00Z`.
fn of_day(time: &str) -> Option<u32> {
    let (_, clock) = time.split_once('T')?;
    let mut parts = clock.trim_end_matches('Z').splitn(3, ':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some((hours * 60 + minutes) * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_number_counts_when_it_was_seen_first_and_a_pod_that_was_lost_takes_nothing_back() {
        let sample = |at_s, wanted, ready| Sample { at_s, wanted, ready };
        let samples =
            [sample(1.0, 2, 2), sample(2.0, 10, 2), sample(3.0, 10, 6), sample(4.0, 10, 5), sample(5.0, 10, 9)];
        assert_eq!(steps(&samples, |one| one.wanted), [(2, 1.0), (10, 2.0)]);
        assert_eq!(steps(&samples, |one| one.ready), [(2, 1.0), (6, 3.0), (9, 5.0)]);
        assert_eq!(reached(&samples, 10, |one| one.wanted), Some(2.0));
        assert_eq!(reached(&samples, 10, |one| one.ready), None);
        let deployments = [json!({"metadata": {"name": "a"}, "spec": {"replicas": 10}, "status": {}})];
        assert_eq!(Sample::read(&deployments, "a", 7.0).unwrap(), sample(7.0, 10, 0));
        assert!(Sample::read(&deployments, "b", 7.0).is_err());
    }

    #[test]
    fn only_new_pods_that_are_ready_have_a_start_and_midnight_is_no_day() {
        let pod = |name: &str, made: &str, ready: &str, status: &str, restarts: u64| {
            json!({
                "metadata": {"name": name, "creationTimestamp": made},
                "status": {
                    "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": ready}],
                    "containerStatuses": [{"restartCount": restarts}],
                },
            })
        };
        let pods = [
            pod("a-serve-1", "2026-11-27T06:00:00Z", "2026-11-27T06:01:00Z", "True", 1),
            pod("a-serve-2", "2026-11-27T23:59:58Z", "2026-11-28T00:00:05Z", "True", 0),
            pod("a-serve-3", "2026-11-27T23:59:58Z", "2026-11-28T00:00:02Z", "True", 2),
            pod("a-serve-4", "2026-11-27T23:59:58Z", "2026-11-27T23:59:59Z", "False", 0),
            pod("a-work-1", "2026-11-27T23:59:58Z", "2026-11-27T23:59:59Z", "True", 9),
        ];
        let before = BTreeSet::from(["a-serve-1".to_owned()]);
        assert_eq!(starts(&pods, "a-serve", &before), [4, 7]);
        assert_eq!(restarts(&pods, "a-serve"), 3);
        assert_eq!(names(&pods, "a-serve").len(), 4);
    }
}
