//! PostgreSQL of the region: one cluster, one database per owner, two roles for each (`_owner` changes tables, `_app` uses them).
//! A role reaches its own database only. Passwords are the role names: this server listens on 127.0.0.1 and holds demo data.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::process::{Health, Spec};
use super::{Purpose, Stack};
use crate::layout::own;
use crate::os;
use crate::ports::Port;

/// The superuser, for provisioning and for tests that make databases of their own.
pub const SUPERUSER: &str = "postgres";
/// The databases of a region.
pub const DATABASES: &[&str] = &["user_profile", "order_payment", "inventory", "keycloak", "ferretdb"];

/// Where PostgreSQL's own programs are, newest version first; Debian does not put them into `PATH`.
pub fn program(name: &str) -> Result<PathBuf> {
    let debian = (15..=18).rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin/{name}")));
    let found = debian.into_iter().find(|path| path.is_file()).or_else(|| os::which(name));
    found.with_context(|| format!("{name} is missing; it comes with the Debian package postgresql-15"))
}

/// The server's process; makes its cluster when there is none.
///
/// # Errors
/// When the cluster cannot be made.
pub fn spec(stack: &Stack) -> Result<Spec> {
    let layout = &stack.layout;
    let account = stack.accounts.postgres.clone();
    let data = layout.data("postgres", account.as_ref())?;
    let cluster = data.join("cluster");
    let port = stack.ports.of(Port::Postgres);
    // Tests make and drop hundreds of databases and never survive a power cut, so they need not wait for the disk.
    let durable = if stack.purpose == Purpose::Test { "off" } else { "on" };
    // Four services of two roles with small pools, Keycloak, FerretDB, and room for a parallel test run; where the services are pods, ten of
    // each that serves.
    let connections = if stack.kafka_elsewhere.is_some() { 400 } else { 200 };
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={connections}"),
        "shared_buffers=128MB".to_owned(),
        // the first touch of a page after a checkpoint is logged whole, and most keys are spread over all pages
        "wal_compression=lz4".to_owned(),
        format!("fsync={durable}"),
        format!("full_page_writes={durable}"),
        format!("synchronous_commit={durable}"),
    ];
    let mut args = vec!["-D".to_owned(), cluster.to_string_lossy().into_owned()];
    for setting in settings {
        args.extend(["-c".to_owned(), setting]);
    }
    Ok(Spec {
        name: "postgres".to_owned(),
        role: "server",
        program: program("postgres")?,
        args,
        env: Vec::new(),
        folder: data,
        account,
        ports: vec![port],
        health: Health::Postgres { port, role: SUPERUSER.to_owned(), database: "postgres".to_owned() },
        // "fast": roll back what runs and write a checkpoint, instead of waiting for clients to leave
        stop: libc::SIGINT,
        stop_within: Duration::from_secs(20),
        ready_within: Duration::from_secs(180),
        ours: false,
        depends_on: String::new(),
    })
}

/// Makes the cluster unless it is there. A cluster that an interrupted `initdb` has left behind is made again.
///
/// # Errors
/// When `initdb` fails.
pub fn initialise(stack: &Stack) -> Result<()> {
    let account = stack.accounts.postgres.as_ref();
    let data = stack.layout.data("postgres", account)?;
    let (cluster, fresh) = (data.join("cluster"), data.join("cluster.partial"));
    if cluster.join("PG_VERSION").is_file() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(&fresh);
    let password = data.join("password");
    fs::write(&password, SUPERUSER)?;
    own(&password, account, 0o600)?;
    let mut initdb = Command::new(program("initdb")?);
    initdb.arg("-D").arg(&fresh).args([
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
        "--no-sync",
        "--auth=scram-sha-256",
        "-U",
        SUPERUSER,
    ]);
    initdb.arg("--pwfile").arg(&password).current_dir(&data);
    if let Some(account) = account {
        use std::os::unix::process::CommandExt;
        initdb.uid(account.uid).gid(account.gid);
    }
    let result = os::run("initdb", &mut initdb, &stack.layout.log("setup-postgres"));
    fs::remove_file(&password)?;
    result?;
    fs::rename(&fresh, &cluster).context("put the new cluster in place")
}

/// Makes roles and databases that are missing. Safe to repeat.
///
/// # Errors
/// When the server refuses.
pub fn provision(stack: &Stack) -> Result<()> {
    let port = stack.ports.of(Port::Postgres);
    let mut script = String::from(
        "\\set ON_ERROR_STOP on\nSET client_min_messages = warning;\nREVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;\n",
    );
    for database in DATABASES {
        script.push_str(&database_script(database));
    }
    psql(port, SUPERUSER, "postgres", &script).map(|_| ())
}

fn database_script(database: &str) -> String {
    let (owner, app) = (format!("{database}_owner"), format!("{database}_app"));
    let mut script = String::new();
    for role in [&owner, &app] {
        script.push_str(&format!(
            "SELECT 'CREATE ROLE {role} LOGIN PASSWORD ''{role}''' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{role}')\\gexec\n"
        ));
    }
    script.push_str(&format!(
        "SELECT 'CREATE DATABASE {database} OWNER {owner}' WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = '{database}')\\gexec\n\
         REVOKE ALL ON DATABASE {database} FROM PUBLIC;\nGRANT CONNECT ON DATABASE {database} TO {owner}, {app};\n"
    ));
    script
}

/// Runs SQL (or psql commands) as a role whose password is its name; gives the unadorned rows.
///
/// # Errors
/// When psql is missing or the server refuses, with its words.
pub fn psql(port: u16, role: &str, database: &str, script: &str) -> Result<String> {
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-U",
        role,
        "-d",
        database,
        "-f",
        "-",
    ]);
    command.env("PGPASSWORD", role).env("PGCONNECT_TIMEOUT", "3").current_dir(Path::new("/"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("run psql")?;
    if let Some(mut input) = child.stdin.take() {
        // psql that could not connect does not read its input; its own message says why.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || complaint.contains("ERROR:") {
        bail!("psql: {}", complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
