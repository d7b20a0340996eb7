//! The gRPC port: errors that cross, limits, panics, deadlines, and a trace that goes through.

use std::time::Duration;

use chassis::grpc::{MAX_MESSAGE, RemoteError};
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::{ErrorKind, Explain};
use contracts::personalization::v1::recommendation_service_client::RecommendationServiceClient;
use contracts::personalization::v1::recommendation_service_server::{
    RecommendationService, RecommendationServiceServer,
};
use contracts::personalization::v1::{GenerateRecommendationsRequest, GenerateRecommendationsResponse};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{process, settings};

#[derive(Debug, thiserror::Error)]
#[error("only 2 are left")]
struct OutOfStock;

impl Explain for OutOfStock {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Conflict
    }

    fn code(&self) -> &'static str {
        "out-of-stock"
    }
}

/// What it does depends on the product asked for.
struct Moody;

#[tonic::async_trait]
impl RecommendationService for Moody {
    async fn generate_recommendations(
        &self,
        request: Request<GenerateRecommendationsRequest>,
    ) -> Result<Response<GenerateRecommendationsResponse>, Status> {
        let traceparent = contracts::trace::current_traceparent().unwrap_or_default();
        match &*request.into_inner().sku {
            "panic" => panic!("card 4242424242424242"),
            "slow" => tokio::time::sleep(Duration::from_secs(5)).await,
            "stock" => return Err(chassis::grpc::status(&OutOfStock)),
            _ => {}
        }
        Ok(Response::new(GenerateRecommendationsResponse { model: traceparent, ..Default::default() }))
    }
}

type Client = RecommendationServiceClient<chassis::grpc::Channel>;

async fn served(more: &str) -> (chassis::Process, chassis::grpc::Channel, Client) {
    let settings = settings(more);
    let process = process(&settings);
    let address = chassis::grpc::serve(&process, &settings.grpc, Routes::new(RecommendationServiceServer::new(Moody)))
        .await
        .unwrap();
    let channel = chassis::grpc::channel(&format!("http://{address}")).unwrap();
    (process, channel.clone(), RecommendationServiceClient::new(channel))
}

fn about(sku: &str) -> GenerateRecommendationsRequest {
    GenerateRecommendationsRequest { sku: sku.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn an_error_of_ours_crosses_with_its_code() {
    let (_process, _, mut client) = served("").await;
    let status = client.generate_recommendations(about("stock")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "only 2 are left"));
    let heard = RemoteError::from(status);
    assert_eq!(
        (heard.kind(), heard.code(), heard.to_string()),
        (ErrorKind::Conflict, "out-of-stock", "only 2 are left".to_owned())
    );
}

#[tokio::test]
async fn a_panic_is_one_failed_call() {
    let (_process, _, mut client) = served("").await;
    let status = client.generate_recommendations(about("panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("4242"), "{status:?}");
    assert!(client.generate_recommendations(about("")).await.is_ok());
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let (_process, _, client) = served("").await;
    let mut client = client.max_encoding_message_size(16 * MAX_MESSAGE);
    assert!(client.generate_recommendations(about(&"x".repeat(MAX_MESSAGE - 100))).await.is_ok());
    let status = client.generate_recommendations(about(&"x".repeat(MAX_MESSAGE + 1))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

#[tokio::test]
async fn a_call_without_a_deadline_gets_one() {
    let (_process, _, mut client) = served("[grpc]\nrequest_timeout_ms = 100\n").await;
    let begun = std::time::Instant::now();
    let status = client.generate_recommendations(about("slow")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let mut patient = Request::new(about("slow"));
    patient.metadata_mut().insert("grpc-timeout", "8760H".parse().unwrap());
    assert_eq!(client.generate_recommendations(patient).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_health_service_answers_and_what_is_not_offered_is_unimplemented() {
    let (_process, channel, _) = served("").await;
    let answer = HealthClient::new(channel.clone()).check(HealthCheckRequest { service: String::new() }).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
    let mut other = contracts::catalog::v1::price_service_client::PriceServiceClient::new(channel);
    assert_eq!(
        other.quote(contracts::catalog::v1::QuoteRequest::default()).await.unwrap_err().code(),
        Code::Unimplemented
    );
}

#[tokio::test]
async fn a_service_that_is_away_opens_the_breaker_and_is_found_again() {
    let guard = Guard::new(
        "away",
        GuardSettings {
            failure_threshold: 2,
            max_tries: 1,
            cooldown: Duration::from_millis(200),
            ..GuardSettings::default()
        },
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let channel = chassis::grpc::channel(&format!("http://127.0.0.1:{port}")).unwrap();
    let client = RecommendationServiceClient::new(channel);
    let ask = || {
        guard.call_if(|| async { client.clone().generate_recommendations(about("")).await }, chassis::grpc::is_fault)
    };
    for _ in 0..2 {
        assert!(matches!(ask().await, Err(CallError::Failed(_))));
    }
    assert!(matches!(ask().await, Err(CallError::Open { .. })));
    let settings = settings(&format!("[grpc]\nport = {port}\n"));
    let process = process(&settings);
    chassis::grpc::serve(&process, &settings.grpc, Routes::new(RecommendationServiceServer::new(Moody))).await.unwrap();
    crate::support::eventually("the breaker closes", async || ask().await.is_ok()).await;
}

#[tokio::test]
async fn a_call_made_for_a_request_has_no_more_time_than_the_request() {
    let (_process, _, mut client) = served("").await;
    let begun = tokio::time::Instant::now();
    let context = chassis::context::RequestContext {
        request_id: "".into(),
        path: "/".into(),
        deadline: begun + Duration::from_millis(100),
        changes: false,
    };
    let status = context.scope(client.generate_recommendations(about("slow"))).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
