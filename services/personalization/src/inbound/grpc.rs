//! `RecommendationService`: for services of the region, which know the pseudonym and have asked for consent.

use std::sync::Arc;

use common::Sku;
use contracts::personalization::v1::recommendation_service_server::RecommendationService;
use contracts::personalization::v1::{
    GenerateRecommendationsRequest, GenerateRecommendationsResponse, Recommendation, RecommendationKind, Why,
};
use tonic::{Request, Response, Status};

use crate::domain::Pseudonym;
use crate::domain::suggest::Chosen;
use crate::metrics;
use crate::usecases::generate_recommendations::DEFAULT_LIMIT;
use crate::usecases::{App, Command, Kind, Recommendations, Refusal, generate_recommendations};

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
        Ok(Response::new(told(&answer)))
    }
}

fn told(answer: &Recommendations) -> GenerateRecommendationsResponse {
    let items = answer.items.iter().map(|item| Recommendation {
        sku: item.sku.to_string(),
        reason: item.reason.code().to_owned(),
        why: answer.why(&item.sku).map(why),
    });
    GenerateRecommendationsResponse {
        items: items.collect(),
        model: answer.model.to_owned(),
        profile_age_ms: answer.profile_age_ms,
        degraded: answer.degraded,
    }
}

fn why(chosen: &Chosen) -> Why {
    let [neighbours, beside, further, _] = chosen.suggested.parts;
    Why { share: chosen.suggested.share, neighbours, beside, further, lift: chosen.lift }
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
        explain: request.explain,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

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

    /// Encoded by hand from the field numbers: what a service of the release before sends, and what it reads.
    #[test]
    fn who_knows_nothing_of_explanations_asks_and_is_answered_as_before() {
        // Kind 1, limit 3.
        let asked = GenerateRecommendationsRequest::decode(&[0x10, 1, 0x20, 3][..]).expect("an older question");
        let command = parse(asked).expect("a question that makes sense");
        assert_eq!((command.kind, command.limit, command.explain), (Kind::ForYou, 3, false));
        let newer = GenerateRecommendationsRequest::decode(&[0x10, 1, 0x28, 1][..]).expect("a newer question");
        assert!(parse(newer).expect("a question that makes sense").explain);
        let item = Recommendation { sku: "A".to_owned(), reason: "new".to_owned(), why: None };
        assert_eq!(item.encode_to_vec(), *b"\x0a\x01A\x12\x03new");
    }
}
