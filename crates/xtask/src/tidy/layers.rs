//! Inside a service: which room may know which. `inbound → usecases → domain`, `outbound → ports, domain`, `wiring → all`. The
//! domain is pure: no driver, no runtime, no wire format, no async.

use super::Violation;
use super::files::{Place, Source};

/// A room and what it must not name.
struct Room {
    name: &'static str,
    rooms: &'static [&'static str],
    drivers: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room {
        name: "domain",
        rooms: &["usecases", "inbound", "outbound", "wiring", "config", "metrics"],
        drivers: &[
            "sqlx",
            "rdkafka",
            "axum",
            "tonic",
            "serde",
            "serde_json",
            "reqwest",
            "mongodb",
            "redis",
            "tokio",
            "chassis",
            "messaging",
            "async_trait",
        ],
    },
    Room {
        name: "usecases",
        rooms: &["inbound", "outbound", "wiring"],
        drivers: &["sqlx", "rdkafka", "axum", "tonic", "reqwest", "mongodb", "redis"],
    },
    Room {
        name: "inbound",
        rooms: &["outbound", "wiring"],
        drivers: &["sqlx", "rdkafka", "reqwest", "mongodb", "redis"],
    },
    Room { name: "outbound", rooms: &["inbound", "wiring"], drivers: &["axum"] },
];

/// Every path in a service's file that its room may not name.
pub fn check(source: &Source) -> Vec<Violation> {
    let room = source.module.first().and_then(|first| ROOMS.iter().find(|room| room.name == first));
    let (Some(room), Place::Service, false) = (room, source.place, source.is_test) else { return Vec::new() };
    let mut found = Vec::new();
    let mut report = |line: usize, message: String| {
        found.push(Violation { file: source.file.clone(), line, rule: "layers", message });
    };
    for named in &source.paths {
        let path: Vec<&str> = named.path.iter().map(String::as_str).collect();
        if let Some(other) = other_room(&source.module, &path).filter(|other| room.rooms.contains(other)) {
            report(named.line, format!("{} may not use {other}", room.name));
        }
        // A name alone may be a variable; a path or an attribute's first word is the crate.
        if path.len() > 1 && room.drivers.contains(&path[0]) {
            report(named.line, format!("{} may not use the crate {}", room.name, path[0]));
        }
        if room.name == "domain" && path == ["async"] {
            report(named.line, "domain is pure and has no async".to_owned());
        }
    }
    found
}

/// The room of this service that a path leads to: the first step after `crate`, or after enough `super`.
fn other_room<'a>(module: &[String], path: &[&'a str]) -> Option<&'a str> {
    let ups = path.iter().take_while(|step| **step == "super").count();
    match path.first() {
        Some(&"crate") => path.get(1).copied(),
        Some(&"super") if ups == module.len() => path.get(ups).copied(),
        _ => None,
    }
}
