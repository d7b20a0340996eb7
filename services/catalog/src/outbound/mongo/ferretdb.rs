//! Help for FerretDB 1.24, the local stand-in for MongoDB. It turns `{sku: "x"}` into `_jsonb->'sku' @> '"x"'`, which the
//! indexes it makes by itself cannot answer: each read walks through the whole collection (167 ms among 20,000 products,
//! 3 ms with the indexes made here). MongoDB needs none of this.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Adds the missing indexes to the table behind `collection`: one for each field that the catalog asks by.
///
/// # Errors
/// No such database behind `url`, or the table cannot be found or changed.
pub(super) async fn help(url: &str, database: &str, collection: &str, fields: &[&str]) -> anyhow::Result<()> {
    let mut postgres = PgConnection::connect(url).await.context("the database behind FerretDB does not answer")?;
    // The name comes from our own settings, but it becomes part of a statement: only plain names do.
    anyhow::ensure!(is_plain(database), "the database name is not a plain word");
    let find = format!("SELECT _jsonb->>'table' FROM {database}._ferretdb_database_metadata WHERE _jsonb->>'_id' = $1");
    let table: String = sqlx::query_scalar(AssertSqlSafe(find))
        .bind(collection)
        .fetch_one(&mut postgres)
        .await
        .context("the collection has no table")?;
    anyhow::ensure!(is_plain(&table), "the table name is not a plain word");
    for field in fields {
        let create = format!(
            "CREATE INDEX IF NOT EXISTS shopsphere_{table}_{field} ON {database}.{table} USING gin ((_jsonb->'{field}') jsonb_path_ops)"
        );
        sqlx::query(AssertSqlSafe(create))
            .execute(&mut postgres)
            .await
            .with_context(|| format!("no index on {field}"))?;
    }
    postgres.close().await.context("the database behind FerretDB broke off")
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
