//! The scaler of a Deployment on a cluster without KEDA and Prometheus: the HorizontalPodAutoscaler that KEDA would make, with the behaviour
//! of the rendered ScaledObject as it stands. Decided here: what takes the place of the requests of a second, which is the processor that
//! pods take, and which target makes the step of load one from two replicas to ten.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::super::region::CPU_M;
use crate::deploy::objects::{Object, Rendered};

pub const LEAST: u32 = 2;
pub const MOST: u32 = 10;
/// The load is worth so many times the most replicas, so that the last of them is needed whatever the processor is shared with.
const SPARE: f64 = 1.25;
/// Idle pods may take so much of what the target allows. The controller does nothing below 1.1 of it.
const QUIET: f64 = 0.75;

/// What each pod of a Deployment takes when nobody asks for anything, and all of [`LEAST`] under the load: thousandths of a processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    pub idle_m: f64,
    pub loaded_m: f64,
}

impl Taken {
    /// Percent of what a pod asks for. The controller wants `ceil(replicas * utilisation / target)`, and replicas times utilisation is what
    /// all pods take together, however many they are: so it is the load divided by [`MOST`] and a little more.
    ///
    /// # Errors
    /// When idle pods and this load are too much alike for any target.
    pub fn target(self) -> Result<u32> {
        let percent = self.loaded_m / (f64::from(MOST) * SPARE) / f64::from(CPU_M) * 100.0;
        // Rounded down: a lower target needs more replicas.
        let percent = percent as u32;
        let allowed = self.idle_m <= QUIET * allows_m(percent);
        ensure!(
            percent > 0 && allowed,
            "idle replicas take {:.1}m each, and two of them {:.0}m under the load: no target keeps the former at {LEAST} and \
             brings the latter to {MOST}",
            self.idle_m,
            self.loaded_m
        );
        Ok(percent)
    }
}

/// What a pod may take at a target.
pub fn allows_m(percent: u32) -> f64 {
    f64::from(CPU_M) * f64::from(percent) / 100.0
}

/// The ScaledObject of a Deployment.
///
/// # Errors
/// When the site has none.
pub fn scaled<'r>(rendered: &'r Rendered, name: &str) -> Result<&'r Object> {
    let mut objects = rendered.objects.iter().filter(|object| object.kind() == "ScaledObject");
    objects
        .find(|object| object.value["spec"]["scaleTargetRef"]["name"] == name)
        .with_context(|| format!("{} has no ScaledObject of {name}", rendered.site))
}

/// What stands for it here.
///
/// # Errors
/// When it does not say how fast it grows: without that, Kubernetes has a behaviour of its own.
pub fn autoscaler(scaled: &Object, percent: u32) -> Result<Value> {
    let behaviour = &scaled.value["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    ensure!(behaviour.is_object(), "{scaled} does not say how fast it grows");
    let name = &scaled.value["spec"]["scaleTargetRef"]["name"];
    Ok(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": scaled.namespace()},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": LEAST,
            "maxReplicas": MOST,
            "behavior": behaviour,
            "metrics": [{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
            }],
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::super::DEPLOYMENTS;
    use super::*;
    use crate::deploy::objects;
    use crate::layout::checkout;
    use crate::render::topology;

    /// What the controller wants, as Kubernetes documents it.
    fn wanted(replicas: u32, all_m: f64, percent: u32) -> u32 {
        let ratio = all_m / f64::from(replicas) / allows_m(percent);
        if (0.9..=1.1).contains(&ratio) { replicas } else { (f64::from(replicas) * ratio).ceil() as u32 }
    }

    #[test]
    fn a_target_keeps_idle_pods_at_two_and_needs_ten_under_the_load() {
        for (idle_m, loaded_m) in [(1.0, 40.0), (5.0, 90.0), (8.0, 900.0), (0.0, 12.5)] {
            let percent = Taken { idle_m, loaded_m }.target().unwrap();
            assert!(wanted(LEAST, 2.0 * idle_m, percent) <= LEAST, "{idle_m} {loaded_m} {percent}");
            for replicas in LEAST..MOST {
                assert!(wanted(replicas, loaded_m, percent) >= MOST, "{idle_m} {loaded_m} {percent} {replicas}");
            }
        }
        // Planted: a load that is hardly one, and pods that are never idle.
        for (idle_m, loaded_m) in [(0.1, 1.0), (8.0, 100.0), (0.0, 0.0)] {
            let error = Taken { idle_m, loaded_m }.target().unwrap_err().to_string();
            assert!(error.contains("no target"), "{error}");
        }
    }

    /// At every site: a behaviour that is changed in the charts is the one that is tried.
    #[test]
    fn the_behaviour_is_that_of_the_rendered_object_and_one_that_is_missing_is_named() {
        let root = checkout();
        let (sites, topology) = (objects::read(&root).unwrap(), topology::read(&root).unwrap());
        for (_, place) in topology.sites() {
            let rendered = sites.iter().find(|rendered| rendered.site == place.name).unwrap();
            for name in DEPLOYMENTS {
                let scaled = scaled(rendered, name).unwrap();
                let made = autoscaler(scaled, 60).unwrap();
                let theirs = &scaled.value["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
                assert_eq!(&made["spec"]["behavior"], theirs);
                assert!(theirs["scaleUp"]["policies"].is_array() && theirs["scaleDown"]["policies"].is_array());
                assert_eq!(made["spec"]["scaleTargetRef"]["name"], name);
                assert_eq!((&made["spec"]["minReplicas"], &made["spec"]["maxReplicas"]), (&json!(2), &json!(10)));
                // Planted: an object that leaves it to Kubernetes.
                let mut silent = scaled.clone();
                silent.value["spec"]["advanced"] = Value::Null;
                assert!(autoscaler(&silent, 60).unwrap_err().to_string().contains(name));
            }
            assert!(super::scaled(rendered, "weather-serve").is_err());
        }
    }
}
