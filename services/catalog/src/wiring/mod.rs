//! The one place that knows every concrete type.
