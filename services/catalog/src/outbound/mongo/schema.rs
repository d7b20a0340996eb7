//! The collections, their validators and their indexes, from the files that describe them. Applying them again changes nothing.

use anyhow::Context as _;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};
use serde::Deserialize;

use super::{client, ferretdb};

pub(super) const COLLECTION: &str = "product_revisions";
/// The index that has the names of all revisions.
pub(super) const NEWEST_OF_PRODUCT: &str = "newest_of_product";
pub(super) const PROMOTIONS: &str = "promotion_revisions";
pub(super) const LABELS: &str = "label_revisions";

/// Each with the fields that it is asked by.
const DESCRIPTIONS: [(&str, &[&str]); 4] = [
    (include_str!("../../../../../migrations/catalog/mongo/product_revisions.json"), &["sku", "published"]),
    (include_str!("../../../../../migrations/catalog/mongo/family_schemas.json"), &[]),
    (include_str!("../../../../../migrations/catalog/mongo/promotion_revisions.json"), &["place"]),
    (include_str!("../../../../../migrations/catalog/mongo/label_revisions.json"), &["place"]),
];

const NAMESPACE_EXISTS: i32 = 48;
const NOT_IMPLEMENTED: i32 = 238;

#[derive(Deserialize)]
struct Description {
    collection: String,
    indexes: Vec<IndexDescription>,
    validator: Document,
}

#[derive(Deserialize)]
struct IndexDescription {
    name: String,
    key: Document,
}

/// Brings the store up to the description. `ferretdb_postgres` is the database behind FerretDB, empty for MongoDB.
///
/// # Errors
/// What the store said.
pub async fn migrate(url: &str, database: &str, ferretdb_postgres: &str) -> anyhow::Result<()> {
    let target = client(url).await?.database(database);
    for (text, fields) in DESCRIPTIONS {
        let description: Description = serde_json::from_str(text).context("the description of a collection")?;
        create(&target, &description).await.context("a collection of revisions cannot be created")?;
        let collection = target.collection::<Document>(&description.collection);
        for IndexDescription { name, key } in &description.indexes {
            let options = IndexOptions::builder().name(name.clone()).build();
            collection
                .create_index(IndexModel::builder().keys(key.clone()).options(options).build())
                .await
                .context("an index of revisions cannot be created")?;
        }
        if !ferretdb_postgres.is_empty() && !fields.is_empty() {
            ferretdb::help(ferretdb_postgres, database, &description.collection, fields)
                .await
                .context("mongo.ferretdb_postgres_url")?;
        }
    }
    Ok(())
}

/// Creates the collection with its validator, or gives an existing one the present validator.
async fn create(database: &Database, description: &Description) -> Result<(), Error> {
    let name = description.collection.as_str();
    match database.run_command(doc! {"create": name, "validator": &description.validator}).await {
        Ok(_) => Ok(()),
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => {
            match database.run_command(doc! {"collMod": name, "validator": &description.validator}).await {
                Err(error) if is_unknown_there(&error) => Ok(()),
                other => other.map(|_| ()),
            }
        }
        Err(error) if is_unknown_there(&error) => {
            tracing::info!("the document store knows no validators");
            match database.create_collection(name).await {
                Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => Ok(()),
                other => other,
            }
        }
        Err(error) => Err(error),
    }
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

/// A stand-in says "not implemented"; one that does not know `collMod` at all says that there is no such command.
fn is_unknown_there(error: &Error) -> bool {
    matches!(code(error), Some(NOT_IMPLEMENTED | 59))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MongoDB refuses a hint at an index that is not there; FerretDB would not tell.
    #[test]
    fn the_index_that_names_all_revisions_is_made_and_has_all_that_is_asked_of_it() {
        let description: Description = serde_json::from_str(DESCRIPTIONS[0].0).unwrap();
        assert_eq!(description.collection, COLLECTION);
        let index = description.indexes.iter().find(|index| index.name == NEWEST_OF_PRODUCT).unwrap();
        assert_eq!(index.key.keys().map(String::as_str).collect::<Vec<_>>(), ["sku", "revision"]);
    }
}
