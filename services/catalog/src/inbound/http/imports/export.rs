//! The export: what the import reads, product by product in the order of SKUs, as fast as the caller takes it.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chassis::Problem;
use chassis::extract::{Caller, Query};
use common::{Currency, ErrorKind};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;

use super::super::desk::{self, Desk};
use super::super::product_body::ProductBody;
use super::{Imports, csv};
use crate::usecases::export_products::export_products;
use crate::usecases::ports::audit::Act;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// `ndjson`, or `csv`, which leaves out what a table cannot say.
    #[serde(default)]
    format: String,
    /// Written down with who took them.
    reason: Option<String>,
}

/// Broken off in the middle when the store stops answering: a chunked answer that does not end well is noticed by its reader.
pub(super) async fn export(
    State(imports): State<Imports>,
    caller: Caller,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller)?;
    let as_table = match query.format.as_str() {
        "" | "ndjson" => false,
        "csv" => true,
        _ => return Err(Problem::new(ErrorKind::Invalid, "malformed-request", "a format is ndjson or csv")),
    };
    let app = imports.app;
    let act = Act {
        by: caller.user_id,
        name: "product.export",
        subject: "products".to_owned(),
        reason: desk::reason(query.reason.as_deref())?,
        outcome: format!("all of them as {}", if as_table { "csv" } else { "ndjson" }),
    };
    app.products.audit.note(act).await?;
    tracing::info!(staff.id = %caller.user_id, "products exported");
    let products = export_products(app.products.store.clone()).await?;
    let (languages, currency): (&[&str], Currency) = (app.region.languages(), app.region.currency());
    let first = as_table.then(|| Bytes::from(csv::header(languages, &[currency.code()])));
    let lines = products.map_ok(move |product| {
        if as_table {
            return Bytes::from(csv::line(&product, languages, &[currency.code()]));
        }
        // A struct of texts always becomes JSON.
        let mut line = serde_json::to_vec(&ProductBody::of(&product)).unwrap_or_default();
        line.push(b'\n');
        Bytes::from(line)
    });
    let body = Body::from_stream(stream::iter(first.map(Ok)).chain(lines));
    let (media, name) = if as_table {
        ("text/csv; charset=utf-8", "attachment; filename=\"products.csv\"")
    } else {
        ("application/x-ndjson", "attachment; filename=\"products.ndjson\"")
    };
    Ok(([(CONTENT_TYPE, media), (CONTENT_DISPOSITION, name), (CACHE_CONTROL, "no-store")], body).into_response())
}
