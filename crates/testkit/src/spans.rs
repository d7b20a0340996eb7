//! A receiver for traces: the OTLP server that the services of a test stack export to, keeping what arrives so that a
//! story can assert which span is the parent of which.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Spans kept; a story needs a few hundred.
const KEPT: usize = 200_000;

/// One span as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanSeen {
    pub service: String,
    pub name: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Empty for a root.
    pub parent_span_id: String,
    pub attributes: HashMap<String, String>,
    pub start_nanos: u64,
    pub end_nanos: u64,
}

/// Everything received so far.
#[derive(Clone, Default)]
pub struct SpanStore(Arc<Mutex<Vec<SpanSeen>>>);

impl SpanStore {
    /// Starts the receiver.
    ///
    /// # Panics
    /// When `address` is taken.
    pub async fn listen(address: SocketAddr) -> Self {
        let store = Self::default();
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|error| panic!("the OTLP port {address} cannot be opened: {error}"));
        let service = TraceServiceServer::new(store.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        store
    }

    /// Spans of one trace, in order of their start.
    pub fn trace(&self, trace_id: &str) -> Vec<SpanSeen> {
        let mut spans: Vec<SpanSeen> = self.lock().iter().filter(|span| span.trace_id == trace_id).cloned().collect();
        spans.sort_by_key(|span| span.start_nanos);
        spans
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SpanSeen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TraceService for SpanStore {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.lock();
        for resource in request.into_inner().resource_spans {
            let service = resource
                .resource
                .iter()
                .flat_map(|resource| &resource.attributes)
                .find(|attribute| attribute.key == "service.name")
                .map(|attribute| text(attribute.value.as_ref().and_then(|value| value.value.as_ref())))
                .unwrap_or_default();
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                if kept.len() >= KEPT {
                    break;
                }
                kept.push(SpanSeen {
                    service: service.clone(),
                    name: span.name,
                    trace_id: hex(&span.trace_id),
                    span_id: hex(&span.span_id),
                    parent_span_id: hex(&span.parent_span_id),
                    attributes: span
                        .attributes
                        .iter()
                        .map(|attribute| {
                            (
                                attribute.key.clone(),
                                text(attribute.value.as_ref().and_then(|value| value.value.as_ref())),
                            )
                        })
                        .collect(),
                    start_nanos: span.start_time_unix_nano,
                    end_nanos: span.end_time_unix_nano,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The spans of a trace as lines `service name`, indented below their parents, for messages of failing assertions.
pub fn drawing(spans: &[SpanSeen]) -> String {
    fn below(spans: &[SpanSeen], parent: &str, depth: usize, out: &mut String) {
        // A trace is a tree; the limit only keeps a broken one from looping.
        if depth > 32 {
            return;
        }
        for span in spans.iter().filter(|span| span.parent_span_id == parent) {
            out.push_str(&format!("{}{} {}\n", "  ".repeat(depth), span.service, span.name));
            below(spans, &span.span_id, depth + 1, out);
        }
    }
    let known: Vec<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut roots: Vec<&str> =
        spans.iter().map(|span| span.parent_span_id.as_str()).filter(|parent| !known.contains(parent)).collect();
    roots.sort_unstable();
    roots.dedup();
    let mut out = String::new();
    for root in roots {
        out.push_str(&format!("(from {root})\n"));
        below(spans, root, 1, &mut out);
    }
    out
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
