//! Regions: the unit of residency. The list comes from `topology.toml` (see `build.rs`); nothing else names a region.

use std::fmt;
use std::str::FromStr;

use crate::money::Currency;
use crate::tax::{PlaceFacts, Prices, RoundTax, TaxClass, TaxFacts, TaxPlace, Ties};

include!(concat!(env!("OUT_DIR"), "/regions.rs"));

struct Facts {
    code: &'static str,
    name: &'static str,
    jurisdiction: &'static str,
    currency: Currency,
    languages: &'static [&'static str],
    base_url: &'static str,
    countries: &'static [&'static str],
    fulfilment_centres: &'static [&'static str],
    sites: &'static [&'static str],
    tax: TaxFacts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a region of the topology")]
pub struct UnknownRegion;

impl Region {
    /// The short lower-case code used in topics, claims and columns.
    pub fn code(self) -> &'static str {
        self.facts().code
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The legal space whose data must not leave it.
    pub fn jurisdiction(self) -> &'static str {
        self.facts().jurisdiction
    }

    /// The one currency of prices and charges in this region.
    pub fn currency(self) -> Currency {
        self.facts().currency
    }

    /// Languages of the catalog, the default first (BCP 47 primary tags).
    pub fn languages(self) -> &'static [&'static str] {
        self.facts().languages
    }

    /// Public base URL of the region's API.
    pub fn base_url(self) -> &'static str {
        self.facts().base_url
    }

    /// Countries (ISO 3166-1 alpha-2) that orders of this region may ship to.
    pub fn countries(self) -> &'static [&'static str] {
        self.facts().countries
    }

    /// Where goods of this region lie and leave from, in order of preference. Never empty.
    pub fn fulfilment_centres(self) -> &'static [&'static str] {
        self.facts().fulfilment_centres
    }

    /// Names of the sites, the primary data centre first.
    pub fn sites(self) -> &'static [&'static str] {
        self.facts().sites
    }

    /// Whether shown prices of this region contain the tax.
    pub fn prices(self) -> Prices {
        self.facts().tax.prices
    }

    /// Which amounts the tax of an order is rounded on.
    pub fn round_tax(self) -> RoundTax {
        self.facts().tax.round
    }

    /// What becomes of half a minor unit of tax.
    pub fn tax_ties(self) -> Ties {
        self.facts().tax.ties
    }

    /// The class of rate of a product family; the full rate for one that the topology does not name.
    pub fn tax_class(self, family: &str) -> TaxClass {
        let known = self.facts().tax.families.iter().find(|(name, _)| *name == family);
        known.map_or(TaxClass::Standard, |(_, class)| *class)
    }

    /// Where the tax of a delivery is owed. `None` when this region does not ship there, or when the country has states and the
    /// postal code belongs to none of them.
    pub fn tax_place(self, country: &str, postal_code: &str) -> Option<TaxPlace> {
        let here = |place: &&PlaceFacts| place.country == country && place.covers(postal_code);
        self.facts().tax.places.iter().find(here).map(TaxPlace::of)
    }

    /// The place with this code.
    pub fn tax_place_named(self, code: &str) -> Option<TaxPlace> {
        self.facts().tax.places.iter().find(|place| place.code == code).map(TaxPlace::of)
    }

    /// Every place that tax is owed to.
    pub fn tax_places(self) -> impl Iterator<Item = TaxPlace> {
        self.facts().tax.places.iter().map(TaxPlace::of)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code())
    }
}

impl FromStr for Region {
    type Err = UnknownRegion;

    /// Exact match: `EU `, full-width letters and other spellings are unknown.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|region| region.code() == text).ok_or(UnknownRegion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_destination_has_one_place_of_tax() {
        let table = [
            (Region::Eu, "DE", "60313", Some("DE")),
            (Region::Eu, "FI", "", Some("FI")),
            (Region::Eu, "US", "20147", None),
            (Region::Us, "US", "20147", Some("US-VA")),
            (Region::Us, "US", "20147-1234", Some("US-VA")),
            (Region::Us, "US", "02108", Some("US-MA")),
            (Region::Us, "US", "05501", Some("US-MA")),
            (Region::Us, "US", "96201", Some("US-AP")),
            (Region::Us, "US", "00901", None),
            (Region::Us, "US", "", None),
            (Region::Us, "US", "2014", None),
            (Region::Us, "US", "ABCDE", None),
            (Region::Us, "DE", "60313", None),
            (Region::Apac, "SG", "048547", Some("SG")),
        ];
        for (region, country, postal_code, expected) in table {
            let place = region.tax_place(country, postal_code);
            assert_eq!(place.map(TaxPlace::code), expected, "{region} {country} {postal_code:?}");
        }
        for region in Region::ALL {
            for place in region.tax_places() {
                assert_eq!(region.tax_place_named(place.code()), Some(place));
            }
        }
    }

    #[test]
    fn rates_and_classes_are_those_of_the_topology() {
        let rate = |region: Region, code: &str, family: &str| {
            region.tax_place_named(code).unwrap().rate(region.tax_class(family)).percent()
        };
        assert_eq!(rate(Region::Eu, "DE", "gadget"), "19");
        assert_eq!(rate(Region::Eu, "FI", "digital_subscription"), "25.5");
        assert_eq!(rate(Region::Us, "US-NJ", "made_to_order_fashion"), "0");
        assert_eq!(rate(Region::Us, "US-NJ", "a family of tomorrow"), "6.625");
        assert_eq!(rate(Region::Us, "US-CA", "digital_subscription"), "0");
        assert_eq!(rate(Region::Apac, "AU", "general"), "10");
    }

    #[test]
    fn only_exact_codes_are_regions() {
        for region in Region::ALL {
            assert_eq!(region.code().parse(), Ok(*region));
            assert!(!region.languages().is_empty() && !region.countries().is_empty() && region.sites().len() == 2);
            assert!(!region.fulfilment_centres().is_empty());
        }
        for text in ["EU", "eu ", "ＥＵ", "xx", ""] {
            assert_eq!(text.parse::<Region>(), Err(UnknownRegion), "{text:?}");
        }
    }
}
