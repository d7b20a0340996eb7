//! What the catalog can do, one file per verb, and what it needs for that ([`App`]). Each use case gathers, decides, commits.

use std::sync::Arc;

use common::{Region, SharedClock};

use ports::products::ProductPorts;
use ports::stock::StockStore;

pub mod ports;

// stock
pub mod finalise_inventory;
pub mod quote;
pub mod receive_stock;
pub mod release_inventory;
pub mod reserve_inventory;
pub mod stock_error;

// products
pub mod get_product;
pub mod index_products;
pub mod list_products;
pub mod personalise;
pub mod publish_products;
pub mod put_product;
pub mod search_products;

/// What every use case works with. Built once, by `wiring`, in production and in tests.
pub struct App {
    pub region: Region,
    /// Name of this data centre; its fulfilment centre sends the goods.
    pub site: String,
    pub clock: SharedClock,
    pub stock: Arc<dyn StockStore>,
    pub products: ProductPorts,
}
