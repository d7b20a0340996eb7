//! The processes of a rolling update: two that serve and one or two that work, of each service, on ports of their own. Decided here: how one
//! of them takes the place of another (`maxSurge: 1`, `maxUnavailable: 0`, as the charts have it), and how long it may take to end. Whose
//! programs the new one is follows from the stack that whoever replaces hands in.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::os;
use crate::stack::Stack;
use crate::stack::haproxy::{self, Instance};
use crate::stack::process::{Health, Spec};
use crate::stack::services::{self, SERVICES, SPILL_FOLDER};

/// Processes of one service; while one takes the place of another there is one more.
const SERVING: u16 = 2;
/// Most that work: ports are kept for so many and one more.
const WORKING: u16 = 2;

/// Ports at offset 0, behind those of the table. A slot that serves has three, one that works has one.
const FIRST_PORT: u16 = 8200;
const PORTS_OF_A_SERVICE: u16 = 20;

/// How long a process goes on serving once it is asked to end. The edge needs 0.7 s to notice; production has 10 s.
const GRACE_MS: u64 = 2_000;
/// A process that is ready so long takes the next one's place, as `minReadySeconds` has it; the edge notices within.
const READY_FOR: Duration = Duration::from_secs(3);
/// What the charts give a pod to end (`terminationGracePeriodSeconds`); then it is killed, and what it did is cut off.
const END_WITHIN: Duration = Duration::from_secs(45);
/// The last lines of a log, where a process says how it ended.
const LAST_LINES: usize = 3;
/// What a process says that did not end as asked: its drain time was too short, or a task failed (`chassis/entry.rs`).
const FAILED: &str = "process failed";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Serve,
    Work,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Serve => "serve",
            Role::Work => "work",
        }
    }

    /// Most processes of one service in this role.
    fn most(self) -> u16 {
        match self {
            Role::Serve => SERVING,
            Role::Work => WORKING,
        }
    }

    /// Setting and port of each listener, the one that tells readiness last.
    fn ports(self, place: u16, grpc: bool, slot: u16) -> Vec<(&'static str, u16)> {
        let first = FIRST_PORT + place * PORTS_OF_A_SERVICE;
        let of_slot = first + 3 * (slot - 1);
        match self {
            Role::Serve if grpc => {
                vec![("HTTP__PORT", of_slot), ("GRPC__PORT", of_slot + 1), ("ADMIN__PORT", of_slot + 2)]
            }
            Role::Serve => vec![("HTTP__PORT", of_slot), ("ADMIN__PORT", of_slot + 2)],
            Role::Work => vec![("ADMIN__WORK_PORT", first + 3 * (SERVING + 1) + slot - 1)],
        }
    }
}

/// The processes of one service in one role.
struct Deployment {
    service: &'static str,
    /// Of the service among all.
    place: u16,
    grpc: bool,
    role: Role,
    /// Processes of it, always.
    replicas: u16,
    /// Slots of those that run, the oldest first.
    running: VecDeque<u16>,
}

impl Deployment {
    fn slots(&self) -> std::ops::RangeInclusive<u16> {
        1..=self.replicas + 1
    }

    fn name(&self, slot: u16) -> String {
        format!("{}-{}-{slot}", self.service, self.role.name())
    }

    fn ports(&self, stack: &Stack, slot: u16) -> Vec<(&'static str, u16)> {
        let ports = self.role.ports(self.place, self.grpc, slot);
        ports.into_iter().map(|(setting, port)| (setting, port + stack.ports.offset())).collect()
    }

    fn spec(&self, stack: &Stack, slot: u16) -> Result<Spec> {
        let mut spec = stack.spec(&format!("{}-{}", self.service, self.role.name()))?;
        spec.name = self.name(slot);
        spec.folder = stack.layout.data(&spec.name, spec.account.as_ref())?;
        let ports = self.ports(stack, slot);
        let spills = spec.env.iter().any(|(key, _)| key == SPILL_FOLDER);
        // A later word for the same setting is the one that counts.
        let mut say = |key: String, value: String| spec.env.push((key, value));
        say("HOME".to_owned(), spec.folder.display().to_string());
        say("SHOPSPHERE__PROCESS__GRACE_MS".to_owned(), GRACE_MS.to_string());
        if spills {
            say(SPILL_FOLDER.to_owned(), spec.folder.join("spill").display().to_string());
        }
        for (setting, port) in &ports {
            say(format!("SHOPSPHERE__{setting}"), port.to_string());
        }
        spec.health = Health::Http(ports.last().map(|(_, admin)| (*admin, "/readyz".to_owned())).into_iter().collect());
        spec.ports = ports.into_iter().map(|(_, port)| port).collect();
        spec.stop_within = END_WITHIN;
        Ok(spec)
    }

    fn instances(&self, stack: &Stack) -> Vec<Instance> {
        if self.role != Role::Serve {
            return Vec::new();
        }
        let instance = |slot: u16| {
            let ports = self.ports(stack, slot);
            let of = |wanted: &str| ports.iter().find(|(setting, _)| *setting == wanted).map(|(_, port)| *port);
            let (http, admin) = (of("HTTP__PORT")?, of("ADMIN__PORT")?);
            Some(Instance { service: self.service, http, grpc: of("GRPC__PORT"), admin })
        };
        self.slots().filter_map(instance).collect()
    }

    /// A new process, of the programs of `stack`, takes the place of the oldest: it starts and is ready, then the old one is asked to end
    /// and ends.
    fn replace_oldest(&mut self, stack: &Stack) -> Result<Step> {
        let fresh = self.slots().find(|slot| !self.running.contains(slot)).context("no slot is free")?;
        let old = *self.running.front().context("nothing runs that could be replaced")?;
        let (old_name, new_name) = (self.name(old), self.name(fresh));
        if stack.running(&old_name).is_none() {
            bail!("{old_name} was not running when it was to be replaced");
        }
        let began = Instant::now();
        let spec = self.spec(stack, fresh)?;
        spec.start(&stack.layout)?;
        spec.wait_ready(&stack.layout)?;
        let ready = began.elapsed();
        self.running.push_back(fresh);
        std::thread::sleep(READY_FOR);
        os::check_interrupted()?;
        let asked = Instant::now();
        stack.stop(&old_name);
        self.running.pop_front();
        let ended = asked.elapsed();
        if ended >= END_WITHIN {
            bail!("{old_name} did not end within {} s and was killed", END_WITHIN.as_secs());
        }
        let last = os::tail(&stack.layout.log(&old_name), 0, LAST_LINES);
        if last.contains(FAILED) {
            bail!("{old_name} did not end as it should: {last}");
        }
        Ok(Step { old: old_name, new: new_name, ready_s: ready.as_secs_f64(), ended_s: ended.as_secs_f64() })
    }
}

/// One process that took the place of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub old: String,
    pub new: String,
    /// From its start until it was ready.
    pub ready_s: f64,
    /// From the signal until the old one had ended.
    pub ended_s: f64,
}

/// All processes of all services.
pub struct Fleet<'a> {
    stack: &'a Stack,
    deployments: Vec<Deployment>,
}

impl<'a> Fleet<'a> {
    /// Makes of a region that is up one where these processes answer, behind the edge and behind the ports of the table; `working` of each
    /// service work.
    ///
    /// # Errors
    /// When one of them does not become ready, or there are no ports for so many.
    pub fn start(stack: &'a Stack, working: u16) -> Result<Fleet<'a>> {
        if working == 0 || working > WORKING {
            bail!("between one and {WORKING} processes of a service work, not {working}");
        }
        let mut deployments = Vec::new();
        for (place, service) in (0..).zip(SERVICES) {
            let grpc = services::answers_grpc(stack, service)?;
            for role in [Role::Serve, Role::Work] {
                stack.stop(&format!("{}-{}", service.name, role.name()));
                let replicas = if role == Role::Work { working } else { SERVING };
                let running = (1..=replicas).collect();
                deployments.push(Deployment { service: service.name, place, grpc, role, replicas, running });
            }
        }
        let instances: Vec<Instance> = deployments.iter().flat_map(|one| one.instances(stack)).collect();
        let edge = haproxy::spec_with_instances(stack, &instances)?;
        // Before the services: they find each other through it.
        edge.start(&stack.layout)?;
        edge.wait_ready(&stack.layout)?;
        let mut started = Vec::new();
        for deployment in &deployments {
            for slot in &deployment.running {
                let spec = deployment.spec(stack, *slot)?;
                spec.start(&stack.layout)?;
                started.push(spec);
            }
        }
        for spec in started {
            spec.wait_ready(&stack.layout)?;
        }
        std::thread::sleep(READY_FOR);
        Ok(Fleet { stack, deployments })
    }

    /// Replaces every process, one after the other; what was done so far is in `steps` also when something goes wrong.
    ///
    /// # Errors
    /// When a new process does not become ready, or an old one does not end by itself.
    pub fn roll(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        for deployment in &mut self.deployments {
            for _ in 0..deployment.replicas {
                steps.push(told(deployment.replace_oldest(self.stack)?));
            }
        }
        Ok(())
    }

    /// Replaces the oldest process of each role of a service by one of the programs of `to`.
    ///
    /// # Errors
    /// As [`Fleet::roll`], and when there is no such service.
    pub fn replace_one_of_each(&mut self, service: &str, to: &Stack) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for deployment in self.deployments.iter_mut().filter(|one| one.service == service) {
            steps.push(told(deployment.replace_oldest(to)?));
        }
        if steps.is_empty() {
            bail!("there is no service {service}");
        }
        Ok(steps)
    }

    /// The programs that run as this service, one for each process.
    pub fn programs(&self, service: &str) -> Vec<PathBuf> {
        let of_service = self.deployments.iter().filter(|one| one.service == service);
        let names = of_service.flat_map(|one| one.running.iter().map(|slot| one.name(*slot)));
        names.filter_map(|name| self.stack.running(&name)?.command.first().map(PathBuf::from)).collect()
    }

    /// Processes that should run and do not.
    pub fn gone(&self) -> Vec<String> {
        let names = self.deployments.iter().flat_map(|one| one.running.iter().map(|slot| one.name(*slot)));
        names.filter(|name| self.stack.running(name).is_none()).collect()
    }
}

fn told(step: Step) -> Step {
    let Step { old, new, ready_s, ended_s } = &step;
    println!("{old} -> {new}: ready after {ready_s:.1} s, the old one ended in {ended_s:.1} s");
    step
}

/// A process beside those of a region, on ports that nobody else has: it can be started and ended without anybody noticing, because no
/// edge knows it.
///
/// # Errors
/// When there is no such service.
pub fn spare(stack: &Stack, service: &str, role: Role) -> Result<Spec> {
    let found = (0..).zip(SERVICES).find(|(_, one)| one.name == service);
    let (place, row) = found.with_context(|| format!("there is no service {service}"))?;
    let grpc = services::answers_grpc(stack, row)?;
    let (service, replicas, running) = (row.name, role.most(), VecDeque::new());
    Deployment { service, place, grpc, role, replicas, running }.spec(stack, replicas + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_slot_has_ports_of_its_own_that_no_row_of_the_table_has() {
        let mut taken: BTreeSet<u16> = crate::ports::TABLE.iter().map(|(_, _, port)| *port).collect();
        for (place, service) in (0..).zip(SERVICES) {
            for role in [Role::Serve, Role::Work] {
                for slot in 1..=role.most() + 1 {
                    for (setting, port) in role.ports(place, true, slot) {
                        assert!(taken.insert(port), "{} {role:?} {slot} {setting}: {port}", service.name);
                    }
                }
            }
        }
    }
}
