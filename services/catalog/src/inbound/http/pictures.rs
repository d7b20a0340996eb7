//! `POST /v1/admin/products/pictures` takes a picture, `GET /v1/products/pictures/{name}` shows it. A name means one content for
//! ever, so every cache may keep it for ever.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chassis::Problem;
use chassis::extract::{Caller, Json, Path, Query};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::{Deserialize, Serialize};

use super::desk::{self, Desk};
use crate::domain::picture::{PICTURES, PictureName};
use crate::usecases::App;
use crate::usecases::pictures::{MOST_PICTURE, TakePictureError, take_picture};

pub fn router(app: Arc<App>) -> Router {
    let upload = Router::new().route("/v1/admin/products/pictures", post(take)).with_state(app.clone());
    let show = Router::new().route("/v1/products/pictures/{name}", get(show)).with_state(app);
    // One byte more than fits, so that the use case says what is wrong.
    chassis::http::body_limit(upload, MOST_PICTURE + 1).merge(show)
}

/// `?reason=…`: written down with who brought it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct PictureView {
    /// What a product's `images` say.
    path: String,
    media_type: &'static str,
    bytes: usize,
}

async fn take(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(why): Query<Why>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<PictureView>), Problem> {
    Desk::Products.open_to(&caller)?;
    // The one reason why bytes cannot be taken in and the sender is still there.
    let body = body.map_err(|_| TakePictureError::TooLarge)?;
    let bytes = body.len();
    let reason = desk::reason(why.reason.as_deref())?;
    let name = take_picture(&app, caller.user_id, reason, body).await?;
    tracing::info!(staff.id = %caller.user_id, picture.name = name.as_str(), "picture stored");
    let view =
        PictureView { path: format!("{PICTURES}{}", name.as_str()), media_type: name.kind().media_type(), bytes };
    Ok((StatusCode::CREATED, Json(view)))
}

async fn show(State(app): State<Arc<App>>, Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let name = PictureName::parse(&name).map_err(|_| Problem::not_found())?;
    let bytes = app.products.pictures.get(&name).await?.ok_or_else(Problem::not_found)?;
    let tag = format!("\"{}\"", name.as_str());
    let known: [(HeaderName, String); 5] = [
        (CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (ETAG, tag.clone()),
        (CONTENT_TYPE, name.kind().media_type().to_owned()),
        // Whatever somebody hid in the bytes, a browser shows a picture or nothing.
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
    ];
    let has_it = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|own| own.contains(&tag));
    if has_it { Ok((StatusCode::NOT_MODIFIED, known).into_response()) } else { Ok((known, bytes).into_response()) }
}
