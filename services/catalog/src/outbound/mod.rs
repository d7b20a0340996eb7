//! What the catalog uses: the stores and the services of others, behind the ports of `usecases`.

// stock
pub mod memory_stock;
pub mod orders;
pub mod postgres;

// products
pub mod cache;
pub mod document;
pub mod feed;
pub mod memory_products;
pub mod mongo;
pub mod ratings;
pub mod search;
