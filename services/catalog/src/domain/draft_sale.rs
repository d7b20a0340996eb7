//! The rules for what decides about the sale of a product: special prices, regions and times, variants. Part of `draft`.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use common::{Region, Sku};

use super::assortment::{Assortment, Window};
use super::draft::{AttributeDraft, Faults};
use super::price::{Price, PriceList};
use super::product::Variant;

/// Variants of one product: five sizes in twenty colours.
pub const MOST_VARIANTS: usize = 100;

/// A price for one region or for a time, as it came.
#[derive(Clone, Debug, Default)]
pub struct PriceDraft {
    pub region: Option<String>,
    pub currency: String,
    pub amount: String,
    pub from: Option<String>,
    pub until: Option<String>,
}

/// A region the product is offered in, as it came.
#[derive(Clone, Debug, Default)]
pub struct OfferedDraft {
    pub region: String,
    pub from: Option<String>,
    pub until: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct VariantDraft {
    pub sku: String,
    pub attributes: Vec<AttributeDraft>,
    /// Currency code and amount; with `special_prices` empty, the variant costs what the product costs.
    pub prices: Vec<(String, String)>,
    pub special_prices: Vec<PriceDraft>,
    pub images: Vec<String>,
}

impl From<&Price> for PriceDraft {
    fn from(price: &Price) -> Self {
        Self {
            region: price.region.map(|region| region.code().to_owned()),
            currency: price.amount.currency().code().to_owned(),
            amount: price.amount.amount_string(),
            from: price.valid.from().map(written),
            until: price.valid.until().map(written),
        }
    }
}

impl VariantDraft {
    /// As somebody would write `variant`.
    pub fn of(variant: &Variant) -> Self {
        let usual = variant.prices.iter().flat_map(PriceList::usual);
        Self {
            sku: variant.sku.to_string(),
            attributes: variant.attributes.iter().map(AttributeDraft::from).collect(),
            prices: usual.map(|price| (price.currency().code().to_owned(), price.amount_string())).collect(),
            special_prices: variant.prices.iter().flat_map(PriceList::special).map(|price| (&price).into()).collect(),
            images: variant.images.clone(),
        }
    }
}

impl OfferedDraft {
    /// As somebody would write `assortment`.
    pub fn of(assortment: &Assortment) -> Vec<Self> {
        let offered = |(region, window): (Region, Window)| Self {
            region: region.code().to_owned(),
            from: window.from().map(written),
            until: window.until().map(written),
        };
        assortment.iter().map(offered).collect()
    }
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

impl Faults<'_> {
    /// Usual and special prices together; at least one.
    pub(super) fn price_list(
        &mut self,
        pointer: &str,
        usual: &[(String, String)],
        special: &[PriceDraft],
    ) -> Option<PriceList> {
        let mut prices: Vec<Option<Price>> = Vec::with_capacity(usual.len() + special.len());
        if usual.len() + special.len() > PriceList::MOST {
            self.add(&format!("{pointer}/prices"), format!("has at most {} entries", PriceList::MOST));
            return None;
        }
        for (currency, amount) in usual {
            let plain = currency.len() <= 8 && currency.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let at = if plain { format!("{pointer}/prices/{currency}") } else { format!("{pointer}/prices") };
            prices.push(self.keep(&at, PriceList::parse_one(currency, amount)).map(Price::usual));
        }
        for (place, draft) in special.iter().enumerate() {
            prices.push(self.special_price(&format!("{pointer}/special_prices/{place}"), draft));
        }
        if prices.is_empty() {
            self.add(&format!("{pointer}/prices"), "at least one price is needed");
            return None;
        }
        let prices: Option<Vec<_>> = prices.into_iter().collect();
        let at = if special.is_empty() { "prices" } else { "special_prices" };
        self.keep(&format!("{pointer}/{at}"), PriceList::of(prices?))
    }

    fn special_price(&mut self, pointer: &str, draft: &PriceDraft) -> Option<Price> {
        let region = match &draft.region {
            None => Some(None),
            Some(code) => self.region(&format!("{pointer}/region"), code).map(Some),
        };
        let amount = self.keep(&format!("{pointer}/amount"), PriceList::parse_one(&draft.currency, &draft.amount));
        let valid = self.window(pointer, draft.from.as_deref(), draft.until.as_deref());
        Some(Price { region: region?, amount: amount?, valid: valid? })
    }

    pub(super) fn assortment(&mut self, drafts: &[OfferedDraft]) -> Option<Assortment> {
        let mut windows = Vec::with_capacity(drafts.len().min(Region::ALL.len()));
        let mut known = BTreeSet::new();
        for (place, draft) in drafts.iter().take(Region::ALL.len() + 1).enumerate() {
            let pointer = format!("/offered/{place}");
            let region = self.region(&format!("{pointer}/region"), &draft.region);
            if region.is_some_and(|region| !known.insert(region)) {
                self.add(&format!("{pointer}/region"), "this region occurs twice");
            }
            let window = self.window(&pointer, draft.from.as_deref(), draft.until.as_deref());
            windows.push(region.zip(window));
        }
        let windows: Option<Vec<_>> = windows.into_iter().collect();
        windows.map(Assortment::of)
    }

    fn region(&mut self, pointer: &str, code: &str) -> Option<Region> {
        self.keep(pointer, code.parse())
    }

    fn window(&mut self, pointer: &str, from: Option<&str>, until: Option<&str>) -> Option<Window> {
        let mut moment = |field: &str, text: Option<&str>| match text {
            None => Some(None),
            Some(text) => match moment(text) {
                Some(at) => Some(Some(at)),
                None => {
                    self.add(&format!("{pointer}/{field}"), "a time is written like 2026-05-01T00:00:00Z");
                    None
                }
            },
        };
        let (from, until) = (moment("from", from), moment("until", until));
        self.keep(&format!("{pointer}/until"), Window::new(from?, until?))
    }

    /// `own` is the SKU of the product, which none of its variants has.
    pub(super) fn variants(&mut self, own: &str, drafts: Vec<VariantDraft>) -> Option<Vec<Variant>> {
        if !self.count("/variants", drafts.len(), 0, MOST_VARIANTS) {
            return None;
        }
        let mut known = BTreeSet::from([own.to_owned()]);
        let mut told = BTreeSet::new();
        let mut variants = Vec::with_capacity(drafts.len());
        for (place, draft) in drafts.into_iter().enumerate() {
            let pointer = format!("/variants/{place}");
            let sku = self.keep(&format!("{pointer}/sku"), Sku::parse(&draft.sku));
            if !known.insert(draft.sku.clone()) {
                self.add(&format!("{pointer}/sku"), "this SKU occurs twice");
            }
            let attributes = self.attributes(&pointer, draft.attributes);
            let mut told_apart: Vec<_> =
                attributes.iter().map(|own| (own.key.clone(), own.value.clone(), own.unit.clone())).collect();
            told_apart.sort();
            if told_apart.is_empty() || !told.insert(told_apart) {
                self.add(&format!("{pointer}/attributes"), "nothing tells this variant from the others");
            }
            let prices = if draft.prices.is_empty() && draft.special_prices.is_empty() {
                Some(None)
            } else {
                self.price_list(&pointer, &draft.prices, &draft.special_prices).map(Some)
            };
            self.images(&pointer, &draft.images);
            if let (Some(sku), Some(prices)) = (sku, prices) {
                variants.push(Variant { sku, attributes, prices, images: draft.images });
            }
        }
        Some(variants)
    }
}

/// A moment of this or the next centuries, to the millisecond.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    let sensible = (0..=MOST_MILLISECONDS).contains(&at.timestamp_millis());
    DateTime::from_timestamp_millis(at.timestamp_millis()).filter(|_| sensible)
}

/// The year 9999: more digits are not written everywhere in the same way.
const MOST_MILLISECONDS: i64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::draft::{ProductDraft, TextDraft};

    fn draft() -> ProductDraft {
        ProductDraft {
            sku: "A".to_owned(),
            family: "gadget".to_owned(),
            category: "audio".to_owned(),
            brand: "Acme".to_owned(),
            texts: vec![TextDraft { language: "en".to_owned(), name: "X".to_owned(), description: String::new() }],
            prices: vec![("EUR".to_owned(), "10.00".to_owned())],
            ..ProductDraft::default()
        }
    }

    fn variant(sku: &str, size: &str) -> VariantDraft {
        let size = AttributeDraft { key: "size".to_owned(), value: size.to_owned(), unit: None };
        VariantDraft { sku: sku.to_owned(), attributes: vec![size], ..VariantDraft::default() }
    }

    fn special(from: &str, until: &str) -> PriceDraft {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        PriceDraft {
            currency: "EUR".to_owned(),
            amount: "8.00".to_owned(),
            from: some(from),
            until: some(until),
            ..PriceDraft::default()
        }
    }

    fn faults(draft: ProductDraft) -> Vec<String> {
        draft.check("").err().map(|error| error.0.into_iter().map(|fault| fault.pointer).collect()).unwrap_or_default()
    }

    #[test]
    fn a_draft_survives_being_a_product() {
        let whole = ProductDraft {
            special_prices: vec![
                special("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
                PriceDraft { region: Some("eu".to_owned()), ..special("2026-01-05T00:00:00.250+01:00", "") },
            ],
            offered: vec![OfferedDraft {
                region: "eu".to_owned(),
                from: Some("2026-01-01T00:00:00Z".to_owned()),
                until: None,
            }],
            variants: vec![
                variant("A-S", "S"),
                VariantDraft { prices: vec![("EUR".to_owned(), "12.00".to_owned())], ..variant("A-L", "L") },
            ],
            ..draft()
        };
        let product = whole.check("").unwrap();
        assert_eq!((product.prices.iter().count(), product.variants.len()), (3, 2));
        assert_eq!(ProductDraft::of(&product).check(""), Ok(product));
    }

    #[test]
    fn regions_and_times_that_are_none_are_told_with_their_place() {
        let price = |price: PriceDraft| ProductDraft { special_prices: vec![price], ..draft() };
        let table = [
            (price(special("yesterday", "")), "/special_prices/0/from"),
            (price(special("", "2026-13-01T00:00:00Z")), "/special_prices/0/until"),
            (price(special("2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z")), "/special_prices/0/until"),
            (price(special("-0044-03-15T00:00:00Z", "")), "/special_prices/0/from"),
            (price(PriceDraft { region: Some("EU ".to_owned()), ..special("", "") }), "/special_prices/0/region"),
            (price(PriceDraft { amount: "-1".to_owned(), ..special("", "") }), "/special_prices/0/amount"),
            (
                ProductDraft {
                    special_prices: vec![special("2026-02-01T00:00:00Z", ""), special("2026-02-01T01:00:00+01:00", "")],
                    ..draft()
                },
                "/special_prices",
            ),
        ];
        for (draft, pointer) in table {
            assert_eq!(faults(draft.clone()), [pointer], "{:?}", draft.special_prices);
        }
        let twice = OfferedDraft { region: "eu".to_owned(), ..OfferedDraft::default() };
        assert_eq!(faults(ProductDraft { offered: vec![twice.clone(), twice], ..draft() }), ["/offered/1/region"]);
    }

    #[test]
    fn variants_have_skus_of_their_own_and_differ() {
        let of = |variants: Vec<VariantDraft>| ProductDraft { variants, ..draft() };
        let table = [
            (of(vec![variant("A", "S")]), "/variants/0/sku"),
            (of(vec![variant("B", "S"), variant("B", "L")]), "/variants/1/sku"),
            (of(vec![variant("B", "S"), variant("C", "S")]), "/variants/1/attributes"),
            (of(vec![VariantDraft { sku: "B".to_owned(), ..VariantDraft::default() }]), "/variants/0/attributes"),
            (of((0..101).map(|number| variant(&format!("B{number}"), &number.to_string())).collect()), "/variants"),
            (
                of(vec![VariantDraft { images: vec!["http://x".to_owned()], ..variant("B", "S") }]),
                "/variants/0/images/0",
            ),
        ];
        for (draft, pointer) in table {
            assert_eq!(faults(draft), [pointer]);
        }
    }
}
