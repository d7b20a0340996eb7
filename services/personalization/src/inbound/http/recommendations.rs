//! `GET /v1/recommendations`: for anyone; better with a token or a visitor id.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chassis::Problem;
use chassis::extract::{Caller, MaybeCaller, Query, objects};
use common::{ErrorKind, Sku, VisitorId};
use contracts::interest::Subject;
use http::header;
use serde::{Deserialize, Serialize};

use super::Api;
use crate::domain::Pseudonym;
use crate::metrics;
use crate::usecases::generate_recommendations::{DEFAULT_LIMIT, PATIENCE, generate_until};
use crate::usecases::{Command, Kind, Recommendations, Refusal};

pub fn router() -> Router<Api> {
    Router::new().route("/v1/recommendations", get(recommend))
}

#[derive(Debug, Deserialize)]
struct Wanted {
    kind: Option<String>,
    sku: Option<String>,
    limit: Option<String>,
    visitor_id: Option<String>,
    explain: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    items: Vec<ItemView>,
    model: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_age_ms: Option<i64>,
    degraded: bool,
    level: &'static str,
    /// The arms of running experiments that the asker is in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    experiments: Vec<PartView>,
    list_id: String,
}

#[derive(Debug, Serialize)]
struct PartView {
    name: String,
    arm: &'static str,
}

#[derive(Debug, Serialize)]
struct ItemView {
    sku: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Why>,
}

/// What made a product of the list, for those who asked.
#[derive(Debug, Serialize)]
struct Why {
    /// How likely it comes next in visits like this one, and what each way of guessing gives to that.
    share: f64,
    neighbours: f32,
    beside: f32,
    further: f32,
    /// By how much the person's interests raise it.
    lift: f64,
}

/// Of whom nothing is known: the lists are the same for everybody and change every few seconds.
const SHARED: &str = "public, max-age=5";
/// Nobody but the asker may keep it, and not even they for long. A list of what the crowd likes is such a one, too, for somebody who is
/// known: it stays theirs for their session.
const PERSONAL: &str = "private, no-cache";

async fn recommend(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let Query(wanted) = Query::<Wanted>::from_request_parts(&mut parts, &()).await?;
    let explain = wanted.explain.as_deref() == Some("true");
    let (kind, sku, limit, visitor) = parse(wanted)?;
    // The session lives in the same store as the interests. When it does not answer, the asker is a stranger to us for this
    // answer, which says so; a token that is wrong is still refused. What it took to know them is not waited for again.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let caller = tokio::time::timeout_at(deadline, MaybeCaller::from_request_parts(&mut parts, &())).await;
    let (caller, stranger): (Option<Caller>, bool) = match caller {
        Ok(Ok(MaybeCaller(caller))) => (caller, false),
        Ok(Err(problem)) if problem.kind() != ErrorKind::Unavailable => return Err(problem),
        Ok(Err(_)) | Err(_) => (None, true),
    };
    // Whose browser objects to being watched is nobody without an account, whatever was kept of them before, and with one in no
    // experiment; what they agreed to in their account is another question.
    let objects = objects(&parts.headers);
    let subject = match (&caller, visitor) {
        (Some(caller), _) => Some(Subject::Person(caller.user_id)).filter(|_| caller.personalisation_consent),
        (None, visitor) => visitor.filter(|_| !stranger && !objects).map(Subject::Visitor),
    };
    let takes_part = matches!(subject, Some(Subject::Person(_))) && !objects;
    let pseudonym = subject.and_then(|subject| {
        let text = contracts::interest::pseudonym(api.pseudonym_key.open().as_bytes(), subject);
        Pseudonym::parse(&text).ok()
    });
    let personal = kind.is_personal();
    let shared = !personal && pseudonym.is_none();
    let command = Command { kind, pseudonym, takes_part, sku, limit, explain };
    let mut answer = generate_until(&api.app, &command, deadline).await?;
    answer.degraded |= stranger && personal;
    metrics::RECOMMENDATIONS.with_label_values(&[kind.code(), if answer.degraded { "yes" } else { "no" }]).inc();
    let cache = if shared { SHARED } else { PERSONAL };
    Ok(([(header::CACHE_CONTROL, cache), (header::VARY, "authorization")], Json(Answer::from(answer))).into_response())
}

type Parsed = (Kind, Option<Sku>, u32, Option<VisitorId>);

/// Everything that can be refused is refused here, before anybody is asked who is asking.
fn parse(wanted: Wanted) -> Result<Parsed, Refusal> {
    let kind = wanted.kind.as_deref().map_or(Ok(Kind::ForYou), Kind::parse)?;
    let sku = wanted.sku.as_deref().map(Sku::parse).transpose().map_err(|_| Refusal::MalformedSku)?;
    let limit = wanted.limit.as_deref().map_or(Ok(DEFAULT_LIMIT), str::parse).map_err(|_| Refusal::LimitOutOfRange)?;
    let visitor = wanted.visitor_id.as_deref().map(str::parse).transpose().map_err(|_| Refusal::MalformedVisitor)?;
    kind.admits(sku.as_ref(), limit)?;
    Ok((kind, sku, limit, visitor))
}

impl From<Recommendations> for Answer {
    fn from(answer: Recommendations) -> Self {
        let why = |sku: &Sku| {
            let chosen = answer.why(sku)?;
            let [neighbours, beside, further, _] = chosen.suggested.parts;
            Some(Why { share: chosen.suggested.share, neighbours, beside, further, lift: chosen.lift })
        };
        let items = answer.items.iter().map(|item| ItemView {
            sku: item.sku.to_string(),
            reason: item.reason.code(),
            why: why(&item.sku),
        });
        let parts = answer.parts.iter();
        let parts = parts.map(|part| PartView { name: part.experiment.clone(), arm: part.arm.code() });
        Self {
            items: items.collect(),
            experiments: parts.collect(),
            model: answer.model,
            profile_age_ms: answer.profile_age_ms,
            degraded: answer.degraded,
            level: answer.level.code(),
            list_id: answer.list_id.to_string(),
        }
    }
}
