//! A setting that must not be shown. Its values are noted while a configuration is read, so that printing can cover them
//! wherever they stand.

use std::cell::RefCell;
use std::fmt;

use serde::{Deserialize, Deserializer};

/// A password, key or token from the configuration. Prints as `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value in clear.
    pub fn open(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        SEEN.with_borrow_mut(|seen| seen.push(value.clone()));
        Ok(Self(value))
    }
}

/// Runs `read` and returns also the values of all secrets it met. Reading is synchronous, so the thread is the scope.
pub(super) fn collecting<R>(read: impl FnOnce() -> R) -> (R, Vec<String>) {
    SEEN.with_borrow_mut(Vec::clear);
    let result = read();
    (result, SEEN.with_borrow_mut(std::mem::take))
}
