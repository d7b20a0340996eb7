//! What people want, asked of personalization: the list that everybody sees as trending, without a person in the question.

use std::time::Duration;

use async_trait::async_trait;
use chassis::resilience::{Guard, GuardSettings};
use common::Sku;
use contracts::personalization::v1::recommendation_service_client::RecommendationServiceClient;
use contracts::personalization::v1::{GenerateRecommendationsRequest, RecommendationKind};

use crate::usecases::ports::standings::Trends;

/// The longest list the service gives.
const MOST: u32 = 100;
/// Why a product of the list is there: because people want it.
const TRENDING: &str = "trending";
/// Nobody waits for it, and the next look comes in a minute.
const DEADLINE: Duration = Duration::from_secs(2);

pub struct GrpcTrends {
    client: RecommendationServiceClient<chassis::grpc::Channel>,
    guard: Guard,
}

impl GrpcTrends {
    /// # Errors
    /// A malformed address. Nothing is connected yet.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let client = RecommendationServiceClient::new(chassis::grpc::channel(url)?)
            .max_decoding_message_size(chassis::grpc::MAX_MESSAGE);
        let settings = GuardSettings { deadline: DEADLINE, max_tries: 1, ..GuardSettings::default() };
        Ok(Self { client, guard: Guard::new("trends", settings) })
    }
}

#[async_trait]
impl Trends for GrpcTrends {
    async fn trending(&self) -> Option<Vec<Sku>> {
        let request = GenerateRecommendationsRequest {
            kind: RecommendationKind::Trending.into(),
            limit: MOST,
            ..GenerateRecommendationsRequest::default()
        };
        let asked = || async { self.client.clone().generate_recommendations(request.clone()).await };
        match self.guard.call_if(asked, chassis::grpc::is_fault).await {
            Ok(answer) => {
                let items = answer.into_inner().items.into_iter();
                // Behind what is trending come the newest products, which nobody may want yet.
                let items = items.filter(|item| item.reason == TRENDING);
                // What is no SKU is nothing that we sell.
                Some(items.filter_map(|item| Sku::parse(&item.sku).ok()).take(MOST as usize).collect())
            }
            Err(error) => {
                tracing::debug!(reason = %error, "what is trending is not known");
                None
            }
        }
    }
}
