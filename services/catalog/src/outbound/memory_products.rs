//! Product half.
