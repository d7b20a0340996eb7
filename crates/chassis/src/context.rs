//! What belongs to the request being answered, reachable from anywhere below its handler: its id, its deadline, its path.
//!
//! It travels as a task-local value, so it is present in the handler's own task and absent in tasks spawned from it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Facts about one request. Immutable while it is answered.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Printable, at most 64 characters.
    pub request_id: Arc<str>,
    /// Path without query, for the `instance` of a problem.
    pub path: Arc<str>,
    /// When the answer must be there.
    pub deadline: Instant,
    /// Repeating this request is not harmless by itself (its method may change something).
    pub changes: bool,
}

tokio::task_local! {
    static CURRENT: RequestContext;
}

impl RequestContext {
    /// Runs `work` inside this context.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// The request being answered by this task, if any.
pub fn current() -> Option<RequestContext> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Time left for the request being answered; `None` outside of requests, zero when the deadline has passed.
pub fn remaining() -> Option<Duration> {
    CURRENT.try_with(|context| context.deadline.saturating_duration_since(Instant::now())).ok()
}
