//! `/v1/admin/products/families/{family}/schemas`: what the attributes of a family are. `GET` shows all versions, `POST` adds
//! the next one. Products keep the version they were checked against until they are written again.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Caller, Json, Path};
use common::FieldProblem;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::admin_products::author;
use super::desk::Desk;
use crate::domain::product::Family;
use crate::domain::schema::{Declared, Kind, Schema};
use crate::usecases::App;

/// A hundred attributes with their enumerations.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

pub fn router(app: Arc<App>) -> Router {
    let routes =
        Router::new().route("/v1/admin/products/families/{family}/schemas", get(versions).post(add)).with_state(app);
    chassis::http::body_limit(routes, BODY_LIMIT_BYTES)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddBody {
    reason: String,
    #[serde(default)]
    open: bool,
    attributes: Vec<DeclaredBody>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredBody {
    key: String,
    /// `text`, `number`, `flag` or `one_of`.
    kind: String,
    /// Of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// Of `one_of`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    per_variant: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    formerly: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
}

#[derive(Debug, Serialize)]
struct SchemaView {
    family: &'static str,
    version: u32,
    open: bool,
    attributes: Vec<DeclaredBody>,
}

#[derive(Debug, Serialize)]
struct VersionsView {
    items: Vec<SchemaView>,
}

async fn versions(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(family): Path<String>,
) -> Result<Json<VersionsView>, Problem> {
    Desk::Products.open_to(&caller)?;
    let family = known(&family)?;
    app.products.families.refresh().await?;
    let items = app.products.families.versions(family).into_iter().map(SchemaView::from).collect();
    Ok(Json(VersionsView { items }))
}

async fn add(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(family): Path<String>,
    Json(body): Json<AddBody>,
) -> Result<(StatusCode, Json<SchemaView>), Problem> {
    Desk::Products.open_to(&caller)?;
    let author = author(&caller, Some(&body.reason))?;
    let wanted = body.into_schema(known(&family)?).map_err(Problem::invalid_fields)?;
    let schema = app.products.families.add(wanted, &author).await?;
    tracing::info!(staff.id = %caller.user_id, product.family = schema.family.code(), schema.version = schema.version, "schema added");
    Ok((StatusCode::CREATED, Json(schema.into())))
}

fn known(family: &str) -> Result<Family, Problem> {
    family.parse().map_err(|_| Problem::not_found())
}

impl AddBody {
    /// Its version is given by whoever adds it.
    fn into_schema(self, family: Family) -> Result<Schema, Vec<FieldProblem>> {
        let (mut attributes, mut faults) = (Vec::with_capacity(self.attributes.len()), Vec::new());
        for (place, body) in self.attributes.into_iter().enumerate() {
            match kind(body.kind.as_str(), body.unit, body.values) {
                Ok(kind) => attributes.push(Declared {
                    key: body.key,
                    kind,
                    required: body.required,
                    per_variant: body.per_variant,
                    formerly: body.formerly,
                    default: body.default,
                }),
                Err((field, message)) => {
                    faults.push(FieldProblem::new(format!("/attributes/{place}/{field}"), "invalid", message));
                }
            }
        }
        if faults.is_empty() { Ok(Schema { family, version: 0, attributes, open: self.open }) } else { Err(faults) }
    }
}

fn kind(name: &str, unit: Option<String>, values: Vec<String>) -> Result<Kind, (&'static str, &'static str)> {
    match name {
        "number" if values.is_empty() => Ok(Kind::Number { unit }),
        "one_of" if unit.is_none() => Ok(Kind::OneOf(values)),
        "text" | "flag" if unit.is_some() => Err(("unit", "only numbers have a unit")),
        "one_of" => Err(("unit", "only numbers have a unit")),
        "text" if values.is_empty() => Ok(Kind::Text),
        "flag" if values.is_empty() => Ok(Kind::Flag),
        "text" | "flag" | "number" => Err(("values", "only an enumeration has values")),
        _ => Err(("kind", "a kind is text, number, flag or one_of")),
    }
}

impl From<Schema> for SchemaView {
    fn from(schema: Schema) -> Self {
        Self {
            family: schema.family.code(),
            version: schema.version,
            open: schema.open,
            attributes: schema.attributes.into_iter().map(DeclaredBody::from).collect(),
        }
    }
}

impl From<Declared> for DeclaredBody {
    fn from(declared: Declared) -> Self {
        let (kind, unit, values) = match declared.kind {
            Kind::Text => ("text", None, Vec::new()),
            Kind::Number { unit } => ("number", unit, Vec::new()),
            Kind::Flag => ("flag", None, Vec::new()),
            Kind::OneOf(values) => ("one_of", None, values),
        };
        Self {
            key: declared.key,
            kind: kind.to_owned(),
            unit,
            values,
            required: declared.required,
            per_variant: declared.per_variant,
            formerly: declared.formerly,
            default: declared.default,
        }
    }
}
