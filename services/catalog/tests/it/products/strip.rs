//! The strip below a product: whoever knows what goes with it is asked under a pseudonym and not waited for, interests move its
//! order, and what cannot be bought is not on it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use catalog::domain::draft::{ProductDraft, VariantDraft};
use catalog::domain::inventory::SupplyKind;
use catalog::domain::product::{Revision, State};
use catalog::inbound::http::finished::{PageSettings, Pages};
use catalog::inbound::http::strip;
use catalog::outbound::recommendations::GrpcRecommender;
use catalog::usecases::ports::products::ProductStore as _;
use catalog::usecases::ports::recommender::Recommender;
use common::{Sku, UserId, ids};
use contracts::interest;
use contracts::personalization::v1::recommendation_service_server::{
    RecommendationService, RecommendationServiceServer,
};
use contracts::personalization::v1::{
    GenerateRecommendationsRequest, GenerateRecommendationsResponse, InterestProfile, Rating, Recommendation,
};
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use redis::AsyncCommands as _;
use serde_json::Value;
use testkit::servers;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::world::{PSEUDONYM_KEY, Shop, attribute, caller, config, gone, redis_at};
use crate::stock::world::receive;

/// Personalization, as far as the catalog sees it.
#[derive(Clone, Default)]
struct Known {
    skus: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<Vec<GenerateRecommendationsRequest>>>,
}

#[tonic::async_trait]
impl RecommendationService for Known {
    async fn generate_recommendations(
        &self,
        request: tonic::Request<GenerateRecommendationsRequest>,
    ) -> Result<tonic::Response<GenerateRecommendationsResponse>, tonic::Status> {
        self.asked.lock().unwrap().push(request.into_inner());
        let recommendation = |sku: &String| Recommendation {
            sku: sku.clone(),
            reason: "viewed_together".to_owned(),
            ..Recommendation::default()
        };
        Ok(tonic::Response::new(GenerateRecommendationsResponse {
            items: self.skus.lock().unwrap().iter().map(recommendation).collect(),
            model: "of-a-test".to_owned(),
            profile_age_ms: None,
            degraded: false,
        }))
    }
}

impl Known {
    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, service) = (listener.local_addr().unwrap(), RecommendationServiceServer::new(self.clone()));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        address
    }
}

fn recommender(address: SocketAddr, patience: Duration) -> Arc<dyn Recommender> {
    Arc::new(GrpcRecommender::new(&format!("http://{address}"), PSEUDONYM_KEY, patience).unwrap())
}

/// Four headphones and two coats, all but A4 on the shelf.
async fn shop() -> Shop {
    let shop = Shop::open().await;
    let mut drafts: Vec<ProductDraft> = (1..=4).map(|number| shop.draft(&format!("A{number}"))).collect();
    drafts.extend(
        (1..=2)
            .map(|number| ProductDraft { category: "fashion/coats".to_owned(), ..shop.draft(&format!("Z{number}")) }),
    );
    shop.stock_up(drafts).await;
    let there = ["A1", "A2", "A3", "Z1", "Z2"].map(|name| shop.sku(name));
    let lines: Vec<_> = there.iter().map(|sku| (sku.as_str(), SupplyKind::Counted, 50)).collect();
    receive(&*shop.app.stock, "r-1", &lines).await.unwrap();
    shop
}

async fn ask(
    shop: &Shop,
    recommender: &Arc<dyn Recommender>,
    query: &str,
    who: Option<UserId>,
) -> (u16, HeaderMap, Value) {
    ask_below(shop, "A1", recommender, query, who).await
}

async fn ask_below(
    shop: &Shop,
    name: &str,
    recommender: &Arc<dyn Recommender>,
    query: &str,
    who: Option<UserId>,
) -> (u16, HeaderMap, Value) {
    let mut request = Request::get(format!("/v1/products/{}/recommendations{query}", shop.sku(name)));
    if let Some(user) = who {
        request = request.header("authorization", "Bearer of-a-test").extension(caller(user, &[]));
    }
    let (status, headers, bytes) = sent(shop, recommender, request).await;
    (status, headers, serde_json::from_slice(&bytes).unwrap())
}

/// The answer as it travels.
async fn sent(
    shop: &Shop,
    recommender: &Arc<dyn Recommender>,
    request: http::request::Builder,
) -> (u16, HeaderMap, Bytes) {
    let config = config();
    let pages = Pages::new(shop.app.clone(), PageSettings::default());
    let routes = strip::router(shop.app.clone(), recommender.clone(), pages);
    let router = chassis::http::dress(&config.common.site, &config.http, routes, None);
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.into_body().collect().await.unwrap().to_bytes())
}

fn names(shop: &Shop, body: &Value) -> Vec<String> {
    let own = format!("{}-", shop.prefix);
    let items = body["items"].as_array().unwrap_or_else(|| panic!("items in {body}"));
    items.iter().map(|item| item["sku"].as_str().unwrap().replace(&own, "")).collect()
}

#[tokio::test]
async fn a_strip_has_names_and_prices_and_the_order_of_whoever_asks() {
    let shop = shop().await;
    let known = Known::default();
    *known.skus.lock().unwrap() = ["A2", "A4", "A1", "A3", "Z1", "GONE"].map(|name| shop.sku(name)).to_vec();
    let recommender = recommender(known.serve().await, Duration::from_secs(5));
    let (status, headers, body) = ask(&shop, &recommender, "?kind=also_viewed", None).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(names(&shop, &body), ["A2", "A3", "Z1"], "neither itself, nor what is sold out, nor what is gone");
    assert_eq!((body["model"].as_str(), body["degraded"].as_bool()), (Some("of-a-test"), Some(false)));
    assert_eq!(body["items"][0]["price"]["amount"], "49.90");
    assert_eq!(body["items"][0]["availability"], "in_stock");
    assert_eq!(body["items"][0]["reason"], "viewed_together");
    assert!(headers["cache-control"].to_str().unwrap().starts_with("public"));
    let keys = ["A1", "A2", "A3", "Z1"].map(|name| format!("p-{}", shop.sku(name))).join(",");
    assert_eq!(headers["cache-tag"], keys.as_str(), "it is forgotten with whatever is on it");

    let person = UserId::from_uuid(ids::random());
    let profile = InterestProfile {
        categories: vec![Rating { key: "fashion".to_owned(), weight: 5.0 }],
        ..InterestProfile::default()
    };
    let pseudonym = interest::pseudonym(PSEUDONYM_KEY, person);
    let key = interest::profile_key(&pseudonym);
    redis_at(&servers().redis_url).set_ex::<_, _, ()>(key, interest::encode_profile(&profile), 60).await.unwrap();
    let (_, headers, body) = ask(&shop, &recommender, "?kind=also_viewed&limit=2", Some(person)).await;
    assert_eq!(names(&shop, &body), ["Z1", "A2"], "the coat passes the headphones");
    assert_eq!(headers["cache-control"], "private, no-store");
    let asked = known.asked.lock().unwrap().clone();
    assert_eq!((asked[0].pseudonym.as_str(), asked[1].pseudonym.as_str()), ("", pseudonym.as_str()));
    assert!(asked.iter().all(|request| request.sku == shop.sku("A1")));
    shop.close().await;
}

#[tokio::test]
async fn a_strip_that_did_not_change_is_not_sent_again_and_one_for_a_person_has_a_name_of_its_own() {
    let shop = shop().await;
    let known = Known::default();
    let skus = |names: &[&str]| names.iter().map(|name| shop.sku(name)).collect::<Vec<_>>();
    *known.skus.lock().unwrap() = skus(&["A2", "A3", "Z1", "Z2"]);
    let recommender = recommender(known.serve().await, Duration::from_secs(5));
    let path = format!("/v1/products/{}/recommendations", shop.sku("A1"));
    let asked = |encoding: &str, tag: &str| {
        Request::get(&path).header("accept-encoding", encoding).header("if-none-match", tag)
    };
    let (status, plain, bytes) = sent(&shop, &recommender, asked("identity", "\"none\"")).await;
    let tag = plain["etag"].to_str().unwrap();
    assert!(status == 200 && tag.starts_with('"'), "a strong tag: {tag}");
    let (_, head, encoded) = sent(&shop, &recommender, asked("br", tag)).await;
    assert_eq!(head["content-encoding"], "br", "encoded, it is another entity");
    let mut read = Vec::new();
    brotli::BrotliDecompress(&mut &encoded[..], &mut read).unwrap();
    assert_eq!(read, bytes);
    for (encoding, tag) in [("identity", &plain["etag"]), ("br", &head["etag"])] {
        let (status, same, nothing) = sent(&shop, &recommender, asked(encoding, tag.to_str().unwrap())).await;
        assert_eq!((status, nothing.len(), &same["etag"]), (304, 0, tag), "another process says so too");
        assert_eq!(same["cache-tag"], plain["cache-tag"]);
    }
    *known.skus.lock().unwrap() = skus(&["A2", "A3", "Z2", "Z1"]);
    let (status, changed, other) = sent(&shop, &recommender, asked("identity", tag)).await;
    assert!(status == 200 && changed["etag"] != plain["etag"]);
    let name = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).unwrap()["list_id"].clone();
    assert_ne!(name(&bytes), name(&other), "another order is another strip");

    let person = UserId::from_uuid(ids::random());
    let (_, headers, first) = ask(&shop, &recommender, "", Some(person)).await;
    let (_, _, second) = ask(&shop, &recommender, "", Some(person)).await;
    assert_eq!(headers["cache-control"], "private, no-store");
    assert_ne!(first["list_id"], second["list_id"]);
    shop.close().await;
}

#[tokio::test]
async fn without_whoever_knows_neighbours_stand_in_and_nobody_waits() {
    let shop = shop().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // One port where nobody listens, and one where somebody takes the connection and says nothing.
    for address in ["127.0.0.1:1".parse().unwrap(), silent.local_addr().unwrap()] {
        let recommender = recommender(address, Duration::from_millis(20));
        let (status, _, body) = ask(&shop, &recommender, "", None).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(names(&shop, &body), ["A2", "A3"]);
        assert_eq!((body["model"].as_str(), body["degraded"].as_bool()), (Some("neighbours"), Some(true)));
    }
    shop.index.drop_all().await.unwrap();
    let recommender = recommender("127.0.0.1:1".parse().unwrap(), Duration::from_millis(20));
    let (status, _, body) = ask(&shop, &recommender, "", None).await;
    assert_eq!((status, names(&shop, &body)), (200, Vec::new()), "an empty strip is a strip");
}

#[tokio::test]
async fn a_variant_counts_as_its_product_among_candidates_and_above_a_strip() {
    let shop = shop().await;
    let sizes = ["V-S", "V-L"].map(|name| shop.sku(name));
    let variant = |sku: &String| VariantDraft {
        sku: sku.clone(),
        attributes: vec![attribute("size", sku.rsplit('-').next().unwrap_or_default())],
        ..VariantDraft::default()
    };
    let coat = ProductDraft {
        category: "fashion/coats".to_owned(),
        variants: sizes.iter().map(variant).collect(),
        ..shop.draft("V")
    };
    shop.stock_up(vec![coat]).await;
    let product = Sku::parse(&shop.sku("V")).unwrap();
    let claims = sizes.clone().map(|sku| {
        let state = State::VariantOf { sku: Sku::parse(&sku).unwrap(), product: product.clone() };
        Revision { state, ..gone(&sku, 1) }
    });
    shop.store.insert(&claims).await.unwrap();
    let lines: Vec<_> = sizes.iter().map(|sku| (sku.as_str(), SupplyKind::Counted, 50)).collect();
    receive(&*shop.app.stock, "r-2", &lines).await.unwrap();
    let known = Known::default();
    *known.skus.lock().unwrap() = ["V-L", "A2", "V-S", "V"].map(|name| shop.sku(name)).to_vec();
    let knows = recommender(known.serve().await, Duration::from_secs(5));
    let (_, _, body) = ask(&shop, &knows, "?kind=also_bought", None).await;
    assert_eq!(names(&shop, &body), ["V", "A2"], "once, where its first variant stood");
    let (_, _, body) = ask_below(&shop, "V-S", &knows, "?kind=also_bought", None).await;
    assert_eq!(names(&shop, &body), ["A2"], "not below itself");
    let nobody = recommender("127.0.0.1:1".parse().unwrap(), Duration::from_millis(20));
    let (_, _, body) = ask_below(&shop, "V-S", &nobody, "", None).await;
    assert_eq!(names(&shop, &body), ["Z1", "Z2"], "the neighbours of its product");
    shop.close().await;
}

#[tokio::test]
async fn a_crooked_question_is_told_what_is_wrong() {
    let shop = shop().await;
    let recommender = recommender("127.0.0.1:1".parse().unwrap(), Duration::from_millis(5));
    for (query, pointer) in [
        ("?kind=for_you", "/kind"),
        ("?limit=0", "/limit"),
        ("?limit=25", "/limit"),
        ("?limit=x", "/limit"),
        ("?visitor_id=me", "/visitor_id"),
    ] {
        let (status, _, body) = ask(&shop, &recommender, query, None).await;
        assert_eq!((status, body["errors"][0]["pointer"].as_str()), (400, Some(pointer)), "{query}: {body}");
    }
    shop.close().await;
}
