//! The loop of autoscaling, reckoned second by second from the objects that drive it: how long after a step of load there are enough ready
//! replicas, how much waits meanwhile, and when that is done. Decided here: every delay is taken at its worst (a scrape, the window of
//! the rate, the poll, the controller's turn, the start of a pod), and a pod that finds no room waits for a node.
//!
//! Left out: the controller's tolerance of a tenth, which may leave a tenth fewer replicas; growing smaller, which waits for five minutes;
//! the pause of a consumer group whenever somebody joins. A real cluster is held against this; it decides nothing alone.

mod workload;

pub use workload::{Behaviour, Measure, Size, Workload};

/// Seconds between two looks of the horizontal autoscaler.
pub const CONTROLLER: u32 = 15;
/// Scrape interval of the monitors.
pub const SCRAPE: u32 = 5;
/// Seconds until a pod for which no node has room has one: an autoscaler of nodes asks for a machine that is prepared. Assumed, not measured;
/// a site that has racks instead of a cloud has what stands in its racks, and waits for ever.
const NODE: u32 = 120;
/// No loop takes longer; more means never.
const HORIZON: u32 = 900;

/// How a workload fared after a step of load.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    pub name: String,
    /// Replicas that the new load needs.
    pub needed: u32,
    /// Seconds until so many were ready; `None`: not within [`HORIZON`].
    pub ready_after_s: Option<u32>,
    /// The most that waited: requests as though none were turned away, or records.
    pub queue_most: f64,
    /// Seconds until nothing waited any more.
    pub drained_after_s: Option<u32>,
    /// Pods that found no room and waited for a node.
    pub without_room: u32,
}

/// A step of load from what the least replicas do at their target to `times` of it, for one workload that has all the room for itself.
pub fn alone(workload: &Workload, room: Size, times: u32) -> Course {
    let (mut running, mut room) = (Running::new(workload, times), room);
    for now in 1..=HORIZON {
        running.pass(now);
        running.look(now, &mut room);
    }
    running.course
}

/// The same for all of them at once: who is more urgent finds room first.
pub fn together(workloads: &[Workload], room: Size, times: u32) -> Vec<Course> {
    let mut all: Vec<Running<'_>> = workloads.iter().map(|workload| Running::new(workload, times)).collect();
    // Stable: of those that are equally urgent, the first one named.
    all.sort_by_key(|running| std::cmp::Reverse(running.of.priority));
    let mut room = room;
    for now in 1..=HORIZON {
        all.iter_mut().for_each(|running| running.pass(now));
        all.iter_mut().for_each(|running| running.look(now, &mut room));
    }
    all.into_iter().map(|running| running.course).collect()
}

/// One workload while time passes.
struct Running<'w> {
    of: &'w Workload,
    /// What comes in a second, before the step and from then on.
    usual: f64,
    rate: f64,
    decided: u32,
    /// When each pod beside the least is ready.
    ready_at: Vec<u32>,
    /// When pods were added, and how many.
    added: Vec<(u32, u32)>,
    /// What the controller has thought right, and when.
    thought: Vec<(u32, u32)>,
    /// What waited at the end of each second.
    queues: Vec<f64>,
    course: Course,
}

impl<'w> Running<'w> {
    fn new(of: &'w Workload, times: u32) -> Running<'w> {
        let Behaviour { least, measure, .. } = &of.behaviour;
        let usual = f64::from(*least) * measure.usual_of_one();
        let rate = usual * f64::from(times);
        let course = Course {
            name: of.name.clone(),
            needed: measure.replicas_for(rate),
            ready_after_s: None,
            queue_most: 0.0,
            drained_after_s: None,
            without_room: 0,
        };
        let (ready_at, added, thought, queues) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Running { of, usual, rate, decided: *least, ready_at, added, thought, queues, course }
    }

    /// A second of work.
    fn pass(&mut self, now: u32) {
        let Behaviour { least, measure, .. } = &self.of.behaviour;
        let more = self.ready_at.iter().filter(|at| **at <= now).count();
        let ready = least + u32::try_from(more).unwrap_or(u32::MAX - least);
        let can = f64::from(ready) * measure.most_of_one();
        let waiting = (self.queues.last().copied().unwrap_or_default() + self.rate - can).max(0.0);
        self.queues.push(waiting);
        let course = &mut self.course;
        course.queue_most = course.queue_most.max(waiting);
        if ready >= course.needed {
            course.ready_after_s.get_or_insert(now);
        }
        if waiting <= 0.0 && can >= self.rate {
            course.drained_after_s.get_or_insert(now);
        }
    }

    /// The controller's turn, when it is.
    fn look(&mut self, now: u32, room: &mut Size) {
        if !now.is_multiple_of(CONTROLLER) {
            return;
        }
        let behaviour = &self.of.behaviour;
        let right = behaviour.measure.replicas_for(self.seen(now)).max(behaviour.least);
        self.thought.push((now, right));
        let after = self.steadily(now).min(self.allowed(now)).min(behaviour.most);
        let more = after.saturating_sub(self.decided);
        if more == 0 {
            return;
        }
        self.decided = after;
        self.added.push((now, more));
        for _ in 0..more {
            let placed = room.take(self.of.size);
            self.course.without_room += u32::from(!placed);
            self.ready_at.push(now + self.of.start_s + if placed { 0 } else { NODE });
        }
    }

    /// What the controller sees: the load of the window before the last scrape and poll, or what waited at the last poll.
    fn seen(&self, now: u32) -> f64 {
        match self.of.behaviour.measure {
            Measure::Requests { window, .. } => {
                // Also what is turned away is answered, and counted.
                let full = now.saturating_sub(SCRAPE + self.of.behaviour.poll).min(window);
                self.usual + (self.rate - self.usual) * f64::from(full) / f64::from(window.max(1))
            }
            Measure::Lag { .. } => {
                let polled = usize::try_from(now.saturating_sub(self.of.behaviour.poll)).unwrap_or(0);
                polled.checked_sub(1).and_then(|at| self.queues.get(at)).copied().unwrap_or_default()
            }
        }
    }

    /// The least of what was right within the time that a change has to last.
    fn steadily(&self, now: u32) -> u32 {
        let steady = self.of.behaviour.stabilisation;
        if now <= steady {
            return self.of.behaviour.least;
        }
        let since = self.thought.iter().filter(|(at, _)| *at == now || *at > now - steady);
        since.map(|(_, right)| *right).min().unwrap_or(self.of.behaviour.least)
    }

    /// The most replicas that the policies allow now; the most generous of them counts.
    fn allowed(&self, now: u32) -> u32 {
        let reach = |&(percent, value, period): &(bool, u32, u32)| {
            let lately: u32 = self.added.iter().filter(|(at, _)| at + period > now).map(|(_, more)| *more).sum();
            let before = self.decided - lately;
            if percent { (before * (100 + value)).div_ceil(100) } else { before + value }
        };
        self.of.behaviour.policies.iter().map(reach).max().unwrap_or(self.decided)
    }
}
