//! What ours is compared with, each as published, with the settings that the table in the design names (one untuned setting each).

mod counts;
mod neighbours;

pub use counts::{AssociationRules, ItemNeighbours, Popularity, SequentialRules, VisitPopularity};
pub use neighbours::VisitNeighbours;
