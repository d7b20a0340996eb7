//! Use case `index_products`.
