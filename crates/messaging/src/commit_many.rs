//! Many independent changes in one transaction: one look at the fence, one statement for all causes, the state written
//! set-wise, one statement for all events, one commit.
//!
//! Decided here: that every member gets the answer it would have got alone. A cause that had its effect before is repeated,
//! also when the first of two twins is in the same batch; a refused member leaves no trace and its neighbours stay, and so does
//! what the closure says belongs to none of them; when the database refuses the batch, or a lock does not come, its members are
//! tried one by one, so that the one at fault fails alone. Not decided here: who waits for whom; a batch is what its caller had
//! at hand.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::commit::{
    Cause, Change, CommitError, Committed, MAX_TRIES, Outgoing, RequestKey, StoredAnswer, WriteError, classify, label,
    wants_another_try,
};
use crate::crash;
use crate::database::Database;
use crate::metrics;
use crate::transaction::{Held, Twins, Uncommitted};

/// Most changes of one transaction; more go into several. Bounds how long locks are held and what is done again after a
/// failure. As many as the relay publishes in one round.
pub const MOST_MEMBERS: usize = 500;

/// One change of a batch, with the trace it belongs to.
#[derive(Clone, Debug)]
pub struct Member {
    pub change: Change,
    pub traceparent: Option<String>,
    /// The kind of event that caused it, for the crash points of a test; `None` is that of whoever commits.
    pub kind: Option<&'static str>,
}

impl Member {
    /// To be called where the change was caused: its events carry the trace of the present span, and it knows what event it is about.
    pub fn new(change: Change) -> Self {
        Self { change, traceparent: contracts::trace::current_traceparent(), kind: crash::kind() }
    }
}

/// What the closure that writes the state of the fresh members has to say about single ones. Silence means written.
#[derive(Debug)]
pub struct Written<E> {
    /// Members whose change the state does not allow; nothing of them may have been written.
    pub refused: Vec<(usize, E)>,
    /// Events that could only be known once the state was seen; they follow the member's own.
    pub events: Vec<(usize, Outgoing)>,
    /// Something was written that belongs to no member: it is committed also when all of them are refused.
    pub stays: bool,
}

impl<E> Default for Written<E> {
    fn default() -> Self {
        Self { refused: Vec::new(), events: Vec::new(), stays: false }
    }
}

/// Writes the state of the members it is given, by their places in the batch. May be called more than once, each time in a
/// new transaction and possibly for fewer members. [`WriteError::Refused`] does not say who is meant: unless there is only
/// one, the members are tried one by one.
pub type WriteAll<E> = Arc<
    dyn for<'t> Fn(&'t mut PgConnection, Arc<[usize]>) -> BoxFuture<'t, Result<Written<E>, WriteError<E>>>
        + Send
        + Sync,
>;

type Outcome<E> = Result<Committed, CommitError<E>>;

struct Batch<E> {
    database: Database,
    members: Arc<[Member]>,
    write: WriteAll<E>,
}

impl Database {
    /// Commits the changes of `members`, each as if it had been committed alone; the outcomes stand in their order.
    ///
    /// Round trips, whatever the number of members: begin with the fence, causes, the state's own, outbox, commit. Repeated and refused members cost one more each time there are any.
    pub async fn commit_many<E, F>(&self, members: Vec<Member>, write: F) -> Vec<Outcome<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: for<'t> Fn(&'t mut PgConnection, Arc<[usize]>) -> BoxFuture<'t, Result<Written<E>, WriteError<E>>>
            + Send
            + Sync
            + 'static,
    {
        let count = members.len();
        let batch = Batch { database: self.clone(), members: members.into(), write: Arc::new(write) };
        let span = tracing::Span::current();
        let work = crash::carried(async move { batch.run().await });
        let outcomes = tokio::spawn(tracing::Instrument::instrument(work, span)).await.unwrap_or_else(|panicked| {
            tracing::error!(error = %panicked, "a commit panicked");
            (0..count).map(|_| Err(CommitError::OutcomeUnknown)).collect()
        });
        for outcome in &outcomes {
            metrics::COMMITS.with_label_values(&[label(outcome)]).inc();
        }
        outcomes
    }
}

impl<E: std::error::Error + Send + Sync + 'static> Batch<E> {
    async fn run(&self) -> Vec<Outcome<E>> {
        let mut outcomes: Vec<Option<Outcome<E>>> = self.members.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..self.members.len()).collect();
        // Ends: each round answers at least the first of what is left.
        while !left.is_empty() {
            let (round, later) = self.one_of_each_cause(left);
            let answered = self.settle(&round).await;
            for (member, outcome) in round.into_iter().zip(answered) {
                outcomes[member] = Some(outcome);
            }
            left = later;
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(CommitError::OutcomeUnknown))).collect()
    }

    /// The next round, and who comes after it: what is too many, and twins, which shall find what became of the first.
    fn one_of_each_cause(&self, left: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let mut seen = HashSet::new();
        let (mut round, mut later) = (Vec::new(), Vec::new());
        for member in left {
            let first = match &self.members[member].change.cause {
                Cause::Request(RequestKey { subject, method, route, key, .. }) => {
                    seen.insert(Identity::Request { subject: *subject, method, route, key })
                }
                Cause::Message { consumer, id } => seen.insert(Identity::Message(consumer, id.uuid())),
                Cause::Duty(_) => true,
            };
            if first && round.len() < MOST_MEMBERS { round.push(member) } else { later.push(member) }
        }
        (round, later)
    }

    async fn settle(&self, round: &[usize]) -> Vec<Outcome<E>> {
        match self.with_retries(round).await {
            Ok(outcomes) => outcomes,
            Err(error) if round.len() > 1 && may_be_one_members(&error) => {
                metrics::COMMIT_RETRIES.inc();
                self.singly(round).await
            }
            Err(error) => for_each(round.len(), error),
        }
    }

    /// Each member by itself. What keeps one from being tried at all keeps the others too.
    async fn singly(&self, round: &[usize]) -> Vec<Outcome<E>> {
        let mut outcomes = Vec::with_capacity(round.len());
        for member in round {
            match self.with_retries(&[*member]).await {
                Ok(outcome) => outcomes.extend(outcome),
                Err(error) if may_be_one_members(&error) => outcomes.push(Err(error)),
                Err(error) => {
                    outcomes.extend(for_each(round.len() - outcomes.len(), error));
                    break;
                }
            }
        }
        outcomes
    }

    async fn with_retries(&self, round: &[usize]) -> Result<Vec<Outcome<E>>, CommitError<E>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let member = |member: &usize| &self.members[*member];
            let causes = round.iter().map(member).map(|member| (&member.change.cause, member.kind));
            match crash::around_commits(causes, self.once(round)).await? {
                Err(CommitError::Database(error)) if tries < MAX_TRIES && wants_another_try(&error) => {
                    metrics::COMMIT_RETRIES.inc();
                }
                Err(error) if round.len() == 1 => return Err(self.named(round[0], error)),
                outcomes => return outcomes,
            }
        }
    }

    /// Only a request can have a twin; elsewhere a lock that does not come is plain contention.
    fn named(&self, member: usize, error: CommitError<E>) -> CommitError<E> {
        match error {
            CommitError::InProgress if !self.is_request(member) => CommitError::Busy,
            error => error,
        }
    }

    fn is_request(&self, member: usize) -> bool {
        matches!(self.members[member].change.cause, Cause::Request(_))
    }

    async fn once(&self, round: &[usize]) -> Result<Vec<Outcome<E>>, CommitError<E>> {
        crash::point("commit_many.before")?;
        let twins = if round.iter().any(|member| self.is_request(*member)) { Twins::Impatient } else { Twins::Patient };
        let mut held = Held::begin(&self.database, twins).await?;
        let fresh = self.admit(held.connection(), round).await?;
        let mut outcomes = self.repeated(held.connection(), round, &fresh).await?;
        if fresh.is_empty() {
            held.roll_back().await;
            return Ok(in_order(round, outcomes));
        }
        crash::point("commit_many.after_causes")?;

        let written = match (self.write)(held.connection(), fresh.as_slice().into()).await {
            Ok(written) => written,
            Err(error) => {
                held.roll_back().await;
                return Err(match error {
                    WriteError::Refused(refusal) => CommitError::Refused(refusal),
                    WriteError::Database(error) => classify(error),
                });
            }
        };
        let refused: HashSet<usize> = written.refused.iter().map(|(member, _)| *member).collect();
        outcomes
            .extend(written.refused.into_iter().map(|(member, refusal)| (member, Err(CommitError::Refused(refusal)))));
        let applied: Vec<usize> = fresh.into_iter().filter(|member| !refused.contains(member)).collect();
        if applied.is_empty() && !written.stays {
            held.roll_back().await;
            return Ok(in_order(round, outcomes));
        }
        self.withdraw(held.connection(), &refused).await.map_err(classify)?;
        crash::point("commit_many.after_state")?;

        let mut events = Vec::new();
        for member in &applied {
            let Member { change, traceparent, .. } = &self.members[*member];
            let late = written.events.iter().filter(|(of, _)| of == member).map(|(_, event)| event);
            events.extend(change.events.iter().chain(late).map(|event| (event, traceparent.as_deref())));
        }
        self.database.write_outbox(held.connection(), &events).await.map_err(classify)?;
        crash::point("commit_many.after_outbox")?;

        match held.commit().await {
            Ok(()) => outcomes.extend(applied.iter().map(|member| (*member, Ok(Committed::Applied)))),
            Err(Uncommitted::Undone(error)) => return Err(classify(error)),
            Err(Uncommitted::Unknown(why)) => {
                tracing::warn!(error = why, members = applied.len(), "the outcome of a commit is not known");
                let changes: Vec<&Change> = applied.iter().map(|member| &self.members[*member].change).collect();
                let happened = self.database.happened(&changes).await;
                outcomes.extend(applied.iter().zip(happened).map(|(member, happened)| {
                    (*member, if happened { Ok(Committed::Applied) } else { Err(CommitError::OutcomeUnknown) })
                }));
            }
        }
        metrics::COMMIT_BATCH.observe(applied.len() as f64);
        if !events.is_empty() {
            self.database.committed.notify_one();
        }
        crash::point("commit_many.after_commit")?;
        Ok(in_order(round, outcomes))
    }

    /// Records the causes of `round`; the members whose cause is new.
    async fn admit(&self, connection: &mut PgConnection, round: &[usize]) -> Result<Vec<usize>, CommitError<E>> {
        let mut fresh: HashSet<usize> = HashSet::new();
        let requests = self.requests(round.iter().copied());
        if !requests.is_empty() {
            let columns = RequestColumns::of(&requests);
            let answers = requests.iter().map(|(member, _)| self.members[*member].change.answer.as_ref());
            let (statuses, bodies): (Vec<i16>, Vec<&[u8]>) = answers
                .map(|answer| answer.map_or((200, &[][..]), |answer| (answer.status_column(), &answer.body)))
                .unzip();
            let recorded: Vec<i64> = sqlx::query_scalar(
                "WITH asked AS (
                     SELECT * FROM UNNEST($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::smallint[], $8::bytea[])
                          WITH ORDINALITY AS asked (subject, method, route, key, fingerprint, status, body, place)),
                 recorded AS (
                     INSERT INTO requests (residency_region, subject, method, route, key, fingerprint, status, body)
                     SELECT $1, subject, method, route, key, fingerprint, status, body FROM asked
                     ON CONFLICT DO NOTHING RETURNING subject, method, route, key)
                 SELECT place FROM asked JOIN recorded USING (subject, method, route, key)",
            )
            .bind(self.database.region.code())
            .bind(columns.subjects)
            .bind(columns.methods)
            .bind(columns.routes)
            .bind(columns.keys)
            .bind(columns.fingerprints)
            .bind(statuses)
            .bind(bodies)
            .fetch_all(&mut *connection)
            .await
            .map_err(classify)?;
            fresh.extend(places(&recorded).filter_map(|place| requests.get(place)).map(|(member, _)| *member));
        }
        let messages = self.messages(round.iter().copied());
        if !messages.is_empty() {
            let (consumers, ids): (Vec<&str>, Vec<Uuid>) =
                messages.iter().map(|(_, consumer, id)| (*consumer, *id)).unzip();
            let recorded: Vec<i64> = sqlx::query_scalar(
                "WITH told AS (
                     SELECT * FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS told (consumer, message_id, place)),
                 recorded AS (
                     INSERT INTO inbox (consumer, message_id) SELECT consumer, message_id FROM told
                     ON CONFLICT DO NOTHING RETURNING consumer, message_id)
                 SELECT place FROM told JOIN recorded USING (consumer, message_id)",
            )
            .bind(consumers)
            .bind(ids)
            .fetch_all(connection)
            .await
            .map_err(classify)?;
            fresh.extend(places(&recorded).filter_map(|place| messages.get(place)).map(|(member, ..)| *member));
        }
        let is_duty = |member: &usize| matches!(self.members[*member].change.cause, Cause::Duty(_));
        Ok(round.iter().copied().filter(|member| is_duty(member) || fresh.contains(member)).collect())
    }

    /// The outcomes of those members of `round` that are not `fresh`.
    async fn repeated(
        &self,
        connection: &mut PgConnection,
        round: &[usize],
        fresh: &[usize],
    ) -> Result<Vec<(usize, Outcome<E>)>, CommitError<E>> {
        let fresh: HashSet<usize> = fresh.iter().copied().collect();
        let repeated = || round.iter().copied().filter(|member| !fresh.contains(member));
        let mut outcomes: Vec<(usize, Outcome<E>)> =
            self.messages(repeated()).into_iter().map(|(member, ..)| (member, Ok(Committed::Repeated(None)))).collect();
        let requests = self.requests(repeated());
        if requests.is_empty() {
            return Ok(outcomes);
        }
        let columns = RequestColumns::of(&requests);
        let rows: Vec<(i64, Vec<u8>, i16, Vec<u8>)> = sqlx::query_as(
            "SELECT place, requests.fingerprint, status, body
             FROM UNNEST($2::uuid[], $3::text[], $4::text[], $5::text[])
                  WITH ORDINALITY AS asked (subject, method, route, key, place)
             JOIN requests USING (subject, method, route, key) WHERE residency_region = $1",
        )
        .bind(self.database.region.code())
        .bind(columns.subjects)
        .bind(columns.methods)
        .bind(columns.routes)
        .bind(columns.keys)
        .fetch_all(connection)
        .await
        .map_err(classify)?;
        let mut stored: Vec<Option<Outcome<E>>> = requests.iter().map(|_| None).collect();
        for (place, fingerprint, status, body) in rows {
            if let Some(place) = places(&[place]).next().filter(|place| *place < requests.len()) {
                stored[place] = Some(if fingerprint == requests[place].1.fingerprint {
                    let answer = StoredAnswer { status: u16::try_from(status).unwrap_or(500), body };
                    Ok(Committed::Repeated(Some(answer)))
                } else {
                    Err(CommitError::KeyReused)
                });
            }
        }
        let answers = stored.into_iter().map(|stored| stored.unwrap_or(Ok(Committed::Repeated(None))));
        outcomes.extend(requests.iter().map(|(member, _)| *member).zip(answers));
        Ok(outcomes)
    }

    /// Takes back the causes of refused members, whose keys stay free.
    async fn withdraw(&self, connection: &mut PgConnection, refused: &HashSet<usize>) -> Result<(), sqlx::Error> {
        let requests = self.requests(refused.iter().copied());
        if !requests.is_empty() {
            let columns = RequestColumns::of(&requests);
            sqlx::query(
                "DELETE FROM requests USING UNNEST($2::uuid[], $3::text[], $4::text[], $5::text[]) AS refused (subject, method, route, key)
                 WHERE residency_region = $1 AND requests.subject = refused.subject AND requests.method = refused.method
                   AND requests.route = refused.route AND requests.key = refused.key",
            )
            .bind(self.database.region.code())
            .bind(columns.subjects)
            .bind(columns.methods)
            .bind(columns.routes)
            .bind(columns.keys)
            .execute(&mut *connection)
            .await?;
        }
        let messages = self.messages(refused.iter().copied());
        if !messages.is_empty() {
            let (consumers, ids): (Vec<&str>, Vec<Uuid>) =
                messages.iter().map(|(_, consumer, id)| (*consumer, *id)).unzip();
            sqlx::query(
                "DELETE FROM inbox USING UNNEST($1::text[], $2::uuid[]) AS refused (consumer, message_id)
                 WHERE inbox.consumer = refused.consumer AND inbox.message_id = refused.message_id",
            )
            .bind(consumers)
            .bind(ids)
            .execute(connection)
            .await?;
        }
        Ok(())
    }

    /// Those of `members` that are requests, in the order of their keys: two batches that share some then wait for each other
    /// instead of in a circle.
    fn requests(&self, members: impl Iterator<Item = usize>) -> Vec<(usize, &RequestKey)> {
        let mut requests: Vec<_> = members
            .filter_map(|member| match &self.members[member].change.cause {
                Cause::Request(request) => Some((member, request)),
                _ => None,
            })
            .collect();
        requests.sort_by_key(|(_, request)| (request.subject, &request.key));
        requests
    }

    /// Those of `members` that are messages, in the order of their ids, for the same reason.
    fn messages(&self, members: impl Iterator<Item = usize>) -> Vec<(usize, &'static str, Uuid)> {
        let mut messages: Vec<_> = members
            .filter_map(|member| match &self.members[member].change.cause {
                Cause::Message { consumer, id } => Some((member, *consumer, id.uuid())),
                _ => None,
            })
            .collect();
        messages.sort_by_key(|(_, consumer, id)| (*consumer, *id));
        messages
    }
}

/// What makes two causes the same.
#[derive(PartialEq, Eq, Hash)]
enum Identity<'a> {
    Request { subject: Uuid, method: &'a str, route: &'a str, key: &'a str },
    Message(&'a str, Uuid),
}

#[derive(Default)]
struct RequestColumns<'a> {
    subjects: Vec<Uuid>,
    methods: Vec<&'a str>,
    routes: Vec<&'a str>,
    keys: Vec<&'a str>,
    fingerprints: Vec<&'a [u8]>,
}

impl<'a> RequestColumns<'a> {
    fn of(requests: &[(usize, &'a RequestKey)]) -> Self {
        let mut columns = Self::default();
        for (_, request) in requests {
            columns.subjects.push(request.subject);
            columns.methods.push(request.method);
            columns.routes.push(request.route);
            columns.keys.push(request.key.as_str());
            columns.fingerprints.push(request.fingerprint.as_slice());
        }
        columns
    }
}

/// `WITH ORDINALITY` counts from one.
fn places(ordinals: &[i64]) -> impl Iterator<Item = usize> {
    ordinals.iter().filter_map(|ordinal| usize::try_from(ordinal - 1).ok())
}

fn in_order<E>(round: &[usize], outcomes: Vec<(usize, Outcome<E>)>) -> Vec<Outcome<E>> {
    let mut outcomes: std::collections::HashMap<usize, Outcome<E>> = outcomes.into_iter().collect();
    round.iter().map(|member| outcomes.remove(member).unwrap_or(Err(CommitError::OutcomeUnknown))).collect()
}

/// Whether one member can be what made the whole batch fail.
fn may_be_one_members<E>(error: &CommitError<E>) -> bool {
    match error {
        CommitError::InProgress | CommitError::Busy | CommitError::Refused(_) | CommitError::Database(_) => true,
        CommitError::KeyReused => true,
        CommitError::NotWritable
        | CommitError::OutcomeUnknown
        | CommitError::Unavailable(_)
        | CommitError::Crashed(_) => false,
    }
}

/// One failure told to `count` members.
fn for_each<E>(count: usize, error: CommitError<E>) -> Vec<Outcome<E>> {
    let mut told: Vec<Outcome<E>> = (1..count)
        .map(|_| {
            Err(match &error {
                CommitError::NotWritable => CommitError::NotWritable,
                CommitError::Unavailable(source) => CommitError::Unavailable(sqlx::Error::Protocol(source.to_string())),
                CommitError::Crashed(crashed) => CommitError::Crashed(*crashed),
                // The others are told to one member only (see `may_be_one_members`).
                _ => CommitError::OutcomeUnknown,
            })
        })
        .collect();
    told.push(Err(error));
    told
}
