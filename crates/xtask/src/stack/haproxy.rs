//! The edge of the local region: HAProxy with the rules of `deploy/edge/haproxy`. Decided here: which process stands behind which
//! backend, which keys of the issuer it checks tokens with, and how much wider its limits are than those of a region. What the edge lets
//! through is decided in the template. HAProxy knows no key sets: `jwks-sync` puts the keys into a folder, and a changed folder is a
//! changed configuration, so the next `./dev up` starts the edge again.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::{Health, Spec};
use super::{Stack, services};
use crate::os;
use crate::ports::Port;

const TEMPLATE: &str = include_str!("../../../../deploy/edge/haproxy/haproxy.cfg.template");

/// Requests one address may send in ten seconds.
const REQUESTS_PER_10S: u32 = 20_000;
/// The limits of the table of routes are those of one person or address; demos, benchmarks and stories of a local stack are many people
/// at one address. With this the limit above is the one that they meet.
const LIMITS_TIMES: u32 = 1000;

/// Backend, public port, admin port (for its health), and how long an answer may take. Order events stream for minutes.
pub const BACKENDS: &[(&str, Port, Port, &str)] = &[
    ("user", Port::UserHttp, Port::UserAdmin, "30s"),
    ("catalog", Port::CatalogHttp, Port::CatalogAdmin, "30s"),
    ("order-payment", Port::OrderPaymentHttp, Port::OrderPaymentAdmin, "600s"),
    ("personalization", Port::PersonalizationHttp, Port::PersonalizationAdmin, "30s"),
];

/// The edge's process.
///
/// # Errors
/// When the program is missing or its configuration cannot be written.
pub fn spec(stack: &Stack) -> Result<Spec> {
    spec_with(stack, LIMITS_TIMES)
}

/// The same with other limits: `1` is what a region has.
///
/// # Errors
/// As [`spec`].
pub fn spec_with(stack: &Stack, limits_times: u32) -> Result<Spec> {
    spec_of(stack, configuration(stack, limits_times)?)
}

/// The same with a second process behind a backend, for whoever restarts the two one after the other.
///
/// # Errors
/// As [`spec`], and when there is no such backend.
pub fn spec_with_second(stack: &Stack, backend: &str, http: u16, admin: u16) -> Result<Spec> {
    let row = BACKENDS.iter().find(|(name, ..)| *name == backend);
    let (_, first_http, first_admin, _) = row.with_context(|| format!("the edge has no backend {backend}"))?;
    let first = server(backend, 1, stack.ports.of(*first_http), stack.ports.of(*first_admin));
    let both = format!("{first}\n{}", server(backend, 2, http, admin));
    spec_of(stack, configuration(stack, LIMITS_TIMES)?.replace(&first, &both))
}

/// A serving process on ports of its own, one of several that stand for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub service: &'static str,
    pub http: u16,
    /// `None`: the service answers no gRPC.
    pub grpc: Option<u16>,
    pub admin: u16,
}

/// How an address of a cluster behaves: who connects is given to a process that is ready, and stays with it until one of the two ends
/// the connection.
const ADDRESSES: &str = "
defaults
    mode tcp
    option redispatch
    retries 1
    timeout connect 1s
    timeout client 1h
    timeout server 1h
";

/// The edge where all services are `instances`: it sends requests to them, and answers on the services' own ports by passing
/// connections on, so that their callers find them where they always do. Nobody else may listen there.
///
/// # Errors
/// As [`spec`].
pub fn spec_with_instances(stack: &Stack, instances: &[Instance]) -> Result<Spec> {
    let mut configuration = configuration(stack, LIMITS_TIMES)?;
    let (mut addresses, mut ports) = (ADDRESSES.to_owned(), Vec::new());
    for service in services::SERVICES {
        let of_service: Vec<&Instance> = instances.iter().filter(|instance| instance.service == service.name).collect();
        let alone = server(service.name, 1, stack.ports.of(service.http), stack.ports.of(service.admin));
        let all: Vec<String> = (1..)
            .zip(&of_service)
            .map(|(number, instance)| server(service.name, number, instance.http, instance.admin))
            .collect();
        configuration = configuration.replace(&alone, &all.join("\n"));
        let https: Vec<Option<u16>> = of_service.iter().map(|instance| Some(instance.http)).collect();
        let grpcs: Vec<Option<u16>> = of_service.iter().map(|instance| instance.grpc).collect();
        for (kind, port, behind) in [("http", service.http, https), ("grpc", service.grpc, grpcs)] {
            let port = stack.ports.of(port);
            if let Some(text) = address(service.name, kind, port, behind) {
                addresses.push_str(&text);
                ports.push(port);
            }
        }
    }
    let mut spec = spec_of(stack, format!("{configuration}\n{addresses}"))?;
    spec.ports.extend(ports);
    Ok(spec)
}

/// An address of a service and who answers there, as far as the service's backend knows that it is ready; `None` when nobody does.
fn address(service: &str, kind: &str, port: u16, behind: Vec<Option<u16>>) -> Option<String> {
    let servers: Vec<String> = (1..)
        .zip(behind)
        .filter_map(|(number, port)| Some((number, port?)))
        .map(|(number, port): (u8, u16)| {
            format!("    server {service}-{number} 127.0.0.1:{port} track {service}/{service}-{number}\n")
        })
        .collect();
    let head = format!("\nlisten {service}-{kind}\n    bind 127.0.0.1:{port}\n");
    (!servers.is_empty()).then(|| head + &servers.concat())
}

fn spec_of(stack: &Stack, configuration: String) -> Result<Spec> {
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("haproxy", account.as_ref())?;
    let port = stack.ports.of(Port::Edge);
    let file = stack.layout.write_config("haproxy.cfg", &configuration, account.as_ref())?;
    Ok(Spec {
        name: "haproxy".to_owned(),
        role: "server",
        program: os::which("haproxy").context("haproxy is missing; it is a Debian package of that name")?,
        args: ["-db", "-f", &file.to_string_lossy()].map(str::to_owned).to_vec(),
        env: Vec::new(),
        folder,
        account,
        ports: vec![port],
        health: Health::Http(vec![(port, "/edge/healthz".to_owned())]),
        // SIGUSR1 would wait for open event streams; a local edge just goes
        stop: libc::SIGTERM,
        stop_within: Duration::from_secs(5),
        ready_within: Duration::from_secs(20),
        ours: false,
        depends_on: configuration,
    })
}

/// Where `jwks-sync` puts the issuer's keys.
///
/// # Errors
/// When the folder above cannot be made.
pub fn keys(stack: &Stack) -> Result<PathBuf> {
    Ok(stack.layout.data("haproxy", stack.accounts.service.as_ref())?.join("keys"))
}

/// The whole configuration.
///
/// # Errors
/// When the folder of keys cannot be read.
pub fn configuration(stack: &Stack, limits_times: u32) -> Result<String> {
    let mut backends = String::new();
    for (name, http, admin, answer_within) in BACKENDS {
        let _ = write!(
            backends,
            "backend {name}\n    timeout server {answer_within}\n    option httpchk GET /readyz\n    http-check expect status 200\n{}\n\n",
            server(name, 1, stack.ports.of(*http), stack.ports.of(*admin)),
        );
    }
    Ok(TEMPLATE
        .replace("@PORT_EDGE_TRACER@", &stack.ports.of(Port::EdgeTracer).to_string())
        .replace("@PORT_EDGE@", &stack.ports.of(Port::Edge).to_string())
        .replace("@REQUESTS_PER_10S@", &REQUESTS_PER_10S.to_string())
        .replace("@LIMITS_TIMES@", &limits_times.to_string())
        .replace("@KEYS@\n", &key_lines(stack)?)
        .replace("@BACKENDS@", backends.trim_end()))
}

/// One process behind a backend. The health check asks the admin port, where readiness is told; a second of outage is noticed and a
/// second of health.
fn server(backend: &str, number: u8, http: u16, admin: u16) -> String {
    format!(
        "    server {backend}-{number} 127.0.0.1:{http} check port {admin} inter 500ms fastinter 200ms downinter 300ms fall 2 rise 1"
    )
}

/// A line per key. HAProxy reads the files when it starts, and only those that stand in its configuration by name. One key id in
/// sixty-four begins with `-`, so it stands behind `--`.
fn key_lines(stack: &Stack) -> Result<String> {
    let folder = keys(stack)?;
    let mut ids = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(|name| name.strip_suffix(".pem")).map(str::to_owned));
        }
    }
    ids.sort();
    let mut text = String::new();
    for id in ids {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "    http-request set-var(txn.proven) http_auth_bearer,jwt_verify(ES256,\"{}/{id}.pem\") if {{ var(txn.kid) -m str -- {id} }} \
             {{ var(txn.alg) -m str ES256 }}",
            folder.display()
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_all_that_answer_there_and_nobody_is_asked_twice_whether_they_are_ready() {
        let text = address("catalog", "grpc", 13_112, vec![Some(13_221), None, Some(13_227)]);
        assert_eq!(
            text.as_deref(),
            Some(
                "\nlisten catalog-grpc\n    bind 127.0.0.1:13112\n    server catalog-1 127.0.0.1:13221 track catalog/catalog-1\n    \
                 server catalog-3 127.0.0.1:13227 track catalog/catalog-3\n"
            )
        );
        assert_eq!(address("user", "grpc", 13_102, vec![None, None]), None);
    }
}
