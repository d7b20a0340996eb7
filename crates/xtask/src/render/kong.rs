//! Kong's declarative file, for a gateway without a database and without a cluster: the same routes, limits and plugins as the edge chart
//! writes as objects. Decided here: nothing that the chart does not decide too; a test lays the two side by side.

use serde_json::{Value, json};

use super::routes::{CountedBy, Route, Token};
use super::text::json as pretty;
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

pub fn outputs(sources: &Sources) -> Vec<Output> {
    let mut outputs = files(sources);
    outputs.extend(
        sources
            .topology
            .sites()
            .map(|(_, site)| Output::new(format!("deploy/edge/kong/{}.conf", site.name), configuration(&site.network))),
    );
    outputs
}

/// What plugins depend on and the declarative file cannot say.
fn configuration(network: &str) -> String {
    let mut text = super::text::header("topology.toml");
    text.push_str(&format!(
        "# Kong 3.9 of one site. The address that limits count by is the one that the site's own load balancer names.\ndatabase = off\n\
         trusted_ips = {network}\nreal_ip_header = X-Forwarded-For\nreal_ip_recursive = on\nproxy_listen = 0.0.0.0:8443 ssl http2\n\
         status_listen = 0.0.0.0:8100\nadmin_listen = off\nerror_default_type = application/json\n\
         tracing_instrumentations = request,router,balancer\ntracing_sampling_rate = 0.05\n"
    ));
    text
}

fn files(sources: &Sources) -> Vec<Output> {
    let regions = sources.topology.regions.iter();
    regions
        .map(|region| {
            let file = declarative(sources, &region.code, region.host());
            Output::new(format!("deploy/edge/kong/{}.json", region.code), pretty(&file))
        })
        .collect()
}

fn declarative(sources: &Sources, region: &str, host: &str) -> Value {
    let services: Vec<_> = super::services::SERVICES
        .iter()
        .map(|service| {
            let routes = sources.routes.routes.iter().filter(|route| route.service == *service);
            json!({
                "name": service,
                "url": format!("http://{service}.shopsphere.svc:{}", port(service)),
                // the service has deadlines of its own; only order events stream for longer
                "connect_timeout": 1000, "read_timeout": if *service == "order-payment" { 600_000 } else { 30_000 },
                "retries": 0,
                "routes": routes.map(|route| self::route(sources, route, host)).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "_format_version": "3.0",
        "_transform": true,
        "services": services,
        // one credential per key of the issuer, put there by whoever reads its key set; none is committed
        "consumers": [{"username": format!("issuer-{region}")}],
        "plugins": [
            {"name": "correlation-id", "config": {"header_name": "X-Request-Id", "generator": "uuid", "echo_downstream": true}},
            {"name": "prometheus", "config": {
                "per_consumer": false, "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true,
                "upstream_health_metrics": true,
            }},
        ],
    })
}

fn route(sources: &Sources, route: &Route, host: &str) -> Value {
    let limit = &sources.routes.limits[&route.limit];
    let by_subject = limit.by == CountedBy::Subject;
    let mut counting = json!({
        "minute": limit.per_minute, "policy": "redis", "fault_tolerant": true, "sync_rate": -1, "hide_client_headers": false,
        "error_code": 429, "limit_by": if by_subject { "header" } else { "ip" },
        "redis": {"host": "gateway-redis.shopsphere-data.svc", "port": 6379, "timeout": 200},
    });
    if by_subject {
        counting["header_name"] = json!("X-ShopSphere-Subject");
    }
    let mut plugins = vec![
        json!({"name": "request-size-limiting", "config": {
            "allowed_payload_size": route.body, "size_unit": "kilobytes", "require_content_length": false,
        }}),
        json!({"name": "rate-limiting", "config": counting}),
    ];
    if route.token == Token::Required {
        plugins.push(json!({"name": "pre-function", "config": {"access": [STRIP, SUBJECT]}}));
        plugins.push(json!({"name": "jwt", "config": {
            "key_claim_name": "kid", "claims_to_verify": ["exp"], "uri_param_names": [], "cookie_names": [],
            "run_on_preflight": false, "maximum_expiration": 600,
        }}));
    } else {
        plugins.push(json!({"name": "pre-function", "config": {"access": [STRIP]}}));
    }
    json!({
        "name": route.name(), "hosts": [host], "paths": route.paths, "strip_path": false, "preserve_host": true,
        "protocols": ["https"], "plugins": plugins,
    })
}

const STRIP: &str = include_str!("../../../../deploy/helm/shopsphere-edge/files/strip-headers.lua");
const SUBJECT: &str = include_str!("../../../../deploy/helm/shopsphere-edge/files/subject.lua");
