//! Lines in over UDP, spans out over OTLP, with a collector in the same process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edge_tracer::{Counts, Running, Settings, start};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tokio::net::{TcpListener, UdpSocket};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Response, Status};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A collector that keeps what it gets, or refuses it.
#[derive(Clone, Default)]
struct Collector {
    exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    refuses: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(Status::unavailable("not now"));
        }
        self.exports.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn open() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, url)
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.exports.lock().unwrap();
        let scopes =
            exports.iter().flat_map(|export| &export.resource_spans).flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

async fn tracer(otlp_endpoint: Option<String>) -> (Running, UdpSocket) {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let running = start(Settings { listen, otlp_endpoint, region: Some("eu".into()) }).await.unwrap();
    let edge = UdpSocket::bind(listen).await.unwrap();
    edge.connect(running.address).await.unwrap();
    (running, edge)
}

fn line(span_id: &str, parent: &str, status: i32) -> String {
    format!(
        "{{\"trace_id\":\"{TRACE}\",\"parent_span_id\":\"{parent}\",\"span_id\":\"{span_id}\",\"request_id\":\"r-1\",\
         \"method\":\"POST\",\"path\":\"\\/v1\\/orders\",\"status\":{status},\"backend\":\"order-payment\",\
         \"server\":\"order-payment-1\",\"start_us\":1795630656339859,\"duration_us\":1270,\"term\":\"--\"}}\n"
    )
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn unusable(counts: &Counts) -> u64 {
    counts.unusable.load(Ordering::Relaxed)
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

#[tokio::test]
async fn a_line_becomes_a_server_span_with_exactly_its_ids() {
    let (collector, url) = Collector::open().await;
    let (running, edge) = tracer(Some(url)).await;
    edge.send(line("9640601af49a18a5", "b7ad6b7169203331", 201).as_bytes()).await.unwrap();
    edge.send(line("9640601af49a18a6", "-", 503).as_bytes()).await.unwrap();
    wait_until("two spans are there", || collector.spans().len() == 2).await;

    let spans = collector.spans();
    let child = &spans[0];
    assert_eq!(hex::encode(&child.trace_id), TRACE);
    assert_eq!(
        (hex::encode(&child.span_id), hex::encode(&child.parent_span_id)),
        ("9640601af49a18a5".into(), "b7ad6b7169203331".into())
    );
    assert_eq!((child.kind(), child.name.as_str()), (SpanKind::Server, "POST order-payment"));
    assert_eq!(child.end_time_unix_nano - child.start_time_unix_nano, 1_270_000);
    let text = |key| match value(&child.attributes, key) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key} is {other:?}"),
    };
    assert_eq!(
        (text("http.request.method"), text("url.path"), text("backend")),
        ("POST".into(), "/v1/orders".into(), "order-payment".into())
    );
    assert_eq!(value(&child.attributes, "http.response.status_code"), Some(&Value::IntValue(201)));
    assert!(child.status.is_none() && spans[1].status.is_some() && spans[1].parent_span_id.is_empty());

    let export = collector.exports.lock().unwrap()[0].clone();
    let resource = export.resource_spans[0].resource.clone().unwrap();
    assert_eq!(value(&resource.attributes, "service.name"), Some(&Value::StringValue("edge".into())));
    running.stop().await;
}

#[tokio::test]
async fn many_lines_travel_in_bounded_batches() {
    let (collector, url) = Collector::open().await;
    let (running, edge) = tracer(Some(url)).await;
    for number in 1..=1500_u64 {
        edge.send(line(&format!("{number:016x}"), "-", 200).as_bytes()).await.unwrap();
        if number % 50 == 0 {
            // Leave the reader of this one-threaded test its turn; a socket's buffer is not endless.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    wait_until("all spans are there", || collector.spans().len() == 1500).await;
    let sizes: Vec<_> = collector
        .exports
        .lock()
        .unwrap()
        .iter()
        .map(|export| export.resource_spans[0].scope_spans[0].spans.len())
        .collect();
    assert!(sizes.iter().all(|size| *size <= 512), "{sizes:?}");
    running.stop().await;
}

#[tokio::test]
async fn garbage_between_good_lines_is_counted_and_skipped() {
    let (collector, url) = Collector::open().await;
    let (running, edge) = tracer(Some(url)).await;
    let broken_time = line("00000000000000aa", "-", 200).replace("1795630656339859", "-");
    let too_long = line("00000000000000ab", "-", 200).replace("orders", &"x".repeat(20_000));
    for datagram in ["nonsense", "", "{\"trace_id\":1}", &broken_time, &too_long] {
        edge.send(datagram.as_bytes()).await.unwrap();
    }
    edge.send(line("00000000000000ac", "-", 200).as_bytes()).await.unwrap();
    wait_until("the good line is there", || collector.spans().len() == 1).await;
    assert_eq!(unusable(&running.counts), 5);
    running.stop().await;
}

#[tokio::test]
async fn without_a_collector_lines_are_read_and_counted() {
    let (running, edge) = tracer(None).await;
    edge.send(line("00000000000000aa", "-", 200).as_bytes()).await.unwrap();
    edge.send(b"nonsense").await.unwrap();
    wait_until("both are read", || running.counts.received.load(Ordering::Relaxed) == 2).await;
    assert_eq!(unusable(&running.counts), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_refusing_collector_costs_spans_and_nothing_else() {
    let (collector, url) = Collector::open().await;
    collector.refuses.store(true, Ordering::Relaxed);
    let (running, edge) = tracer(Some(url)).await;
    edge.send(line("00000000000000aa", "-", 200).as_bytes()).await.unwrap();
    wait_until("the span is given up", || running.counts.lost.load(Ordering::Relaxed) == 1).await;
    collector.refuses.store(false, Ordering::Relaxed);
    edge.send(line("00000000000000ab", "-", 200).as_bytes()).await.unwrap();
    wait_until("the next span is there", || collector.spans().len() == 1).await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_queued_leaves_before_the_end() {
    let (collector, url) = Collector::open().await;
    let (running, edge) = tracer(Some(url)).await;
    edge.send(line("00000000000000aa", "-", 200).as_bytes()).await.unwrap();
    let counts = Arc::clone(&running.counts);
    wait_until("the line is read", || counts.received.load(Ordering::Relaxed) == 1).await;
    running.stop().await;
    assert_eq!(collector.spans().len(), 1);
}
