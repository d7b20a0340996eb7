//! How searches travel to the index: alone while it has nothing else to do, several in one `_msearch` when they would only wait for each
//! other, and not at all when the same was asked a moment ago.
//!
//! Decided here: when to group and what to remember. Nobody waits for company while the index is idle: below [`LANES`] requests under
//! way each search goes at once. Above, searches gather until a lane is free or [`WINDOW`] is over, whichever comes first. A group
//! whose answers together are more than is read falls apart, and each of it goes alone, once. What is asked and what an answer means is
//! decided by `query` and `answer`.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use chassis::problem::chain;
use moka::future::Cache;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::client::{Client, Failure};
use crate::metrics::SEARCHES;

/// Searches that the index works on side by side before more of them only queue there: its search threads on a small machine.
const LANES: usize = 4;
/// Longest that a search waits for others. A search takes several times as long.
const WINDOW: Duration = Duration::from_millis(1);
/// Searches of one request: more would make its first wait for its last.
const MOST: usize = 16;
/// Memory of remembered answers. A parsed answer takes about six times its text.
const REMEMBERED_BYTES: u64 = 64 << 20;
const PARSED_TO_TEXT: usize = 6;

/// How searches are sent.
#[derive(Clone, Copy, Debug)]
pub struct SearchSettings {
    /// Longest a search may take.
    pub deadline: Duration,
    /// How long an answer that is not empty is given again; zero remembers nothing.
    pub remembered: Duration,
    /// Group searches under load.
    pub grouped: bool,
}

/// A parsed answer and how long its text was.
#[derive(Debug)]
pub(super) struct Answer {
    value: Value,
    bytes: usize,
}

impl Answer {
    fn is_empty(&self) -> bool {
        self.value["hits"]["hits"].as_array().is_none_or(Vec::is_empty)
    }
}

/// Answers that were given within the last moments, by the very bytes of the question: whoever builds the question brings what means
/// the same into one form.
#[derive(Clone)]
pub(super) struct Remembered(Option<Cache<Bytes, Arc<Answer>>>);

impl Remembered {
    pub(super) fn new(lasting: Duration) -> Self {
        let weight = |question: &Bytes, answer: &Arc<Answer>| {
            u32::try_from(question.len() + answer.bytes * PARSED_TO_TEXT).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(REMEMBERED_BYTES).weigher(weight).time_to_live(lasting);
        Self((!lasting.is_zero()).then(|| cache.build()))
    }

    /// The remembered answer to `question`, or what `ask` gives. Many who ask the same at once are one who asks. An empty answer is not
    /// remembered: what was put on sale a moment ago must be found.
    pub(super) async fn or_ask<E: Clone + Send + Sync + 'static>(
        &self,
        question: Bytes,
        ask: impl Future<Output = Result<Answer, E>>,
    ) -> Result<Arc<Answer>, E> {
        let Some(cache) = &self.0 else { return ask.await.map(Arc::new) };
        let found = cache.entry_by_ref(&question).or_try_insert_with(async { ask.await.map(Arc::new) }).await;
        let found = found.map_err(|error: Arc<E>| (*error).clone())?;
        SEARCHES.with_label_values(&[if found.is_fresh() { "asked" } else { "remembered" }]).inc();
        let answer = found.into_value();
        if answer.is_empty() {
            cache.invalidate(&question).await;
        }
        Ok(answer)
    }

    pub(super) fn forget_all(&self) {
        if let Some(cache) = &self.0 {
            cache.invalidate_all();
        }
    }
}

/// The way to one index.
#[derive(Clone)]
pub(super) struct Lanes {
    client: Client,
    path: Arc<str>,
    grouped: bool,
    state: Arc<Mutex<State>>,
    /// A lane is free, or those who gather are enough.
    go: Arc<Notify>,
}

#[derive(Default)]
struct State {
    under_way: usize,
    gathering: Vec<Waiting>,
}

struct Waiting {
    question: Bytes,
    answer: oneshot::Sender<Result<Answer, Failure>>,
}

enum Place {
    Alone(Lane),
    /// First of those who gather: sends for all of them.
    First(Gathering, oneshot::Receiver<Result<Answer, Failure>>),
    Among(oneshot::Receiver<Result<Answer, Failure>>),
}

impl Lanes {
    /// To the searches of `index`.
    pub(super) fn new(client: Client, index: &str, grouped: bool) -> Self {
        Self { client, path: index.into(), grouped, state: Arc::default(), go: Arc::default() }
    }

    /// Asks one question.
    pub(super) async fn ask(&self, question: Bytes) -> Result<Answer, Failure> {
        let answer = match self.enter(&question) {
            Place::Alone(_lane) => return self.one(question).await,
            Place::First(gathering, answer) => {
                let over = Instant::now() + WINDOW;
                while !self.is_time() && tokio::time::timeout_at(over, self.go.notified()).await.is_ok() {}
                gathering.send().await;
                answer
            }
            Place::Among(answer) => answer,
        };
        match answer.await {
            Ok(answer) => answer,
            // The one who would have sent it left, or the group fell apart: then it goes by itself.
            Err(_) => {
                let _lane = self.lane(&mut self.lock());
                self.one(question).await
            }
        }
    }

    /// One request more is under way.
    fn lane(&self, state: &mut State) -> Lane {
        state.under_way += 1;
        Lane(self.clone())
    }

    fn enter(&self, question: &Bytes) -> Place {
        let mut state = self.lock();
        if !self.grouped || state.under_way < LANES || state.gathering.len() >= MOST {
            return Place::Alone(self.lane(&mut state));
        }
        let (tell, answer) = oneshot::channel();
        state.gathering.push(Waiting { question: question.clone(), answer: tell });
        match state.gathering.len() {
            1 => Place::First(Gathering { lanes: self.clone(), sent: false }, answer),
            MOST => {
                self.go.notify_one();
                Place::Among(answer)
            }
            _ => Place::Among(answer),
        }
    }

    /// Whether those who gather may go.
    fn is_time(&self) -> bool {
        let state = self.lock();
        state.under_way < LANES || state.gathering.len() >= MOST
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn one(&self, question: Bytes) -> Result<Answer, Failure> {
        let path = format!("{}/_search?request_cache=false", self.path);
        let text = self.client.post_bytes(&path, "application/json", question).await?;
        answer_of(serde_json::from_slice(&text)?, text.len())
    }

    async fn many(&self, questions: &[Waiting]) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let mut lines = BytesMut::with_capacity(questions.iter().map(|one| one.question.len() + 32).sum());
        for Waiting { question, .. } in questions {
            lines.put_slice(b"{\"request_cache\":false}\n");
            lines.put_slice(question);
            lines.put_u8(b'\n');
        }
        let path = format!("{}/_msearch?max_concurrent_searches={LANES}", self.path);
        let text = self.client.post_bytes(&path, "application/x-ndjson", lines.freeze()).await?;
        let Answers { responses } = serde_json::from_slice(&text)?;
        let bytes = text.len() / responses.len().max(1);
        Ok(responses.into_iter().map(|value| answer_of(value, bytes)).collect())
    }
}

#[derive(Deserialize)]
struct Answers {
    responses: Vec<Value>,
}

/// A member of a group fails by itself, as it would have alone. An answer that the index broke off, perhaps with nothing in it, is
/// none: it is neither shown nor remembered, and whoever stands in for the index does.
fn answer_of(value: Value, bytes: usize) -> Result<Answer, Failure> {
    match (&value["error"], value["status"].as_u64()) {
        (Value::Null, _) if value["timed_out"] == true => Err(Failure::OutOfTime),
        (Value::Null, _) => Ok(Answer { value, bytes }),
        (error, status) => Err(Failure::refused(
            status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500),
            &error.to_string(),
        )),
    }
}

/// One request under way.
struct Lane(Lanes);

impl Drop for Lane {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.go.notify_one();
    }
}

/// The duty to send what has gathered. Whoever has it and leaves lets the others go by themselves.
struct Gathering {
    lanes: Lanes,
    sent: bool,
}

impl Gathering {
    async fn send(mut self) {
        let (members, _lane) = {
            let mut state = self.lanes.lock();
            self.sent = true;
            (std::mem::take(&mut state.gathering), self.lanes.lane(&mut state))
        };
        if members.len() == 1 {
            for Waiting { question, answer } in members {
                let _ = answer.send(self.lanes.one(question).await);
            }
            return;
        }
        SEARCHES.with_label_values(&["grouped"]).inc_by(members.len() as u64);
        let answers = self.lanes.many(&members).await;
        // Whoever does not wait any more needs no answer.
        match answers {
            Ok(answers) => {
                members.into_iter().zip(answers).for_each(|(member, answer)| drop(member.answer.send(answer)));
            }
            // Whose answer is not sent asks again, alone.
            Err(failure) if failure.is_too_large() => {
                SEARCHES.with_label_values(&["apart"]).inc_by(members.len() as u64);
            }
            Err(failure) => {
                let (status, reason) = (if failure.is_fault() { 503 } else { 400 }, chain(&failure));
                members.into_iter().for_each(|member| drop(member.answer.send(Err(Failure::refused(status, &reason)))));
            }
        }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        // Until it is sent, what gathers is ours.
        if !self.sent {
            self.lanes.lock().gathering.clear();
        }
    }
}

impl Deref for Answer {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}
