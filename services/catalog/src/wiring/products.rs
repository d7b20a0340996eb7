//! Wiring of the product half.
