//! `GET /v1/regions`: where people can live, what they pay with, and where their API is.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use chassis::extract::Json;
use common::Region;
use http::header::CACHE_CONTROL;
use serde::Serialize;

use super::Api;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/regions", get(list))
}

#[derive(Serialize)]
struct RegionList {
    items: Vec<RegionView>,
    page: Page,
}

#[derive(Serialize)]
struct Page {
    next_cursor: Option<&'static str>,
}

#[derive(Serialize)]
struct RegionView {
    code: &'static str,
    name: &'static str,
    jurisdiction: &'static str,
    currency: &'static str,
    languages: &'static [&'static str],
    countries: &'static [&'static str],
    base_url: String,
}

/// The topology changes with a deployment, so an hour is not too long.
async fn list(State(api): State<Api>) -> impl IntoResponse {
    let items = Region::ALL.iter().map(|region| view(*region, &api)).collect();
    ([(CACHE_CONTROL, "public, max-age=3600")], Json(RegionList { items, page: Page { next_cursor: None } }))
}

fn view(region: Region, api: &Api) -> RegionView {
    // This site is where it is, whatever the topology's public name for its region; on a developer's machine they differ.
    let base_url = if region == api.app.region { api.public_url.to_string() } else { region.base_url().to_owned() };
    RegionView {
        code: region.code(),
        name: region.name(),
        jurisdiction: region.jurisdiction(),
        currency: region.currency().code(),
        languages: region.languages(),
        countries: region.countries(),
        base_url,
    }
}
