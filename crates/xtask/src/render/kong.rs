//! Kong's declarative file, for a gateway without a database and without a cluster: the same routes, limits and plugins as the edge chart
//! writes as objects. Decided here: nothing that the chart does not decide too; a test lays the two side by side. A standby is closed by
//! its services alone here, because the file is that of a region.

use serde_json::{Value, json};

use super::routes::{CountedBy, Route, Token};
use super::text::json as pretty;
use super::topology::{Region, Site, Topology};
use super::{Output, Sources};

/// HTTP ports of the services inside a site.
pub fn port(service: &str) -> u16 {
    match service {
        "user" => 8101,
        "catalog" => 8111,
        "order-payment" => 8121,
        _ => 8131,
    }
}

/// Milliseconds until a service has to take a connection.
pub const CONNECT: u32 = 1000;

/// Milliseconds in which a service may say nothing. It has deadlines of its own; only order events stream for longer.
pub fn patience(service: &str) -> u32 {
    if service == "order-payment" { 600_000 } else { 30_000 }
}

pub fn outputs(sources: &Sources) -> Vec<Output> {
    let mut outputs = files(sources);
    outputs.extend(
        sources
            .topology
            .sites()
            .map(|(_, site)| Output::new(format!("deploy/edge/kong/{}.conf", site.name), configuration(sources, site))),
    );
    outputs
}

/// What plugins depend on and no object can say: in a cluster the gateway's environment, elsewhere lines of its file. Limits count by the
/// first address, from the end, that neither the site nor the CDN is.
pub fn settings(topology: &Topology, site: &Site) -> Vec<(&'static str, String)> {
    let trusted = std::iter::once(&site.network).chain(&topology.cdn.networks);
    vec![
        ("trusted_ips", trusted.map(String::as_str).collect::<Vec<_>>().join(",")),
        ("real_ip_header", "X-Forwarded-For".to_owned()),
        ("real_ip_recursive", "on".to_owned()),
        ("status_listen", "0.0.0.0:8100".to_owned()),
        ("error_default_type", "application/json".to_owned()),
        // neither its name nor its version
        ("headers", "off".to_owned()),
        ("tracing_instrumentations", "request,router,balancer".to_owned()),
        ("tracing_sampling_rate", "0.05".to_owned()),
    ]
}

/// The file of a gateway that has no controller: the same, and what a controller would decide.
fn configuration(sources: &Sources, site: &Site) -> String {
    let mut text = super::text::header("topology.toml");
    text.push_str(
        "# Kong 3.9 of one site.\ndatabase = off\nadmin_listen = off\nproxy_listen = 0.0.0.0:8443 ssl http2\n",
    );
    for (name, value) in settings(&sources.topology, site) {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}

fn files(sources: &Sources) -> Vec<Output> {
    let regions = sources.topology.regions.iter();
    regions
        .map(|region| {
            let file = declarative(sources, region);
            Output::new(format!("deploy/edge/kong/{}.json", region.code), pretty(&file))
        })
        .collect()
}

fn declarative(sources: &Sources, region: &Region) -> Value {
    let host = region.host();
    let mut services: Vec<_> = super::services::SERVICES
        .iter()
        .map(|service| {
            let routes = sources.routes.routes.iter().filter(|route| route.service == *service);
            json!({
                "name": service,
                "url": format!("http://{service}.shopsphere.svc:{}", port(service)),
                "connect_timeout": CONNECT, "read_timeout": patience(service), "retries": 0,
                "routes": routes.map(|route| self::route(sources, route, host)).collect::<Vec<_>>(),
            })
        })
        .collect();
    // answers at the port of administration, and is asked by global routing
    services.push(json!({
        "name": "site-health", "url": "http://order-payment.shopsphere.svc:8123", "connect_timeout": CONNECT, "read_timeout": 5000,
        "retries": 0, "routes": [],
    }));
    json!({
        "_format_version": "3.0",
        "_transform": true,
        "services": services,
        "routes": [
            {
                "name": "site-health", "service": "site-health", "hosts": [host], "paths": ["~/healthz/site$"], "strip_path": false,
                "preserve_host": true, "protocols": ["https"],
            },
            // no plugin runs where no route fits
            {
                "name": "nothing-here", "hosts": [host], "paths": ["/"], "strip_path": false, "protocols": ["https"],
                "plugins": [
                    {"name": "rate-limiting", "config": counting(sources, "browse")},
                    {"name": "request-termination", "config": {
                        "status_code": 404, "content_type": "application/problem+json", "body": NOTHING_HERE.trim(),
                    }},
                ],
            },
        ],
        // one credential per key of the issuer, put there by whoever reads its key set; none is committed
        "consumers": [{"username": format!("issuer-{}", region.code)}],
        "plugins": [
            {"name": "correlation-id", "config": {"header_name": "X-Request-Id", "generator": "uuid", "echo_downstream": true}},
            {"name": "prometheus", "config": {
                "per_consumer": false, "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true,
                "upstream_health_metrics": true,
            }},
            {"name": "opentelemetry", "config": traces(region)},
            {"name": "cors", "config": browsers(&sources.topology.region_domain(region))},
            {"name": "pre-function", "config": functions(&[STRIP])},
        ],
    })
}

fn traces(region: &Region) -> Value {
    json!({
        "traces_endpoint": "http://collector.shopsphere-observability.svc:4318/v1/traces", "sampling_rate": 0.05,
        "http_response_header_for_traceid": "X-Trace-Id",
        "resource_attributes": {"service.name": "edge", "shopsphere.region": region.code},
        "propagation": {"default_format": "w3c", "extract": ["w3c"], "inject": ["w3c"]},
    })
}

/// Pages of the shop lie below the region's domain.
fn browsers(domain: &str) -> Value {
    json!({
        "origins": [format!("^https://[a-z.-]*{}$", domain.replace('.', "\\."))],
        "methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "headers": [
            "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Accept-Language", "Last-Event-ID",
            "traceparent",
        ],
        "exposed_headers": [
            "ETag", "Link", "Location", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "X-Request-Id",
            "traceparent", "Idempotency-Replayed",
        ],
        "credentials": false, "max_age": 3600,
    })
}

/// What a gateway does to every request and to every answer of its own. A route's functions stand in place of the global ones, so they do
/// their work too.
fn functions(access: &[&str]) -> Value {
    json!({"access": access, "header_filter": [PROBLEM_HEADER], "body_filter": [PROBLEM_BODY]})
}

fn counting(sources: &Sources, name: &str) -> Value {
    let limit = &sources.routes.limits[name];
    let by_subject = limit.by == CountedBy::Subject;
    let mut counting = json!({
        "minute": limit.per_minute, "policy": "redis", "fault_tolerant": true, "sync_rate": -1, "hide_client_headers": false,
        "error_code": 429, "limit_by": if by_subject { "header" } else { "ip" },
        "redis": {"host": "gateway-redis.shopsphere-data.svc", "port": 6379, "timeout": 200},
    });
    if by_subject {
        counting["header_name"] = json!("X-ShopSphere-Subject");
    }
    counting
}

fn route(sources: &Sources, route: &Route, host: &str) -> Value {
    let mut plugins = vec![
        json!({"name": "request-size-limiting", "config": {
            "allowed_payload_size": route.body, "size_unit": "kilobytes", "require_content_length": false,
        }}),
        json!({"name": "rate-limiting", "config": counting(sources, &route.limit)}),
    ];
    if route.token == Token::Required {
        plugins.push(json!({"name": "pre-function", "config": functions(&[STRIP, SUBJECT])}));
        plugins.push(json!({"name": "jwt", "config": {
            "key_claim_name": "kid", "claims_to_verify": ["exp"], "uri_param_names": [], "cookie_names": [],
            "run_on_preflight": false, "maximum_expiration": 600,
        }}));
    }
    json!({
        "name": route.name(), "hosts": [host], "paths": route.paths, "strip_path": false, "preserve_host": true,
        "protocols": ["https"], "plugins": plugins,
    })
}

/// What is taken from every request, and what is said of it instead.
pub const STRIP: &str = include_str!("../../../../deploy/helm/shopsphere-edge/files/strip-headers.lua");
const SUBJECT: &str = include_str!("../../../../deploy/helm/shopsphere-edge/files/subject.lua");
const PROBLEM_HEADER: &str = include_str!("../../../../deploy/helm/shopsphere-edge/files/problem-header.lua");
const PROBLEM_BODY: &str = include_str!("../../../../deploy/helm/shopsphere-edge/files/problem-body.lua");
const NOTHING_HERE: &str = include_str!("../../../../deploy/helm/shopsphere-edge/files/nothing-here.json");
