//! Names of categories and attributes: what this process shows, and how staff changes them.
//!
//! Two copies. What readers see is exchanged as a whole by [`Labels::refresh`], every few seconds and never by a change itself: a
//! hundred changes in a row make the finished pages anew once, in the process that wrote them as in every other. The log as far as it was
//! followed belongs to whoever changes something. A store that is away changes nothing of what is shown: an old name is better than none.
//!
//! A change is the insert of the next number; whoever was faster is read and looked at before the next try.

use std::sync::Arc;

use arc_swap::ArcSwap;
use common::{ErrorKind, Explain, UserId};
use tokio::sync::Mutex;

use super::App;
use super::ports::audit::{Act, AuditDown};
use super::ports::labels::LabelStore;
use super::ports::products::{Insertion, StoreDown};
use crate::domain::labels::{LabelBook, LabelKey, LabelRevision, MOST_NAMED, Nameable, Names, Step, StepProblem};

/// Changes followed one by one; a copy that is further behind is read anew in one go.
const FOLLOWED: usize = 32;
/// Other writers that come first before one gives up: more do not sit in one office.
const MOST_MEETINGS: usize = 16;

/// The names that this process knows, and where they come from.
pub struct Labels {
    store: Arc<dyn LabelStore>,
    shown: ArcSwap<LabelBook>,
    /// One look at the log at a time.
    followed: Mutex<Arc<LabelBook>>,
}

impl Labels {
    /// Knows no names until [`Labels::refresh`].
    pub fn new(store: Arc<dyn LabelStore>) -> Self {
        Self { store, shown: ArcSwap::default(), followed: Mutex::default() }
    }

    /// What readers see.
    pub fn shown(&self) -> Arc<LabelBook> {
        self.shown.load_full()
    }

    /// The number of [`Labels::shown`]: it only ever grows, and what was made with another one may have other names.
    pub fn version(&self) -> i64 {
        self.shown.load().number()
    }

    /// Shows readers what is in the store now.
    ///
    /// # Errors
    /// [`StoreDown`]; what was shown is shown further.
    pub async fn refresh(&self) -> Result<(), StoreDown> {
        let newest = self.newest().await?;
        // Of two at once the newer one stays.
        self.shown.rcu(|shown| Arc::clone(if shown.number() < newest.number() { &newest } else { shown }));
        Ok(())
    }

    /// The names as they are in the store now.
    ///
    /// # Errors
    /// [`StoreDown`]; an old copy is never given instead.
    pub async fn newest(&self) -> Result<Arc<LabelBook>, StoreDown> {
        let mut followed = self.followed.lock().await;
        if followed.number() == 0 {
            *followed = Arc::new(self.read().await?);
        }
        for _ in 0..FOLLOWED {
            let Some(change) = self.store.change(followed.number() + 1).await? else {
                return Ok(Arc::clone(&followed));
            };
            Arc::make_mut(&mut followed).follow(change).map_err(|gap| StoreDown(gap.to_string()))?;
        }
        *followed = Arc::new(self.read().await?);
        Ok(Arc::clone(&followed))
    }

    async fn read(&self) -> Result<LabelBook, StoreDown> {
        let mut book = LabelBook::default();
        for change in self.store.all().await? {
            // What was written while the list was read may be in it without what stands before it; it is followed later.
            if book.follow(change).is_err() {
                break;
            }
        }
        Ok(book)
    }
}

/// Names that somebody wants something to have; none: it loses those it has.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub key: LabelKey,
    pub names: Names,
    pub by: UserId,
    /// In the person's words.
    pub reason: String,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub revision: i64,
    pub created: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PutLabelsError {
    #[error("nobody has given it a name")]
    NotFound,
    /// The caller named a revision that is not the newest.
    #[error("the names have another revision; nothing was changed")]
    Outdated,
    #[error("{MOST_NAMED} categories and attributes have names already; nothing was changed")]
    TooMany,
    #[error("too many others are changing names at this moment; nothing was changed")]
    Overtaken,
    #[error(transparent)]
    Audit(#[from] AuditDown),
    #[error(transparent)]
    Store(#[from] StoreDown),
}

/// Gives something these names and no others, after it is written down who does so and why. `expected` is the revision the caller has
/// seen, if it said so. Readers see it at the next [`Labels::refresh`] of their process.
///
/// # Errors
/// [`PutLabelsError`].
pub async fn put_labels(app: &App, wanted: Wanted, expected: Option<i64>) -> Result<Written, PutLabelsError> {
    let labels = &app.products.labels;
    let mut is_noted = false;
    for _ in 0..MOST_MEETINGS {
        let book = labels.newest().await?;
        let known = book.find(&wanted.key).map(|revision| revision.number);
        let step = book.step_to(&wanted.key, &wanted.names);
        if expected.is_some() && expected != known && step != Err(StepProblem::NotThere) {
            return Err(PutLabelsError::Outdated);
        }
        let (number, created) = match step? {
            Step::Unchanged { revision } => return Ok(Written { revision, created: false }),
            Step::Next { number, created } => (number, created),
        };
        if !is_noted {
            app.products.audit.note(wanted.act()).await?;
            is_noted = true;
        }
        let change = LabelRevision {
            number,
            key: wanted.key.clone(),
            names: wanted.names.clone(),
            changed_at: app.clock.now(),
            changed_by: wanted.by,
        };
        if labels.store.insert(&change).await? == Insertion::Written {
            return Ok(Written { revision: number, created });
        }
    }
    Err(PutLabelsError::Overtaken)
}

impl Wanted {
    fn act(&self) -> Act {
        Act {
            by: self.by,
            name: match self.key.kind() {
                Nameable::Category => "category.name",
                Nameable::Attribute => "attribute.name",
            },
            subject: self.key.to_string(),
            reason: self.reason.clone(),
            outcome: format!("names in {} languages to be written", self.names.len()),
        }
    }
}

impl From<StepProblem> for PutLabelsError {
    fn from(problem: StepProblem) -> Self {
        match problem {
            StepProblem::NotThere => Self::NotFound,
            StepProblem::TooMany => Self::TooMany,
        }
    }
}

impl Explain for PutLabelsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Outdated => ErrorKind::PreconditionFailed,
            Self::Overtaken => ErrorKind::Conflict,
            Self::TooMany => ErrorKind::Unprocessable,
            Self::Audit(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Outdated => "precondition-failed",
            Self::Overtaken => "version-conflict",
            Self::TooMany => "limit-exceeded",
            Self::Audit(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}
