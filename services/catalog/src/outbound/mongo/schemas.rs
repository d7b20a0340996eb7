//! The schemas of families as documents, one for each version; the unique `_id` decides who adds a version.

use async_trait::async_trait;
use common::{Clock as _, SystemClock};
use futures::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::doc;
use mongodb::error::{ErrorKind, WriteFailure};
use serde::{Deserialize, Serialize};

use super::{DUPLICATE_KEY, MongoProducts, down};
use crate::domain::product::Author;
use crate::domain::schema::{Declared, Kind, Schema};
use crate::usecases::ports::products::{Insertion, SchemaStore, StoreDown};

pub(super) const COLLECTION: &str = "family_schemas";

/// Versions that are read: a family gets a few each year.
const MOST_VERSIONS: i64 = 10_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SchemaDocument {
    #[serde(rename = "_id")]
    id: Id,
    family: String,
    version: i32,
    open: bool,
    attributes: Vec<DeclaredBody>,
    author: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    added_at_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Id {
    family: String,
    version: i32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DeclaredBody {
    key: String,
    /// `text`, `number`, `flag` or `one_of`.
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    required: bool,
    per_variant: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    formerly: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
}

impl MongoProducts {
    fn schemas_collection(&self) -> Collection<SchemaDocument> {
        self.revisions.client().database(&self.revisions.namespace().db).collection(COLLECTION)
    }
}

#[async_trait]
impl SchemaStore for MongoProducts {
    async fn schemas(&self) -> Result<Vec<Schema>, StoreDown> {
        let schemas = self.schemas_collection();
        let find =
            || async { schemas.find(doc! {}).limit(MOST_VERSIONS).await?.try_collect::<Vec<SchemaDocument>>().await };
        let documents = self.batches.call(find).await.map_err(down)?;
        let read = |document: SchemaDocument| {
            let (family, version) = (document.family.clone(), document.version);
            schema(document)
                .ok_or_else(|| StoreDown(format!("version {version} of the schema of {family} is no schema")))
        };
        documents.into_iter().map(read).collect()
    }

    async fn add_schema(&self, schema: &Schema, author: &Author) -> Result<Insertion, StoreDown> {
        let document = document(schema, author);
        let schemas = self.schemas_collection();
        let insert = || async {
            match schemas.insert_one(&document).await {
                Ok(_) => Ok(Insertion::Written),
                Err(error) => match &*error.kind {
                    ErrorKind::Write(WriteFailure::WriteError(failure)) if failure.code == DUPLICATE_KEY => {
                        Ok(Insertion::Taken)
                    }
                    _ => Err(error),
                },
            }
        };
        // As with revisions: a repeated insert would meet its own first try.
        self.batches.once_if(insert, |_| true).await.map_err(down)
    }
}

fn document(schema: &Schema, author: &Author) -> SchemaDocument {
    // A version has few digits.
    let version = i32::try_from(schema.version).unwrap_or(i32::MAX);
    SchemaDocument {
        id: Id { family: schema.family.code().to_owned(), version },
        family: schema.family.code().to_owned(),
        version,
        open: schema.open,
        attributes: schema.attributes.iter().map(declared_body).collect(),
        author: author.user.to_string(),
        reason: author.reason.clone(),
        added_at_ms: SystemClock.now().timestamp_millis(),
    }
}

fn declared_body(declared: &Declared) -> DeclaredBody {
    let (kind, unit, values) = match &declared.kind {
        Kind::Text => ("text", None, Vec::new()),
        Kind::Number { unit } => ("number", unit.clone(), Vec::new()),
        Kind::Flag => ("flag", None, Vec::new()),
        Kind::OneOf(values) => ("one_of", None, values.clone()),
    };
    DeclaredBody {
        key: declared.key.clone(),
        kind: kind.to_owned(),
        unit,
        values,
        required: declared.required,
        per_variant: declared.per_variant,
        formerly: declared.formerly.clone(),
        default: declared.default.clone(),
    }
}

fn schema(document: SchemaDocument) -> Option<Schema> {
    let attributes: Option<Vec<_>> = document.attributes.into_iter().map(declared).collect();
    Some(Schema {
        family: document.family.parse().ok()?,
        version: u32::try_from(document.version).ok()?,
        attributes: attributes?,
        open: document.open,
    })
}

fn declared(body: DeclaredBody) -> Option<Declared> {
    let kind = match body.kind.as_str() {
        "text" => Kind::Text,
        "number" => Kind::Number { unit: body.unit },
        "flag" => Kind::Flag,
        "one_of" => Kind::OneOf(body.values),
        _ => return None,
    };
    Some(Declared {
        key: body.key,
        kind,
        required: body.required,
        per_variant: body.per_variant,
        formerly: body.formerly,
        default: body.default,
    })
}
