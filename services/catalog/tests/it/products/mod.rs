//! Stories of products and search.
