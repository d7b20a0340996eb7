//! Live answers: server-sent events that outlive the request's deadline but not the process.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

/// Proxies cut a connection that is silent for a minute; a comment line in between keeps it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams `events` until they end or the process stops; the client then reconnects elsewhere with `Last-Event-ID`.
pub fn sse<S>(shutdown: CancellationToken, events: S) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send>
where
    S: Stream<Item = Event> + Send + 'static,
{
    let until_stop = events.take_until(shutdown.cancelled_owned()).map(Ok);
    Sse::new(until_stop).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
