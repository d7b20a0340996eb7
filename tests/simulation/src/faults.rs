//! What goes wrong in one schedule: a short list, drawn from the seed before anything runs, each fault tied to the n-th
//! opportunity of its kind. So a fault can be left out and the rest of the schedule replayed: that is how a failure shrinks.

use std::fmt;

use crate::rng::Rng;

/// Which books a commit goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Orders,
    Stock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process stops at its n-th moment; everything it had in memory is gone.
    Crash {
        process: usize,
        at: u32,
        down_ms: i64,
    },
    /// The process stands still and then goes on as if nothing had been: a zombie.
    Freeze {
        process: usize,
        at: u32,
        for_ms: i64,
    },
    Commit {
        side: Side,
        at: u32,
        what: CommitFault,
    },
    Call {
        at: u32,
        what: CallFault,
    },
    Look {
        at: u32,
    },
    Hook {
        at: u32,
        what: HookFault,
    },
    Publish {
        at: u32,
        what: PublishFault,
    },
    /// A delivery that takes long.
    Deliver {
        at: u32,
        ms: i64,
    },
    /// The shopper never sees this answer.
    Answer {
        at: u32,
    },
    /// All consumers go back to the beginning of their topics.
    Rewind {
        at_ms: i64,
    },
    /// A new reign: processes of the old one must not write any more.
    Reign {
        at_ms: i64,
    },
    /// The standby site does not confirm.
    Gate {
        from_ms: i64,
        for_ms: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// Applied; the caller is told that nobody knows.
    UnknownApplied,
    /// Not applied; the caller is told that nobody knows.
    UnknownNever,
    /// Nobody knows, and the old backend commits after this long.
    UnknownLater {
        ms: i64,
    },
    Slow {
        before_ms: i64,
        after_ms: i64,
    },
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFault {
    /// Timed out, not done.
    LostRequest,
    /// Timed out, done.
    LostAnswer,
    /// 500, done.
    ErrorAfter,
    /// 500, not done.
    ErrorBefore,
    /// Timed out, done much later.
    Late {
        ms: i64,
    },
    /// Timed out, and money moves much later in spite of a cancel that was accepted in between.
    LateInSpite {
        ms: i64,
    },
    Throttled,
    NotSent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookFault {
    Lost,
    Twice,
    Late {
        ms: i64,
    },
    /// Before the answer to the call that caused it.
    First,
    /// Followed by one that speaks of another amount.
    OtherAmount,
    /// Followed by the same event id with another body.
    Clash,
    /// Says that the payment failed, whatever happened.
    Contradicts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishFault {
    /// The broker has it, the relay does not know.
    AckLost,
    Twice,
    Slow {
        ms: i64,
    },
}

/// The faults of a schedule and how often each kind of opportunity has come by.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub faults: Vec<Fault>,
    pub fired: Vec<bool>,
    moments: [u32; 8],
    commits: [u32; 2],
    calls: u32,
    looks: u32,
    hooks: u32,
    publishes: u32,
    deliveries: u32,
    answers: u32,
}

/// Faults of one schedule at most: more of them hide each other.
const MOST: u64 = 6;

impl Plan {
    /// The plan of `seed`, without the faults whose bit in `without` is set.
    pub fn new(seed: u64, without: u64, processes: usize) -> Self {
        let mut rng = Rng::new(seed, 1);
        let count = [0, 1, 1, 2, 2, 3, 3, 4, 5, MOST][usize::try_from(rng.below(10)).unwrap_or(0)];
        let faults: Vec<Fault> = (0..count).map(|_| draw(&mut rng, processes)).collect();
        let faults: Vec<Fault> = faults
            .into_iter()
            .enumerate()
            .filter(|(index, _)| without >> index & 1 == 0)
            .map(|(_, fault)| fault)
            .collect();
        Self { fired: vec![false; faults.len()], faults, ..Self::default() }
    }

    fn take<T>(&mut self, mut wanted: impl FnMut(&Fault) -> Option<T>) -> Option<T> {
        for (index, fault) in self.faults.iter().enumerate() {
            if let Some(found) = wanted(fault) {
                self.fired[index] = true;
                return Some(found);
            }
        }
        None
    }

    /// A moment of `process`: does it crash (`true`) or freeze (`false`) here, and for how long?
    pub fn moment(&mut self, process: usize) -> Option<(bool, i64)> {
        let Some(now) = self.moments.get_mut(process) else { return None };
        *now += 1;
        let now = *now;
        self.take(|fault| match *fault {
            Fault::Crash { process: doomed, at, down_ms } if doomed == process && at == now => Some((true, down_ms)),
            Fault::Freeze { process: frozen, at, for_ms } if frozen == process && at == now => Some((false, for_ms)),
            _ => None,
        })
    }

    pub fn commit(&mut self, side: Side) -> Option<CommitFault> {
        let count = &mut self.commits[side as usize];
        *count += 1;
        let now = *count;
        self.take(|fault| match *fault {
            Fault::Commit { side: here, at, what } if here == side && at == now => Some(what),
            _ => None,
        })
    }

    pub fn call(&mut self) -> Option<CallFault> {
        self.calls += 1;
        let now = self.calls;
        self.take(|fault| {
            matches_at(fault, now, |fault| if let Fault::Call { at, what } = *fault { Some((at, what)) } else { None })
        })
    }

    pub fn look(&mut self) -> bool {
        self.looks += 1;
        let now = self.looks;
        self.take(|fault| {
            matches_at(fault, now, |fault| if let Fault::Look { at } = *fault { Some((at, ())) } else { None })
        })
        .is_some()
    }

    pub fn hook(&mut self) -> Option<HookFault> {
        self.hooks += 1;
        let now = self.hooks;
        self.take(|fault| {
            matches_at(fault, now, |fault| if let Fault::Hook { at, what } = *fault { Some((at, what)) } else { None })
        })
    }

    pub fn publish(&mut self) -> Option<PublishFault> {
        self.publishes += 1;
        let now = self.publishes;
        self.take(|fault| {
            matches_at(
                fault,
                now,
                |fault| if let Fault::Publish { at, what } = *fault { Some((at, what)) } else { None },
            )
        })
    }

    pub fn delivery(&mut self) -> Option<i64> {
        self.deliveries += 1;
        let now = self.deliveries;
        self.take(|fault| {
            matches_at(fault, now, |fault| if let Fault::Deliver { at, ms } = *fault { Some((at, ms)) } else { None })
        })
    }

    pub fn answer_is_lost(&mut self) -> bool {
        self.answers += 1;
        let now = self.answers;
        self.take(|fault| {
            matches_at(fault, now, |fault| if let Fault::Answer { at } = *fault { Some((at, ())) } else { None })
        })
        .is_some()
    }

    /// Is the gate to the standby site closed at this time?
    pub fn gate_is_closed(&mut self, now_ms: i64) -> bool {
        self.take(|fault| match *fault {
            Fault::Gate { from_ms, for_ms } if (from_ms..from_ms + for_ms).contains(&now_ms) => Some(()),
            _ => None,
        })
        .is_some()
    }
}

fn matches_at<T>(fault: &Fault, now: u32, read: impl Fn(&Fault) -> Option<(u32, T)>) -> Option<T> {
    read(fault).filter(|(at, _)| *at == now).map(|(_, what)| what)
}

fn nth(rng: &mut Rng, most: u64) -> u32 {
    u32::try_from(rng.below(most) + 1).unwrap_or(1)
}

fn draw(rng: &mut Rng, processes: usize) -> Fault {
    let process = usize::try_from(rng.below(processes as u64)).unwrap_or(0);
    match rng.below(100) {
        0..=19 => {
            Fault::Crash { process, at: nth(rng, if process == 0 { 25 } else { 110 }), down_ms: rng.between(5, 8_000) }
        }
        20..=31 => Fault::Freeze {
            process,
            at: nth(rng, if process == 0 { 25 } else { 110 }),
            for_ms: rng.between(500, 45_000),
        },
        32..=46 => commit_fault(rng),
        47..=66 => Fault::Call { at: nth(rng, 14), what: call_fault(rng) },
        67..=69 => Fault::Look { at: nth(rng, 5) },
        70..=79 => Fault::Hook { at: nth(rng, 8), what: hook_fault(rng) },
        80..=86 => Fault::Publish { at: nth(rng, 20), what: publish_fault(rng) },
        87..=89 => Fault::Deliver { at: nth(rng, 16), ms: rng.between(500, 40_000) },
        90..=92 => Fault::Answer { at: nth(rng, 5) },
        93..=95 => Fault::Rewind { at_ms: rng.between(50, 20_000) },
        96..=97 => Fault::Reign { at_ms: rng.between(50, 6_000) },
        _ => Fault::Gate { from_ms: rng.between(0, 3_000), for_ms: rng.between(1_000, 60_000) },
    }
}

fn commit_fault(rng: &mut Rng) -> Fault {
    let side = if rng.percent(70) { Side::Orders } else { Side::Stock };
    let what = match rng.below(10) {
        0..=1 => CommitFault::UnknownApplied,
        2..=3 => CommitFault::UnknownNever,
        4..=5 => CommitFault::UnknownLater { ms: rng.between(1, 6_000) },
        6..=7 => CommitFault::Slow { before_ms: rng.between(1, 30_000), after_ms: rng.between(1, 30_000) },
        _ => CommitFault::Refused,
    };
    Fault::Commit { side, at: nth(rng, if side == Side::Orders { 30 } else { 10 }), what }
}

fn call_fault(rng: &mut Rng) -> CallFault {
    match rng.below(20) {
        0..=1 => CallFault::LostRequest,
        2..=4 => CallFault::LostAnswer,
        5..=7 => CallFault::ErrorAfter,
        8..=9 => CallFault::ErrorBefore,
        10..=13 => CallFault::Late { ms: rng.between(100, 600_000) },
        14..=17 => CallFault::LateInSpite { ms: rng.between(1_000, 600_000) },
        18 => CallFault::Throttled,
        _ => CallFault::NotSent,
    }
}

fn hook_fault(rng: &mut Rng) -> HookFault {
    match rng.below(8) {
        0 | 1 => HookFault::Lost,
        2 => HookFault::Twice,
        3 => HookFault::Late { ms: rng.between(1_000, 600_000) },
        4 => HookFault::First,
        5 => HookFault::OtherAmount,
        6 => HookFault::Clash,
        _ => HookFault::Contradicts,
    }
}

fn publish_fault(rng: &mut Rng) -> PublishFault {
    match rng.below(3) {
        0 => PublishFault::AckLost,
        1 => PublishFault::Twice,
        _ => PublishFault::Slow { ms: rng.between(500, 30_000) },
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}
