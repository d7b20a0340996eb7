//! Regions: the unit of residency. The list comes from `topology.toml` (see `build.rs`); nothing else names a region.

use std::fmt;
use std::str::FromStr;

use crate::money::Currency;

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
