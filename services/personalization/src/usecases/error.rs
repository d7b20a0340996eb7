//! What can go wrong, in words of the callers.

use common::{ErrorKind, Explain, FieldProblem};

/// The store gave no answer; nothing is known to have changed.
#[derive(Debug, thiserror::Error)]
#[error("the store of interests does not answer")]
pub struct StoreUnavailable(#[source] pub anyhow::Error);

/// A request for recommendations that makes no sense. An absent store is no reason to refuse: the answer is then degraded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this kind of recommendation needs a sku")]
    SkuMissing,
    #[error("limit must lie between 1 and 100")]
    LimitOutOfRange,
    #[error("unknown kind of recommendation")]
    UnknownKind,
    #[error("not a sku")]
    MalformedSku,
    #[error("not a visitor id")]
    MalformedVisitor,
    #[error("not a pseudonym")]
    MalformedPseudonym,
}

impl Refusal {
    fn field(&self) -> (&'static str, &'static str) {
        match self {
            Self::SkuMissing => ("/sku", "required"),
            Self::LimitOutOfRange => ("/limit", "range"),
            Self::UnknownKind => ("/kind", "unknown"),
            Self::MalformedSku => ("/sku", "format"),
            Self::MalformedVisitor => ("/visitor_id", "format"),
            Self::MalformedPseudonym => ("/pseudonym", "format"),
        }
    }
}

impl Explain for Refusal {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unprocessable
    }

    fn code(&self) -> &'static str {
        "invalid-field"
    }

    fn fields(&self) -> Vec<FieldProblem> {
        let (pointer, code) = self.field();
        vec![FieldProblem::new(pointer, code, self.to_string())]
    }
}

/// Why an experiment cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum NotShown {
    #[error("no experiment of this name runs")]
    Unknown,
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

impl Explain for NotShown {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown => ErrorKind::NotFound,
            Self::Store(_) => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "not-found",
            Self::Store(_) => "dependency-down",
        }
    }
}
