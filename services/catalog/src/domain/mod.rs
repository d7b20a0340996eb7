//! The rules of the catalog. Pure: no async, no I/O, no clock, no wire formats; time and ids come in as arguments.

// stock
pub mod audit;
pub mod centre;
pub mod correction;
pub mod entitlement;
pub mod inventory;
pub mod lines;
pub mod receipt;
pub mod reservation;
pub mod shelves;
pub mod shipment;

// products
pub mod assortment;
pub mod cursor;
pub mod discount;
pub mod draft;
mod draft_sale;
mod draft_size;
pub mod facets;
pub mod labels;
pub mod patch;
pub mod picture;
mod plain_text;
pub mod price;
pub mod product;
pub mod product_words;
pub mod promotion;
pub mod promotion_book;
pub mod promotion_draft;
pub mod ranking;
pub mod schema;
pub mod search_query;
pub mod stand_in;
pub mod standing;
pub mod trail;
pub mod words;
