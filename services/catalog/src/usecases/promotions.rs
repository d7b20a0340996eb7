//! Promotions as this process knows them, and how staff changes them.
//!
//! Decided here: that no basket is priced from a copy that may be old. The copy in memory is only as good as the number of its
//! last change, so each reader asks the store for the next number first: one look-up by key, whose usual answer is that there
//! is none. Readers of the same moment share one look: it counts for whoever had come when it began, never for who came later. A
//! change is the insert of that number; whoever was faster is read and looked at before the next try.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::{ErrorKind, Explain, FieldProblem, UserId};
use tokio::sync;

use super::App;
use super::ports::products::{Insertion, StoreDown};
use super::ports::promotions::PromotionStore;
use crate::domain::promotion::{PromotionRevision, PromotionState};
use crate::domain::promotion_book::{MOST_LIVE, PromotionBook, Step, StepProblem};

/// Changes followed one by one; a copy that is further behind is read anew in one go.
const FOLLOWED: usize = 32;
/// Other writers that come first before one gives up: more do not sit in one office.
const MOST_MEETINGS: usize = 16;

/// The promotions in memory, and where they come from.
pub struct Promotions {
    store: Arc<dyn PromotionStore>,
    known: Mutex<Option<Arc<PromotionBook>>>,
    /// Readers so far, which gives each its number.
    asked: AtomicU64,
    /// One look at a time; here is what became of the last one.
    looked: sync::Mutex<Looked>,
}

/// A look at the store, told to all readers up to a number: those who had come when it began. A failure is also told to those who
/// came meanwhile, or they would wait for the store's patience twice.
struct Looked {
    counts_for: u64,
    outcome: Result<Arc<PromotionBook>, StoreDown>,
}

impl Promotions {
    pub fn new(store: Arc<dyn PromotionStore>) -> Self {
        let looked = Looked { counts_for: 0, outcome: Ok(Arc::default()) };
        Self { store, known: Mutex::new(None), asked: AtomicU64::new(0), looked: sync::Mutex::new(looked) }
    }

    /// The promotions as they are in the store now.
    ///
    /// # Errors
    /// [`StoreDown`]; an old copy is never given instead.
    pub async fn current(&self) -> Result<Arc<PromotionBook>, StoreDown> {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut looked = self.looked.lock().await;
        if looked.counts_for < mine {
            // Whoever has a number by now came before the look begins.
            let before = self.asked.load(Ordering::Acquire);
            let outcome = self.look().await;
            let counts_for = if outcome.is_ok() { before } else { self.asked.load(Ordering::Acquire) };
            *looked = Looked { counts_for, outcome };
        }
        looked.outcome.clone()
    }

    async fn look(&self) -> Result<Arc<PromotionBook>, StoreDown> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut book = match known {
            Some(book) => book,
            // Kept before it is looked at again: the next reader must not begin anew when this one gives up.
            None => self.keep(Arc::new(self.read().await?)),
        };
        for _ in 0..FOLLOWED {
            let Some(change) = self.store.change(book.number() + 1).await? else {
                return Ok(self.keep(book));
            };
            Arc::make_mut(&mut book).follow(change).map_err(|gap| StoreDown(gap.to_string()))?;
        }
        // The same here: what was followed so far is less to follow for the next.
        self.keep(book);
        Ok(self.keep(Arc::new(self.read().await?)))
    }

    async fn read(&self) -> Result<PromotionBook, StoreDown> {
        let mut book = PromotionBook::default();
        for change in self.store.all().await? {
            // What was written while the list was read may be in it without what stands before it; it is followed later.
            if book.follow(change).is_err() {
                break;
            }
        }
        Ok(book)
    }

    /// Keeps the newest copy.
    fn keep(&self, book: Arc<PromotionBook>) -> Arc<PromotionBook> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.number() < book.number()) {
            *known = Some(Arc::clone(&book));
        }
        book
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub revision: i64,
    pub created: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PutPromotionError {
    #[error("there is no such promotion")]
    NotFound,
    /// The caller named a revision that is not the newest.
    #[error("the promotion has another revision; nothing was changed")]
    Outdated,
    #[error("another promotion has this code; nothing was changed")]
    CodeTaken,
    #[error("there are {MOST_LIVE} promotions already; nothing was changed")]
    TooMany,
    #[error("too many others are changing promotions at this moment; nothing was changed")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreDown),
}

/// Brings one promotion to `wanted`. `expected` is the revision the caller has seen, if it said so.
///
/// # Errors
/// [`PutPromotionError`].
pub async fn put_promotion(
    app: &App,
    wanted: PromotionState,
    expected: Option<i64>,
    by: UserId,
) -> Result<Written, PutPromotionError> {
    let promotions = &app.products.promotions;
    for _ in 0..MOST_MEETINGS {
        let book = promotions.current().await?;
        let known = book.find(wanted.id()).map(|standing| standing.revision);
        let step = book.step_to(&wanted);
        if expected.is_some() && expected != known && step != Err(StepProblem::NotThere) {
            return Err(PutPromotionError::Outdated);
        }
        let (number, created) = match step? {
            Step::Unchanged { revision } => return Ok(Written { revision, created: false }),
            Step::Next { number, created } => (number, created),
        };
        let change = PromotionRevision { number, state: wanted.clone(), changed_at: app.clock.now(), changed_by: by };
        if promotions.store.insert(&change).await? == Insertion::Written {
            return Ok(Written { revision: number, created });
        }
    }
    Err(PutPromotionError::Overtaken)
}

impl From<StepProblem> for PutPromotionError {
    fn from(problem: StepProblem) -> Self {
        match problem {
            StepProblem::NotThere => Self::NotFound,
            StepProblem::CodeTaken => Self::CodeTaken,
            StepProblem::TooMany => Self::TooMany,
        }
    }
}

impl Explain for PutPromotionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Outdated => ErrorKind::PreconditionFailed,
            Self::Overtaken => ErrorKind::Conflict,
            Self::CodeTaken | Self::TooMany => ErrorKind::Unprocessable,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Outdated => "precondition-failed",
            Self::Overtaken => "version-conflict",
            Self::CodeTaken => "invalid-field",
            Self::TooMany => "limit-exceeded",
            Self::Store(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldProblem> {
        match self {
            Self::CodeTaken => vec![FieldProblem::new("/coupon/code", "duplicate", "another promotion has this code")],
            _ => Vec::new(),
        }
    }
}
