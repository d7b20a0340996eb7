//! Where goods lie and leave from. Decided here: how such a place may be called. Which places a region has, and which of them
//! comes first, stands in the topology; a place that is no longer there may still be named by old rows.

use std::fmt;

use common::Region;

/// The name of a fulfilment centre: 1 to 32 characters of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Centre(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fulfilment centre is named with 1 to 32 lower-case letters, digits or hyphens")]
pub struct InvalidCentre;

impl Centre {
    /// # Errors
    /// [`InvalidCentre`]
    pub fn parse(text: &str) -> Result<Self, InvalidCentre> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCentre)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Centre {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The centres of a region, each once, in order of preference. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Centres(Vec<Centre>);

impl Centres {
    /// `first` and then `others`; a name that comes twice counts where it came first.
    pub fn new(first: Centre, others: impl IntoIterator<Item = Centre>) -> Self {
        let mut list = vec![first];
        for centre in others {
            if !list.contains(&centre) {
                list.push(centre);
            }
        }
        Self(list)
    }

    /// Those of the topology.
    ///
    /// # Errors
    /// [`InvalidCentre`] when the topology names one in another way.
    pub fn of(region: Region) -> Result<Self, InvalidCentre> {
        let list = region.fulfilment_centres().iter().map(|name| Centre::parse(name));
        let list = list.collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() { Err(InvalidCentre) } else { Ok(Self(list)) }
    }

    /// Where goods go unless somebody says otherwise.
    pub fn first(&self) -> &Centre {
        self.0.first().unwrap_or_else(|| unreachable!("there is at least one centre"))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Centre> {
        self.0.iter()
    }

    pub fn contains(&self, centre: &Centre) -> bool {
        self.0.contains(centre)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_centres_whose_names_are_names() {
        for region in Region::ALL {
            let centres = Centres::of(*region).unwrap();
            assert_eq!(centres.first().as_str(), region.fulfilment_centres()[0]);
            assert!(centres.contains(centres.first()));
        }
        for text in ["", "RDC-A", "rdc a", "rdc_a", "ä", &"x".repeat(33)] {
            assert_eq!(Centre::parse(text), Err(InvalidCentre), "{text:?}");
        }
    }
}
