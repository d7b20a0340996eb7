//! The words of the demo catalog: written for it, in three languages. `generate.rs` puts them together.

pub mod digital;
pub mod fashion;
pub mod gadgets;
pub mod names;

/// One thing said in each language of the catalog.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    pub en: &'static str,
    pub de: &'static str,
    pub fr: &'static str,
}

/// Shorthand for the tables.
pub const fn said(en: &'static str, de: &'static str, fr: &'static str) -> Said {
    Said { en, de, fr }
}
