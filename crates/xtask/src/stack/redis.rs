//! Redis of the region: sessions, caches, ratings. Nothing in it is authoritative, so it keeps nothing on disk; after a restart
//! people log in again and caches fill themselves.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Stack;
use super::process::{Health, Spec};
use crate::os;
use crate::ports::Port;

/// The server's process.
///
/// # Errors
/// When the program is missing.
pub fn spec(stack: &Stack) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("redis", account.as_ref())?;
    let port = stack.ports.of(Port::Redis);
    // Entries with a time to live make room for others when memory is full; sessions have one too, and are used, so they stay.
    let settings = [
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--maxmemory",
        "512mb",
        "--maxmemory-policy",
        "volatile-lru",
    ];
    let mut args: Vec<String> = settings.map(str::to_owned).to_vec();
    args.extend(["--port".to_owned(), port.to_string(), "--dir".to_owned(), folder.to_string_lossy().into_owned()]);
    Ok(Spec {
        name: "redis".to_owned(),
        role: "server",
        program: os::which("redis-server").context("redis-server is missing; it is a Debian package of that name")?,
        args,
        env: Vec::new(),
        folder,
        account,
        ports: vec![port],
        health: Health::Redis(port),
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(5),
        ready_within: Duration::from_secs(20),
        ours: false,
        depends_on: String::new(),
    })
}
