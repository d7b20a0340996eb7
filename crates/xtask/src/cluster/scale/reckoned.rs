//! What the simulation says of the same step: the behaviour of the rendered object, two replicas that become ten, and nodes that have room
//! for all. Decided here: what the simulation is told of a metric that comes by metrics-server instead of Prometheus and KEDA.

use anyhow::Result;

use super::super::metrics::{HOUSEKEEPING, RESOLUTION};
use super::scaler::{LEAST, MOST};
use crate::deploy::objects::{Object, Rendered};
use crate::deploy::scale::start_times::StartTimes;
use crate::deploy::simulation::{Behaviour, Measure, SCRAPE, Size, Workload, alone};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reckoned {
    /// Seconds from the decision to a pod that is ready.
    pub start_s: u32,
    /// Seconds from the step until all were ready; `None`: never.
    pub ready_after_s: Option<u32>,
}

/// With the start of a pod as the site's simulation has it, or with the one that is given.
///
/// # Errors
/// When an object does not say what is needed.
pub fn reckoned(scaled: &Object, site: &Rendered, times: &StartTimes, start_s: Option<u32>) -> Result<Reckoned> {
    let mut workload = Workload::read(scaled, &site.objects, times)?;
    workload.start_s = start_s.unwrap_or(workload.start_s);
    workload.behaviour = Behaviour {
        least: LEAST,
        most: MOST,
        // what one replica takes at its target is one; what was taken is known over the time between two looks
        measure: Measure::Requests { half_busy: 1, window: RESOLUTION },
        // at worst it is looked at, and that again, just before; the simulation has a scrape of its own already
        poll: HOUSEKEEPING + RESOLUTION - SCRAPE,
        ..workload.behaviour
    };
    // these nodes have room
    workload.size = Size::default();
    let course = alone(&workload, Size::default(), MOST / LEAST);
    Ok(Reckoned { start_s: workload.start_s, ready_after_s: course.ready_after_s })
}

#[cfg(test)]
mod tests {
    use super::super::DEPLOYMENTS;
    use super::super::scaler::scaled;
    use super::super::verdict::latest_decision;
    use super::*;
    use crate::deploy::objects;
    use crate::layout::checkout;

    #[test]
    fn ten_are_ready_a_start_after_the_third_turn_and_a_slow_behaviour_is_seen() {
        let (sites, times) = (objects::read(&checkout()).unwrap(), StartTimes::read(&checkout()).unwrap());
        let site = sites.iter().find(|site| site.site == "rdc-a").unwrap();
        for name in DEPLOYMENTS {
            let scaled = scaled(site, name).unwrap();
            // looked at after 30 s while the metric knows a third of the load, and after 45 s when it knows all
            assert_eq!(
                reckoned(scaled, site, &times, Some(7)).unwrap(),
                Reckoned { start_s: 7, ready_after_s: Some(45 + 7) }
            );
            let as_committed = reckoned(scaled, site, &times, None).unwrap();
            assert_eq!(as_committed.ready_after_s, Some(45 + as_committed.start_s));
            // Planted: one pod a turn.
            let mut slow = scaled.clone();
            let up = &mut slow.value["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"];
            up["policies"] = serde_json::json!([{"type": "Pods", "value": 1, "periodSeconds": 15}]);
            let slow = reckoned(&slow, site, &times, Some(7)).unwrap();
            let decided = slow.ready_after_s.unwrap() - slow.start_s;
            assert!(decided > latest_decision(&as_committed).unwrap(), "{decided}");
        }
    }
}
