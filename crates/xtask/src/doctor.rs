//! `./dev doctor`: what is missing on this machine and how to get it. Installs and starts nothing.

use std::process::Command;

use crate::layout::Layout;
use crate::provision::{debian, free_megabytes, gomod, pins};
use crate::stack::{Stack, java};
use crate::{net, os, ports};

/// One look at the machine.
struct Finding {
    what: &'static str,
    fine: bool,
    says: String,
}

/// Prints all findings. Says whether `./dev up` can be expected to work.
pub fn doctor(stack: &Stack) -> bool {
    let findings = [
        cargo(),
        packages(),
        java_version(),
        go(&stack.layout),
        disk(&stack.layout),
        memory(),
        tools(&stack.layout),
        busy_ports(stack),
        compose(),
    ];
    for finding in &findings {
        println!("{}  {:<18} {}", if finding.fine { "ok     " } else { "MISSING" }, finding.what, finding.says);
    }
    let fine = findings.iter().all(|finding| finding.fine);
    println!(
        "\n{}",
        if fine { "./dev up will work here." } else { "Put right what is marked MISSING, then run ./dev up." }
    );
    fine
}

fn finding(what: &'static str, result: Result<String, String>) -> Finding {
    let fine = result.is_ok();
    let (Ok(says) | Err(says)) = result;
    Finding { what, fine, says }
}

fn cargo() -> Finding {
    finding(
        "rust",
        os::output(Command::new("cargo").arg("--version"))
            .map(|text| text.trim().to_owned())
            .map_err(|_| "install Rust with rustup".to_owned()),
    )
}

fn packages() -> Finding {
    let missing = debian::missing();
    let can_install = os::which("apt-get").is_some() && (os::is_root() || os::which("sudo").is_some());
    finding(
        "Debian packages",
        match (missing.is_empty(), can_install) {
            (true, _) => Ok(format!("all {} are here", debian::PACKAGES.len())),
            (false, true) => Ok(format!("./dev up will install: {}", missing.join(" "))),
            (false, false) => Err(format!("install: {}", missing.join(" "))),
        },
    )
}

fn java_version() -> Finding {
    let installs = debian::missing().contains(&"openjdk-17-jre-headless");
    finding(
        "java",
        match java::require() {
            Ok(version) => Ok(format!("Java {version}")),
            Err(_) if installs => Ok("./dev up will install openjdk-17-jre-headless".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    )
}

fn go(layout: &Layout) -> Finding {
    if gomod::is_cached(layout) {
        return finding("go", Ok("not needed any more: FerretDB is built".to_owned()));
    }
    finding("go", gomod::require_go().map_err(|error| error.to_string()))
}

fn disk(layout: &Layout) -> Finding {
    let free = free_megabytes(&layout.cache).unwrap_or(0);
    let text = format!("{free} MB free for {}", layout.cache.display());
    finding("disk", if free > 6_000 { Ok(text) } else { Err(format!("{text}; a first start needs 6000 MB")) })
}

fn memory() -> Finding {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok());
    let available = kilobytes.unwrap_or(0) / 1024;
    let text = format!("{available} MB available; a region takes about 3000 MB");
    finding("memory", if available > 3_500 || kilobytes.is_none() { Ok(text) } else { Err(text) })
}

fn tools(layout: &Layout) -> Finding {
    let all = [
        ("kafka", pins::kafka::VERSION),
        (pins::ELASTICSEARCH.tool, pins::ELASTICSEARCH.version),
        (pins::KEYCLOAK.tool, pins::KEYCLOAK.version),
        ("ferretdb", pins::ferretdb::VERSION),
    ];
    let absent: Vec<&str> = all
        .iter()
        .filter(|(tool, version)| !layout.cache.join(format!("{tool}-{version}")).is_dir())
        .map(|(tool, _)| *tool)
        .collect();
    finding(
        "servers",
        Ok(if absent.is_empty() {
            format!("all in {}", layout.cache.display())
        } else {
            format!("./dev up will fetch {} into {}", absent.join(", "), layout.cache.display())
        }),
    )
}

fn busy_ports(stack: &Stack) -> Finding {
    let ours: Vec<u16> = crate::stack::process::records(&stack.layout)
        .iter()
        .filter(|record| record.alive())
        .filter_map(|record| stack.spec(&record.name).ok())
        .flat_map(|spec| spec.ports)
        .collect();
    let busy: Vec<String> = ports::TABLE
        .iter()
        .map(|(port, name, _)| (stack.ports.of(*port), name))
        .filter(|(port, name)| {
            !ours.contains(port)
                && !matches!(**name, "otlp" | "jaeger query" | "edge-tracer udp")
                && !net::tcp_free(*port)
        })
        .map(|(port, name)| {
            let holder = os::listener(port)
                .map_or_else(|| "another process".to_owned(), |(pid, command)| format!("{command}, pid {pid}"));
            format!("{port} ({name}) is held by {holder}")
        })
        .collect();
    finding(
        "ports",
        if busy.is_empty() {
            Ok(format!("free at offset {}", stack.ports.offset()))
        } else {
            Err(format!("{}; or use --offset 1000", busy.join("; ")))
        },
    )
}

fn compose() -> Finding {
    let says = if os::output(Command::new("docker").args(["compose", "version"])).is_ok() {
        "docker compose checks docker-compose.yml in ./dev test"
    } else if os::which("python3").is_some() {
        "check-jsonschema (installed when needed) checks docker-compose.yml in ./dev test"
    } else {
        "neither docker compose nor python3: ./dev test skips the check of docker-compose.yml"
    };
    finding("compose check", Ok(says.to_owned()))
}
