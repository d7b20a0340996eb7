//! `/v1/admin/categories` and `/v1/admin/attributes`: what categories and attributes are called in each language, by the desk of
//! products. `GET` lists what has names, `GET …/{path or key}` shows one, `PUT` gives it names and no others, `DELETE` takes them away,
//! so that its key in words stands again. The last two take the revision the caller has seen as `If-Match: "7"`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use chassis::Problem;
use chassis::extract::{Caller, Json, Path, Query, distinct, etag};
use chrono::SecondsFormat;
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::desk::{self, Desk};
use crate::domain::labels::{LabelKey, LabelRevision, Nameable, Names};
use crate::usecases::App;
use crate::usecases::labels::{Wanted, put_labels};

/// Eighty letters of four bytes in each of a hundred languages, and room for what is between them.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

pub fn router(app: Arc<App>) -> Router {
    let of_kind = |folder: &str, one: &str, kind: Nameable| -> Router {
        Router::new()
            .route(folder, get(list))
            .route(one, get(show).put(change).delete(remove))
            .layer(Extension(kind))
            .with_state(app.clone())
    };
    let routes = of_kind("/v1/admin/categories", "/v1/admin/categories/{*path}", Nameable::Category).merge(of_kind(
        "/v1/admin/attributes",
        "/v1/admin/attributes/{key}",
        Nameable::Attribute,
    ));
    chassis::http::body_limit(routes, BODY_LIMIT_BYTES)
}

/// `?reason=…`: written down with who named it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelsBody {
    /// Language to name.
    #[serde(deserialize_with = "distinct")]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct NamedView {
    /// Of a category; an attribute has a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    labels: BTreeMap<String, String>,
    revision: i64,
    changed_at: String,
    changed_by: String,
}

#[derive(Debug, Serialize)]
struct ListView {
    items: Vec<NamedView>,
}

#[derive(Debug, Serialize)]
struct WrittenView {
    revision: i64,
}

async fn list(
    State(app): State<Arc<App>>,
    Extension(kind): Extension<Nameable>,
    caller: Caller,
) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller)?;
    let book = app.products.labels.newest().await?;
    Ok((private(), Json(ListView { items: book.all(kind).map(NamedView::from).collect() })).into_response())
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(kind): Extension<Nameable>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller)?;
    let key = known(kind, &text)?;
    let book = app.products.labels.newest().await?;
    let revision = book.find(&key).ok_or_else(Problem::not_found)?;
    Ok((tagged(revision.number), Json(NamedView::from(revision))).into_response())
}

async fn change(
    State(app): State<Arc<App>>,
    Extension(kind): Extension<Nameable>,
    caller: Caller,
    Path(text): Path<String>,
    Query(why): Query<Why>,
    headers: HeaderMap,
    Json(body): Json<LabelsBody>,
) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller)?;
    let key = known(kind, &text)?;
    let names = Names::check(body.labels).map_err(Problem::invalid_fields)?;
    let wanted = Wanted { key, names, by: caller.user_id, reason: desk::reason(why.reason.as_deref())? };
    let written = put_labels(&app, wanted, etag::expected(&headers)).await?;
    tracing::info!(staff.id = %caller.user_id, label.revision = written.revision, "names written");
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(written.revision), Json(WrittenView { revision: written.revision })).into_response())
}

async fn remove(
    State(app): State<Arc<App>>,
    Extension(kind): Extension<Nameable>,
    caller: Caller,
    Path(text): Path<String>,
    Query(why): Query<Why>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller)?;
    let (key, names) = (known(kind, &text)?, Names::default());
    let wanted = Wanted { key, names, by: caller.user_id, reason: desk::reason(why.reason.as_deref())? };
    let written = put_labels(&app, wanted, etag::expected(&headers)).await?;
    tracing::info!(staff.id = %caller.user_id, label.revision = written.revision, "names taken away");
    Ok((StatusCode::NO_CONTENT, private()).into_response())
}

/// What no product can have has no names.
fn known(kind: Nameable, text: &str) -> Result<LabelKey, Problem> {
    kind.key(text).map_err(|_| Problem::not_found())
}

fn private() -> HeaderMap {
    HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))])
}

fn tagged(revision: i64) -> HeaderMap {
    let mut headers = private();
    if let Ok(tag) = HeaderValue::try_from(etag::of(revision)) {
        headers.insert(ETAG, tag);
    }
    headers
}

impl From<&LabelRevision> for NamedView {
    fn from(revision: &LabelRevision) -> Self {
        let bare = revision.key.bare().to_owned();
        let (path, key) = match revision.key.kind() {
            Nameable::Category => (Some(bare), None),
            Nameable::Attribute => (None, Some(bare)),
        };
        Self {
            path,
            key,
            labels: revision.names.all().clone(),
            revision: revision.number,
            changed_at: revision.changed_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            changed_by: revision.changed_by.to_string(),
        }
    }
}
