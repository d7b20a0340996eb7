//! One region on this machine: which processes it has, started, stopped and killed by name. Used by `./dev` for the whole and by
//! tests for single processes ("kill the payment worker in the middle"). Not decided here: how each one is configured (their files).

pub mod elasticsearch;
pub mod ferretdb;
pub mod haproxy;
pub mod java;
pub mod kafka;
pub mod keycloak;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod redis;
pub mod region;
pub mod services;
pub mod stripe_mock;
pub mod up;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::layout::{self, Account, Layout};
use crate::ports::Ports;
use crate::provision::{gomod, maven};
use process::{Record, Spec};
use programs::Programs;
use region::LocalRegion;

/// What a stack is for. Test stacks need not survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Development,
    Test,
}

/// The accounts processes run as; `None` is ourselves.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    pub service: Option<Account>,
    pub postgres: Option<Account>,
}

/// One region on this machine.
#[derive(Debug, Clone)]
pub struct Stack {
    pub layout: Layout,
    pub ports: Ports,
    pub purpose: Purpose,
    pub accounts: Accounts,
    pub region: LocalRegion,
    /// Our programs are the release builds.
    pub release: bool,
    /// The services, when they are not this checkout's.
    pub services_of: Option<Programs>,
    /// The name and port by which clients elsewhere reach Kafka, which has a listener of its own for them: a broker tells its clients where
    /// they find it, so a passage that only passes bytes on is not enough.
    pub kafka_elsewhere: Option<String>,
    /// Seconds after which money without an order goes back, when not after a day: a run that has to see it cannot wait so long.
    pub orphan_deadline_s: Option<u16>,
    /// Declined cards of one person after which no more are tried, when not as in a shop: a run whose few people pay for thousands of orders
    /// has none of it (0).
    pub most_declined: Option<u16>,
}

impl Stack {
    /// A stack with this state and these ports. Nothing is started.
    ///
    /// # Errors
    /// When folders or accounts cannot be made.
    pub fn open(layout: Layout, ports: Ports, purpose: Purpose, release: bool) -> Result<Stack> {
        let region = region::local(&layout.checkout)?;
        let accounts =
            Accounts { service: layout::service_account()?, postgres: layout::postgres_account().unwrap_or_default() };
        Ok(Stack {
            layout,
            ports,
            purpose,
            accounts,
            region,
            release,
            services_of: None,
            kafka_elsewhere: None,
            orphan_deadline_s: None,
            most_declined: None,
        })
    }

    /// The stack the tests run against, as `./dev test` tells through `SHOPSPHERE_STATE_DIR` and `SHOPSPHERE_PORT_OFFSET`; without
    /// them `.dev/test` of the checkout at offset 2000.
    ///
    /// # Errors
    /// As `open`.
    pub fn from_env() -> Result<Stack> {
        let layout = Layout::from_env(&layout::checkout())?;
        Stack::open(layout, Ports::from_env(TEST_OFFSET)?, Purpose::Test, false)
    }

    /// The same region with services of an earlier commit.
    #[must_use]
    pub fn with_services_of(&self, programs: Programs) -> Stack {
        Stack { services_of: Some(programs), ..self.clone() }
    }

    /// The realm of this region in Keycloak.
    pub fn realm(&self) -> String {
        format!("shopsphere-{}", self.region.code)
    }

    /// The server with this name, ready to start. Its tool must be in the cache already or is put there.
    ///
    /// # Errors
    /// An unknown name, a tool that cannot be had.
    pub fn server(&self, name: &str) -> Result<Spec> {
        match name {
            "postgres" => postgres::spec(self),
            "redis" => redis::spec(self),
            "kafka" => kafka::spec(self, &maven::kafka(&self.layout)?),
            "elasticsearch" => elasticsearch::spec(self, &maven::elasticsearch(&self.layout)?),
            "keycloak" => keycloak::spec(self, &maven::keycloak(&self.layout)?),
            "ferretdb" => ferretdb::spec(self, &gomod::ferretdb(&self.layout)?),
            "haproxy" => haproxy::spec(self),
            JUDGE => stripe_mock::spec(self, &gomod::stripe_mock(&self.layout)?),
            _ => bail!("there is no server named {name}; there are {}", SERVERS.join(", ")),
        }
    }

    /// The process with this name: a server, or a service in a role such as `catalog-work`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn spec(&self, name: &str) -> Result<Spec> {
        if SERVERS.contains(&name) || name == JUDGE {
            return self.server(name);
        }
        let found = services::specs(self)?.into_iter().find(|spec| spec.name == name);
        found.with_context(|| format!("there is no process named {name}"))
    }

    /// Starts a process and waits until it is ready; does nothing to one that runs and is ready.
    ///
    /// # Errors
    /// When it cannot start or does not become ready.
    pub fn start(&self, name: &str) -> Result<()> {
        let spec = self.spec(name)?;
        spec.start(&self.layout)?;
        spec.wait_ready(&self.layout)
    }

    /// Asks a process to end, waits, then forces it. Nothing happens when it does not run.
    pub fn stop(&self, name: &str) {
        if let Some(record) = process::running(&self.layout, name) {
            process::stop(&self.layout, &record);
        }
    }

    /// Kills a process and its children without warning (SIGKILL). Says whether there was one.
    pub fn kill(&self, name: &str) -> bool {
        let running = process::running(&self.layout, name);
        if let Some(record) = &running {
            process::kill(record);
        }
        running.is_some()
    }

    /// The record of a process that is alive.
    pub fn running(&self, name: &str) -> Option<Record> {
        process::running(&self.layout, name)
    }

    /// Is the process alive and ready?
    pub fn is_ready(&self, name: &str) -> bool {
        self.running(name).is_some() && self.spec(name).is_ok_and(|spec| spec.probe().is_ok())
    }

    /// Ends everything of this stack in reverse order of starting. Data stays.
    pub fn down(&self) -> Vec<String> {
        down(&self.layout)
    }
}

/// The offset of the test stack.
pub const TEST_OFFSET: u16 = 2000;

/// The servers of a region, in the order a reader meets them.
pub const SERVERS: &[&str] = &["postgres", "redis", "kafka", "elasticsearch", "keycloak", "ferretdb", "haproxy"];

/// A server that only tests ask, and that a stack can do without: those tests say that they were skipped.
pub const JUDGE: &str = "stripe-mock";

/// Ends every recorded process of a state folder, in reverse order of starting: only where pid and start time match. Gives the
/// names of those that ran.
pub fn down(layout: &Layout) -> Vec<String> {
    let records = process::records(layout);
    let ended = records.iter().rev().filter(|record| record.alive()).map(|record| record.name.clone()).collect();
    // Services before servers: a service that loses its database while it drains would log errors that mean nothing.
    let (servers, ours): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.role == "server");
    for group in [ours, servers] {
        // Within a group nobody waits for another: all are asked at once, then waited for in reverse order.
        for record in group.iter().rev().filter(|record| record.alive() && record.name != "postgres") {
            crate::os::signal(record.pid, record.stop);
        }
        for record in group.iter().rev() {
            process::stop(layout, record);
        }
    }
    ended
}

/// Removes the data of a stack; its logs stay. Everything must have been stopped.
///
/// # Errors
/// When files cannot be removed.
pub fn wipe(layout: &Layout) -> Result<()> {
    if let Some(record) = process::records(layout).iter().find(|record| record.alive()) {
        bail!("{} still runs; stop it first", record.name);
    }
    remove(&layout.state.join("data"))?;
    std::fs::create_dir_all(layout.state.join("data")).context("make the data folder again")
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
