//! Words as a search compares them: what a word is, which spellings are one, what it is bent to, what it is made of and what means
//! the same. Decided here once for both who search: the analysers of the index are made from the same lists
//! (`outbound/search/build.rs`), and what they do with them is done here in the same steps. Not decided here: what a word is worth.
//!
//! The lists are `migrations/catalog/elasticsearch/words/<language>.txt`.

mod analyse;
mod lists;
mod near;
mod stem_de;
mod stem_en;
mod stem_fr;
mod tokens;

pub use analyse::{Meaning, asked, meant, places, plain};
pub use lists::{Compounds, Lists, lists};
pub use near::edits;

/// A language that texts are searched in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tongue {
    De,
    Fr,
    En,
}

impl Tongue {
    pub const ALL: [Self; 3] = [Self::De, Self::Fr, Self::En];

    pub fn code(self) -> &'static str {
        match self {
            Self::De => "de",
            Self::Fr => "fr",
            Self::En => "en",
        }
    }

    /// `None`: texts of that language are shown and not searched.
    pub fn of(language: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tongue| tongue.code() == language)
    }
}
