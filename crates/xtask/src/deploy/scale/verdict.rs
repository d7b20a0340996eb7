//! Which courses break a promise. Decided here: what is promised. A serving workload that has the site's room for itself meets five times
//! the load within a minute (the standing promise); all of them at once within three (the requirement); ten times the load is met in the
//! end, and nothing waits for ever. A standby promises nothing: it has not been made the primary yet, and keeps little room.

use crate::deploy::simulation::Course;

/// What the standing promise allows for five times the load; the requirement is three times as long.
pub const ALONE_S: u32 = 60;
/// What the requirement allows when everything grows at once.
const TOGETHER_S: u32 = 180;
/// The times of load that are promised within these.
pub const FIVE: u32 = 5;

/// A step of load of one site.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub times: u32,
    /// Each workload for itself; otherwise all at once.
    pub alone: bool,
    pub courses: Vec<Course>,
}

/// Every sentence of the promise that is broken by a step at a site that serves.
pub fn broken(step: &Step) -> Vec<String> {
    let Step { times, alone, courses } = step;
    let limit = if *alone { ALONE_S } else { TOGETHER_S };
    let how = if *alone { "alone" } else { "with all others" };
    let mut broken = Vec::new();
    for course in courses {
        let name = &course.name;
        // Consumers are judged by what waits: how many of them that takes is their own affair.
        let judged = *times <= FIVE && name.ends_with("-serve");
        match course.ready_after_s {
            Some(seconds) if judged && seconds > limit => {
                broken.push(format!("{name} {how} meets {times} times the load after {seconds} s, not {limit} s"));
            }
            Some(_) => {}
            None => broken.push(format!("{name} {how} never meets {times} times the load")),
        }
        if course.drained_after_s.is_none() {
            broken.push(format!("{name} {how} never catches up with {times} times the load"));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(name: &str, ready_after_s: Option<u32>, drained_after_s: Option<u32>) -> Course {
        let name = name.to_owned();
        Course { name, needed: 15, ready_after_s, queue_most: 1.0, drained_after_s, without_room: 0 }
    }

    #[test]
    fn what_is_late_or_never_done_breaks_the_promise() {
        let step = |times, alone, one: Course| broken(&Step { times, alone, courses: vec![one] });
        let serve = |ready, drained| course("user-serve", ready, drained);
        assert_eq!(step(5, true, serve(Some(60), Some(80))), Vec::<String>::new());
        assert_eq!(step(5, false, serve(Some(180), Some(300))), Vec::<String>::new());
        assert_eq!(step(10, true, serve(Some(181), Some(300))), Vec::<String>::new());
        assert_eq!(step(5, true, course("user-work", Some(61), Some(80))), Vec::<String>::new());
        for (found, said) in [
            (step(5, true, serve(Some(61), Some(80))), "user-serve alone meets 5 times the load after 61 s, not 60 s"),
            (
                step(5, false, serve(Some(181), Some(300))),
                "user-serve with all others meets 5 times the load after 181 s, not 180 s",
            ),
            (step(10, true, serve(None, Some(300))), "user-serve alone never meets 10 times the load"),
            (
                step(10, false, course("user-work", Some(40), None)),
                "user-work with all others never catches up with 10 times the load",
            ),
        ] {
            assert_eq!(found, [said]);
        }
    }
}
