//! The region of a drill, and what is done to it: a second catalog-serve behind the edge, graceful restarts, kills, a new index, the
//! audit of the index. Decided here: how the second process differs from the first, and how long each may still serve once it is asked
//! to end.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::ports::Port;
use crate::stack::process::{Health, Spec};
use crate::stack::{Stack, haproxy, services};
use crate::{net, os};

/// The two processes that answer shoppers, and the one that brings changes into the index.
pub const SERVING: [&str; 2] = ["catalog-serve", "catalog-serve-2"];
pub const WORKING: &str = "catalog-work";

/// HTTP, gRPC and admin of the second process, at offset 0. No region has these but that of a drill.
const SECOND_PORTS: [u16; 3] = [8171, 8172, 8173];

/// How long a process goes on serving once it is asked to end. The edge needs 0.7 s to notice; production has 10 s.
const GRACE_MS: u64 = 2_000;
/// After a process is ready, until the edge has noticed.
pub const BALANCED: Duration = Duration::from_secs(2);

/// What the audit of the search index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    pub compared: u64,
    pub differed: u64,
    /// Different and too young to be judged.
    pub under_way: u64,
}

pub struct Region<'a> {
    pub stack: &'a Stack,
}

impl Region<'_> {
    /// Makes of a region that is up one with two serving catalogs behind its edge.
    ///
    /// # Errors
    /// When one of them does not become ready.
    pub fn doubled(&self) -> Result<()> {
        for name in SERVING {
            self.start(name)?;
        }
        let [http, _, admin] = self.second_ports();
        let edge = haproxy::spec_with_second(self.stack, "catalog", http, admin)?;
        edge.start(&self.stack.layout)?;
        edge.wait_ready(&self.stack.layout)?;
        std::thread::sleep(BALANCED);
        Ok(())
    }

    fn second_ports(&self) -> [u16; 3] {
        SECOND_PORTS.map(|port| port + self.stack.ports.offset())
    }

    fn spec(&self, name: &str) -> Result<Spec> {
        if !SERVING.contains(&name) {
            return self.stack.spec(name);
        }
        let mut spec = self.stack.spec(SERVING[0])?;
        let mut say = |key: &str, value: u64| spec.env.push((format!("SHOPSPHERE__{key}"), value.to_string()));
        say("PROCESS__GRACE_MS", GRACE_MS);
        if name == SERVING[1] {
            let ports = self.second_ports();
            for (key, port) in ["HTTP__PORT", "GRPC__PORT", "ADMIN__PORT"].into_iter().zip(ports) {
                say(key, u64::from(port));
            }
            name.clone_into(&mut spec.name);
            spec.ports = ports.to_vec();
            spec.health = Health::Http(vec![(ports[2], "/readyz".to_owned())]);
        }
        Ok(spec)
    }

    /// Starts a process and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(&self, name: &str) -> Result<()> {
        let spec = self.spec(name)?;
        spec.start(&self.stack.layout)?;
        spec.wait_ready(&self.stack.layout)
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When there was nothing to kill.
    pub fn kill(&self, name: &str) -> Result<()> {
        if !self.stack.kill(name) {
            bail!("{name} was not running when it was to be killed");
        }
        Ok(())
    }

    /// Asks a process to end, starts it again, and waits until the edge knows.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&self, name: &str) -> Result<()> {
        self.stack.stop(name);
        self.start(name)?;
        std::thread::sleep(BALANCED);
        Ok(())
    }

    /// Builds the next version of the search index and moves the alias; gives the name of the index behind it now.
    ///
    /// # Errors
    /// When it fails, or the alias did not move.
    pub fn reindex(&self) -> Result<String> {
        let before = self.index()?;
        let log = self.stack.layout.log("catalog-reindex");
        os::run("catalog migrate reindex", &mut self.catalog(&["migrate", "reindex"])?, &log)?;
        let now = self.index()?;
        if now == before {
            bail!("the alias did not move: it still names {now}");
        }
        Ok(now)
    }

    fn index(&self) -> Result<String> {
        let path = format!("/_alias/products-{}", self.stack.region.code);
        let answer = net::http_get(self.stack.ports.of(Port::Elasticsearch), &path)?;
        let indexes: Value = serde_json::from_str(&answer.body).context("Elasticsearch's answer about the alias")?;
        let names = indexes.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        match &names[..] {
            [name] if answer.status == 200 => Ok(name.clone()),
            _ => bail!("the alias names not one index but: {}", answer.body),
        }
    }

    /// Compares the search index with the store, product by product.
    ///
    /// # Errors
    /// When the comparison did not come to its end.
    pub fn audit(&self) -> Result<Audit> {
        // It fails when anything differed; what it counted stands in its log all the same.
        let output = self.catalog(&["check", "index"])?.stdin(Stdio::null()).output().context("run catalog check")?;
        let log = String::from_utf8_lossy(&output.stdout);
        let audit = log.lines().filter_map(read_audit).next_back();
        audit.with_context(|| format!("catalog check index ({}) compared nothing:\n{log}", output.status))
    }

    fn catalog(&self, words: &[&str]) -> Result<Command> {
        let config = self.stack.layout.state.join("config/catalog.toml");
        let mut command = Command::new(services::binary(self.stack, "catalog")?);
        command.args(words).arg("--config").arg(config).current_dir(&self.stack.layout.state);
        Ok(command)
    }
}

/// The line of the log that ends an audit (`catalog/inbound/index_watch.rs`).
fn read_audit(line: &str) -> Option<Audit> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "search index and store compared" {
        return None;
    }
    let count = |name: &str| line[name].as_u64();
    Some(Audit { compared: count("compared")?, differed: count("differed")?, under_way: count("under_way")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_audit_is_read_and_nothing_else() {
        let line = r#"{"level":"INFO","message":"search index and store compared","compared":850,"differed":2,"repaired":2,"under_way":1}"#;
        assert_eq!(read_audit(line), Some(Audit { compared: 850, differed: 2, under_way: 1 }));
        for other in
            ["", "no JSON", r#"{"message":"cache is reachable"}"#, r#"{"message":"search index and store compared"}"#]
        {
            assert_eq!(read_audit(other), None, "{other}");
        }
    }

    #[test]
    fn the_second_process_has_ports_that_no_row_of_the_table_has() {
        for (_, name, port) in crate::ports::TABLE {
            assert!(!SECOND_PORTS.contains(port), "{name} has port {port}");
        }
    }
}
