//! `RecommendationService`: for services of the region, which know the pseudonym and have asked for consent.

use std::sync::Arc;

use common::Sku;
use contracts::personalization::v1::recommendation_service_server::RecommendationService;
use contracts::personalization::v1::{
    GenerateRecommendationsRequest, GenerateRecommendationsResponse, Recommendation, RecommendationKind,
};
use tonic::{Request, Response, Status};

use crate::domain::Pseudonym;
use crate::metrics;
use crate::usecases::generate_recommendations::DEFAULT_LIMIT;
use crate::usecases::{App, Command, Kind, Refusal, generate_recommendations};

pub struct Recommender(pub Arc<App>);

#[tonic::async_trait]
impl RecommendationService for Recommender {
    async fn generate_recommendations(
        &self,
        request: Request<GenerateRecommendationsRequest>,
    ) -> Result<Response<GenerateRecommendationsResponse>, Status> {
        let command = parse(request.into_inner()).map_err(|refusal| chassis::grpc::status(&refusal))?;
        let answer =
            generate_recommendations(&self.0, &command).await.map_err(|refusal| chassis::grpc::status(&refusal))?;
        metrics::RECOMMENDATIONS
            .with_label_values(&[command.kind.code(), if answer.degraded { "yes" } else { "no" }])
            .inc();
        let items = answer.items.into_iter();
        Ok(Response::new(GenerateRecommendationsResponse {
            items: items
                .map(|item| Recommendation { sku: item.sku.to_string(), reason: item.reason.code().to_owned() })
                .collect(),
            model: answer.model.to_owned(),
            profile_age_ms: answer.profile_age_ms,
            degraded: answer.degraded,
        }))
    }
}

/// Empty texts mean absent; limit 0 means the default, as usual in this encoding. Everything that can be refused is refused here, before
/// anything is done.
fn parse(request: GenerateRecommendationsRequest) -> Result<Command, Refusal> {
    let kind = match RecommendationKind::try_from(request.kind).map_err(|_| Refusal::UnknownKind)? {
        RecommendationKind::Unspecified => return Err(Refusal::UnknownKind),
        RecommendationKind::ForYou => Kind::ForYou,
        RecommendationKind::AlsoViewed => Kind::AlsoViewed,
        RecommendationKind::AlsoBought => Kind::AlsoBought,
        RecommendationKind::Similar => Kind::Similar,
        RecommendationKind::Trending => Kind::Trending,
        RecommendationKind::Continue => Kind::Continue,
    };
    let limit = if request.limit == 0 { DEFAULT_LIMIT } else { request.limit };
    let present = |text: String| Some(text).filter(|text| !text.is_empty());
    let sku = present(request.sku).map(|text| Sku::parse(&text)).transpose().map_err(|_| Refusal::MalformedSku)?;
    kind.admits(sku.as_ref(), limit)?;
    let pseudonym = present(request.pseudonym).map(|text| Pseudonym::parse(&text)).transpose();
    Ok(Command {
        kind,
        pseudonym: pseudonym.map_err(|_| Refusal::MalformedPseudonym)?,
        // A pseudonym does not tell whether it is an account's, and no service asks for lists that an experiment changes.
        takes_part: false,
        sku,
        limit,
        explain: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: RecommendationKind, sku: &str, limit: u32) -> GenerateRecommendationsRequest {
        GenerateRecommendationsRequest { kind: kind.into(), sku: sku.to_owned(), limit, ..Default::default() }
    }

    #[test]
    fn what_makes_no_sense_is_refused_when_it_is_read() {
        let long = "x".repeat(10_240);
        for (request, refusal) in [
            (request(RecommendationKind::Unspecified, "", 0), Refusal::UnknownKind),
            (request(RecommendationKind::ForYou, "", 101), Refusal::LimitOutOfRange),
            (request(RecommendationKind::Trending, "", u32::MAX), Refusal::LimitOutOfRange),
            (request(RecommendationKind::Similar, "", 5), Refusal::SkuMissing),
            (request(RecommendationKind::AlsoBought, &long, 5), Refusal::MalformedSku),
            (
                GenerateRecommendationsRequest {
                    pseudonym: long.clone(),
                    ..request(RecommendationKind::ForYou, "", 5)
                },
                Refusal::MalformedPseudonym,
            ),
        ] {
            assert_eq!(parse(request).map(|command| command.limit), Err(refusal));
        }
        assert_eq!(parse(request(RecommendationKind::Similar, "A", 0)).map(|command| command.limit), Ok(DEFAULT_LIMIT));
    }
}
