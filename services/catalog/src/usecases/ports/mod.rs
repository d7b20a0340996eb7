//! What the use cases ask of the world, in words of the domain. Implemented in `outbound`, twice: for real and in memory.

pub mod audit;
pub mod labels;
pub mod orders;
pub mod pages;
pub mod pictures;
pub mod products;
pub mod promotions;
pub mod purger;
pub mod recommender;
pub mod standings;
pub mod stock;
