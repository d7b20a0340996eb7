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

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use common::ErrorKind;
use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::auth::Authenticator;
use crate::config::{Http, Site, Telemetry};
use crate::cores::Cores;
use crate::lifecycle::Process;
use crate::problem::{Problem, codes};
use crate::server::{self, Listening, Served, Stay};

pub(crate) use front::Front;
pub use front::{AtHand, IDENTIFYING, Shelf};
pub use sse::sse;

use answer::Identity;
use observe::Observed;

use crate::extract::Home;

/// What surrounds every handler of a port.
pub(crate) struct Shared {
    site: Site,
    site_header: HeaderValue,
    epoch_header: HeaderValue,
    in_flight: Semaphore,
    request_timeout: Duration,
    header_limit: usize,
    body_limit: DefaultBodyLimit,
    home: Home,
    authenticator: Option<Arc<Authenticator>>,
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

/// The router with everything around it, without a port: what [`serve`] serves. Tests may call it as a tower service.
pub fn dress(site: &Site, settings: &Http, router: Router, authenticator: Option<Arc<Authenticator>>) -> Router {
    let shared = Arc::new(Shared {
        site: site.clone(),
        site_header: HeaderValue::try_from(&site.name).unwrap_or(HeaderValue::from_static("unnamed")),
        epoch_header: HeaderValue::from(site.epoch),
        in_flight: Semaphore::new(settings.max_in_flight),
        request_timeout: Duration::from_millis(settings.request_timeout_ms),
        header_limit: settings.header_limit_bytes,
        body_limit: DefaultBodyLimit::max(settings.body_limit_bytes),
        home: Home { region: site.region, trust_forwarded: settings.trust_forwarded },
        authenticator,
    });
    // One layer: each would be a box around the next, and all of them are copied for every request.
    router.fallback(no_route).method_not_allowed_fallback(no_method).layer(from_fn_with_state(shared, around))
}

/// Everything around a handler, from the outermost inwards.
async fn around(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    // No answer leaves without its identifying headers.
    let identity = Identity::of(&request);
    // Span, access log and metrics see every refusal of what is further in.
    let observed = Observed::begin(&shared, &request, &identity.id);
    let span = observed.span.clone();
    let mut response = guarded(&shared, identity.id.clone(), request, next).instrument(span).await;
    observed.end(&response);
    identity.put(&shared, &mut response);
    response
}

async fn guarded(shared: &Shared, id: Arc<str>, mut request: Request, next: Next) -> Response {
    if let Some(refusal) = guards::too_large(shared, &request) {
        return refusal.into_response();
    }
    // Sheds before a body is read or a token verified: refusing must stay cheap when there is too much to do. The place is held until the
    // answer's head: streams do not occupy it.
    let Ok(_place) = shared.in_flight.try_acquire() else {
        return Problem::overloaded().into_response();
    };
    // What extractors look up. A route may lay a body limit of its own over this one.
    shared.body_limit.apply(&mut request);
    request.extensions_mut().insert(shared.home);
    if let Some(authenticator) = &shared.authenticator {
        request.extensions_mut().insert(Arc::clone(authenticator));
    }
    let route = observe::route_of(request.extensions().get::<MatchedPath>()).to_owned();
    // A panic becomes a 500 here, so that it is counted, logged and gets its headers. The deadline covers the handler up to its answer's
    // head, not the body: a live stream (SSE) is not cut.
    guards::catch_panic(route, guards::deadline(shared, id, request, next)).await
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
