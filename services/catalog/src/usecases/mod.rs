//! What the catalog can do, one file per verb, and what it needs for that ([`App`]). Each use case gathers, decides, commits.

use std::sync::Arc;

use common::{Region, SharedClock};

use crate::domain::centre::Centres;
use ports::orders::Orders;
use ports::products::ProductPorts;
use ports::stock::StockStore;
use reservation_batcher::ReservationBatcher;

pub mod ports;

// stock
pub mod ask_about_holds;
pub mod audit_stock;
pub mod correct_stock;
mod decide_again;
pub mod extend_hold;
pub mod finalise_inventory;
pub mod quote;
pub mod receive_stock;
pub mod release_inventory;
pub mod reservation_batcher;
pub mod reserve_inventory;
pub mod return_inventory;
pub mod send_awaited;
pub mod stock_error;

// products
pub mod audit_index;
mod claim_skus;
pub mod export_products;
pub mod families;
pub mod get_product;
pub mod import_products;
pub mod index_products;
pub mod keep_standings;
pub mod labels;
pub mod list_products;
pub mod personalise;
pub mod pictures;
pub mod product_history;
pub mod promotions;
pub mod publish_products;
pub mod put_product;
pub mod renew_turned;
pub mod search_products;
pub mod stand_in;
pub mod strip;
pub mod tell_products;

/// What every use case works with. Built once, by `wiring`, in production and in tests.
pub struct App {
    pub region: Region,
    /// The fulfilment centres of this region.
    pub centres: Centres,
    pub clock: SharedClock,
    pub stock: Arc<dyn StockStore>,
    pub orders: Arc<dyn Orders>,
    pub reservations: ReservationBatcher,
    pub products: ProductPorts,
}
