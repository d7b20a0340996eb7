//! Use case `get_product`.
