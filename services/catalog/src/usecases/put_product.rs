//! Use case `put_product`.
