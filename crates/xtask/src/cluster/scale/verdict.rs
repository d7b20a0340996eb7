//! Whether a step of load held what is promised: ten replicas of both, not one request that failed, and not much later than the
//! simulation says. Decided here: how much later that may be. Times are recorded; their bound only refuses what is of another kind.

use super::Grown;
use super::reckoned::Reckoned;
use super::scaler::{LEAST, MOST};
use super::seen::reached;
use super::told::{Told, sums};
use crate::deploy::simulation::CONTROLLER;

/// So many times what is reckoned may pass until all are ready. The simulation starts each pod as its program starts alone on a quiet
/// machine; here sixteen start at the same moment on two processors that stores, edge and load share.
pub const FACTOR: f64 = 3.0;
/// Turns of the controller that ten may be wanted later than is reckoned: a look at the metric that just missed a turn, twice. A loop that
/// goes up by single pods wants them four turns later.
pub const TURNS: u32 = 2;

/// The last moment to want ten, in seconds after the step.
pub fn latest_decision(reckoned: &Reckoned) -> Option<u32> {
    Some(reckoned.ready_after_s?.saturating_sub(reckoned.start_s) + TURNS * CONTROLLER)
}

/// Every sentence of the promise that is broken; none when it is held. `tried` is what the load told before there was a scaler.
pub fn broken(grown: &[Grown], tried: &Told, told: &Told) -> Vec<String> {
    let mut broken: Vec<String> = grown.iter().flat_map(late).collect();
    for (when, told) in [("before the step", tried), ("under the step", told)] {
        let (asked, failed) = sums(told);
        if asked == 0 {
            broken.push(format!("nothing was asked for {when}"));
        }
        if failed > 0 {
            broken.push(format!("{failed} of {asked} requests failed {when}"));
        }
        if told.repeated {
            broken.push(format!("the client has repeated requests {when}, so some failed that nobody has counted"));
        }
    }
    broken
}

fn late(grown: &Grown) -> Vec<String> {
    let mut broken = Vec::new();
    let name = &grown.name;
    let first = grown.samples.first().map_or(0, |sample| sample.wanted);
    if first != LEAST {
        broken.push(format!("{name} began with {first} replicas, not {LEAST}"));
    }
    match (grown.ready_after_s(), grown.reckoned.ready_after_s) {
        (None, _) => {
            let most = grown.samples.iter().map(|sample| sample.ready).max().unwrap_or(0);
            broken.push(format!("{name} came to {most} ready replicas, not {MOST}"));
        }
        (Some(_), None) => broken.push(format!("{name} never has {MOST} replicas, says the simulation")),
        (Some(seen), Some(said)) if seen > FACTOR * f64::from(said) => {
            broken.push(format!("{name} had {MOST} after {seen:.0} s; the simulation says {said} s"));
        }
        (Some(_), Some(_)) => {}
    }
    let wanted = reached(&grown.samples, MOST, |sample| sample.wanted);
    if let (Some(wanted), Some(latest)) = (wanted, latest_decision(&grown.reckoned))
        && wanted > f64::from(latest)
    {
        broken.push(format!(
            "{name} was to have {MOST} after {wanted:.0} s; with {TURNS} turns missed it would be {latest} s"
        ));
    }
    if grown.restarts > 0 {
        broken.push(format!("containers of {name} were started again {} times", grown.restarts));
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::scaler::Taken;
    use super::super::seen::Sample;
    use super::*;
    use crate::drill::told::Counts;

    fn grown() -> Grown {
        let sample = |at_s, wanted, ready| Sample { at_s, wanted, ready };
        Grown {
            name: "catalog-serve".to_owned(),
            taken: Taken { idle_m: 2.0, loaded_m: 100.0 },
            percent: 40,
            samples: vec![sample(0.5, 2, 2), sample(40.0, 10, 2), sample(60.0, 10, 10)],
            starts: vec![12; 8],
            restarts: 0,
            reckoned: Reckoned { start_s: 9, ready_after_s: Some(54) },
            with_seen_start: Some(Reckoned { start_s: 12, ready_after_s: Some(57) }),
        }
    }

    fn told(counts: Counts) -> Told {
        Told { asked: BTreeMap::from([("product pages".to_owned(), counts)]), repeated: false }
    }

    fn good() -> Told {
        told(Counts { asked: 100, ..Counts::default() })
    }

    #[test]
    fn one_replica_too_few_one_failed_request_or_a_loop_of_another_kind_breaks_the_promise() {
        let with = |change: fn(&mut Grown)| {
            let mut one = grown();
            change(&mut one);
            broken(&[grown(), one], &good(), &good())
        };
        assert_eq!(with(|_| {}), Vec::<String>::new());
        assert_eq!(with(|one| one.samples[2].at_s = 162.0), Vec::<String>::new());
        assert_eq!(with(|one| one.samples[1].at_s = 75.0), Vec::<String>::new());
        let failed = |count| told(Counts { asked: 100, failed: count, ..Counts::default() });
        let empty = told(Counts { asked: 100, empty: 1, ..Counts::default() });
        let under = |told: &Told| broken(&[grown()], &good(), told);
        for (found, said) in [
            (with(|one| one.samples[2].ready = 9), "catalog-serve came to 9 ready replicas, not 10"),
            (with(|one| one.samples[2].at_s = 163.0), "catalog-serve had 10 after 163 s; the simulation says 54 s"),
            (
                with(|one| one.samples[1].at_s = 76.0),
                "catalog-serve was to have 10 after 76 s; with 2 turns missed it would be 75 s",
            ),
            (with(|one| one.samples[0].wanted = 3), "catalog-serve began with 3 replicas, not 2"),
            (with(|one| one.restarts = 1), "containers of catalog-serve were started again 1 times"),
            (with(|one| one.reckoned.ready_after_s = None), "catalog-serve never has 10 replicas, says the simulation"),
            (under(&failed(1)), "1 of 100 requests failed under the step"),
            (under(&empty), "1 of 100 requests failed under the step"),
            (broken(&[grown()], &failed(2), &good()), "2 of 100 requests failed before the step"),
            (under(&Told::default()), "nothing was asked for under the step"),
            (
                under(&Told { repeated: true, ..good() }),
                "the client has repeated requests under the step, so some failed that nobody has counted",
            ),
        ] {
            assert_eq!(found, [said]);
        }
        let none = with(|one| one.samples.clear());
        assert_eq!(none.len(), 2, "what was not looked at has shown nothing: {none:?}");
    }
}
