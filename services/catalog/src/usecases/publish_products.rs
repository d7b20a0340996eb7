//! Use case `publish_products`.
