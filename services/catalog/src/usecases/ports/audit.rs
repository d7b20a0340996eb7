//! Where it is written down what people of the back office did that changes no state of its own.

use async_trait::async_trait;
use common::{ErrorKind, Explain, UserId};

/// Something somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub by: UserId,
    /// `<thing>.<verb>`
    pub name: &'static str,
    /// What it was done to.
    pub subject: String,
    /// In the person's words.
    pub reason: String,
    pub outcome: String,
}

/// It was not written down, so it must not be done; the text is for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("nothing was done, since it cannot be written down: {0}")]
pub struct AuditDown(pub String);

impl Explain for AuditDown {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        "dependency-down"
    }
}

#[async_trait]
pub trait Audit: Send + Sync {
    /// Resolves when it is written down for good.
    async fn note(&self, act: Act) -> Result<(), AuditDown>;
}
