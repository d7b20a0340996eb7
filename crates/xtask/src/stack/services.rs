//! Our own programs of a region: four services in two roles each, the payment gateway's stand-in, the edge tracer. Decided here:
//! what their configuration says locally and how each is started. A setting not named here keeps the service's own default.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::{Health, Spec};
use super::{Purpose, Stack, haproxy, keycloak};
use crate::layout::{self, own};
use crate::ports::Port;
use crate::{net, os};

/// One of our services and its ports.
pub struct Service {
    pub name: &'static str,
    pub http: Port,
    pub grpc: Port,
    pub admin: Port,
    work_admin: Port,
    /// Its PostgreSQL database, when it has one.
    pub database: Option<&'static str>,
}

/// The services in the order they are migrated and started.
pub const SERVICES: &[Service] = &[
    Service {
        name: "user",
        http: Port::UserHttp,
        grpc: Port::UserGrpc,
        admin: Port::UserAdmin,
        work_admin: Port::UserWorkAdmin,
        database: Some("user_profile"),
    },
    Service {
        name: "catalog",
        http: Port::CatalogHttp,
        grpc: Port::CatalogGrpc,
        admin: Port::CatalogAdmin,
        work_admin: Port::CatalogWorkAdmin,
        database: Some("inventory"),
    },
    Service {
        name: "order-payment",
        http: Port::OrderPaymentHttp,
        grpc: Port::OrderPaymentGrpc,
        admin: Port::OrderPaymentAdmin,
        work_admin: Port::OrderPaymentWorkAdmin,
        database: Some("order_payment"),
    },
    Service {
        name: "personalization",
        http: Port::PersonalizationHttp,
        grpc: Port::PersonalizationGrpc,
        admin: Port::PersonalizationAdmin,
        work_admin: Port::PersonalizationWorkAdmin,
        database: None,
    },
];

/// Where a serving process of user puts clicks while the broker is away: a folder of this process alone.
pub const SPILL_FOLDER: &str = "SHOPSPHERE__CLICKS__SPILL_FOLDER";

/// Programs that stand beside the services.
pub const TOOLS: &[&str] = &["payment-simulator", "edge-tracer"];
/// Programs built for a local region but not kept running.
pub const COMMANDS: &[&str] = &["demo", "shopspherectl", "jwks-sync"];

/// Shared by order-payment and the gateway's stand-in: local values, no secrets of anybody.
pub const GATEWAY_KEY: &str = "sk_local_gateway";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_local_gateway";
const SECOND_GATEWAY: &str = "square";

/// The package names of all programs a local region needs, of those that exist in this checkout.
pub fn packages(stack: &Stack) -> Vec<String> {
    let services = SERVICES.iter().map(|service| ("services", service.name));
    let tools = TOOLS.iter().chain(COMMANDS).map(|name| ("tools", *name));
    let exists =
        |(folder, name): &(&str, &str)| stack.layout.checkout.join(folder).join(name).join("Cargo.toml").is_file();
    services.chain(tools).filter(exists).map(|(_, name)| name.to_owned()).collect()
}

/// Every process of ours, in the order of starting: what the services call comes first.
///
/// # Errors
/// When configuration cannot be written.
pub fn specs(stack: &Stack) -> Result<Vec<Spec>> {
    let mut specs = vec![edge_tracer(stack)?, payment_simulator(stack)?];
    for service in SERVICES {
        specs.push(role(stack, service, "serve")?);
        specs.push(role(stack, service, "work")?);
    }
    Ok(specs)
}

/// The program of a package. When we are root and the checkout lies where the service account may not enter, a copy of it.
///
/// # Errors
/// When the copy cannot be made.
pub fn binary(stack: &Stack, name: &str) -> Result<PathBuf> {
    let others = stack.services_of.as_ref().filter(|_| SERVICES.iter().any(|service| service.name == name));
    let (built, copies) = match others {
        Some(programs) => (programs.binaries.join(name), format!("bin-{}", programs.commit)),
        None => (stack.layout.binaries(stack.release).join(name), "bin".to_owned()),
    };
    if stack.accounts.service.is_none() || layout::reachable(&built) {
        return Ok(built);
    }
    let folder = stack.layout.state.join(copies);
    std::fs::create_dir_all(&folder)?;
    let copy = folder.join(name);
    let age = |path: &PathBuf| std::fs::metadata(path).and_then(|facts| facts.modified()).ok();
    if built.is_file() && age(&built) > age(&copy) {
        // A running program cannot be written over, but it can be replaced.
        let fresh = folder.join(format!(".{name}.new"));
        std::fs::copy(&built, &fresh).with_context(|| format!("copy {}", built.display()))?;
        own(&fresh, None, 0o755)?;
        std::fs::rename(&fresh, &copy)?;
    }
    Ok(copy)
}

fn role(stack: &Stack, service: &Service, role: &'static str) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let name = format!("{}-{role}", service.name);
    let folder = stack.layout.data(&name, account.as_ref())?;
    let defaults = defaults(stack, service)?;
    let text = configuration(stack, service, &defaults);
    let config = stack.layout.write_config(&config_name(stack, service), &text, account.as_ref())?;
    let mut env = vec![("HOME".to_owned(), folder.display().to_string())];
    if name == "user-serve" && defaults.contains_key("clicks") {
        // Clicks are accepted while the broker is away.
        env.push((SPILL_FOLDER.to_owned(), folder.join("spill").display().to_string()));
    }
    let (admin, listens) = match role {
        "serve" => (service.admin, vec![service.http, service.grpc, service.admin]),
        _ => (service.work_admin, vec![service.work_admin]),
    };
    Ok(Spec {
        name,
        role,
        program: binary(stack, service.name)?,
        args: vec![role.to_owned(), "--config".to_owned(), config.to_string_lossy().into_owned()],
        env,
        folder,
        account,
        ports: listens.into_iter().map(|port| stack.ports.of(port)).collect(),
        health: Health::Http(vec![(stack.ports.of(admin), "/readyz".to_owned())]),
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(15),
        ready_within: Duration::from_secs(120),
        ours: true,
        depends_on: text,
    })
}

/// What differs from the service's own defaults because of ports, region and passwords of this stack. A service refuses sections it
/// does not know, so only those are written that its `config.default.toml` names, besides the ones that every process has.
fn configuration(stack: &Stack, service: &Service, defaults: &toml::Table) -> String {
    let mut text = format!("# Written by `./dev up` for {}; changes are lost at the next start.\n", service.name);
    for (section, values) in sections(stack, service) {
        if EVERYWHERE.contains(&section) || defaults.contains_key(section) {
            // Writing into a String cannot fail.
            let _ = write!(text, "\n[{section}]\n{}\n", values.join("\n"));
        }
    }
    text
}

/// The file below `config`: programs of two commits that run side by side know other sections.
fn config_name(stack: &Stack, service: &Service) -> String {
    match &stack.services_of {
        Some(programs) => format!("{}-{}.toml", service.name, programs.commit),
        None => format!("{}.toml", service.name),
    }
}

/// Does this service answer gRPC?
///
/// # Errors
/// When its defaults cannot be read.
pub fn answers_grpc(stack: &Stack, service: &Service) -> Result<bool> {
    Ok(defaults(stack, service)?.contains_key("grpc"))
}

fn defaults(stack: &Stack, service: &Service) -> Result<toml::Table> {
    let services =
        stack.services_of.as_ref().map_or_else(|| stack.layout.checkout.join("services"), |of| of.services.clone());
    let path = services.join(service.name).join("config.default.toml");
    let defaults = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    defaults.parse::<toml::Table>().with_context(|| format!("{} is not TOML", path.display()))
}

/// Sections that chassis gives to every process.
const EVERYWHERE: &[&str] = &["site", "admin", "telemetry"];

fn sections(stack: &Stack, service: &Service) -> Vec<(&'static str, Vec<String>)> {
    let ports = stack.ports;
    let (region, site) = (&stack.region.code, &stack.region.site);
    let text = |key: &str, value: &str| format!("{key} = \"{value}\"");
    let number = |key: &str, value: u16| format!("{key} = {value}");
    let realm = format!("{}/realms/{}", ports.url(Port::Keycloak), stack.realm());
    let mut sections = vec![
        (
            "site",
            vec![
                text("region", region),
                text("name", site),
                number("epoch", 1),
                text("public_url", &ports.url(Port::Edge)),
            ],
        ),
        ("admin", vec![number("port", ports.of(service.admin)), number("work_port", ports.of(service.work_admin))]),
        ("telemetry", vec![text("otlp_endpoint", &otlp_endpoint(stack))]),
        ("http", vec![number("port", ports.of(service.http))]),
        ("grpc", vec![number("port", ports.of(service.grpc))]),
        ("auth", vec![text("issuer", &realm), text("jwks_url", &format!("{realm}/protocol/openid-connect/certs"))]),
        ("kafka", vec![text("brokers", &ports.address(Port::Kafka))]),
        ("redis", vec![text("url", &format!("redis://{}", ports.address(Port::Redis)))]),
        // the same in all services of a region, so that one person has one pseudonym
        ("pseudonym", vec![text("key", &format!("local-pseudonym-key-{region}"))]),
        (
            "keycloak",
            vec![
                text("base_url", &ports.url(Port::Keycloak)),
                text("realm", &stack.realm()),
                text("client_secret", keycloak::LOGIN_CLIENT_SECRET),
                text("admin_client_secret", keycloak::ADMIN_CLIENT_SECRET),
            ],
        ),
        (
            "mongo",
            vec![
                text("url", &format!("mongodb://{}/?directConnection=true", ports.address(Port::Ferretdb))),
                text("ferretdb_postgres_url", &ports.postgres_url("ferretdb", "ferretdb_owner")),
            ],
        ),
        (
            "elasticsearch",
            vec![
                text("url", &ports.url(Port::Elasticsearch)),
                // The first searches after a start wait for a cold JVM on shared cores; a newcomer should see an answer.
                number("search_deadline_ms", 3_000),
            ],
        ),
        ("personalization", vec![text("grpc_url", &ports.url(Port::PersonalizationGrpc))]),
        ("catalog", vec![text("grpc_url", &ports.url(Port::CatalogGrpc))]),
        ("order_payment", vec![text("grpc_url", &ports.url(Port::OrderPaymentGrpc))]),
        (
            "gateway",
            vec![
                text("base_url", &ports.url(Port::PaymentSimulator)),
                text("api_key", GATEWAY_KEY),
                text("webhook_secret", WEBHOOK_SECRET),
                text("settlement_url", &format!("{}/settlements", ports.url(Port::PaymentSimulator))),
            ],
        ),
        // The same stand-in by its other wire, so that the choice of a gateway can be tried by hand.
        (
            "second_gateway",
            vec![
                text("name", SECOND_GATEWAY),
                text("base_url", &ports.url(Port::PaymentSimulator)),
                text("api_key", GATEWAY_KEY),
                text("notification_url", &webhook_url(stack, SECOND_GATEWAY)),
                text("webhook_secret", WEBHOOK_SECRET),
                text("settlement_url", &format!("{}/v2/settlements", ports.url(Port::PaymentSimulator))),
            ],
        ),
        ("prices", vec![text("lock_key", &format!("local-price-lock-key-{region}"))]),
    ];
    if let Some(seconds) = stack.orphan_deadline_s {
        sections.push(("reconcile", vec![number("orphan_deadline_s", seconds)]));
    }
    if let Some(most) = stack.most_declined {
        sections.push(("card_testing", vec![number("most_declined", most)]));
    }
    if let Some(database) = service.database {
        let url = |role: &str| ports.postgres_url(database, &format!("{database}_{role}"));
        sections.push(("database", vec![text("url", &url("app")), text("owner_url", &url("owner"))]));
    }
    sections
}

/// Where spans go: to the tests' own sink in a test stack, to a collector when one listens on the stack's OTLP port or
/// `SHOPSPHERE_OTLP_ENDPOINT` names one; else nowhere.
fn otlp_endpoint(stack: &Stack) -> String {
    let here = stack.ports.url(Port::Otlp);
    if stack.purpose == Purpose::Test {
        return here;
    }
    std::env::var("SHOPSPHERE_OTLP_ENDPOINT")
        .unwrap_or_else(|_| if net::tcp_open(stack.ports.of(Port::Otlp)) { here } else { String::new() })
}

fn payment_simulator(stack: &Stack) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("payment-simulator", account.as_ref())?;
    let port = stack.ports.of(Port::PaymentSimulator);
    let args = [
        "--port",
        &port.to_string(),
        "--state",
        &folder.join("books.redb").to_string_lossy(),
        "--webhook-url",
        &webhook_url(stack, "simulator"),
        "--webhook-secret",
        WEBHOOK_SECRET,
        "--square-webhook-url",
        &webhook_url(stack, SECOND_GATEWAY),
        "--square-webhook-secret",
        WEBHOOK_SECRET,
        "--api-key",
        GATEWAY_KEY,
    ]
    .map(str::to_owned);
    tool(stack, "payment-simulator", args.to_vec(), folder, vec![port], Health::Tcp(port))
}

/// The gateway calls order-payment directly, as it would call a public webhook address.
fn webhook_url(stack: &Stack, gateway: &str) -> String {
    format!("{}/v1/payments/webhooks/{gateway}", stack.ports.url(Port::OrderPaymentHttp))
}

fn edge_tracer(stack: &Stack) -> Result<Spec> {
    let folder = stack.layout.data("edge-tracer", stack.accounts.service.as_ref())?;
    let port = stack.ports.of(Port::EdgeTracer);
    let mut args = vec![
        "--listen".to_owned(),
        stack.ports.address(Port::EdgeTracer),
        "--region".to_owned(),
        stack.region.code.clone(),
    ];
    let endpoint = otlp_endpoint(stack);
    if !endpoint.is_empty() {
        args.extend(["--otlp-endpoint".to_owned(), endpoint]);
    }
    tool(stack, "edge-tracer", args, folder, Vec::new(), Health::Udp(port))
}

fn tool(
    stack: &Stack,
    name: &str,
    args: Vec<String>,
    folder: PathBuf,
    ports: Vec<u16>,
    health: Health,
) -> Result<Spec> {
    Ok(Spec {
        name: name.to_owned(),
        role: "tool",
        program: binary(stack, name)?,
        args,
        env: vec![("HOME".to_owned(), folder.display().to_string())],
        folder,
        account: stack.accounts.service.clone(),
        ports,
        health,
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(5),
        ready_within: Duration::from_secs(30),
        ours: true,
        depends_on: String::new(),
    })
}

/// Brings databases and topics of all services up to date, one after the other. As ourselves: a one-shot command of a developer.
///
/// # Errors
/// When a migration fails, with the end of its output.
pub fn migrate(stack: &Stack, service: &Service) -> Result<()> {
    // The configuration belongs to the service's account; whoever runs `./dev up` wrote it and may read it.
    let config = stack.layout.state.join("config").join(config_name(stack, service));
    let mut command = Command::new(binary(stack, service.name)?);
    command.arg("migrate").arg("--config").arg(config).current_dir(&stack.layout.state);
    os::run(&format!("{} migrate", service.name), &mut command, &stack.layout.log(&format!("{}-migrate", service.name)))
}

/// Puts the keys of this region's issuer where the edge looks for them.
///
/// # Errors
/// When Keycloak's key set cannot be read: then the edge keeps the keys it has.
pub fn edge_keys(stack: &Stack) -> Result<()> {
    let realm = format!("{}/realms/{}", stack.ports.url(Port::Keycloak), stack.realm());
    let mut sync = Command::new(binary(stack, "jwks-sync")?);
    sync.args(["--keys", &format!("{realm}/protocol/openid-connect/certs"), "folder", "--output"]);
    sync.arg(haproxy::keys(stack)?).current_dir(&stack.layout.state);
    os::run("jwks-sync", &mut sync, &stack.layout.log("jwks-sync"))
}

/// Fills the shop of a fresh region: demo catalog, stock, people. Done once per data folder; safe to repeat.
///
/// # Errors
/// When the demo program fails.
pub fn seed(stack: &Stack) -> Result<()> {
    let offset = stack.ports.offset().to_string();
    let mut demo = Command::new(binary(stack, "demo")?);
    demo.args(["seed", "--offset", &offset]).current_dir(&stack.layout.state);
    os::run("demo seed", &mut demo, &stack.layout.log("seed"))?;
    std::fs::write(seeded_mark(stack), "").context("note that the region is seeded")
}

/// Was this region's data filled already?
pub fn is_seeded(stack: &Stack) -> bool {
    seeded_mark(stack).is_file()
}

fn seeded_mark(stack: &Stack) -> PathBuf {
    stack.layout.state.join("data/.seeded")
}
