//! How much a product may say in all. Every text has a bound of its own, and all of them together would still be several
//! megabytes: more than a record of the feed can carry. Part of `draft`.

use super::draft::{AttributeDraft, OfferedDraft, PriceDraft, ProductDraft, VariantDraft};

/// Longest sum of everything a product says, in bytes: half of what the broker takes as one record (1,000,000), since the names
/// and lengths of many small fields come on top. The longest real data sheets have a tenth of it.
pub const MOST_BYTES: usize = 512 * 1024;

/// The sum of all texts, keys, values, prices and references of `draft`, in bytes.
pub fn bytes(draft: &ProductDraft) -> usize {
    let texts = draft.texts.iter().map(|text| text.language.len() + text.name.len() + text.description.len());
    let options = draft.options.iter().map(|(key, values)| key.len() + of_all(values));
    let variants = draft.variants.iter().map(of_variant);
    draft.sku.len()
        + draft.family.len()
        + draft.category.len()
        + draft.brand.len()
        + texts.sum::<usize>()
        + of_prices(&draft.prices, &draft.special_prices)
        + of_attributes(&draft.attributes)
        + options.sum::<usize>()
        + of_all(&draft.images)
        + draft.offered.iter().map(of_offered).sum::<usize>()
        + variants.sum::<usize>()
}

fn of_variant(variant: &VariantDraft) -> usize {
    variant.sku.len()
        + of_attributes(&variant.attributes)
        + of_prices(&variant.prices, &variant.special_prices)
        + of_all(&variant.images)
}

fn of_attributes(attributes: &[AttributeDraft]) -> usize {
    attributes.iter().map(|own| own.key.len() + own.value.len() + of_one(own.unit.as_ref())).sum()
}

fn of_prices(usual: &[(String, String)], special: &[PriceDraft]) -> usize {
    let special = special.iter().map(|price| {
        let window = of_one(price.from.as_ref()) + of_one(price.until.as_ref());
        of_one(price.region.as_ref()) + price.currency.len() + price.amount.len() + window
    });
    usual.iter().map(|(currency, amount)| currency.len() + amount.len()).sum::<usize>() + special.sum::<usize>()
}

fn of_offered(offered: &OfferedDraft) -> usize {
    offered.region.len() + of_one(offered.from.as_ref()) + of_one(offered.until.as_ref())
}

fn of_all(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

fn of_one(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::draft::TextDraft;

    fn draft() -> ProductDraft {
        ProductDraft {
            sku: "A".to_owned(),
            family: "gadget".to_owned(),
            category: "audio".to_owned(),
            brand: "Acme".to_owned(),
            texts: vec![text("en", "Headphones")],
            prices: vec![("EUR".to_owned(), "49.90".to_owned())],
            ..ProductDraft::default()
        }
    }

    fn text(language: &str, description: &str) -> TextDraft {
        TextDraft { language: language.to_owned(), name: "X".to_owned(), description: description.to_owned() }
    }

    fn pointers(draft: ProductDraft) -> Vec<String> {
        let refused = draft.check("/products/3").err();
        refused.into_iter().flat_map(|error| error.0).map(|fault| fault.pointer).collect()
    }

    #[test]
    fn a_product_that_no_record_can_carry_is_refused_although_each_field_is_short_enough() {
        let longest = "\u{1f3a7}".repeat(20_000);
        let languages = ["de", "en", "fr", "it", "es", "pt", "nl", "da", "fi", "sv"];
        let in_all = ProductDraft { texts: languages.map(|code| text(code, &longest)).to_vec(), ..draft() };
        assert_eq!(pointers(in_all), ["/products/3"]);
        let attributes = |variant: usize| -> Vec<AttributeDraft> {
            let value = |place: usize| format!("{variant}{}", "x".repeat(490 + place % 2));
            let one = |place: usize| AttributeDraft { key: format!("k{place}"), value: value(place), unit: None };
            (0..100).map(one).collect()
        };
        let variant = |place: usize| VariantDraft {
            sku: format!("A-{place}"),
            attributes: attributes(place),
            ..VariantDraft::default()
        };
        assert_eq!(pointers(ProductDraft { variants: (0..100).map(variant).collect(), ..draft() }), ["/products/3"]);
    }

    #[test]
    fn everything_that_a_product_says_counts() {
        let long = || "x".repeat(50);
        let price =
            || PriceDraft { region: Some(long()), from: Some(long()), until: Some(long()), ..PriceDraft::default() };
        let attribute = || AttributeDraft { key: long(), value: long(), unit: Some(long()) };
        let said = ProductDraft {
            sku: long(),
            family: long(),
            category: long(),
            brand: long(),
            texts: vec![TextDraft { language: long(), name: long(), description: long() }],
            prices: vec![(long(), long())],
            special_prices: vec![price()],
            attributes: vec![attribute()],
            options: vec![(long(), vec![long()])],
            images: vec![long()],
            offered: vec![OfferedDraft { region: long(), from: Some(long()), until: Some(long()) }],
            variants: vec![VariantDraft {
                sku: long(),
                attributes: vec![attribute()],
                prices: vec![(long(), long())],
                special_prices: vec![price()],
                images: vec![long()],
            }],
        };
        assert_eq!(bytes(&said), 50 * (4 + 3 + 2 + 3 + 3 + 2 + 1 + 3 + (1 + 3 + 2 + 3 + 1)));
    }

    #[test]
    fn a_long_data_sheet_is_no_fault() {
        let sheet =
            ProductDraft { texts: vec![text("de", &"x".repeat(20_000)), text("en", &"x".repeat(20_000))], ..draft() };
        assert_eq!(pointers(sheet), Vec::<String>::new());
    }
}
