//! The rules of the catalog. Pure: no async, no I/O, no clock, no wire formats; time and ids come in as arguments.

// stock
pub mod audit;
pub mod centre;
pub mod entitlement;
pub mod inventory;
pub mod lines;
pub mod receipt;
pub mod reservation;
pub mod shelves;
pub mod shipment;

// products
pub mod cursor;
pub mod draft;
pub mod price;
pub mod product;
pub mod ranking;
pub mod search_query;
