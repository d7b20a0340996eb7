//! What this service does, one file per verb. Guards, gathers, decides, writes; knows ports and the domain, no wire and no store.

pub mod error;
pub mod fold_clicks;
pub mod follow_visits;
pub mod generate_recommendations;
pub mod learn_products;
pub mod ports;
mod visit_lists;
pub mod watch_popularity;

use std::sync::Arc;

use common::SharedClock;

pub use error::{Refusal, StoreUnavailable};
pub use fold_clicks::{Folded, fold_clicks};
pub use follow_visits::{VisitIndex, follow};
pub use generate_recommendations::{Command, Kind, Recommendations, generate_recommendations};
pub use learn_products::learn_products;
pub use watch_popularity::{Crowd, Popularity, refresh};

use ports::{FeatureStore, InterestStore, Shelves};

/// What the role `work` works with.
#[derive(Clone)]
pub struct Learner {
    pub interests: Arc<dyn InterestStore>,
    pub features: Arc<dyn FeatureStore>,
}

/// What the role `serve` answers from.
#[derive(Clone)]
pub struct App {
    pub shelves: Arc<dyn Shelves>,
    pub features: Arc<dyn FeatureStore>,
    /// Kept fresh by [`watch_popularity`]; what remains when the store is gone.
    pub popularity: Arc<Popularity>,
    /// Kept fresh by [`follow_visits`].
    pub visits: Arc<VisitIndex>,
    pub clock: SharedClock,
}
