//! Address lists: replaced whole, from a known version only.

use chrono::{DateTime, Utc};
use common::{Private, UserId};
use messaging::{Database, WriteError};
use sqlx::postgres::PgConnection;

use super::{Slot, broken_row, changed, duty, read_failed, stale_or_absent};
use crate::domain::Address;
use crate::usecases::ports::{AddressBook, Changed, StoreError};

/// One row per address; a person without any has one row of which only the version is set.
#[derive(Debug, sqlx::FromRow)]
struct BookRow {
    addresses_version: i64,
    recipient: Option<String>,
    line1: Option<String>,
    line2: Option<String>,
    postal_code: Option<String>,
    city: Option<String>,
    country: Option<String>,
}

pub(super) async fn load(database: &Database, user: UserId) -> Result<Option<AddressBook>, StoreError> {
    let rows: Vec<BookRow> = sqlx::query_as(
        "SELECT users.addresses_version, recipient, line1, line2, postal_code, city, country
         FROM users LEFT JOIN addresses USING (user_id)
         WHERE user_id = $1 ORDER BY position",
    )
    .bind(user.uuid())
    .fetch_all(database.pool())
    .await
    .map_err(read_failed)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let version = first.addresses_version;
    let addresses = rows
        .into_iter()
        .filter(|row| row.recipient.is_some())
        .map(|row| address(row, user))
        .collect::<Result<_, _>>()?;
    Ok(Some(AddressBook { version, addresses }))
}

fn address(row: BookRow, user: UserId) -> Result<Address, StoreError> {
    let given = |value: Option<String>, column| value.ok_or_else(|| broken_row("addresses", column, user));
    Ok(Address {
        recipient: Private::new(given(row.recipient, "recipient")?),
        line1: Private::new(given(row.line1, "line1")?),
        line2: row.line2.map(Private::new),
        postal_code: Private::new(given(row.postal_code, "postal_code")?),
        city: Private::new(given(row.city, "city")?),
        country: given(row.country, "country")?,
    })
}

pub(super) async fn replace(
    database: &Database,
    user: UserId,
    expected: i64,
    list: &[Address],
    now: DateTime<Utc>,
) -> Result<Changed<AddressBook>, StoreError> {
    let region = database.region().code();
    let (found, list) = (Slot::empty(), list.to_vec());
    let (seen, kept) = (found.clone(), list.clone());
    let outcome = database.commit(duty("change-addresses"), move |tx| {
        let (seen, list) = (seen.clone(), list.clone());
        Box::pin(async move {
            let Some(version) = next_version(tx, user, expected, now).await? else {
                return Err(WriteError::Refused(stale_or_absent(tx, user).await?));
            };
            sqlx::query("DELETE FROM addresses WHERE user_id = $1").bind(user.uuid()).execute(&mut *tx).await?;
            insert(tx, user, &list, region).await?;
            seen.put(version);
            Ok(())
        })
    });
    Ok(match changed(outcome.await.map(drop), &found)? {
        Changed::Done(version) => Changed::Done(AddressBook { version, addresses: kept }),
        Changed::Stale => Changed::Stale,
        Changed::Absent => Changed::Absent,
    })
}

async fn next_version(
    tx: &mut PgConnection,
    user: UserId,
    expected: i64,
    now: DateTime<Utc>,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE users SET addresses_version = addresses_version + 1, updated_at = $3
         WHERE user_id = $1 AND addresses_version = $2
         RETURNING addresses_version",
    )
    .bind(user.uuid())
    .bind(expected)
    .bind(now)
    .fetch_optional(tx)
    .await
}

async fn insert(tx: &mut PgConnection, user: UserId, list: &[Address], region: &str) -> Result<(), sqlx::Error> {
    let texts = |part: fn(&Address) -> &Private<String>| {
        list.iter().map(|address| part(address).open().clone()).collect::<Vec<_>>()
    };
    sqlx::query(
        "INSERT INTO addresses (user_id, position, recipient, line1, line2, postal_code, city, country, residency_region)
         SELECT $1, place - 1, recipient, line1, line2, postal_code, city, country, $2
         FROM UNNEST($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
              WITH ORDINALITY AS list (recipient, line1, line2, postal_code, city, country, place)",
    )
    .bind(user.uuid())
    .bind(region)
    .bind(texts(|address| &address.recipient))
    .bind(texts(|address| &address.line1))
    .bind(list.iter().map(|address| address.line2.as_ref().map(|line| line.open().clone())).collect::<Vec<_>>())
    .bind(texts(|address| &address.postal_code))
    .bind(texts(|address| &address.city))
    .bind(list.iter().map(|address| address.country.clone()).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}
