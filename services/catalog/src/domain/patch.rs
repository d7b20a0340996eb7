//! A change of some fields of a product: what a table with a few columns says. Fields that are not named stay as they are; a
//! product that is not there yet needs all that a product needs.

use super::draft::{AttributeDraft, ProductDraft, TextDraft};
use super::product::Product;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    pub sku: String,
    pub family: Option<String>,
    pub category: Option<String>,
    pub brand: Option<String>,
    /// Language and name.
    pub names: Vec<(String, String)>,
    /// Language and description.
    pub descriptions: Vec<(String, String)>,
    /// Currency and amount.
    pub prices: Vec<(String, String)>,
    /// Key, value and unit.
    pub attributes: Vec<(String, String, Option<String>)>,
    pub images: Option<Vec<String>>,
}

impl Patch {
    /// The product as it is to be.
    pub fn onto(self, product: Option<&Product>) -> ProductDraft {
        let mut draft = product.map(ProductDraft::of).unwrap_or_default();
        draft.sku = self.sku;
        for (field, wanted) in
            [(&mut draft.family, self.family), (&mut draft.category, self.category), (&mut draft.brand, self.brand)]
        {
            if let Some(wanted) = wanted {
                *field = wanted;
            }
        }
        for (language, name) in self.names {
            text_in(&mut draft.texts, &language).name = name;
        }
        for (language, description) in self.descriptions {
            text_in(&mut draft.texts, &language).description = description;
        }
        for (currency, amount) in self.prices {
            match draft.prices.iter_mut().find(|(known, _)| *known == currency) {
                Some((_, price)) => *price = amount,
                None => draft.prices.push((currency, amount)),
            }
        }
        for (key, value, unit) in self.attributes {
            match draft.attributes.iter_mut().find(|known| known.key == key) {
                Some(known) => *known = AttributeDraft { key, value, unit: unit.or(known.unit.take()) },
                None => draft.attributes.push(AttributeDraft { key, value, unit }),
            }
        }
        if let Some(images) = self.images {
            draft.images = images;
        }
        draft
    }
}

fn text_in<'a>(texts: &'a mut Vec<TextDraft>, language: &str) -> &'a mut TextDraft {
    let place = texts.iter().position(|text| text.language == language).unwrap_or_else(|| {
        texts.push(TextDraft { language: language.to_owned(), ..TextDraft::default() });
        texts.len() - 1
    });
    &mut texts[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Patch {
        Patch {
            sku: "A".to_owned(),
            family: Some("general".to_owned()),
            category: Some("a".to_owned()),
            brand: Some("x".to_owned()),
            names: vec![("en".to_owned(), "A".to_owned())],
            prices: vec![("EUR".to_owned(), "1.00".to_owned())],
            attributes: vec![("width".to_owned(), "5".to_owned(), Some("mm".to_owned()))],
            ..Patch::default()
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let product = whole().onto(None).check("").unwrap();
        let price = Patch {
            sku: "A".to_owned(),
            prices: vec![("EUR".to_owned(), "2.00".to_owned())],
            attributes: vec![("width".to_owned(), "6".to_owned(), None)],
            descriptions: vec![("en".to_owned(), "long".to_owned())],
            ..Patch::default()
        };
        let changed = price.onto(Some(&product)).check("").unwrap();
        assert_eq!(changed.prices.usual().map(|price| price.minor()).collect::<Vec<_>>(), [200]);
        assert_eq!((changed.attributes[0].value.as_str(), changed.attributes[0].unit.as_deref()), ("6", Some("mm")));
        assert_eq!((changed.texts[0].name.as_str(), changed.texts[0].description.as_str()), ("A", "long"));
        assert_eq!(Patch { sku: "A".to_owned(), ..Patch::default() }.onto(Some(&product)).check(""), Ok(product));
    }

    #[test]
    fn a_new_product_needs_all_that_a_product_needs() {
        let price =
            Patch { sku: "A".to_owned(), prices: vec![("EUR".to_owned(), "2.00".to_owned())], ..Patch::default() };
        assert!(price.onto(None).check("").is_err());
    }
}
