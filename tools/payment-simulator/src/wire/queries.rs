//! The parameters of reads: list, search by merchant reference, books.

use super::{ApiError, Form};

/// Default and largest page of the public API.
const PAGE: i64 = 10;
const MOST_PAGE: i64 = 100;
/// Entries of the books in one answer (about 25 MB); a longer history is read in pages with `after`.
const MOST_ENTRIES: i64 = 100_000;

/// `GET /v1/payment_intents`: newest first, `created` in Unix seconds, bounds inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    pub from: i64,
    pub to: i64,
    pub limit: usize,
    pub starting_after: Option<String>,
    /// Each with its charge, and not only with the id of it.
    pub with_charges: bool,
}

impl ListQuery {
    pub fn read(mut form: Form) -> Result<Self, ApiError> {
        let at = form.take_integer("created")?;
        let lower = [
            form.take_integer("created[gte]")?,
            form.take_integer("created[gt]")?.map(|bound| bound.saturating_add(1)),
            at,
        ];
        let upper = [
            form.take_integer("created[lte]")?,
            form.take_integer("created[lt]")?.map(|bound| bound.saturating_sub(1)),
            at,
        ];
        let query = Self {
            from: lower.into_iter().flatten().max().unwrap_or(i64::MIN),
            to: upper.into_iter().flatten().min().unwrap_or(i64::MAX),
            limit: limit(&mut form)?,
            starting_after: form.take("starting_after"),
            // Other expansions change nothing here.
            with_charges: form.take("expand[]").as_deref() == Some("data.latest_charge"),
        };
        form.finish()?;
        Ok(query)
    }
}

/// `GET /v1/payment_intents/search?query=metadata['order_id']:'…'`. The one clause the shop asks with; others are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    pub reference: String,
    pub limit: usize,
    /// Only intents older than this place in the list.
    pub before: u64,
}

impl SearchQuery {
    pub fn read(mut form: Form) -> Result<Self, ApiError> {
        let query = form.require("query")?;
        let unsupported = || ApiError::invalid("query", "only metadata['order_id']:'value' is supported");
        let reference = reference(&query).ok_or_else(unsupported)?.to_owned();
        let page = form
            .take("page")
            .map(|page| page.parse().map_err(|_| ApiError::invalid("page", "not a page of this search")));
        let search = Self { reference, limit: limit(&mut form)?, before: page.transpose()?.unwrap_or(u64::MAX) };
        form.finish()?;
        Ok(search)
    }
}

/// `GET /__books?after=&limit=&reference=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BooksQuery {
    pub after: u64,
    pub limit: usize,
    pub reference: Option<String>,
}

impl BooksQuery {
    pub fn read(mut form: Form) -> Result<Self, ApiError> {
        let after = form.take_integer("after")?.unwrap_or(0);
        let limit = form.take_integer("limit")?.unwrap_or(MOST_ENTRIES);
        let query = Self {
            after: u64::try_from(after).map_err(|_| ApiError::invalid("after", "negative"))?,
            limit: bounded("limit", limit, MOST_ENTRIES)?,
            reference: form.take("reference"),
        };
        form.finish()?;
        Ok(query)
    }
}

fn limit(form: &mut Form) -> Result<usize, ApiError> {
    bounded("limit", form.take_integer("limit")?.unwrap_or(PAGE), MOST_PAGE)
}

fn bounded(name: &str, value: i64, most: i64) -> Result<usize, ApiError> {
    let fits = (1..=most).contains(&value).then(|| usize::try_from(value).ok()).flatten();
    fits.ok_or_else(|| ApiError::invalid(name, "out of bounds"))
}

/// The value in `metadata['order_id']:'value'`; both kinds of quotes, spaces around the colon.
fn reference(query: &str) -> Option<&str> {
    let rest = query.trim().strip_prefix("metadata[")?;
    let (key, value) = rest.split_once(']')?;
    let value = unquoted(value.trim_start().strip_prefix(':')?.trim_start())?;
    (unquoted(key)? == "order_id" && !value.is_empty()).then_some(value)
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"')).filter(|inner| !inner.contains(['\'', '"', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_search_by_order_is_understood() {
        for query in ["metadata['order_id']:'o-1'", "metadata[\"order_id\"]:\"o-1\"", " metadata['order_id'] : 'o-1' "]
        {
            assert_eq!(reference(query), Some("o-1"), "{query}");
        }
        for query in [
            "",
            "metadata['order_id']:'o-1' OR status:'x'",
            "metadata['other']:'o-1'",
            "metadata['order_id']:''",
            "status:'x'",
        ] {
            assert_eq!(reference(query), None, "{query}");
        }
    }

    #[test]
    fn bounds_are_inclusive_and_checked() {
        let read = |query: &str| ListQuery::read(Form::parse(query.as_bytes()).unwrap()).map_err(|error| error.param);
        let query = read("created[gt]=9&created[lt]=21&limit=100&starting_after=pi_1").unwrap();
        assert_eq!((query.from, query.to, query.limit, query.with_charges), (10, 20, 100, false));
        assert!(read("expand[]=data.latest_charge").unwrap().with_charges);
        assert!(!read("expand[]=data.customer").unwrap().with_charges);
        for (query, param) in
            [("limit=0", "limit"), ("limit=101", "limit"), ("created[gte]=x", "created[gte]"), ("ending=1", "ending")]
        {
            assert_eq!(read(query), Err(Some(param.to_owned())), "{query}");
        }
    }
}
