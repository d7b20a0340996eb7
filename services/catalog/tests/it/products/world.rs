//! A shop of its own for each story: a database in the document store, an index, keys of its own in Redis, and the HTTP
//! router as the service has it, without a port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use catalog::Service;
use catalog::config::Config;
use catalog::domain::cursor::CursorSeal;
use catalog::domain::draft::{AttributeDraft, ProductDraft, TextDraft};
use catalog::domain::product::{Product, Revision, State};
use catalog::domain::trail::Trail;
use catalog::inbound::http::router;
use catalog::outbound::audit::Notes;
use catalog::outbound::cache::{CacheSettings, RedisCache};
use catalog::outbound::mongo::{self, MongoLabels, MongoProducts, MongoPromotions};
use catalog::outbound::pictures::PictureFolder;
use catalog::outbound::ratings::RedisRatings;
use catalog::outbound::search::ElasticProducts;
use catalog::usecases::App;
use catalog::usecases::families::{Families, InNewestForm};
use catalog::usecases::labels::Labels;
use catalog::usecases::ports::products::{ProductIndex as _, ProductPorts, ProductStore as _, Ratings};
use catalog::usecases::promotions::Promotions;
use catalog::usecases::reservation_batcher::ReservationBatcher;
use catalog::usecases::stand_in::StandIn;
use chassis::Service as _;
use chassis::extract::Caller;
use chassis::redis_client::{Limits, RedisClient};
use common::{Region, SessionId, Sku, SystemClock, UserId, ids};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use mongodb::Collection;
use mongodb::bson::Document;
use serde_json::Value;
use testkit::servers;
use tower::ServiceExt as _;

/// That of the default settings.
const READ_DEADLINE: Duration = Duration::from_millis(800);

/// The region's key in tests.
pub const PSEUDONYM_KEY: &[u8] = b"pseudonym key of the tests";

/// The database behind FerretDB in the test stack.
pub fn ferretdb_postgres() -> String {
    servers().postgres_url("ferretdb", "ferretdb_owner")
}

pub fn config() -> Config {
    chassis::config::load::<Config>(Service::DEFAULTS, None, &[]).expect("the defaults are a configuration").config
}

/// A word that no other test has.
pub fn unique() -> String {
    format!("t{}", ids::random().simple()).chars().take(13).collect()
}

/// A collection of its own.
pub async fn document_store() -> MongoProducts {
    store_and_documents().await.0
}

/// A collection of its own, and the way to it past the service: for documents that it would never write.
pub async fn store_and_documents() -> (MongoProducts, Collection<Document>) {
    let (url, database) = (servers().mongo_url, unique());
    mongo::migrate(&url, &database, &ferretdb_postgres()).await.expect("the document store of the test stack answers");
    let store = MongoProducts::connect(&url, &database, READ_DEADLINE).await.expect("its URL is one");
    let client = mongodb::Client::with_uri_str(&url).await.expect("its URL is one");
    (store, client.database(&database).collection("product_revisions"))
}

/// An index of its own; patient, since tests run beside each other.
pub async fn index() -> ElasticProducts {
    let url = servers().elasticsearch_url;
    let index =
        ElasticProducts::new(&url, &format!("{}-", unique()), Region::Eu, Duration::from_secs(10)).expect("a client");
    index.create().await.expect("the index of the test stack answers");
    index
}

pub fn redis_at(url: &str) -> RedisClient {
    let half_a_second = Duration::from_millis(500);
    let limits = Limits { connect: half_a_second, answer: half_a_second, tries: 1, pause: Duration::from_millis(100) };
    RedisClient::open(url, limits).expect("a URL")
}

pub struct Shop {
    /// Begins every SKU of this shop.
    pub prefix: String,
    pub app: Arc<App>,
    pub index: ElasticProducts,
    pub store: MongoProducts,
    /// What the store keeps, past the service.
    pub documents: Collection<Document>,
    /// Where its pictures lie.
    pub pictures: PathBuf,
    /// What staff did.
    pub notes: Arc<Notes>,
    router: Router,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Shop {
    pub async fn open() -> Self {
        let redis = redis_at(&servers().redis_url);
        // Patient: what interests change is the story, not how fast they come.
        let ratings = RedisRatings::new(redis.clone(), PSEUDONYM_KEY, Duration::from_secs(2));
        ratings.ping().await.expect("Redis of the test stack answers");
        Self::with(redis, Arc::new(ratings)).await
    }

    pub async fn with(redis: RedisClient, ratings: Arc<dyn Ratings>) -> Self {
        Self::over(redis, ratings, index().await).await
    }

    pub async fn over(redis: RedisClient, ratings: Arc<dyn Ratings>, index: ElasticProducts) -> Self {
        let (store, documents) = store_and_documents().await;
        let settings =
            CacheSettings { shared: Duration::from_secs(30), local: Duration::from_millis(200), local_entries: 100 };
        let families = Families::new(Arc::new(store.clone()));
        let notes = Arc::new(Notes::default());
        let pictures = std::env::temp_dir().join(format!("shop-{}", unique()));
        let products = ProductPorts {
            store: Arc::new(InNewestForm::new(Arc::new(store.clone()), families.clone())),
            families,
            pictures: Arc::new(PictureFolder::new(pictures.clone())),
            index: Arc::new(index.clone()),
            // Empty until a story fills it.
            stand_in: Arc::new(StandIn::new(Region::Eu, 1 << 20)),
            cache: Arc::new(RedisCache::new(redis, Region::Eu, settings)),
            ratings,
            promotions: Arc::new(Promotions::new(Arc::new(MongoPromotions::beside(&store)))),
            labels: Arc::new(Labels::new(Arc::new(MongoLabels::beside(&store)))),
            cursors: CursorSeal::new(PSEUDONYM_KEY),
            audit: notes.clone(),
        };
        let app = Arc::new(App {
            region: Region::Eu,
            centres: crate::stock::world::centres(),
            clock: Arc::new(SystemClock),
            stock: Arc::new(crate::stock::world::memory_stock()),
            orders: Arc::new(crate::stock::world::KnownOrders::default()),
            reservations: ReservationBatcher::default(),
            products,
        });
        let config = config();
        let router = chassis::http::dress(&config.common.site, &config.http, router(app.clone()), None);
        Self { prefix: unique().to_uppercase(), app, index, store, documents, pictures, notes, router }
    }

    pub fn sku(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A product of this shop with the most usual values.
    pub fn draft(&self, name: &str) -> ProductDraft {
        draft(&self.sku(name))
    }

    /// Stores products as revision 1 and makes them searchable, without the way through Kafka.
    pub async fn stock_up(&self, drafts: Vec<ProductDraft>) {
        let revisions: Vec<Revision> = drafts.into_iter().map(|draft| live(draft, 1)).collect();
        self.store.insert(&revisions).await.expect("revisions can be written");
        self.bring(&revisions).await;
    }

    /// Gives revisions to the index and makes them visible.
    pub async fn bring(&self, revisions: &[Revision]) {
        self.index.apply(revisions).await.expect("the index takes revisions");
        self.index.refresh().await.expect("the index refreshes");
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    /// As a person with a valid token.
    pub async fn get_as(&self, caller: &Caller, path: &str) -> Answer {
        self.send(authorised(caller, Request::get(path)).body(Body::empty()).expect("a request")).await
    }

    pub async fn post_as(&self, caller: &Caller, path: &str, body: &Value) -> Answer {
        self.send_json(caller, Method::POST, path, None, body).await
    }

    pub async fn send_json(
        &self,
        caller: &Caller,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: &Value,
    ) -> Answer {
        let mut request =
            authorised(caller, Request::builder().method(method).uri(path)).header("content-type", "application/json");
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    /// Sends a file and gives the lines of the answer.
    pub async fn upload(&self, caller: &Caller, path: &str, media: &str, body: Body) -> Vec<Value> {
        let request = authorised(caller, Request::post(path)).header("content-type", media);
        let bytes = self.raw(request.body(body).expect("a request")).await;
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect()
    }

    /// An answer that is read piece by piece; what makes it goes on while it is read.
    pub async fn begin(&self, request: Request<Body>) -> Body {
        self.router.clone().oneshot(request).await.expect("the router always answers").into_body()
    }

    /// The bytes of an answer.
    pub async fn raw(&self, request: Request<Body>) -> Bytes {
        self.sent(request).await.2
    }

    /// An answer as it travels.
    pub async fn sent(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.router.clone().oneshot(request).await.expect("the router always answers");
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.into_body().collect().await.expect("a body").to_bytes())
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (status, headers, bytes) = self.sent(request).await;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        Answer { status, headers, body }
    }

    /// Nothing of this shop stays in the index server; the document store keeps its small databases.
    pub async fn close(self) {
        self.index.drop_all().await.expect("the index can be dropped");
        let _ = std::fs::remove_dir_all(&self.pictures);
    }
}

impl Answer {
    /// Names of SKUs in order, without the shop's prefix.
    pub fn skus(&self, shop: &Shop) -> Vec<String> {
        let items = self.body["items"].as_array().unwrap_or_else(|| panic!("items in {}", self.body));
        let own = format!("{}-", shop.prefix);
        items.iter().map(|item| item["sku"].as_str().unwrap_or_default().replace(&own, "")).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Checks that this is a problem of the one shape.
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
    }
}

/// The chassis looks for a caller among a request's extensions first: there a test puts whom a token would have named.
pub fn authorised(caller: &Caller, request: http::request::Builder) -> http::request::Builder {
    request.header("authorization", "Bearer of-a-test").extension(caller.clone())
}

pub fn caller(user_id: UserId, roles: &[&str]) -> Caller {
    Caller {
        user_id,
        session_id: SessionId::parse("session-of-a-test").expect("a session id"),
        region: Region::Eu,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        personalisation_consent: true,
    }
}

pub fn staff() -> Caller {
    caller(UserId::from_uuid(ids::random()), &["staff"])
}

pub fn draft(sku: &str) -> ProductDraft {
    let text = |language: &str, name: &str, description: &str| TextDraft {
        language: language.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
    };
    ProductDraft {
        sku: sku.to_owned(),
        family: "gadget".to_owned(),
        category: "audio/headphones".to_owned(),
        brand: "Acme".to_owned(),
        texts: vec![
            text("de", "Rote Kopfhörer", "Laute Hörer für unterwegs."),
            text("en", "Red headphones", "Loud ones for the road."),
            text("fr", "Casque rouge", "Pour écouter fort."),
        ],
        prices: vec![("EUR".to_owned(), "49.90".to_owned()), ("USD".to_owned(), "54.90".to_owned())],
        attributes: vec![attribute("colour", "red")],
        ..ProductDraft::default()
    }
}

pub fn attribute(key: &str, value: &str) -> AttributeDraft {
    AttributeDraft { key: key.to_owned(), value: value.to_owned(), unit: None }
}

pub fn product(draft: ProductDraft) -> Product {
    draft.check("").expect("an acceptable product")
}

pub fn live(draft: ProductDraft, number: i64) -> Revision {
    revision(State::Live(product(draft)), number)
}

pub fn gone(sku: &str, number: i64) -> Revision {
    revision(State::Deleted(Sku::parse(sku).expect("a SKU")), number)
}

fn revision(state: State, number: i64) -> Revision {
    // Stores keep milliseconds.
    let changed_at = chrono::DateTime::from_timestamp_millis(1_700_000_000_000 + number).expect("a time");
    Revision { number, state, changed_at, traceparent: None, author: None, trail: Trail::default(), moved_from: None }
}
