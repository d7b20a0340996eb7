//! What a search may ask.
