//! What goes with what, asked of personalization over gRPC with a hard patience: a strip without its best order is a good strip, a
//! late page is not. The person travels as a pseudonym only.

use std::time::Duration;

use async_trait::async_trait;
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::Sku;
use contracts::interest;
use contracts::personalization::v1::recommendation_service_client::RecommendationServiceClient;
use contracts::personalization::v1::{
    GenerateRecommendationsRequest, GenerateRecommendationsResponse, RecommendationKind,
};

use crate::metrics::STRIPS_ASKED;
use crate::usecases::personalise::Shopper;
use crate::usecases::ports::recommender::{Candidate, Candidates, Recommender, StripKind};

/// The service refuses to give more.
const MOST: usize = 100;

pub struct GrpcRecommender {
    client: RecommendationServiceClient<chassis::grpc::Channel>,
    guard: Guard,
    pseudonym_key: Vec<u8>,
}

impl GrpcRecommender {
    /// `pseudonym_key` is the region's; `patience` bounds each call.
    ///
    /// # Errors
    /// A malformed address. Nothing is connected yet.
    pub fn new(url: &str, pseudonym_key: &[u8], patience: Duration) -> anyhow::Result<Self> {
        let client = RecommendationServiceClient::new(chassis::grpc::channel(url)?)
            .max_decoding_message_size(chassis::grpc::MAX_MESSAGE);
        // With so little patience single delays are no reason to stop asking; ten in a row are.
        let settings = GuardSettings {
            deadline: patience,
            failure_threshold: 10,
            cooldown: Duration::from_secs(1),
            max_tries: 1,
            ..GuardSettings::default()
        };
        Ok(Self { client, guard: Guard::new("recommendations", settings), pseudonym_key: pseudonym_key.to_vec() })
    }
}

#[async_trait]
impl Recommender for GrpcRecommender {
    #[tracing::instrument(name = "recommendations.ask", skip_all, fields(otel.kind = "client"))]
    async fn recommend(&self, kind: StripKind, sku: &Sku, shopper: Shopper, limit: usize) -> Option<Candidates> {
        let pseudonym = shopper.subject().map(|subject| interest::pseudonym(&self.pseudonym_key, subject));
        let request = GenerateRecommendationsRequest {
            pseudonym: pseudonym.unwrap_or_default(),
            kind: wire(kind).into(),
            sku: sku.to_string(),
            limit: u32::try_from(limit.min(MOST)).unwrap_or_default(),
            explain: false,
        };
        let asked = || async {
            self.client.clone().generate_recommendations(request.clone()).await.map(tonic::Response::into_inner)
        };
        let answer = self.guard.call_if(asked, chassis::grpc::is_fault).await;
        let outcome = match &answer {
            Ok(_) => "answered",
            Err(CallError::Deadline { .. }) => "late",
            Err(CallError::Open { .. } | CallError::Failed(_)) => "failed",
        };
        STRIPS_ASKED.with_label_values(&[outcome]).inc();
        answer.ok().map(read)
    }
}

fn wire(kind: StripKind) -> RecommendationKind {
    match kind {
        StripKind::Similar => RecommendationKind::Similar,
        StripKind::AlsoViewed => RecommendationKind::AlsoViewed,
        StripKind::AlsoBought => RecommendationKind::AlsoBought,
    }
}

/// What is no SKU is nothing that we sell.
fn read(answer: GenerateRecommendationsResponse) -> Candidates {
    let candidate = |item: contracts::personalization::v1::Recommendation| {
        Some(Candidate { sku: Sku::parse(&item.sku).ok()?, reason: item.reason })
    };
    Candidates {
        items: answer.items.into_iter().filter_map(candidate).take(MOST).collect(),
        model: answer.model,
        degraded: answer.degraded,
    }
}
