//! Keycloak of the region: identities in PostgreSQL database `keycloak`, one realm named after the region. Decided here: how it is
//! started, and that the realm is rendered from `deploy/keycloak/realm.template.json`. What a token looks like is decided there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::{Health, Spec};
use super::{Stack, java};
use crate::layout::own;
use crate::ports::Port;

const REALM_TEMPLATE: &str = include_str!("../../../../deploy/keycloak/realm.template.json");

/// Secrets of the realm's confidential clients, known to the local services.
pub const LOGIN_CLIENT_SECRET: &str = "shopsphere-api-login-local";
pub const ADMIN_CLIENT_SECRET: &str = "user-service-local";
/// People that every local realm has besides those who sign up: e-mail and password. Tests and the demo log in with them.
pub const STAFF: (&str, &str) = ("staff@shopsphere.example", "ShopSphere-staff-1");
pub const SUPPORT: (&str, &str) = ("support@shopsphere.example", "ShopSphere-support-1");
/// The administrator of the master realm, for people who want to look.
pub const ADMIN: &str = "admin";

/// The server's process. `home` is the folder `provision::maven::keycloak` gave: already built for PostgreSQL, shared, read-only.
///
/// # Errors
/// When its folders or the realm cannot be written.
pub fn spec(stack: &Stack, home: &Path) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("keycloak", account.as_ref())?;
    let (port, management) = (stack.ports.of(Port::Keycloak), stack.ports.of(Port::KeycloakManagement));
    prepare_home(stack, home, &folder)?;
    let mut args: Vec<String> = JVM.iter().map(|option| (*option).to_owned()).collect();
    args.extend([
        format!("-Dkc.home.dir={}", folder.display()),
        format!("-Djboss.server.config.dir={}", folder.join("conf").display()),
        "-cp".to_owned(),
        home.join("lib/quarkus-run.jar").display().to_string(),
        "io.quarkus.bootstrap.runner.QuarkusEntryPoint".to_owned(),
        "start".to_owned(),
        "--optimized".to_owned(),
        "--import-realm".to_owned(),
        "--http-enabled=true".to_owned(),
        "--http-host=127.0.0.1".to_owned(),
        format!("--http-port={port}"),
        format!("--http-management-port={management}"),
        // fixed, because the issuer in tokens would otherwise follow the Host header of whoever asks
        format!("--hostname=http://127.0.0.1:{port}"),
        "--cache=local".to_owned(),
        format!("--db-url=jdbc:postgresql://{}/keycloak", stack.ports.address(Port::Postgres)),
        "--db-username=keycloak_owner".to_owned(),
        "--db-pool-max-size=20".to_owned(),
    ]);
    let env = [
        ("HOME", folder.display().to_string()),
        ("KC_DB_PASSWORD", "keycloak_owner".to_owned()),
        ("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN.to_owned()),
        ("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN.to_owned()),
    ];
    let realm = stack.realm();
    Ok(Spec {
        name: "keycloak".to_owned(),
        role: "server",
        program: java::program()?,
        args,
        env: env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        folder,
        account,
        ports: vec![port, management],
        health: Health::Http(vec![
            (management, "/health/ready".to_owned()),
            (port, format!("/realms/{realm}/.well-known/openid-configuration")),
        ]),
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(15),
        ready_within: Duration::from_secs(420),
        ours: false,
        depends_on: String::new(),
    })
}

/// Of what `bin/kc.sh` would pass, the part a server needs; less heap and a simpler collector, because two cores carry all.
const JVM: &[&str] = &[
    "-Xms128m",
    "-Xmx512m",
    "-XX:MetaspaceSize=96M",
    "-XX:MaxMetaspaceSize=256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dfile.encoding=UTF-8",
    "-Duser.language=en",
    "-Duser.country=US",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    "-Dpicocli.disable.closures=true",
];

/// A home of this stack's own: programs are links into the shared one, `conf` and `data` are ours.
fn prepare_home(stack: &Stack, home: &Path, folder: &Path) -> Result<()> {
    let account = stack.accounts.service.as_ref();
    for part in ["lib", "providers", "themes"] {
        let link = folder.join(part);
        if fs::read_link(&link).ok().as_deref() != Some(&home.join(part)) {
            let _ = fs::remove_file(&link);
            symlink(home.join(part), &link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    for path in ["conf", "conf/truststores", "data", "data/import", "data/tmp"].map(|part| folder.join(part)) {
        fs::create_dir_all(&path)?;
        own(&path, account, 0o700)?;
    }
    let caches = folder.join("conf/cache-ispn.xml");
    fs::copy(home.join("conf/cache-ispn.xml"), &caches).context("copy the cache settings of keycloak")?;
    own(&caches, account, 0o600)?;
    let realm = stack.realm();
    let file = folder.join("data/import").join(format!("{realm}-realm.json"));
    fs::write(&file, render_realm(&stack.region.code, &stack.ports.url(Port::Edge)))
        .with_context(|| format!("write {}", file.display()))?;
    own(&file, account, 0o600)
}

/// The realm of a region with the local secrets.
pub fn render_realm(region: &str, storefront: &str) -> String {
    REALM_TEMPLATE
        .replace("@REGION@", region)
        .replace("@LOGIN_SECRET@", LOGIN_CLIENT_SECRET)
        .replace("@ADMIN_SECRET@", ADMIN_CLIENT_SECRET)
        .replace("@STAFF_EMAIL@", STAFF.0)
        .replace("@STAFF_PASSWORD@", STAFF.1)
        .replace("@SUPPORT_EMAIL@", SUPPORT.0)
        .replace("@SUPPORT_PASSWORD@", SUPPORT.1)
        .replace("@STOREFRONT@", storefront)
}
