//! Use case `search_products`.
