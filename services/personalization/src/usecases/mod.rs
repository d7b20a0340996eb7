//! What this service does, one file per verb. Guards, gathers, decides, writes; knows ports and the domain, no wire and no store.

pub mod count_experiments;
pub mod error;
pub mod fold_clicks;
pub mod follow_visits;
pub mod generate_recommendations;
pub mod kept_lists;
pub mod learn_products;
mod lists;
pub mod ports;
pub mod running;
pub mod show_experiment;
mod visit_lists;
pub mod watch_popularity;

use std::sync::Arc;

use common::SharedClock;

pub use count_experiments::{Counted, PaidOrder, count_orders, write_exposures};
pub use error::{NotShown, Refusal, StoreUnavailable};
pub use fold_clicks::{Earlier, Folded, NotFolded, fold_clicks};
pub use follow_visits::{VisitIndex, follow};
pub use generate_recommendations::{Command, Kind, Recommendations, generate_recommendations};
pub use kept_lists::{Asked, Kept, KeptLists, write_lists};
pub use learn_products::learn_products;
pub use lists::List;
pub use running::Running;
pub use show_experiment::{Shown, show_experiment};
pub use watch_popularity::{Crowd, Popularity, refresh};

use ports::{Consents, FeatureStore, InterestStore, Shelves, Tallies};

/// Experiments: what runs, and where people and sums are written down.
#[derive(Clone)]
pub struct Trials {
    pub running: Arc<Running>,
    pub tallies: Arc<dyn Tallies>,
}

/// What the role `work` works with.
#[derive(Clone)]
pub struct Learner {
    pub interests: Arc<dyn InterestStore>,
    pub features: Arc<dyn FeatureStore>,
    pub trials: Trials,
    pub consents: Arc<dyn Consents>,
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
    /// Lists that were made and are not written yet.
    pub kept: Arc<KeptLists>,
    pub trials: Trials,
    pub clock: SharedClock,
}
