//! What the catalog uses: the stores and the services of others, behind the ports of `usecases`.

// stock
pub mod memory_stock;
pub mod orders;
pub mod postgres;

// products
pub mod audit;
pub mod bare;
pub mod cache;
pub mod cdn;
pub mod document;
mod document_sale;
pub mod feed;
pub mod label_document;
pub mod memory_labels;
pub mod memory_products;
pub mod memory_promotions;
pub mod mongo;
pub mod pictures;
pub mod promotion_document;
pub mod ratings;
pub mod recommendations;
pub mod search;
pub mod trends;
