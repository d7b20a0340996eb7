//! The public REST API of the catalog.
