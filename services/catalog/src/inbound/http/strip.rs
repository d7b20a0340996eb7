//! `GET /v1/products/{sku}/recommendations`: what goes with a product, ready to be shown. Personalization's own
//! `/v1/recommendations` gives SKUs and reasons; here they have names, prices and availability, and the shopper's order.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Language, Path, Query};
use common::{ErrorKind, FieldProblem, Sku, VisitorId};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::Browsing;
use super::finished::{CACHE_TAG, Pages, product_key};
use super::pages;
use super::view::ProductView;
use crate::domain::labels::Reader;
use crate::usecases::App;
use crate::usecases::ports::recommender::{Recommender, StripKind};
use crate::usecases::strip::{LONGEST_STRIP, StripItem, Wanted, strip};

/// Two rows on a telephone, one on a wide screen.
const USUAL: usize = 8;

#[derive(Clone)]
struct Strips {
    app: Arc<App>,
    recommender: Arc<dyn Recommender>,
    pages: Arc<Pages>,
}

/// The strip, with candidates from `recommender` and encodings from `pages`.
pub fn router(app: Arc<App>, recommender: Arc<dyn Recommender>, pages: Arc<Pages>) -> Router {
    let strips = Strips { app, recommender, pages };
    Router::new().route("/v1/products/{sku}/recommendations", get(one)).with_state(strips)
}

#[derive(Debug, Deserialize)]
struct Question {
    kind: Option<String>,
    limit: Option<usize>,
    visitor_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct StripView {
    items: Vec<ItemView>,
    model: String,
    degraded: bool,
    list_id: String,
}

#[derive(Debug, Serialize)]
struct ItemView {
    #[serde(flatten)]
    product: ProductView,
    reason: String,
}

async fn one(
    State(strips): State<Strips>,
    browsing: Browsing,
    Language(language): Language,
    Path(sku): Path<String>,
    Query(question): Query<Question>,
    asked: HeaderMap,
) -> Result<Response, Problem> {
    let sku = Sku::parse(&sku).map_err(|_| Problem::not_found())?;
    let (kind, visitor) = question.read()?;
    let wanted = Wanted { kind, sku: &sku, limit: question.limit.unwrap_or(USUAL), language };
    let app = &strips.app;
    let found = strip(app, &*strips.recommender, wanted, browsing.shopper(visitor)).await;
    let (names, now) = (app.products.labels.shown(), app.clock.now());
    let reader = Reader { language, region: app.region, book: &names };
    let item = |item: StripItem| ItemView {
        product: ProductView::new(&item.product, item.revision, item.availability, reader, now),
        reason: item.reason,
    };
    let headers = pages::headers(language, found.personal, "", &[], None);
    let mut headers = pages::until_turn(headers, found.items.iter().map(|item| &item.product), app.region, now);
    let shown = found.items.iter().map(|item| &item.product.sku);
    let keys: Vec<String> = std::iter::once(&sku).chain(shown).map(product_key).collect();
    if let Ok(keys) = HeaderValue::try_from(keys.join(",")) {
        headers.insert(CACHE_TAG, keys);
    }
    let view = StripView {
        items: found.items.into_iter().map(item).collect(),
        model: found.model,
        degraded: found.degraded,
        list_id: found.list_id.to_string(),
    };
    Ok(pages::encoded(strips.pages.bodies(), headers, &view, &asked).await)
}

impl Question {
    fn read(&self) -> Result<(StripKind, Option<VisitorId>), Problem> {
        let wrong = |name: &str, message: &'static str| {
            Problem::new(ErrorKind::Invalid, "malformed-request", "a query parameter cannot be read")
                .with_fields(vec![FieldProblem::new(format!("/{name}"), "invalid", message)])
        };
        let kind = match &self.kind {
            None => Some(StripKind::Similar),
            Some(text) => StripKind::ALL.into_iter().find(|kind| kind.code() == text),
        };
        let kind = kind.ok_or_else(|| wrong("kind", "must be similar, also_viewed or also_bought"))?;
        if self.limit.is_some_and(|limit| limit == 0 || limit > LONGEST_STRIP) {
            return Err(wrong("limit", "must be 1 to 24"));
        }
        let visitor = self.visitor_id.as_deref().map(str::parse).transpose();
        Ok((kind, visitor.map_err(|_| wrong("visitor_id", "must be a UUID"))?))
    }
}
