//! The MongoDB-wire server of the local region: FerretDB, which keeps its documents in PostgreSQL database `ferretdb`. Real MongoDB
//! runs in compose and in Kubernetes; the catalog uses only what both do right (docs/adr on append-only revisions).

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Stack;
use super::process::{Health, Spec};
use crate::ports::Port;

/// The server's process.
///
/// # Errors
/// When its folder cannot be made.
pub fn spec(stack: &Stack, program: &Path) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("ferretdb", account.as_ref())?;
    let port = stack.ports.of(Port::Ferretdb);
    let args = [
        "--handler=postgresql".to_owned(),
        // FerretDB prepares its statements. PostgreSQL would keep the plan it made while a table was small, a walk through all
        // of it, and never look at the indexes that the catalog adds.
        format!(
            "--postgresql-url={}?plan_cache_mode=force_custom_plan",
            stack.ports.postgres_url("ferretdb", "ferretdb_owner")
        ),
        format!("--listen-addr=127.0.0.1:{port}"),
        "--debug-addr=-".to_owned(),
        "--telemetry=disable".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--state-dir={}", folder.display()),
    ];
    Ok(Spec {
        name: "ferretdb".to_owned(),
        role: "server",
        program: program.to_owned(),
        args: args.to_vec(),
        env: vec![("HOME".to_owned(), folder.display().to_string()), ("DO_NOT_TRACK".to_owned(), "1".to_owned())],
        folder,
        account,
        ports: vec![port],
        health: Health::Mongo(port),
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(8),
        ready_within: Duration::from_secs(120),
        ours: false,
        depends_on: String::new(),
    })
}
