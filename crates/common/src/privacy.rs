//! What personal data may do. [`Private`] prints as stars, [`Regional`] opens only at home, [`Anonymous`] is the one form
//! that may leave a region and can be made only from enough people.
//!
//! None of the three can be serialised; `tests/compile_fail` holds what must not compile.

use std::fmt;

use crate::region::Region;

/// Personal data: a name, an address, an e-mail. Opened by name with [`Private::open`], never by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Private<T>(T);

impl<T> Private<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value in clear. Whoever calls this answers for where it goes.
    pub const fn open(&self) -> &T {
        &self.0
    }

    pub fn into_open(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

impl<T> fmt::Display for Private<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

/// Data that must stay in one region. It says where it belongs and opens only there.
#[derive(Clone, PartialEq, Eq)]
pub struct Regional<T> {
    home: Region,
    value: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("data of region {home} cannot be opened in region {asked}")]
pub struct WrongRegion {
    pub home: Region,
    pub asked: Region,
}

impl<T> Regional<T> {
    pub const fn new(home: Region, value: T) -> Self {
        Self { home, value }
    }

    pub const fn home(&self) -> Region {
        self.home
    }

    /// # Errors
    /// [`WrongRegion`] anywhere but at home; the value stays closed.
    pub fn open_in(&self, here: Region) -> Result<&T, WrongRegion> {
        if here == self.home { Ok(&self.value) } else { Err(WrongRegion { home: self.home, asked: here }) }
    }
}

impl<T> fmt::Debug for Regional<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Regional({}, ***)", self.home)
    }
}

/// How many people an aggregate needs before it may leave, and how much noise is drawn for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRule {
    /// Fewer distinct people than this are never released.
    pub min_people: u64,
}

impl ReleaseRule {
    /// Twenty people is the smallest group that headquarters may ever see.
    pub const STANDARD: Self = Self { min_people: 20 };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an aggregate over fewer than {min_people} people stays in its region")]
pub struct TooFewPeople {
    pub min_people: u64,
}

/// An aggregate that may leave its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anonymous<T>(T);

impl Anonymous<i64> {
    /// The one way out. `noise` is drawn once per cell by the caller under its privacy budget; the decision to suppress
    /// looks at the noised count of people, so that the threshold itself does not tell on anybody.
    ///
    /// # Errors
    /// [`TooFewPeople`] when fewer than `rule.min_people` contributed.
    pub fn release(total: i64, people: u64, noise: Noise, rule: ReleaseRule) -> Result<Self, TooFewPeople> {
        if people.saturating_add_signed(noise.people) < rule.min_people {
            return Err(TooFewPeople { min_people: rule.min_people });
        }
        Ok(Self(total.saturating_add(noise.total)))
    }
}

/// Noise of one cell: for its total and for its count of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    pub total: i64,
    pub people: i64,
}

impl<T> Anonymous<T> {
    pub const fn get(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_data_prints_as_stars() {
        let name = Private::new("Ada Lovelace");
        assert_eq!(format!("{name} {name:?}"), "*** ***");
        assert_eq!(*name.open(), "Ada Lovelace");
        let address = Regional::new(Region::ALL[0], "12 Main Street");
        assert!(!format!("{address:?}").contains("Main"));
    }

    #[test]
    fn regional_data_opens_only_at_home() {
        let address = Regional::new(Region::ALL[0], 7);
        assert_eq!(address.open_in(Region::ALL[0]), Ok(&7));
        assert_eq!(address.open_in(Region::ALL[1]), Err(WrongRegion { home: Region::ALL[0], asked: Region::ALL[1] }));
    }

    #[test]
    fn an_aggregate_needs_enough_people_after_noise() {
        let quiet = Noise { total: 0, people: 0 };
        assert!(Anonymous::release(10, 19, quiet, ReleaseRule::STANDARD).is_err());
        assert_eq!(Anonymous::release(10, 20, quiet, ReleaseRule::STANDARD).map(|cell| *cell.get()), Ok(10));
        assert!(Anonymous::release(10, 20, Noise { total: 3, people: -1 }, ReleaseRule::STANDARD).is_err());
        assert_eq!(
            Anonymous::release(10, 30, Noise { total: 3, people: -1 }, ReleaseRule::STANDARD).map(|cell| *cell.get()),
            Ok(13)
        );
    }
}
