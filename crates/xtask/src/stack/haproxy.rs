//! The edge of the local region: HAProxy with the rules of `deploy/edge/haproxy`. Decided here: which process stands behind which
//! backend. What the edge lets through is decided in the template.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Stack;
use super::process::{Health, Spec};
use crate::os;
use crate::ports::Port;

const TEMPLATE: &str = include_str!("../../../../deploy/edge/haproxy/haproxy.cfg.template");

/// The largest request body the edge lets through, in bytes: the API's own limit is lower or equal for every route.
const MAX_BODY: u32 = 1_048_576;
/// The same for batches of the administration.
const MAX_BODY_ADMIN: u32 = 5 * 1_048_576;
/// Requests one address may send in ten seconds.
const REQUESTS_PER_10S: u32 = 20_000;

/// Backend, public port, admin port (for its health), and how long an answer may take. Order events stream for minutes.
const BACKENDS: &[(&str, Port, Port, &str)] = &[
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
    let account = stack.accounts.service.clone();
    let folder = stack.layout.data("haproxy", account.as_ref())?;
    let port = stack.ports.of(Port::Edge);
    let configuration = configuration(stack);
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

fn configuration(stack: &Stack) -> String {
    let mut backends = String::new();
    for (name, http, admin, answer_within) in BACKENDS {
        // The health check asks the admin port, where readiness is told; a second of outage is noticed and a second of health.
        let _ = write!(
            backends,
            "backend {name}\n    timeout server {answer_within}\n    option httpchk GET /readyz\n    http-check expect status 200\n    \
             server {name}-1 {address} check port {admin} inter 500ms fastinter 200ms downinter 300ms fall 2 rise 1\n\n",
            address = stack.ports.address(*http),
            admin = stack.ports.of(*admin),
        );
    }
    TEMPLATE
        .replace("@PORT_EDGE_TRACER@", &stack.ports.of(Port::EdgeTracer).to_string())
        .replace("@PORT_EDGE@", &stack.ports.of(Port::Edge).to_string())
        .replace("@MAX_BODY@", &MAX_BODY.to_string())
        .replace("@MAX_BODY_ADMIN@", &MAX_BODY_ADMIN.to_string())
        .replace("@REQUESTS_PER_10S@", &REQUESTS_PER_10S.to_string())
        .replace("@BACKENDS@", backends.trim_end())
}
