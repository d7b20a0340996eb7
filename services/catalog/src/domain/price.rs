//! Prices of a product.
