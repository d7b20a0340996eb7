//! `/v1/orders/{id}/events`: the life of one order as server-sent events. Each change of status is one event whose id is the
//! order's version, so that a client that lost its connection goes on with `Last-Event-ID`. The stream ends with the order.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Caller, Path};
use common::OrderId;
use futures::Stream;
use http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Api;
use super::bodies::ChangeView;
use super::orders::{order_id, private, problem, shopper};
use crate::usecases::views::{StatusChange, changes_after};
use crate::usecases::{Failure, Shopper};

/// Orders move in another process, which cannot signal this one; a shopper sees a change within this time. One indexed read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A stream ends after this long and the client comes back, with a token that is still good.
const LONGEST: Duration = Duration::from_secs(600);

pub fn router() -> Router<Api> {
    Router::new().route("/v1/orders/{id}/events", get(events))
}

async fn events(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = order_id(&id)?;
    let permit = api.0.streams.clone().try_acquire_owned().map_err(|_| Problem::overloaded())?;
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let shopper = shopper(&caller);
    let first = changes_after(api.app(), shopper, id, last).await.map_err(problem)?;
    let shutdown = api.0.shutdown.clone();
    let state = Live {
        api,
        shopper,
        id,
        version: last,
        waiting: first.into(),
        ended: false,
        until: Instant::now() + LONGEST,
        _permit: permit,
    };
    // An order that had ended before `Last-Event-ID` has nothing more to tell: the stream ends at once.
    let state = Live { ended: state.has_ended().await, ..state };
    Ok((private(), chassis::http::sse(shutdown, stream(state))).into_response())
}

/// One stream. It holds its place among the streams for as long as it lives.
struct Live {
    api: Api,
    shopper: Shopper,
    id: OrderId,
    /// The last change that was told.
    version: i64,
    waiting: VecDeque<StatusChange>,
    /// The last change of all was told.
    ended: bool,
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Live {
    async fn has_ended(&self) -> bool {
        if !self.waiting.is_empty() {
            return false;
        }
        let all = changes_after(self.api.app(), self.shopper, self.id, 0).await;
        all.is_ok_and(|changes| changes.last().is_some_and(|change| change.status.is_final()))
    }

    /// The next change, however long it takes; `None` at the end.
    async fn next(&mut self) -> Option<StatusChange> {
        while !self.ended && Instant::now() < self.until {
            if let Some(change) = self.waiting.pop_front() {
                self.version = change.version;
                self.ended = change.status.is_final();
                return Some(change);
            }
            let app = self.api.app();
            tokio::select! {
                () = app.signals.orders.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match changes_after(app, self.shopper, self.id, self.version).await {
                Ok(changes) => self.waiting = changes.into(),
                Err(Failure::NotFound) => return None,
                // The database is away for a moment; the stream waits with the shopper.
                Err(error) => tracing::debug!(error = %error, "a live view could not look"),
            }
        }
        None
    }
}

fn stream(live: Live) -> impl Stream<Item = Event> + Send + 'static {
    futures::stream::unfold(live, |mut live| async move {
        let change = live.next().await?;
        let data = serde_json::to_string(&ChangeView::from(&change)).unwrap_or_default();
        Some((Event::default().event("status").id(change.version.to_string()).data(data), live))
    })
}
