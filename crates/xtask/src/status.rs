//! What a person asks about a stack: which processes run and how they are, where to reach them, what they said.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::os;
use crate::ports::Port;
use crate::stack::{SERVERS, Stack, keycloak, services};

/// What the last complete start took; printed by `status`, asserted nowhere.
#[derive(Debug, Serialize, Deserialize)]
pub struct LastUp {
    pub seconds: f64,
    /// Processes this start had to start; few when most were running.
    pub started: usize,
    /// Unix milliseconds.
    pub at: u64,
}

/// Keeps what a start took.
///
/// # Errors
/// When the file cannot be written.
pub fn remember(stack: &Stack, last: &LastUp) -> Result<()> {
    let path = stack.layout.state.join("last-up.json");
    fs::write(&path, serde_json::to_vec(last)?).with_context(|| format!("write {}", path.display()))
}

/// One line per process that should or does run. Says whether all of them are ready.
///
/// # Errors
/// When the stack cannot be described.
pub fn status(stack: &Stack) -> Result<bool> {
    println!("{:<24} {:>8}  {:<7} {:<10} {:>8} {:>10}  port", "name", "pid", "role", "health", "RSS MB", "uptime");
    let mut all_ready = true;
    let (mut servers_rss, mut our_rss) = (0, 0);
    for name in names(stack)? {
        let Some(record) = stack.running(&name) else {
            all_ready = false;
            println!("{name:<24} {:>8}  {:<7} {:<10}", "-", "", "stopped");
            continue;
        };
        // The specification of a server may want its tool fetched; one that runs has it.
        let spec = stack.spec(&name)?;
        let health = if spec.probe().is_ok() { "ready" } else { "not ready" };
        all_ready &= health == "ready";
        let rss = os::group_rss(record.pid);
        *(if record.role == "server" { &mut servers_rss } else { &mut our_rss }) += rss;
        let ports: Vec<String> = spec.ports.iter().map(ToString::to_string).collect();
        let uptime = duration(record.uptime().as_secs());
        println!(
            "{name:<24} {:>8}  {:<7} {health:<10} {:>8} {uptime:>10}  {}",
            record.pid,
            record.role,
            mb(rss),
            ports.join(" ")
        );
    }
    println!("\nresident memory: our own processes {} MB, servers {} MB", mb(our_rss), mb(servers_rss));
    let last = fs::read(stack.layout.state.join("last-up.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<LastUp>(&bytes).ok());
    if let Some(last) = last {
        println!("last `./dev up`: {:.1} s, {} processes started", last.seconds, last.started);
    }
    Ok(all_ready)
}

fn names(stack: &Stack) -> Result<Vec<String>> {
    let ours = services::specs(stack)?.into_iter().map(|spec| spec.name);
    Ok(SERVERS.iter().map(|name| (*name).to_owned()).chain(ours).collect())
}

fn mb(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Prints where the log of a process lies and its last lines; follows it when asked. A service's name stands for both its roles.
///
/// # Errors
/// When no log has that name.
pub fn logs(stack: &Stack, name: &str, follow: bool) -> Result<()> {
    let folder = stack.layout.state.join("logs");
    let mut known: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("read {}", folder.display()))?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".log").map(str::to_owned))
        .collect();
    known.sort();
    let exact: Vec<&String> = known.iter().filter(|log| *log == name).collect();
    let roles = known
        .iter()
        .filter(|log| ["serve", "work", "migrate"].iter().any(|role| **log == format!("{name}-{role}")))
        .collect();
    let wanted: Vec<&String> = if exact.is_empty() { roles } else { exact };
    if wanted.is_empty() {
        bail!("there is no log named {name}; there are: {}", known.join(", "));
    }
    let paths: Vec<_> = wanted.iter().map(|log| stack.layout.log(log)).collect();
    for path in &paths {
        eprintln!("{}", path.display());
    }
    let mut tail = Command::new("tail");
    tail.args(["-n", "60"]).args(if follow { &["-F"][..] } else { &[] }).args(&paths);
    tail.status().context("run tail")?;
    Ok(())
}

/// The table at the end of a start: addresses, people, one request to paste.
pub fn welcome(stack: &Stack) {
    let (ports, edge) = (stack.ports, stack.ports.url(Port::Edge));
    println!("\nShopSphere region `{}` is ready.\n", stack.region.code);
    let rows = [
        ("API (edge)", edge.clone(), String::new()),
        ("Keycloak", ports.url(Port::Keycloak), "admin / admin".to_owned()),
        ("PostgreSQL", ports.address(Port::Postgres), "postgres / postgres".to_owned()),
        ("Kafka", ports.address(Port::Kafka), String::new()),
        ("Elasticsearch", ports.url(Port::Elasticsearch), String::new()),
        ("Redis", ports.address(Port::Redis), String::new()),
        ("MongoDB wire", format!("mongodb://{}/?directConnection=true", ports.address(Port::Ferretdb)), String::new()),
        ("payment gateway stand-in", ports.url(Port::PaymentSimulator), String::new()),
        (
            "metrics (user)",
            format!("{}/metrics", ports.url(Port::UserAdmin)),
            "every service: its admin port".to_owned(),
        ),
    ];
    for (what, address, note) in rows {
        println!("  {what:<26} {address:<52} {note}");
    }
    println!(
        "\n  people                     demo-01@shopsphere.example … demo-20@shopsphere.example, password ShopSphere-demo-1"
    );
    for (email, password) in [keycloak::STAFF, keycloak::SUPPORT] {
        println!("                             {email}, password {password}");
    }
    println!("\n  try it                     curl -s '{edge}/v1/products?limit=3' -H 'Accept-Language: de'");
    println!("  then                       ./dev demo · ./dev status · ./dev logs order-payment · ./dev down");
    println!("  state and logs             {}", stack.layout.state.display());
}
