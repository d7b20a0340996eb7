//! Quote: what an order needs to know about its lines. Prices come from the write model and are frozen by the order; how many
//! units there are is a hint, decided only by the reservation.

use std::collections::HashMap;

use common::{ErrorKind, Explain, FieldProblem, Money, Sku};

use super::App;
use super::ports::stock::StoreError;
use crate::domain::inventory::Availability;
use crate::domain::lines::{InvalidLines, Line, Lines};
use crate::domain::product::{Product, Revision};
use crate::usecases::ports::products::StoreDown;

/// Lines in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub lines: Vec<QuotedLine>,
    /// SKUs of the request that are not sold in this region.
    pub unknown: Vec<Sku>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotedLine {
    pub line: Line,
    /// In the region's first language.
    pub name: String,
    pub family: &'static str,
    pub unit_price: Money,
    /// The revision that the price comes from, as on the product's page.
    pub revision: i64,
    pub available: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    #[error(transparent)]
    Invalid(#[from] InvalidLines),
    #[error(transparent)]
    Products(#[from] StoreDown),
    #[error(transparent)]
    Stock(#[from] StoreError),
}

/// # Errors
/// [`QuoteError::Invalid`] for lines that no order may have; the others when a store does not answer.
pub async fn quote(app: &App, wanted: Vec<Line>) -> Result<Quote, QuoteError> {
    let skus = Lines::new(wanted.clone())?.skus();
    let (revisions, availability) = tokio::join!(app.products.store.newest_many(&skus), app.stock.availability(&skus));
    let (revisions, availability) = (revisions?, availability?);
    let owners: Vec<Sku> = revisions.iter().filter_map(Revision::variant_of).cloned().collect();
    let owners = if owners.is_empty() { Vec::new() } else { app.products.store.newest_many(&owners).await? };
    let products: HashMap<&Sku, (&Product, i64)> =
        revisions.iter().filter_map(live).chain(owners.iter().flat_map(of_variants)).collect();
    let mut quote = Quote { lines: Vec::with_capacity(wanted.len()), unknown: Vec::new() };
    for line in wanted {
        let available = availability.get(&line.sku).copied().unwrap_or(Availability::NONE);
        match products.get(&line.sku).and_then(|product| quoted(app, *product, &line, available)) {
            Some(quoted) => quote.lines.push(quoted),
            None => quote.unknown.push(line.sku),
        }
    }
    Ok(quote)
}

fn live(revision: &Revision) -> Option<(&Sku, (&Product, i64))> {
    revision.live().map(|product| (&product.sku, (product, revision.number)))
}

/// The variants of a product, each with it. The product's revision is the variant's too.
fn of_variants(revision: &Revision) -> impl Iterator<Item = (&Sku, (&Product, i64))> {
    let (product, number) = (revision.live().into_iter(), revision.number);
    product.flat_map(move |product| product.variants.iter().map(move |variant| (&variant.sku, (product, number))))
}

/// `None` when it has no price in this region now, or is not shown here now: it is not sold here.
fn quoted(app: &App, (product, revision): (&Product, i64), line: &Line, available: Availability) -> Option<QuotedLine> {
    Some(QuotedLine {
        line: line.clone(),
        name: name(product, &line.sku, app.region.languages())?,
        family: product.family.code(),
        unit_price: product.item_price_at(&line.sku, app.region, app.clock.now())?.amount,
        revision,
        available: available.units(),
    })
}

/// Of a variant with what tells it apart: `Coat (M, red)`.
fn name(product: &Product, item: &Sku, languages: &[&str]) -> Option<String> {
    let name = product.text(languages)?.name.clone();
    let Some(variant) = product.variant(item) else { return Some(name) };
    let told: Vec<&str> = variant.attributes.iter().map(|attribute| attribute.value.as_str()).collect();
    Some(format!("{name} ({})", told.join(", ")))
}

impl Explain for QuoteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::Unprocessable,
            Self::Products(error) => error.kind(),
            Self::Stock(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-field",
            Self::Products(error) => error.code(),
            Self::Stock(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldProblem> {
        match self {
            Self::Invalid(error) => vec![invalid_line(*error)],
            _ => Vec::new(),
        }
    }
}

fn invalid_line(error: InvalidLines) -> FieldProblem {
    match error {
        InvalidLines::Count => FieldProblem::new("/lines", "range", error.to_string()),
        InvalidLines::Quantity { index } => {
            FieldProblem::new(format!("/lines/{index}/quantity"), "range", error.to_string())
        }
        InvalidLines::Duplicate { index } => {
            FieldProblem::new(format!("/lines/{index}/sku"), "duplicate", error.to_string())
        }
    }
}
