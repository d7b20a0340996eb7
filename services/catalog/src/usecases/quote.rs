//! Quote: what an order needs to know about its lines. Prices and promotions come from the write model and are frozen by the order;
//! how many units there are is a hint, decided only by the reservation.

use std::collections::HashMap;

use common::{ErrorKind, Explain, FieldProblem, Money, MoneyError, Sku};

use super::App;
use super::ports::stock::StoreError;
use crate::domain::discount::{self, Cut, Listed};
use crate::domain::inventory::Availability;
use crate::domain::lines::{InvalidLines, Line, Lines};
use crate::domain::product::{CategoryPath, Product, Revision};
use crate::domain::promotion::CouponCode;
use crate::domain::promotion_book::{CouponStanding, PromotionBook, Standing};
use crate::usecases::ports::products::StoreDown;

/// Lines in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub lines: Vec<QuotedLine>,
    /// SKUs of the request that are not sold in this region.
    pub unknown: Vec<Sku>,
    /// What became of the coupon that was named.
    pub coupon: Option<CouponAnswer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CouponAnswer {
    /// It reduces a line. How often it was used is known where orders are.
    Good {
        revision: i64,
        most_uses: Option<u32>,
        most_per_person: Option<u32>,
    },
    Unknown,
    /// Not yet, or not any more.
    NotNow,
    ReducesNothing,
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
    /// What promotions take off the whole line.
    pub cuts: Vec<Cut>,
}

#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    #[error(transparent)]
    Invalid(#[from] InvalidLines),
    #[error(transparent)]
    Products(#[from] StoreDown),
    #[error(transparent)]
    Stock(#[from] StoreError),
    #[error("a line costs more than there are numbers for")]
    TooMuch(#[from] MoneyError),
}

/// # Errors
/// [`QuoteError::Invalid`] for lines that no order may have; the others when a store does not answer.
pub async fn quote(app: &App, wanted: Vec<Line>, coupon: Option<&str>) -> Result<Quote, QuoteError> {
    let skus = Lines::new(wanted.clone())?.skus();
    let (revisions, availability, promotions) = tokio::join!(
        app.products.store.newest_many(&skus),
        app.stock.availability(&skus),
        app.products.promotions.current()
    );
    let (revisions, availability, promotions) = (revisions?, availability?, promotions?);
    let owners: Vec<Sku> = revisions.iter().filter_map(Revision::variant_of).cloned().collect();
    let owners = if owners.is_empty() { Vec::new() } else { app.products.store.newest_many(&owners).await? };
    let products: HashMap<&Sku, (&Product, i64)> =
        revisions.iter().filter_map(live).chain(owners.iter().flat_map(of_variants)).collect();
    let mut quote = Quote { lines: Vec::with_capacity(wanted.len()), unknown: Vec::new(), coupon: None };
    for line in wanted {
        let available = availability.get(&line.sku).copied().unwrap_or(Availability::NONE);
        match products.get(&line.sku).and_then(|product| quoted(app, *product, &line, available)) {
            Some(quoted) => quote.lines.push(quoted),
            None => quote.unknown.push(line.sku),
        }
    }
    let categories: Vec<&CategoryPath> = quote
        .lines
        .iter()
        .filter_map(|line| products.get(&line.line.sku).map(|(product, _)| &product.category))
        .collect();
    let cuts = reduced(app, &quote.lines, &categories, &promotions, coupon)?;
    quote.coupon = coupon.map(|code| answer(app, code, &promotions, &cuts));
    for (line, cuts) in quote.lines.iter_mut().zip(cuts) {
        line.cuts = cuts;
    }
    Ok(quote)
}

/// What promotions take off each line. A text that is no code reduces nothing.
fn reduced<'a>(
    app: &App,
    lines: &'a [QuotedLine],
    categories: &[&'a CategoryPath],
    promotions: &PromotionBook,
    coupon: Option<&str>,
) -> Result<Vec<Vec<Cut>>, MoneyError> {
    let code = coupon.and_then(|text| CouponCode::parse(text).ok());
    let offers = promotions.offers(app.region, app.clock.now(), code.as_ref());
    let listed = |(line, category): (&'a QuotedLine, &&'a CategoryPath)| Listed {
        sku: &line.line.sku,
        category,
        unit_price: line.unit_price,
        quantity: line.line.quantity,
    };
    let listed: Vec<_> = lines.iter().zip(categories).map(listed).collect();
    discount::reduce(&listed, &offers)
}

fn answer(app: &App, code: &str, promotions: &PromotionBook, cuts: &[Vec<Cut>]) -> CouponAnswer {
    let Ok(code) = CouponCode::parse(code) else { return CouponAnswer::Unknown };
    match promotions.coupon(&code, app.region, app.clock.now()) {
        CouponStanding::Unknown => CouponAnswer::Unknown,
        CouponStanding::NotNow => CouponAnswer::NotNow,
        CouponStanding::Good(Standing { revision, promotion }) => {
            let reduces = cuts.iter().flatten().any(|cut| cut.promotion == promotion.id);
            match &promotion.coupon {
                Some(coupon) if reduces => CouponAnswer::Good {
                    revision: *revision,
                    most_uses: coupon.most_uses,
                    most_per_person: coupon.most_per_person,
                },
                _ => CouponAnswer::ReducesNothing,
            }
        }
    }
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
        cuts: Vec::new(),
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
            Self::Invalid(_) | Self::TooMuch(_) => ErrorKind::Unprocessable,
            Self::Products(error) => error.kind(),
            Self::Stock(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-field",
            Self::TooMuch(_) => "limit-exceeded",
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
