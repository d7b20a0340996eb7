//! Every metric of chassis. Labels have few values: routes are templates, targets are names of dependencies.
//!
//! A service declares its own in its `metrics.rs`, in the same default registry; the admin port shows them together.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, histogram_opts, opts};

/// From half a millisecond, where a cached read should be, to ten seconds, the longest deadline.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Time from the request's head to the answer's head.
pub(crate) static HTTP_DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram(
        "http_server_request_duration_seconds",
        "time to answer an HTTP request",
        &["http_request_method", "http_route", "http_response_status_code"],
    )
});

/// Refusals by their code.
pub(crate) static PROBLEMS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("shopsphere_http_problems_total", "problem answers by code", &["code"]));

/// Panics caught in handlers. Any is a defect.
pub(crate) static PANICS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("shopsphere_handler_panics_total", "panics caught in request handlers", &["route"]));

pub(crate) static RPC_DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram(
        "rpc_server_duration_seconds",
        "time to answer a gRPC call",
        &["rpc_service", "rpc_method", "rpc_grpc_status_code"],
    )
});

/// 0 closed, 1 on probation, 2 open.
pub(crate) static BREAKER_STATE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge("shopsphere_circuit_breaker_state", "circuit breaker: 0 closed, 1 probation, 2 open", &["target"])
});

/// Calls through a guard by how they ended: ok, refused, failed, deadline, open.
pub(crate) static CALLS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("shopsphere_dependency_calls_total", "guarded calls by outcome", &["target", "outcome"]));

/// Tries beyond the first.
pub(crate) static RETRIES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("shopsphere_dependency_retries_total", "retries of guarded calls", &["target"]));

/// Fetches of the key set by outcome: ok, failed.
pub(crate) static KEY_FETCHES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter("shopsphere_jwks_fetches_total", "fetches of the issuer's key set", &["outcome"]));

/// Requests turned away by a local limiter.
pub(crate) static LIMITED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("shopsphere_rate_limited_total", "requests refused by a local rate limiter", &["limiter"])
});

/// Constant 1; its labels say what runs.
pub(crate) static BUILD_INFO: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge("shopsphere_build_info", "what runs here", &["service", "role", "version", "region", "site"])
});

/// A histogram of seconds with the fleet's buckets, registered. For the `metrics.rs` of services too.
///
/// # Panics
/// When the name is taken or malformed: a defect seen at the first use, in any test.
pub fn histogram(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let metric = HistogramVec::new(histogram_opts!(name, help, DURATION_BUCKETS.to_vec()), labels)
        .expect("metric names are constants");
    prometheus::register(Box::new(metric.clone())).expect("each metric is declared once");
    metric
}

/// Counters by name. Two services that run in one process, as in the simulation, count what they call the same together.
static COUNTERS: LazyLock<Mutex<BTreeMap<String, (Vec<String>, IntCounterVec)>>> = LazyLock::new(Mutex::default);

/// A counter, registered; the same one when another service of this process has declared it alike.
///
/// # Panics
/// As [`histogram`], and when the other declaration has other labels.
pub fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let mut counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, metric)) = counters.get(name) {
        assert_eq!(known, labels, "{name} is declared once, or alike");
        return metric.clone();
    }
    let metric = IntCounterVec::new(opts!(name, help), labels).expect("metric names are constants");
    prometheus::register(Box::new(metric.clone())).expect("each metric is declared once");
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    counters.insert(name.to_owned(), (labels, metric.clone()));
    metric
}

/// A gauge, registered.
///
/// # Panics
/// As [`histogram`].
pub fn gauge(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let metric = IntGaugeVec::new(opts!(name, help), labels).expect("metric names are constants");
    prometheus::register(Box::new(metric.clone())).expect("each metric is declared once");
    metric
}

/// All metrics of the process in Prometheus text format.
pub(crate) fn text() -> String {
    prometheus::TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap_or_default()
}
