//! The public HTTP port: one list of what surrounds every handler, and answers in one shape for what no route takes.
//!
//! Not decided here: the routes (each folder of a service has its `router()`), and how a connection is taken (`server`).

mod answer;
mod front;
mod guards;
mod observe;
mod sse;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Router, middleware};
use common::ErrorKind;
use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::auth::Authenticator;
use crate::config::{Http, Site, Telemetry};
use crate::cores::Cores;
use crate::lifecycle::Process;
use crate::problem::{Problem, codes};
use crate::server::{self, Listening, Served, Stay};

pub(crate) use front::Front;
pub use front::{AtHand, IDENTIFYING, Shelf};
pub use sse::sse;

/// What the layers share. One per port.
pub(crate) struct Shared {
    site: Site,
    site_header: HeaderValue,
    epoch_header: HeaderValue,
    in_flight: Semaphore,
    request_timeout: Duration,
    header_limit: usize,
}

/// Opens the public port and serves `router` with everything around it. Returns the bound address (port 0 takes any).
///
/// # Errors
/// The port cannot be opened.
pub async fn serve(
    process: &Process,
    settings: &Http,
    router: Router,
    authenticator: Option<Arc<Authenticator>>,
) -> anyhow::Result<SocketAddr> {
    let listening =
        Listening { name: "http", bind: settings.bind, port: settings.port, max_connections: settings.max_connections };
    server::serve(process, listening, dress(process.site(), settings, router, authenticator), None).await
}

/// As [`serve`], with finished answers in front of everything.
///
/// # Errors
/// The port cannot be opened.
pub async fn serve_behind(
    process: &Process,
    settings: &Http,
    router: Router,
    authenticator: Option<Arc<Authenticator>>,
    (shelf, telemetry): (Arc<dyn Shelf>, &Telemetry),
) -> anyhow::Result<SocketAddr> {
    let listening =
        Listening { name: "http", bind: settings.bind, port: settings.port, max_connections: settings.max_connections };
    let front = Arc::new(Front::new(shelf, process.site(), settings, telemetry));
    server::serve(process, listening, dress(process.site(), settings, router, authenticator), Some(front)).await
}

/// A port whose connections have a runtime per processor.
#[derive(Clone, Copy, Debug)]
pub struct OnCores {
    /// How many; 0 is one for each processor that this process may use.
    pub runtimes: usize,
    /// What is answered there, by path. Everything else crosses to the runtime of the caller, where it may wait and take its time.
    pub paths: &'static [&'static str],
}

/// As [`serve`], with a runtime per processor for some paths.
///
/// # Errors
/// The port cannot be opened, or a thread cannot be had.
pub async fn serve_on_cores(
    process: &Process,
    settings: &Http,
    router: Router,
    authenticator: Option<Arc<Authenticator>>,
    OnCores { runtimes, paths }: OnCores,
) -> anyhow::Result<SocketAddr> {
    let listening =
        Listening { name: "http", bind: settings.bind, port: settings.port, max_connections: settings.max_connections };
    let router = dress(process.site(), settings, router, authenticator);
    let stay = Some(Stay { paths, rest: Handle::current() });
    server::serve_on(process, listening, Served { router, front: None, stay }, Cores::start(process, runtimes)?).await
}

/// The router with all layers, without a port: what [`serve`] serves. Tests may call it as a tower service.
pub fn dress(site: &Site, settings: &Http, router: Router, authenticator: Option<Arc<Authenticator>>) -> Router {
    let shared = Arc::new(Shared {
        site: site.clone(),
        site_header: HeaderValue::try_from(&site.name).unwrap_or(HeaderValue::from_static("unnamed")),
        epoch_header: HeaderValue::from(site.epoch),
        in_flight: Semaphore::new(settings.max_in_flight),
        request_timeout: Duration::from_millis(settings.request_timeout_ms),
        header_limit: settings.header_limit_bytes,
    });
    let mut router = router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        // Innermost: what extractors look up.
        .layer(Extension(crate::extract::Home { region: site.region, trust_forwarded: settings.trust_forwarded }));
    if let Some(authenticator) = authenticator {
        router = router.layer(Extension(authenticator));
    }
    router
        // Bounds what body extractors read; a route may lay its own `DefaultBodyLimit` under this one.
        .layer(DefaultBodyLimit::max(settings.body_limit_bytes))
        // The deadline covers the handler up to its answer's head, not the body: a live stream (SSE) is not cut.
        .layer(from_fn_with_state(shared.clone(), guards::deadline))
        // A panic becomes a 500 here, inside the layers below, so that it is counted, logged and gets its headers.
        .layer(middleware::from_fn(guards::catch_panic))
        // Sheds before a body is read or a token verified: refusing must stay cheap when there is too much to do.
        .layer(from_fn_with_state(shared.clone(), guards::shed))
        .layer(from_fn_with_state(shared.clone(), guards::header_limit))
        // Span, access log and metrics see every refusal of the layers above.
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        // Outermost: no answer leaves without its identifying headers.
        .layer(from_fn_with_state(shared, answer::identify))
}

/// Sets another body limit for the routes of `router`, in bytes.
pub fn body_limit<S: Clone + Send + Sync + 'static>(router: Router<S>, bytes: usize) -> Router<S> {
    router.layer(DefaultBodyLimit::max(bytes))
}

async fn no_route() -> Problem {
    Problem::new(ErrorKind::NotFound, codes::NOT_FOUND, "there is no such resource")
}

async fn no_method() -> Problem {
    Problem::new(ErrorKind::MethodNotAllowed, codes::METHOD_NOT_ALLOWED, "this resource does not offer that method")
}
