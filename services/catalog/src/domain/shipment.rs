//! Stock half.
