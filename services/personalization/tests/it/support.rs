//! What the stories share: products, reports, an app on a store in memory or on the Redis of the test stack.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeZone as _, Utc};
use common::{Currency, ManualClock, SharedClock, Sku, ids};
use messaging::{Aside, FirehoseError, PutAside};
use personalization::domain::experiment::plan::Plans;
use personalization::domain::{Batch, Click, ClickKind, Feature, Position, Pseudonym, Report};
use personalization::outbound::memory::MemoryStore;
use personalization::outbound::redis::{Patience, RedisStore};
use personalization::usecases::ports::{ProductRevision, Store};
use personalization::usecases::{
    App, Command, Earlier, KeptLists, Kind, Learner, Popularity, Running, Trials, VisitIndex, fold_clicks, follow,
    refresh, write_lists,
};

pub const NOW: i64 = 1_790_000_000_000;

/// Nothing earlier is there, and nobody said no before.
pub const GONE: Earlier = Earlier::Gone { since_ms: 0 };

/// The key of pseudonyms and of arms.
pub const KEY: &[u8] = b"a-key-of-the-test-stack";

pub fn sku(name: &str) -> Sku {
    Sku::parse(name).expect("a SKU")
}

/// A person nobody else in any test is.
pub fn somebody() -> Pseudonym {
    Pseudonym::parse(&ids::random().simple().to_string()).expect("a pseudonym")
}

pub fn report(who: &Pseudonym, offset: i64, clicks: &[(ClickKind, &str)]) -> Report {
    let at_ms = NOW + offset * 1_000;
    Report {
        pseudonym: who.clone(),
        consent: true,
        position: Position { partition: 0, offset, received_at_ms: at_ms },
        traceparent: None,
        clicks: clicks
            .iter()
            .map(|(kind, name)| Click { kind: *kind, sku: Some(sku(name)), at_ms, mark: None })
            .collect(),
    }
}

pub fn product(name: &str, revision: i64, category: &str, brand: &str) -> ProductRevision {
    let feature = Feature {
        category: category.to_owned(),
        brand: brand.to_owned(),
        family: "gadget".to_owned(),
        ..Feature::default()
    };
    ProductRevision { sku: sku(name), revision, changed_at_ms: NOW + revision, feature: Some(feature) }
}

/// Coats by two brands, and two drones.
pub fn products() -> Vec<ProductRevision> {
    let coats = ["C1", "C2", "C3", "C4"].iter().enumerate();
    let mut list: Vec<_> =
        coats.map(|(n, name)| product(name, 1, "fashion/coats", if n % 2 == 0 { "Aurel" } else { "Brume" })).collect();
    list.extend(["D1", "D2"].map(|name| product(name, 1, "gadgets/drones", "Corvid")));
    list
}

/// The service on one store, as `wiring` would put it together.
pub struct Shop<S> {
    pub store: Arc<S>,
    pub learner: Learner,
    pub app: App,
    /// Stands a minute after [`NOW`] until a story moves it.
    pub clock: Arc<ManualClock>,
}

impl<S: Store> Shop<S> {
    pub fn on(store: S) -> Self {
        let store = Arc::new(store);
        let now = Utc.timestamp_millis_opt(NOW + 60_000).single().expect("an instant");
        let manual = Arc::new(ManualClock::at(now));
        let clock: SharedClock = manual.clone();
        let running = Arc::new(Running::new(Plans::default(), KEY, Currency::Eur));
        let trials = Trials { running, tallies: store.clone() };
        let (interests, features, consents) = (store.clone(), store.clone(), store.clone());
        let learner = Learner { interests, features, trials: trials.clone(), consents };
        let (popularity, visits) = (Arc::new(Popularity::default()), Arc::new(VisitIndex::default()));
        let (shelves, features, kept) = (store.clone(), store.clone(), Arc::new(KeptLists::default()));
        let app = App { shelves, features, popularity, visits, kept, trials, clock };
        Self { store, learner, app, clock: manual }
    }

    /// The same shop while these experiments run.
    pub fn trying(mut self, experiments: &str) -> Self {
        let plans = Plans::parse(experiments).expect("plans");
        self.app.trials.running = Arc::new(Running::new(plans, KEY, Currency::Eur));
        self.learner.trials = self.app.trials.clone();
        self
    }

    /// These are all products there are.
    pub async fn learn(&self, products: &[ProductRevision]) -> usize {
        let learned = self.learner.features.learn(products).await.expect("the store answers");
        self.learner.features.all_learned().await.expect("the store answers");
        learned
    }

    /// Counts reports that nothing stands before, whatever their offsets: what joins what is told in `books`.
    pub async fn click(&self, reports: Vec<Report>) -> personalization::usecases::Folded {
        let batch = Batch::gather(reports);
        fold_clicks(&self.learner, 0, &batch, GONE, |_| ()).await.expect("the store answers")
    }

    pub async fn refresh(&self) {
        refresh(&self.app).await.expect("the store answers");
    }

    /// Leads the index of visits on to what was clicked.
    pub async fn follow(&self) -> usize {
        follow(&self.app.visits, self.store.as_ref()).await.expect("the store answers")
    }

    pub async fn ask(&self, kind: Kind, who: Option<&Pseudonym>, at_hand: Option<&str>) -> Vec<(String, &'static str)> {
        self.ask_for(10, kind, who, at_hand).await
    }

    pub async fn ask_for(
        &self,
        limit: u32,
        kind: Kind,
        who: Option<&Pseudonym>,
        at_hand: Option<&str>,
    ) -> Vec<(String, &'static str)> {
        let (pseudonym, sku) = (who.cloned(), at_hand.map(sku));
        let command = Command { kind, pseudonym, takes_part: false, sku, limit, explain: false };
        // On a busy machine the store may answer later than a page would wait; that answer is another story.
        let answer = testkit::wait::until("an answer in time", Duration::from_secs(10), async || {
            let answer = personalization::usecases::generate_recommendations(&self.app, &command).await;
            answer
                .map_err(|refusal| refusal.to_string())
                .and_then(|answer| if answer.degraded { Err(format!("{answer:?}")) } else { Ok(answer) })
        })
        .await;
        // So that the store's answer is what the next question gets; what waits meanwhile is told in `kept_lists`.
        self.write().await;
        answer.items.into_iter().map(|item| (item.sku.to_string(), item.reason.code())).collect()
    }

    /// Writes the lists that were made, as the process does every 50 ms.
    pub async fn write(&self) {
        self.write_of(&self.app).await;
    }

    /// The same of another process on the same store.
    pub async fn write_of(&self, app: &App) {
        let now_ms = app.clock.now().timestamp_millis();
        write_lists(&app.kept, self.store.as_ref(), now_ms).await.expect("the store answers");
    }

    /// Another process on the same store, which has just started and read what there is.
    pub async fn another(&self) -> App {
        let (popularity, visits) = (Arc::new(Popularity::default()), Arc::new(VisitIndex::default()));
        let other = App { popularity, visits, kept: Arc::new(KeptLists::default()), ..self.app.clone() };
        follow(&other.visits, self.store.as_ref()).await.expect("the store answers");
        refresh(&other).await.expect("the store answers");
        other
    }
}

/// A store that holds nothing, as one of the same kind that has lost everything does.
pub trait Empty: Store {
    fn empty(&self) -> Self;
}

impl Empty for MemoryStore {
    fn empty(&self) -> Self {
        Self::default()
    }
}

impl Empty for RedisStore {
    fn empty(&self) -> Self {
        self.beside(&prefix())
    }
}

pub fn memory() -> Shop<MemoryStore> {
    Shop::on(MemoryStore::default())
}

/// Under a prefix of its own on the Redis of the test stack.
pub fn redis() -> Shop<RedisStore> {
    Shop::on(redis_store(&testkit::servers().redis_url))
}

fn prefix() -> String {
    format!("t{}:", ids::random().simple())
}

pub fn redis_store(url: &str) -> RedisStore {
    RedisStore::connect(url, &prefix()).expect("a well-formed URL").with_patience(Patience::Background)
}

/// A place for records that cannot be counted, which may be shut.
#[derive(Default)]
pub struct Lot {
    pub shut: AtomicBool,
    pub records: Mutex<Vec<PutAside>>,
}

#[async_trait]
impl Aside for Lot {
    async fn put(&self, records: &[PutAside]) -> Result<(), FirehoseError> {
        if self.shut.load(Ordering::Relaxed) {
            return Err(FirehoseError::NotConfirmed(None));
        }
        self.records.lock().expect("no test panicked with it").extend(records.iter().cloned());
        Ok(())
    }
}

impl Lot {
    /// Offset and reason of each, in the order in which they came.
    pub fn told(&self) -> Vec<(i64, &'static str)> {
        let records = self.records.lock().expect("no test panicked with it");
        records.iter().map(|aside| (aside.record.offset, aside.reason)).collect()
    }
}

/// A story told on both stores, and by `cluster` once more on a Redis Cluster, where all of them are told one after the other.
macro_rules! both {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::memory()).await; })+
        }
        mod on_redis {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::redis()).await; })+
        }
        pub async fn all_on(store: &personalization::outbound::redis::RedisStore) {
            $(Box::pin($name(crate::support::Shop::on(crate::support::Empty::empty(store)))).await;)+
        }
    };
}
pub(crate) use both;
