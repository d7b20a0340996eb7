//! Traces as a collector sees them: one trace over HTTP and gRPC, with who we are on every span.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use chassis::Role;
use contracts::personalization::v1::GenerateRecommendationsRequest;
use contracts::personalization::v1::recommendation_service_client::RecommendationServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

use crate::support::{client, eventually, process, settings};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn spans(&self, trace_id: &[u8]) -> Vec<Span> {
        let exports = self.0.lock().unwrap();
        let scopes =
            exports.iter().flat_map(|export| &export.resource_spans).flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).filter(|span| span.trace_id == trace_id).cloned().collect()
    }

    fn resource(&self) -> String {
        format!("{:?}", self.0.lock().unwrap()[0].resource_spans[0].resource)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_is_one_trace_over_http_and_grpc() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)));

    let settings = settings(&format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\nlog = \"off\"\n"));
    let telemetry = chassis::telemetry::install("shop", Role::Serve, &settings.common).unwrap();
    let process = process(&settings);
    let health = tonic::service::Routes::default();
    let grpc = chassis::grpc::serve(&process, &settings.grpc, health).await.unwrap();
    let channel = chassis::grpc::channel(&format!("http://{grpc}")).unwrap();
    let handler = async move || {
        let mut callee = RecommendationServiceClient::new(channel.clone());
        let _ = callee.generate_recommendations(GenerateRecommendationsRequest::default()).await;
        Err::<(), _>(chassis::Problem::not_found())
    };
    let router = Router::new().route("/v1/products/{sku}", get(handler));
    let address = chassis::http::serve(&process, &settings.http, router, None).await.unwrap();

    let request = client()
        .get(format!("http://{address}/v1/products/secret-sku"))
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let answer = request.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\""), "{answer}");

    let trace_id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    eventually("both spans arrive", async || collector.spans(&trace_id).len() >= 2).await;
    let spans = collector.spans(&trace_id);
    let outer = spans.iter().find(|span| span.name == "GET /v1/products/{sku}").expect("named by its route template");
    assert_eq!(outer.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    let inner = spans
        .iter()
        .find(|span| span.name.ends_with("RecommendationService/GenerateRecommendations"))
        .expect("the call's span");
    assert_eq!(inner.parent_span_id, outer.span_id, "{spans:#?}");
    assert!(!format!("{spans:?}").contains("secret-sku"));
    let resource = collector.resource();
    for expected in ["shop", "shopsphere.region", "shopsphere.site", "rdc-a", "shopsphere.role", "serve"] {
        assert!(resource.contains(expected), "{expected}: {resource}");
    }
    telemetry.flush().await;
}
