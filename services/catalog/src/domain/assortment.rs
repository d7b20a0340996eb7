//! Where and when a product is for sale. A product that names no region is for sale wherever it has a price; one that names
//! regions is for sale in these only, each in its window. Times are of the millisecond, as stores keep them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::Region;

/// From a moment on, until a moment: the first belongs to it, the last does not. Without one it is open on that side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time span ends after it begins")]
pub struct EmptyWindow;

impl Window {
    pub const ALWAYS: Self = Self { from: None, until: None };

    /// # Errors
    /// [`EmptyWindow`] when no moment lies in it.
    pub fn new(from: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> Result<Self, EmptyWindow> {
        match (from, until) {
            (Some(from), Some(until)) if from >= until => Err(EmptyWindow),
            _ => Ok(Self { from, until }),
        }
    }

    pub fn from(&self) -> Option<DateTime<Utc>> {
        self.from
    }

    pub fn until(&self) -> Option<DateTime<Utc>> {
        self.until
    }

    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// The moments at which it begins or ends.
    pub fn turns(&self) -> impl Iterator<Item = DateTime<Utc>> {
        self.from.into_iter().chain(self.until)
    }
}

/// The regions a product is offered in, each with its window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assortment(BTreeMap<Region, Window>);

impl Assortment {
    /// Wherever there is a price, always.
    pub fn everywhere() -> Self {
        Self::default()
    }

    /// In these regions only. Without any it is [`Assortment::everywhere`].
    pub fn of(windows: impl IntoIterator<Item = (Region, Window)>) -> Self {
        Self(windows.into_iter().collect())
    }

    /// When the product is for sale in `region`; `None`: never.
    pub fn window(&self, region: Region) -> Option<Window> {
        if self.0.is_empty() { Some(Window::ALWAYS) } else { self.0.get(&region).copied() }
    }

    pub fn offers(&self, region: Region, at: DateTime<Utc>) -> bool {
        self.window(region).is_some_and(|window| window.contains(at))
    }

    /// The regions that are named, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Region, Window)> + '_ {
        self.0.iter().map(|(region, window)| (*region, *window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_window_holds_its_first_moment_and_not_its_last() {
        let window = Window::new(Some(at(10)), Some(at(20))).unwrap();
        let table = [(9, false), (10, true), (19, true), (20, false)];
        for (second, inside) in table {
            assert_eq!(window.contains(at(second)), inside, "{second}");
        }
        assert!(Window::ALWAYS.contains(at(0)));
        assert_eq!(Window::new(Some(at(10)), Some(at(10))), Err(EmptyWindow));
        assert!(Window::new(Some(at(10)), None).unwrap().contains(at(11)));
        assert!(!Window::new(None, Some(at(10))).unwrap().contains(at(11)));
    }

    #[test]
    fn naming_a_region_takes_the_product_out_of_the_others() {
        let here = Assortment::of([(Region::Eu, Window::new(None, Some(at(20))).unwrap())]);
        assert!(here.offers(Region::Eu, at(10)) && !here.offers(Region::Eu, at(20)));
        assert!(!here.offers(Region::Us, at(10)));
        assert!(Assortment::everywhere().offers(Region::Us, at(10)));
    }
}
