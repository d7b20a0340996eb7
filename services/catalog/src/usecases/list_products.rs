//! Use case `list_products`.
