//! Durable workflow engines at the same three steps: stock is set aside, a card is charged at the same gateway in three calls, the
//! order is complete. Decided here: how a peer is installed, started and asked. Its few lines are in `tools/peers`.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::abba::{self, Better, Turn};
use super::results::Side;
use super::rig::{Fsync, Rig};
use super::{Invalid, Measured, Missing, Options, gorse, ingest, kstreams, orders, saga};
use crate::layout::{self, Layout, own};
use crate::ports::Port;
use crate::provision::{cached, gomod};
use crate::stack::process::{Health, Spec};
use crate::stack::services::GATEWAY_KEY;
use crate::{net, os};

/// Workflows that a peer has under way at a time: it needs no more to be busy, and gets no slower with fewer.
const AT_ONCE: usize = 256;
/// Ports of a peer, after those of the stack: its own API, its administration, its node, our few lines.
const API: u16 = 90;
const ADMIN: u16 = 91;
const NODE: u16 = 92;
const GLUE: u16 = 93;

pub const RESTATE_SETTINGS: &[&str] = &[
    "ours: a burst of 2,000 orders of 3 lines over HTTP until the last is COMPLETED, with everything that the bench saga-floor runs",
    "against: restate-server (npm) with one node and its defaults, asked over its HTTP ingress by 256 connections until 2,000 workflows are complete; its handler in Node with the official SDK: three steps of ctx.run",
    "steps of the peer: one statement that sets the stock of three lines aside, the same three calls to the same payment simulator, one INSERT of the completed order; in PostgreSQL with the same settings, through a pool of 16",
    "restate-server is linked statically, so its own log is not slowed: at 1 ms only its steps in PostgreSQL wait longer",
    "processor 0: PostgreSQL, our three services; the peer's server and its handler; the others: generator, stand-ins, Redis, Kafka, payment simulator",
    "checked: our orders as in saga-floor; the peer's orders, stock and captures each once",
    super::POSTGRES,
];

pub const DBOS_SETTINGS: &[&str] = &[
    "ours: a burst of 2,000 orders of 3 lines over HTTP until the last is COMPLETED, with everything that the bench saga-floor runs",
    "against: DBOS Transact (npm) in one Node process with its defaults and its system database on the same PostgreSQL, asked over HTTP by 256 connections until 2,000 workflows are complete: three steps of DBOS.runStep",
    "steps of the peer: one statement that sets the stock of three lines aside, the same three calls to the same payment simulator, one INSERT of the completed order; in PostgreSQL with the same settings, through a pool of 16",
    "processor 0: PostgreSQL, our three services; the peer's process; the others: generator, stand-ins, Redis, Kafka, payment simulator",
    "checked: our orders as in saga-floor; the peer's orders, stock and captures each once",
    super::POSTGRES,
];

/// A peer, and what of it runs on the processor of the system under test.
struct Peer {
    name: &'static str,
    /// Where workflows are asked for.
    port: u16,
    path: &'static str,
    parties: &'static [&'static str],
    start: fn(&Rig, &Path) -> Result<()>,
}

pub fn restate(options: &Options, fsync: Fsync, count: usize) -> Result<Measured> {
    let parties = &["postgres", "restate-server", "restate-glue"];
    pairs(
        options,
        fsync,
        count,
        &Peer { name: "restate", port: API, path: "/order/place", parties, start: start_restate },
    )
}

pub fn dbos(options: &Options, fsync: Fsync, count: usize) -> Result<Measured> {
    let parties = &["postgres", "dbos-glue"];
    pairs(options, fsync, count, &Peer { name: "dbos", port: GLUE, path: "/order/place", parties, start: start_dbos })
}

/// Installs the peers of all benches that have one.
///
/// # Errors
/// Folders that cannot be made. A peer that cannot be had is only told of.
pub fn prepare(options: &Options) -> Result<()> {
    let rig = Rig::bare(options, 0)?;
    for name in ["restate", "dbos"] {
        match install(&rig, name) {
            Ok(folder) => println!("{name} is in {}", folder.display()),
            Err(error) => println!("{name} cannot be had: {error:#}"),
        }
    }
    let layout = &rig.stack.layout;
    let others =
        [("connect", ingest::connect(layout)), ("kstreams", kstreams::jars(layout)), ("gorse", gorse::built(layout))];
    for (name, had) in others {
        match had {
            Ok(folder) => println!("{name} is in {}", folder.display()),
            Err(error) => println!("{name} cannot be had: {error:#}"),
        }
    }
    Ok(())
}

fn pairs(options: &Options, fsync: Fsync, count: usize, peer: &Peer) -> Result<Measured> {
    let folder = install(&Rig::bare(options, 0)?, peer.name)?;
    let rig = saga::fleet(options, fsync)?;
    rig.sql(TABLES)?;
    (peer.start)(&rig, &folder)?;
    let (accepted, asked) = (Cell::new(orders::warm(&rig)?), Cell::new(0));
    let mut ours = || saga::burst(&rig, &accepted);
    let mut theirs = || workflows(&rig, peer, &asked);
    ours()?;
    theirs()?;
    let captured = Cell::new(0);
    let pairs = abba::pairs(count, ("per s", Better::More), &mut ours, &mut theirs)?;
    captured.set(exact(&rig, asked.get())?);
    saga::exact(&rig, accepted.get(), captured.get())?;
    Ok(Measured::new(rig.fdatasync_us, pairs))
}

const TABLES: &str = "
    CREATE TABLE peer_stock (sku TEXT PRIMARY KEY, available BIGINT NOT NULL CHECK (available >= 0)) WITH (fillfactor = 50);
    INSERT INTO peer_stock SELECT 'BENCH-' || n, 1000000 FROM generate_series(0, 499) AS n;
    CREATE TABLE peer_reservations (order_id TEXT PRIMARY KEY, lines JSONB NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now());
    CREATE TABLE peer_orders (order_id TEXT PRIMARY KEY, intent TEXT NOT NULL, total_minor BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now());";

/// As many workflows as a burst of ours has orders.
fn workflows(rig: &Rig, peer: &Peer, asked: &Cell<u64>) -> Result<Turn> {
    let address = format!("127.0.0.1:{}", port(rig, peer.port));
    let run = || -> Result<Value> {
        let mut command = rig.load();
        command.args(["post", "--address", &address, "--path", peer.path]);
        command.args(["--connections", &AT_ONCE.to_string(), "--most", &saga::BURST.to_string()]);
        Ok(serde_json::from_str(&os::output(&mut command)?)?)
    };
    let (said, used) = rig.watched(peer.parties, "load", run)?;
    let done = said["accepted"].as_u64().unwrap_or(0);
    if done != saga::BURST {
        bail!(Invalid(format!("{} completed {done} of {}: {}", peer.name, saga::BURST, said["others"])));
    }
    asked.set(asked.get() + done);
    let value = said["accepted_per_s"].as_f64().context("the load says its rate")?;
    let side = Side { per_second: value, per_cpu_second: done as f64 / f64::max(used.tested, 0.01), cpu: used.by };
    Ok(Turn { side, foreign: used.foreign })
}

/// Each workflow once in all places; gives what they captured.
fn exact(rig: &Rig, asked: u64) -> Result<u64> {
    let counts = rig.sql(
        "SELECT (SELECT count(*) FROM peer_orders), (SELECT count(*) FROM peer_reservations),
                (SELECT sum(1000000 - available) FROM peer_stock), (SELECT coalesce(sum(total_minor), 0) FROM peer_orders)",
    )?;
    let counts: Vec<u64> = counts.trim().split('|').filter_map(|count| count.parse().ok()).collect();
    match counts[..] {
        [orders, reservations, units, captured] if orders == asked && reservations == asked && units == 3 * asked => {
            println!("the peer completed {asked}, each once");
            Ok(captured)
        }
        _ => bail!(Invalid(format!("the peer was asked for {asked} orders; its tables say {counts:?}"))),
    }
}

fn port(rig: &Rig, place: u16) -> u16 {
    8100 + place + rig.stack.ports.offset()
}

pub fn recipe(name: &str) -> PathBuf {
    layout::checkout().join("tools/peers").join(name)
}

/// A peer in Go as its recipe builds it, in the cache of downloads: minutes, once. `source` is the recipe's file of Go, `package` what is
/// built; the program is called like the peer.
pub fn go_program(
    layout: &Layout,
    name: &str,
    (version, megabytes): (&str, u64),
    (source, package): (&str, &str),
) -> Result<PathBuf> {
    let recipe = recipe(name);
    cached(layout, &format!("peer-{name}"), version, megabytes, |work, log| {
        gomod::require_go()?;
        for file in [source, "go.mod", "go.sum"] {
            fs::copy(recipe.join(file), work.join(file)).with_context(|| format!("copy {file}"))?;
        }
        // Adds the sums of what only the build asks for; the Go checksum database vouches for these, and versions follow from go.mod.
        let mut build = Command::new("go");
        build.current_dir(work).env("CGO_ENABLED", "0").args(["build", "-mod=mod", "-trimpath", "-o", name, package]);
        os::run(&format!("build {name}"), &mut build, log)
    })
}

/// The peer's packages, exactly those of its lock file, in the cache of downloads.
fn install(rig: &Rig, name: &str) -> Result<PathBuf> {
    for program in ["node", "npm"] {
        if os::which(program).is_none() {
            bail!(Missing(format!("{program} is not on this machine")));
        }
    }
    let recipe = recipe(name);
    let folder = rig.stack.layout.cache.join(format!("peer-{name}"));
    let lock = fs::read_to_string(recipe.join("package-lock.json")).context("the peer's lock file")?;
    let done = folder.join("installed-lock.json");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == lock) {
        copy(&recipe, &folder)?;
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    copy(&recipe, &folder)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    let log = rig.stack.layout.log(&format!("install-{name}"));
    if let Err(error) = os::run("npm ci", &mut npm, &log) {
        bail!(Missing(format!("{name} could not be installed: {error:#}")));
    }
    fs::write(&done, lock)?;
    Ok(folder)
}

fn copy(recipe: &Path, folder: &Path) -> Result<()> {
    own(folder, None, 0o755)?;
    let files = fs::read_dir(recipe)?.flatten().map(|entry| entry.path());
    for source in files.chain([recipe.with_file_name("steps.mjs")]) {
        let name = source.file_name().context("a file has a name")?;
        fs::copy(&source, folder.join(name)).with_context(|| format!("copy {}", source.display()))?;
        own(&folder.join(name), None, 0o644)?;
    }
    Ok(())
}

fn start_restate(rig: &Rig, folder: &Path) -> Result<()> {
    let server = folder.join("node_modules/@restatedev/restate-server-linux-x64/bin/restate-server");
    if !server.is_file() {
        bail!(Missing("restate-server has no build for this machine".to_owned()));
    }
    let base = rig.stack.layout.data("restate", rig.stack.accounts.service.as_ref())?;
    let [api, admin, node, glue] = [API, ADMIN, NODE, GLUE].map(|place| port(rig, place));
    let env = vec![
        ("RESTATE_INGRESS__BIND_ADDRESS".to_owned(), format!("127.0.0.1:{api}")),
        ("RESTATE_ADMIN__BIND_ADDRESS".to_owned(), format!("127.0.0.1:{admin}")),
        ("RESTATE_BIND_ADDRESS".to_owned(), format!("127.0.0.1:{node}")),
        ("RESTATE_ADVERTISED_ADDRESS".to_owned(), format!("http://127.0.0.1:{node}")),
        ("RESTATE_DISABLE_TELEMETRY".to_owned(), "true".to_owned()),
        ("RESTATE_LOG_FILTER".to_owned(), "warn".to_owned()),
        ("DO_NOT_TRACK".to_owned(), "1".to_owned()),
    ];
    let args = vec!["--base-dir".to_owned(), base.display().to_string(), "--node-name".to_owned(), "bench".to_owned()];
    let health = Health::Http(vec![(admin, "/health".to_owned())]);
    rig.start_tested(spec(rig, "restate-server", server, args, env, vec![api, admin, node], health))?;
    rig.start_tested(node_spec(rig, "restate-glue", folder, glue)?)?;
    let body = format!(r#"{{"uri": "http://127.0.0.1:{glue}", "use_http_11": false}}"#);
    let answer = net::http_post_json(admin, "/deployments", &body)?;
    if !(200..300).contains(&answer.status) {
        bail!("restate did not take the handler: {} {}", answer.status, answer.body);
    }
    Ok(())
}

fn start_dbos(rig: &Rig, folder: &Path) -> Result<()> {
    rig.start_tested(node_spec(rig, "dbos-glue", folder, port(rig, GLUE))?)
}

fn node_spec(rig: &Rig, name: &str, folder: &Path, glue: u16) -> Result<Spec> {
    let node = os::which("node").context("node is not on this machine")?;
    let ports = rig.stack.ports;
    let env = vec![
        ("PORT".to_owned(), glue.to_string()),
        ("POSTGRES_URL".to_owned(), ports.postgres_url("order_payment", "order_payment_owner")),
        ("SYSTEM_POSTGRES_URL".to_owned(), ports.postgres_url("ferretdb", "ferretdb_owner")),
        ("GATEWAY_URL".to_owned(), ports.url(Port::PaymentSimulator)),
        ("GATEWAY_KEY".to_owned(), GATEWAY_KEY.to_owned()),
        ("NODE_ENV".to_owned(), "production".to_owned()),
        ("RESTATE_LOGGING".to_owned(), "WARN".to_owned()),
    ];
    let args = vec![folder.join("order.mjs").display().to_string()];
    Ok(spec(rig, name, node, args, env, vec![glue], Health::Tcp(glue)))
}

fn spec(
    rig: &Rig,
    name: &str,
    program: PathBuf,
    args: Vec<String>,
    mut env: Vec<(String, String)>,
    ports: Vec<u16>,
    health: Health,
) -> Spec {
    let folder = rig.stack.layout.state.clone();
    env.push(("HOME".to_owned(), folder.display().to_string()));
    Spec {
        name: name.to_owned(),
        role: "peer",
        program,
        args,
        env,
        folder,
        account: rig.stack.accounts.service.clone(),
        ports,
        health,
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(10),
        ready_within: Duration::from_secs(60),
        ours: false,
        depends_on: String::new(),
    }
}
