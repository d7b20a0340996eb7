//! A Redis Cluster of a test's own: servers on free ports of this machine, which end when the test does. Decided here: how it is formed, and
//! that a master which is gone is missed within seconds. Not decided here: what is written to it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use xtask::layout::{self, Layout};
use xtask::{net, os};

use crate::wait;

/// Longest wait for anything here, on two busy cores.
const LIMIT: Duration = Duration::from_secs(60);

/// A master that is silent for this long is gone, in milliseconds. A cluster in a region waits 15 seconds. Where there are copies a test waits
/// for one to take over; where there are none, a machine that stands still for a moment is not to be taken for a loss.
const GONE_MS: &str = "2000";
const NEVER_GONE_MS: &str = "60000";

/// All slots there are.
const SLOTS: usize = 16_384;

struct Node {
    port: u16,
    /// Where the servers talk among themselves.
    bus: u16,
    process: Child,
}

impl Node {
    fn say(&self, words: &[&str]) -> anyhow::Result<String> {
        net::redis_say(self.port, words).with_context(|| format!("{words:?} on port {}", self.port))
    }
}

/// Masters, each with an equal range of slots, and perhaps a copy of each.
pub struct RedisCluster {
    folder: PathBuf,
    masters: usize,
    /// The masters, then their copies in the same order.
    nodes: Vec<Node>,
}

impl RedisCluster {
    /// Starts `masters` servers, and as many copies if they are wanted, and waits until all agree that every slot is served.
    ///
    /// # Panics
    /// There is no redis-server, or the cluster is not whole within a minute.
    pub async fn start(masters: usize, copied: bool) -> Self {
        let layout = Layout::from_env(&layout::checkout()).expect("the state folder of the test stack");
        let name = format!("redis-cluster-{}", uuid::Uuid::new_v4().simple());
        let folder = layout.data(&name, None).expect("a folder for the cluster");
        // From here on they end with it, whatever happens.
        let mut cluster = Self { folder, masters, nodes: Vec::new() };
        let count = if copied { 2 * masters } else { masters };
        for pair in free_ports(2 * count).chunks(2) {
            let node =
                cluster.spawn(pair[0], pair[1], if copied { GONE_MS } else { NEVER_GONE_MS }).expect("a redis-server");
            cluster.nodes.push(node);
        }
        wait::until("the servers of a cluster", LIMIT, async || cluster.each(|node| node.say(&["PING"]).map(drop)))
            .await;
        cluster.join().expect("the servers agree to be a cluster");
        wait::until("the servers of a cluster to know each other", LIMIT, async || {
            cluster.each(|node| says(node, "CLUSTER", &format!("cluster_known_nodes:{count}")))
        })
        .await;
        for place in masters..count {
            let master = cluster.id(place - masters).expect("the id of a master");
            wait::until("a server to become a copy", LIMIT, async || {
                cluster.nodes[place].say(&["CLUSTER", "REPLICATE", &master])
            })
            .await;
        }
        wait::until("a whole cluster", LIMIT, async || {
            cluster.each(is_whole)?;
            cluster.nodes[masters..].iter().try_for_each(|copy| says(copy, "INFO", "master_link_status:up"))
        })
        .await;
        cluster
    }

    /// For the services' client; every server is named.
    pub fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }

    /// The ports of the masters as they began.
    pub fn masters(&self) -> Vec<u16> {
        self.nodes[..self.masters].iter().map(|node| node.port).collect()
    }

    /// Which of the masters, as they began, has a key.
    ///
    /// # Panics
    /// The first server does not answer.
    pub fn master_of(&self, key: &str) -> usize {
        let slot = self.nodes[0].say(&["CLUSTER", "KEYSLOT", key]).expect("a slot");
        slot.parse::<usize>().expect("a number") * self.masters / SLOTS
    }

    /// Kills a master without warning.
    ///
    /// # Panics
    /// It cannot be killed.
    pub fn kill(&mut self, master: usize) {
        let process = &mut self.nodes[master].process;
        process.kill().expect("a process of ours");
        process.wait().expect("a process of ours");
    }

    /// Waits until the copy of a master that was killed has taken its place and all that are left agree that every slot is served.
    ///
    /// # Panics
    /// After a minute.
    pub async fn taken_over(&self, master: usize) {
        wait::until("a copy to take over", LIMIT, async || {
            says(&self.nodes[self.masters + master], "INFO", "role:master")?;
            let left = self.nodes.iter().enumerate().filter(|(place, _)| *place != master);
            left.map(|(_, node)| node).try_for_each(is_whole)
        })
        .await;
    }

    fn spawn(&self, port: u16, bus: u16, gone_ms: &str) -> anyhow::Result<Node> {
        let program =
            os::which("redis-server").context("redis-server is missing; it is a Debian package of that name")?;
        let (own, among, config) = (port.to_string(), bus.to_string(), format!("nodes-{port}.conf"));
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", own.as_str(), "--cluster-port", among.as_str()])
            .args(["--cluster-enabled", "yes", "--cluster-config-file", config.as_str()])
            .args(["--cluster-node-timeout", gone_ms])
            // Who has lost a master serves what the others have.
            .args(["--cluster-require-full-coverage", "no"])
            // A copy takes over however long it has not heard of its master: nobody waits for another.
            .args(["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"])
            .args(["--save", "", "--appendonly", "no", "--maxmemory", "128mb"])
            .arg("--dir")
            .arg(&self.folder)
            .arg("--logfile")
            .arg(format!("redis-{port}.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Node { port, bus, process })
    }

    /// Hands out the slots and introduces the servers to each other.
    fn join(&self) -> anyhow::Result<()> {
        for (place, node) in self.nodes.iter().enumerate() {
            node.say(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()])?;
            if place < self.masters {
                // The same division as in `master_of`.
                let first = (place * SLOTS).div_ceil(self.masters).to_string();
                let last = (((place + 1) * SLOTS).div_ceil(self.masters) - 1).to_string();
                node.say(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            }
        }
        for node in &self.nodes[1..] {
            let (port, bus) = (node.port.to_string(), node.bus.to_string());
            self.nodes[0].say(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        Ok(())
    }

    fn id(&self, place: usize) -> anyhow::Result<String> {
        self.nodes[place].say(&["CLUSTER", "MYID"])
    }

    fn each(&self, look: impl Fn(&Node) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(look)
    }
}

fn is_whole(node: &Node) -> anyhow::Result<()> {
    says(node, "CLUSTER", "cluster_state:ok")?;
    says(node, "CLUSTER", &format!("cluster_slots_ok:{SLOTS}"))
}

/// Whether a server says this of the cluster or of its part in it.
fn says(node: &Node, about: &str, line: &str) -> anyhow::Result<()> {
    let words = if about == "CLUSTER" { ["CLUSTER", "INFO"] } else { [about, "replication"] };
    let said = node.say(&words)?;
    if said.lines().any(|known| known == line) {
        return Ok(());
    }
    bail!("port {} does not say {line}: {said}", node.port)
}

/// Ports that nobody listens on. All are held until all are found, so they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<std::net::TcpListener> =
        (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // It may have been killed already.
            let _ = node.process.kill();
            let _ = node.process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
