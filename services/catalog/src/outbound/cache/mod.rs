//! The Redis cache of product pages.
