//! From a request to the span that is exported. Built by hand: the SDK chooses span ids itself, and here the ids are given;
//! the service behind already names them as its parent.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode,
};

use crate::line::Request;

/// Sampled, and the parent lives in another process (flags of the OTLP span message).
const SAMPLED_REMOTE_PARENT: u32 = 0x1 | 0x100 | 0x200;

/// One export of all `requests`.
pub fn export(region: Option<&str>, requests: &[Request]) -> ExportTraceServiceRequest {
    let mut attributes = vec![text("service.name", "edge")];
    attributes.extend(region.map(|region| text("shopsphere.region", region)));
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = requests.iter().map(span).collect();
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }],
    }
}

fn span(request: &Request) -> Span {
    let mut attributes = vec![
        text("http.request.method", &request.method),
        text("url.path", &request.path),
        text("backend", &request.backend),
        text("server", &request.server),
        text("request_id", &request.request_id),
        text("termination_state", &request.termination),
    ];
    attributes.retain(|attribute| attribute.value != text("", "").value);
    attributes
        .extend(request.status.map(|status| attribute("http.response.status_code", Value::IntValue(status.into()))));
    // A server's span fails when the server did: 5xx, or no answer at all.
    let failed = request.status.is_none_or(|status| status >= 500);
    Span {
        trace_id: request.trace_id.to_vec(),
        span_id: request.span_id.to_vec(),
        parent_span_id: request.parent_span_id.map(Vec::from).unwrap_or_default(),
        flags: SAMPLED_REMOTE_PARENT,
        // The path would make a name of its own for each product; it stands in the attributes.
        name: format!("{} {}", request.method, request.backend),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: request.start_ns,
        end_time_unix_nano: request.end_ns,
        attributes,
        status: failed.then(|| Status { message: String::new(), code: StatusCode::Error.into() }),
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
