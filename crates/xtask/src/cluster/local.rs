//! `cluster up`, `status`, `scale`, `down`: a region in a Kubernetes of our own. Decided here: the order, the passages between this machine and the
//! throw-away one, and that `down` leaves nothing, neither processes nor data. Saying `up` again brings programs that were built since.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::kubectl::until;
use super::machine::{self, ADDRESS, FIRST, Machine, SECOND};
use super::node::Nodes;
use super::region::{self, Region, STORES};
use super::tools::Tools;
use crate::deploy::checks::Building;
use crate::layout::Layout;
use crate::net;
use crate::os;
use crate::ports::{Port, Ports};
use crate::progress::Progress;
use crate::stack::process::{self, Health, Spec};
use crate::stack::services::SERVICES;
use crate::stack::up::{Wanted, build, up as start_servers};
use crate::stack::{self, Purpose, Stack};

/// The offset of the region whose services are pods; no other stack of ours stands there.
pub const OFFSET: u16 = 7_000;
/// Pods are ready already; the edge looks twice a second.
const ANSWERS: Duration = Duration::from_secs(60);
const PASSAGE_HERE: &str = "passage-here";
const PASSAGE_STORES: &str = "passage-stores";
const PASSAGE_PODS: &str = "passage-pods";
const PASSAGE_TO_PODS: &str = "passage-to-pods";

/// Where everything of it is.
pub(super) struct Place {
    pub layout: Layout,
    pub stack: Stack,
    /// The one with the control plane and the passages.
    pub machine: Machine,
    second: Machine,
}

impl Place {
    pub fn open(offset: u16) -> Result<Place> {
        let top = super::layout_at(0)?;
        let layout = Layout::open(&top.checkout, &top.state.join("local"))?;
        let region = Layout::open(&top.checkout, &top.state.join("region"))?;
        let mut stack = Stack::open(region, Ports::at(offset)?, Purpose::Development, true)?;
        stack.kafka_elsewhere = Some(region::kafka_for_pods());
        let (machine, second) = (Machine::of(&layout, &FIRST), Machine::of(&layout, &SECOND));
        Ok(Place { layout, stack, machine, second })
    }

    /// The place of a region that runs.
    ///
    /// # Errors
    /// When none does.
    pub fn running(offset: u16) -> Result<Place> {
        let place = Place::open(offset)?;
        let runs = place.machines().into_iter().all(Machine::runs);
        ensure!(runs, "no region runs in Kubernetes, or a part of it has ended; run ./dev cluster up first");
        Ok(place)
    }

    pub fn machines(&self) -> [&Machine; 2] {
        [&self.machine, &self.second]
    }

    /// Begins what does not run. A cluster that is not whole is thrown away first: certificates, cable and sockets are of one birth. What
    /// shoppers did is in the stores.
    fn begin(&self) -> Result<()> {
        if !(self.machines().into_iter().all(Machine::runs) && Nodes::were_ready(&self.machine)) {
            self.end_passages();
            self.machines().into_iter().try_for_each(Machine::end)?;
        }
        self.machines().into_iter().try_for_each(Machine::begin)
    }

    fn end_passages(&self) {
        for name in [PASSAGE_TO_PODS, PASSAGE_HERE] {
            if let Some(record) = process::running(&self.layout, name) {
                process::stop(&self.layout, &record);
            }
        }
    }

    /// The optimised programs of now, which pods, edge and load are of.
    ///
    /// # Errors
    /// When cargo fails.
    pub fn build(&self, progress: &Progress) -> Result<()> {
        progress.step("cargo build", "built", || build(&self.stack))
    }

    /// The nodes of a cluster that was made already.
    ///
    /// # Errors
    /// When a program cannot be had.
    pub fn nodes(&self) -> Result<Nodes<'_>> {
        Nodes::of(&self.layout, &Tools::find(&self.layout, Building::Forbidden)?, self.machines())
    }

    /// The region on its nodes.
    pub fn region<'a>(&'a self, nodes: &'a Nodes<'a>) -> Region<'a> {
        Region { stack: &self.stack, nodes, folder: self.layout.state.join("data") }
    }

    fn socket(&self, name: &str) -> String {
        format!("unix:{}", self.machine.folder.join(format!("{name}.sock")).display())
    }
}

/// Starts everything, or brings it to the programs that are built now. Says why when there can be none here.
///
/// # Errors
/// When something does not start; what runs stays, so that one can look, until `down`.
pub fn up(offset: u16) -> Result<()> {
    if let Some(why) = machine::impossible() {
        println!("skipped: {why}");
        return Ok(());
    }
    let place = Place::open(offset)?;
    let progress = Progress::new();
    let tools = progress.step("tools", "found", || Tools::find(&place.layout, Building::Allowed))?;
    start_servers(&place.stack, &progress, Wanted { build: true, services: false })?;
    for tool in ["payment-simulator", "edge-tracer"] {
        progress.step(tool, "ready", || place.stack.start(tool))?;
    }
    progress.step("machines", "ready", || place.begin())?;
    let nodes = progress.step("programs of a node", "found", || Nodes::of(&place.layout, &tools, place.machines()))?;
    progress.step("nodes", "ready", || nodes.start(&tools))?;
    progress.step("passages to the stores", "open", || to_stores(&place))?;
    let region = place.region(&nodes);
    progress.step("region", "ready", || region.install())?;
    progress.step("passages to the pods", "open", || to_pods(&place, &region))?;
    progress.step("edge", "answers", || {
        region::open(&place.stack)?;
        answers(&place.stack)
    })?;
    println!("\na region in Kubernetes answers at {}", place.stack.ports.url(Port::Edge));
    println!("  pods        {}", kubectl_line(&nodes));
    let there = if offset == OFFSET { String::new() } else { format!(" --offset {offset}") };
    let people = if offset == OFFSET { " --cluster" } else { &there };
    println!("  people      ./dev demo{people}");
    println!("  harm        ./dev cluster drill{there}");
    println!("  load        ./dev cluster scale{there}");
    println!("  to its end  ./dev cluster down{there}");
    Ok(())
}

/// The line that asks about pods by hand.
fn kubectl_line(nodes: &Nodes<'_>) -> String {
    let kubectl = &nodes.kubectl;
    format!(
        "{} env KUBECONFIG={} {} get pods -A",
        kubectl.way.join(" "),
        kubectl.config.display(),
        kubectl.kubectl.display()
    )
}

/// Passages from the node's address to the listeners of the stores here.
fn to_stores(place: &Place) -> Result<()> {
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for (name, port, listener) in STORES {
        let socket = place.socket(name);
        here.push(format!("{socket}=tcp:{}", place.stack.ports.address(*listener)));
        there.push(format!("tcp:{ADDRESS}:{port}={socket}"));
    }
    passage(place, PASSAGE_HERE, here, Vec::new())?;
    until("the sockets of the stores", ANSWERS, || {
        let missing = STORES.iter().find(|(name, ..)| !place.machine.folder.join(format!("{name}.sock")).exists());
        ensure!(missing.is_none(), "{} is missing", missing.map_or("", |(name, ..)| *name));
        Ok(())
    })?;
    place.machine.start(PASSAGE_STORES, &own_program()?, &arguments(there), &[])
}

/// Passages from the ports that the services have here to the services in the cluster, for the edge and the payment gateway.
fn to_pods(place: &Place, region: &Region<'_>) -> Result<()> {
    let (mut here, mut there, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for service in SERVICES {
        let (http, admin) = region.addresses(service)?;
        for (name, port, address) in [("http", service.http, http), ("admin", service.admin, admin)] {
            let socket = place.socket(&format!("{}-{name}", service.name));
            here.push(format!("tcp:{}={socket}", place.stack.ports.address(port)));
            there.push(format!("{socket}=tcp:{address}"));
            ports.push(place.stack.ports.of(port));
        }
    }
    place.machine.start(PASSAGE_PODS, &own_program()?, &arguments(there), &[])?;
    passage(place, PASSAGE_TO_PODS, here, ports)
}

fn passage(place: &Place, name: &str, rules: Vec<String>, ports: Vec<u16>) -> Result<()> {
    let spec = Spec {
        name: name.to_owned(),
        role: "tool",
        program: own_program()?,
        args: arguments(rules),
        env: Vec::new(),
        folder: place.layout.state.clone(),
        account: None,
        health: ports.first().map_or(Health::Http(Vec::new()), |port| Health::Tcp(*port)),
        ports,
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(2),
        ready_within: ANSWERS,
        ours: false,
        depends_on: String::new(),
    };
    spec.start(&place.layout)?;
    spec.wait_ready(&place.layout)
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("find our own program")
}

fn arguments(rules: Vec<String>) -> Vec<String> {
    ["cluster", "forward"].map(str::to_owned).into_iter().chain(rules).collect()
}

/// The edge answers with something that came from a pod.
pub(super) fn answers(stack: &Stack) -> Result<()> {
    until("an answer through the edge", ANSWERS, || net::http_ok(stack.ports.of(Port::Edge), "/v1/products?limit=1"))
}

/// Prints what runs. Says whether all pods are ready and the edge answers.
///
/// # Errors
/// When the cluster cannot be asked.
pub fn status(offset: u16) -> Result<bool> {
    if let Some(why) = machine::impossible() {
        println!("skipped: {why}");
        return Ok(true);
    }
    let place = Place::open(offset)?;
    for record in process::records(&place.layout).iter().chain(&process::records(&place.stack.layout)) {
        let said = if record.alive() { "runs" } else { "ended" };
        println!(
            "{:<26} {:>8}  {said:<6} {:>6} MB",
            record.name,
            record.pid,
            os::group_rss(record.pid) / (1024 * 1024)
        );
    }
    if !place.machines().into_iter().all(Machine::runs) {
        println!("no cluster runs, or a part of it has ended; ./dev cluster up makes one");
        return Ok(false);
    }
    let nodes = place.nodes()?;
    println!("{}", nodes.kubectl.run(&["get", "pods", "-A", "-o", "wide"])?);
    let pods = nodes.kubectl.items(&["get", "pods", "-n", "shopsphere"])?;
    let ready = |pod: &serde_json::Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        pod["status"]["phase"] == "Succeeded"
            || conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    let edge = net::http_ok(place.stack.ports.of(Port::Edge), "/v1/products?limit=1");
    println!("edge: {}", edge.as_ref().map_or_else(|error| format!("{error:#}"), |()| "answers".to_owned()));
    Ok(!pods.is_empty() && pods.iter().all(ready) && edge.is_ok())
}

/// Puts the region that runs under a step of load and has it scaled. `false`: what is promised was broken.
///
/// # Errors
/// When no region runs, or what is needed beside it cannot be started.
pub fn scale(offset: u16) -> Result<bool> {
    if let Some(why) = machine::impossible() {
        println!("skipped: {why}");
        return Ok(true);
    }
    let place = Place::running(offset)?;
    let nodes = place.nodes()?;
    // what is measured is what the report names, and nothing that an earlier one has left
    let progress = Progress::new();
    place.build(&progress)?;
    progress.step("region of now", "ready", || place.region(&nodes).install())?;
    super::scale::run(&place.layout, &place.stack, &nodes)
}

/// Ends everything and removes it, images that were made included.
///
/// # Errors
/// When something cannot be removed.
pub fn down(offset: u16) -> Result<()> {
    if !os::is_root() {
        println!("skipped: what only root can start is not there");
        return Ok(());
    }
    let place = Place::open(offset)?;
    place.end_passages();
    // all of them, whatever becomes of one
    let ended: Vec<_> = place.machines().into_iter().map(Machine::end).collect();
    place.stack.down();
    ended.into_iter().collect::<Result<()>>()?;
    machine::remove_places();
    stack::wipe(&place.stack.layout)?;
    for state in [&place.layout.state, &place.stack.layout.state] {
        fs::remove_dir_all(state).with_context(|| format!("remove {}", state.display()))?;
    }
    println!("nothing of it is left");
    Ok(())
}
