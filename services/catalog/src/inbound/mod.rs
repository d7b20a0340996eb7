//! Who may ask, and how: HTTP for shoppers and staff, gRPC for other services, events for the saga and the index. Handlers
//! translate; they decide nothing.

// stock
pub mod events;
pub mod freshness;
pub mod grpc;
pub mod stock_watch;

// products
pub mod edge_news;
pub mod http;
pub mod index_watch;
pub mod indexer;
mod product_sale;
pub mod promotions;
pub mod purges;
pub mod relay;
pub mod stand_in;
pub mod standings;
pub mod turns;
