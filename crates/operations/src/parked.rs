//! `/v1/admin/parked-messages/<service>`: list, show, redrive. A redrive is written down before it is done and again when it
//! is known what came of it: its effects are commits of their own, so one row cannot be part of them all.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use chassis::Problem;
use chassis::extract::{Json, Path, Query};
use common::{ErrorKind, FieldProblem};
use messaging::parked::{self, Asked};
use messaging::parking::RedriveError;
use messaging::{Action, Database, Handler, Redriven, Which};

use crate::bodies::{ListQuery, ListView, OpenedView, PageView, RedriveBody, RedrivenView};
use crate::operator::{Operator, reason};

/// A list nobody limited is a screen.
const USUAL_ITEMS: u16 = 20;
/// The longest list in one answer.
const MOST_ITEMS: u16 = 100;
/// Messages handed over in one request: at a few milliseconds each, well within a request's ten seconds. Whoever has more
/// asks again; the command line does.
const MOST_REDRIVEN: u64 = 200;

/// The parked messages of one service.
#[derive(Clone)]
pub struct Desk {
    /// The last part of the routes' path.
    pub service: &'static str,
    pub database: Database,
    pub topic_prefix: String,
    /// The consumer group and what handles its messages; `None` for a service that consumes nothing and so parks nothing.
    pub consumer: Option<(&'static str, Arc<dyn Handler>)>,
}

/// The routes of `desk`.
pub fn router(desk: Desk) -> Router {
    let base = format!("/v1/admin/parked-messages/{}", desk.service);
    Router::new()
        .route(&base, get(list))
        .route(&format!("{base}/redrive"), post(redrive))
        .route(&format!("{base}/{{id}}"), get(show))
        .with_state(Arc::new(desk))
}

async fn list(
    State(desk): State<Arc<Desk>>,
    _operator: Operator,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListView>, Problem> {
    let waiting = match query.state.as_deref() {
        None | Some("waiting") => Some(true),
        Some("redriven") => Some(false),
        Some("all") => None,
        Some(_) => return Err(field("/state", "unknown", "waiting, redriven or all")),
    };
    printable("/topic", query.topic.as_deref())?;
    printable("/key", query.key.as_deref())?;
    let limit = query.limit.unwrap_or(USUAL_ITEMS);
    if !(1..=MOST_ITEMS).contains(&limit) {
        return Err(field("/limit", "range", "1 to 100"));
    }
    let asked = Asked { topic: query.topic, key: query.key, waiting, after: query.cursor };
    let found = parked::list(desk.database.pool(), &asked, limit).await.map_err(unread)?;
    let full = found.len() == usize::from(limit);
    let next_cursor = found.last().filter(|_| full).map(|last| last.parked_id);
    Ok(Json(ListView { items: found.into_iter().map(Into::into).collect(), page: PageView { next_cursor } }))
}

async fn show(
    State(desk): State<Arc<Desk>>,
    _operator: Operator,
    Path(id): Path<i64>,
) -> Result<Json<OpenedView>, Problem> {
    let opened = parked::find(&desk.database, &desk.topic_prefix, id).await.map_err(unread)?;
    opened.map(|opened| Json(opened.into())).ok_or_else(Problem::not_found)
}

async fn redrive(
    State(desk): State<Arc<Desk>>,
    Operator(actor): Operator,
    Json(body): Json<RedriveBody>,
) -> Result<Json<RedrivenView>, Problem> {
    let reason = reason(&body.reason)?;
    printable("/topic", body.topic.as_deref())?;
    printable("/key", body.key.as_deref())?;
    let which = body.which().ok_or_else(|| field("", "invalid", "name exactly one: id, key, topic, or all"))?;
    let Some((group, handler)) = desk.consumer.clone() else {
        return Ok(Json(Redriven::default().into()));
    };
    let mut action = Action {
        actor,
        name: "parked.redrive",
        subject: subject(desk.service, &which),
        reason,
        outcome: "asked".to_owned(),
    };
    desk.database.record_action(action.clone()).await?;
    let outcome =
        messaging::redrive_some(&desk.database, group, &desk.topic_prefix, handler, &which, MOST_REDRIVEN).await;
    action.outcome = match &outcome {
        Ok(done) => format!("{} applied, {} still waiting", done.applied, done.waiting),
        Err(error) => format!("refused: {error}"),
    };
    tracing::info!(operator.id = %actor, subject = action.subject, outcome = action.outcome, "parked messages redriven");
    desk.database.record_action(action).await?;
    Ok(Json(outcome.map_err(refused)?.into()))
}

/// Cut so that any key a producer may have invented fits.
fn subject(service: &str, which: &Which) -> String {
    let text = match which {
        Which::All => format!("{service}/all"),
        Which::Topic(topic) => format!("{service}/topic/{topic}"),
        Which::Key(key) => format!("{service}/key/{key}"),
        Which::One(id) => format!("{service}/{id}"),
    };
    text.chars().take(300).collect()
}

/// Names of ours have no control characters, and the database would refuse a NUL.
fn printable(pointer: &str, text: Option<&str>) -> Result<(), Problem> {
    match text {
        Some(text) if text.is_empty() || text.chars().any(char::is_control) => {
            Err(field(pointer, "format", "a name without control characters"))
        }
        _ => Ok(()),
    }
}

fn field(pointer: &str, code: &'static str, message: &str) -> Problem {
    Problem::invalid_fields(vec![FieldProblem::new(pointer, code, message)])
}

fn unread(error: impl std::fmt::Display) -> Problem {
    tracing::warn!(reason = %error, "parked messages could not be read");
    Problem::new(
        ErrorKind::Unavailable,
        "dependency-down",
        "the parked messages cannot be read now; nothing was changed",
    )
}

fn refused(error: RedriveError) -> Problem {
    match error {
        RedriveError::NotWaiting => Problem::not_found(),
        RedriveError::NotFirst(_) => {
            Problem::new(ErrorKind::Conflict, "state-conflict", format!("{error}; redrive that one, or the whole key"))
        }
        RedriveError::Database(error) => unread(error),
    }
}
