//! Where goods go. Decided here: how long each part may be and which characters it may have; what fits is stored exactly as
//! it was typed. Which countries a region ships to stands in the topology.

use common::{FieldProblem, Region, TaxPlace};

/// Personal data; carried as `Private<ShippingAddress>`.
#[derive(Clone, PartialEq, Eq)]
pub struct ShippingAddress {
    pub name: String,
    pub line1: String,
    pub line2: Option<String>,
    pub city: String,
    pub postal_code: String,
    /// ISO 3166-1 alpha-2, one of the region's.
    pub country: String,
}

/// Longest parts in characters: generous for real labels, small enough for one.
const LONGEST_NAME: usize = 100;
const LONGEST_LINE: usize = 120;
const LONGEST_CITY: usize = 100;
const LONGEST_POSTAL_CODE: usize = 16;

impl ShippingAddress {
    /// All parts that break a rule, with pointers below `/shipping_address`.
    pub fn problems(&self, region: Region) -> Vec<FieldProblem> {
        let parts = [
            ("name", Some(&self.name), LONGEST_NAME),
            ("line1", Some(&self.line1), LONGEST_LINE),
            ("line2", self.line2.as_ref(), LONGEST_LINE),
            ("city", Some(&self.city), LONGEST_CITY),
            ("postal_code", Some(&self.postal_code), LONGEST_POSTAL_CODE),
        ];
        let mut problems: Vec<_> = parts
            .into_iter()
            .filter_map(|(name, text, longest)| {
                let message = unfit(text?, longest)?;
                Some(FieldProblem::new(format!("/shipping_address/{name}"), "invalid-field", message))
            })
            .collect();
        if !region.countries().contains(&self.country.as_str()) {
            problems.push(FieldProblem::new(
                "/shipping_address/country",
                "invalid-field",
                "not a country this region ships to",
            ));
        }
        if problems.is_empty() && self.tax_place(region).is_none() {
            let message = "not a postal code of a state this region ships to";
            problems.push(FieldProblem::new("/shipping_address/postal_code", "invalid-field", message));
        }
        problems
    }

    /// Where the tax of a delivery to here is owed.
    pub fn tax_place(&self, region: Region) -> Option<TaxPlace> {
        region.tax_place(&self.country, &self.postal_code)
    }

    /// Every text in it, with its pointer.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let line2 = self.line2.as_deref().unwrap_or_default();
        [
            ("/shipping_address/name", self.name.as_str()),
            ("/shipping_address/line1", &self.line1),
            ("/shipping_address/line2", line2),
            ("/shipping_address/city", &self.city),
            ("/shipping_address/postal_code", &self.postal_code),
        ]
        .into_iter()
    }
}

/// Why a text does not fit, or `None`. Control characters (NUL, line breaks) have no place on a label.
pub fn unfit(text: &str, longest: usize) -> Option<String> {
    if text.trim().is_empty() {
        Some("must not be empty".to_owned())
    } else if text.chars().count() > longest {
        Some(format!("at most {longest} characters"))
    } else if text.chars().any(char::is_control) {
        Some("must not contain control characters".to_owned())
    } else {
        None
    }
}

impl std::fmt::Debug for ShippingAddress {
    /// Even opened it prints nothing but its country.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ShippingAddress(***, {})", self.country)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> ShippingAddress {
        ShippingAddress {
            name: "Ada Lovelace".to_owned(),
            line1: "Zeil 1".to_owned(),
            line2: None,
            city: "Frankfurt".to_owned(),
            postal_code: "60313".to_owned(),
            country: "DE".to_owned(),
        }
    }

    #[test]
    fn each_part_has_its_rule() {
        assert!(address().problems(Region::Eu).is_empty());
        let broken = [
            (ShippingAddress { name: " ".to_owned(), ..address() }, "/shipping_address/name"),
            (ShippingAddress { name: "ä".repeat(101), ..address() }, "/shipping_address/name"),
            (ShippingAddress { line1: "a\0b".to_owned(), ..address() }, "/shipping_address/line1"),
            (ShippingAddress { line2: Some(String::new()), ..address() }, "/shipping_address/line2"),
            (ShippingAddress { city: "a\nb".to_owned(), ..address() }, "/shipping_address/city"),
            (ShippingAddress { postal_code: "1".repeat(17), ..address() }, "/shipping_address/postal_code"),
            (ShippingAddress { country: "US".to_owned(), ..address() }, "/shipping_address/country"),
            (ShippingAddress { country: "de".to_owned(), ..address() }, "/shipping_address/country"),
        ];
        for (address, pointer) in broken {
            let problems = address.problems(Region::Eu);
            assert_eq!(problems.iter().map(|problem| problem.pointer.as_str()).collect::<Vec<_>>(), [pointer]);
        }
        let american = |postal_code: &str| ShippingAddress {
            country: "US".to_owned(),
            postal_code: postal_code.to_owned(),
            ..address()
        };
        assert!(american("20147-0001").problems(Region::Us).is_empty());
        assert_eq!(american("60313-X").tax_place(Region::Us).map(TaxPlace::code), Some("US-IL"));
        assert_eq!(american("00000").problems(Region::Us)[0].pointer, "/shipping_address/postal_code");
        assert!(ShippingAddress { name: "名前 😀 \u{202e}".to_owned(), ..address() }.problems(Region::Eu).is_empty());
    }

    #[test]
    fn an_address_prints_no_person() {
        assert!(!format!("{:?}", address()).contains("Ada"));
    }
}
