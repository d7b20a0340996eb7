//! The admin port of each process: for balancers, orchestrators and scrapers of the inside network, never for clients.
//!
//! `/livez` says that the process runs and looks at nothing else. `/readyz` says whether requests should be sent here.
//! `/healthz/site` says whether this site is the active one; global routing probes it. `/metrics` is Prometheus text.

use std::net::SocketAddr;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::Role;
use crate::lifecycle::Process;
use crate::readiness::Finding;
use crate::server::{self, Listening};

/// Probes and scrapers are few.
const MAX_CONNECTIONS: usize = 64;

/// Opens the admin port of the process's role. `chassis::main` does it before the role starts, so that a slow start is visible.
///
/// # Errors
/// The port cannot be opened.
pub async fn serve(process: &Process) -> anyhow::Result<SocketAddr> {
    let admin = process.admin();
    let port = if process.role() == Role::Work { admin.work_port } else { admin.port };
    let listening = Listening { name: "admin", bind: admin.bind, port, max_connections: MAX_CONNECTIONS };
    server::serve(process, listening, router(process), None).await
}

/// The routes, without a port.
pub fn router(process: &Process) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/healthz/site", get(site))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(process.clone())
}

async fn ready(State(process): State<Process>) -> Response {
    let findings = process.readiness().ask().await;
    verdict(&process, findings)
}

async fn site(State(process): State<Process>) -> Response {
    let (mut findings, writable) = tokio::join!(process.readiness().ask(), process.writable().ask());
    findings.extend(writable);
    verdict(&process, findings)
}

fn verdict(process: &Process, mut findings: Vec<Finding>) -> Response {
    if !process.is_accepting() {
        findings.push(Finding { name: "process", ok: false, reason: "starting or stopping".to_owned() });
    }
    let ok = findings.iter().all(|finding| finding.ok);
    let site = process.site();
    let body =
        json!({"ok": ok, "region": site.region.code(), "site": site.name, "epoch": site.epoch, "checks": findings});
    (if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}

async fn metrics() -> impl IntoResponse {
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], crate::metrics::text())
}

async fn version(State(process): State<Process>) -> impl IntoResponse {
    Json(json!({"service": process.service(), "version": env!("CARGO_PKG_VERSION"), "role": process.role().name()}))
}
