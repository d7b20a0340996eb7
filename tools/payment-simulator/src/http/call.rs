//! A state-changing request on its way in and its reply on the way out, the same for all calls.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::{App, Line, respond};
use crate::domain::Account;
use crate::gateway::{self, Reply};
use crate::wire::{Answer, ApiError, Command, Form};

/// As on the public API.
const LONGEST_KEY: usize = 255;
/// Time for the first half of a cut answer to leave before the connection breaks.
const HALF_WAY: Duration = Duration::from_millis(50);

/// A request with a form, read whole.
pub struct Call {
    line: Line,
    form: Form,
    key: Option<(String, String)>,
    epoch: Option<u64>,
}

impl FromRequest<App> for Call {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let line = request.extensions().get::<ConnectInfo<Line>>().map(|info| info.0.clone()).unwrap_or_default();
        let (method, path, headers) =
            (request.method().clone(), request.uri().path().to_owned(), request.headers().clone());
        let body = Bytes::from_request(request, app).await.map_err(|rejection| match rejection.status().as_u16() {
            413 => ApiError::too_large(),
            _ => ApiError::malformed("The request body could not be read."),
        })?;
        if !body.is_empty() && !is_form(&headers) {
            return Err(ApiError::malformed("The request body must be application/x-www-form-urlencoded."));
        }
        let form = Form::parse(&body)?;
        let key = key(&headers)?.map(|key| (key, form.fingerprint(method.as_str(), &path)));
        Ok(Self { line, form, key, epoch: epoch(&headers)? })
    }
}

impl Call {
    /// Reads the command, has it executed and shows the client what the script wants it to see.
    pub async fn run(self, app: App, read: impl FnOnce(Form) -> Result<Command, ApiError>) -> Response {
        let command = match read(self.form) {
            Ok(command) => command,
            Err(error) => return error.into_response(),
        };
        execute(app, self.line, Account::Intents, command, self.key, self.epoch).await
    }
}

/// The same for both wires. A task of its own: the call goes on when the client hangs up, as it would in a gateway far away.
pub(super) async fn execute(
    app: App,
    line: Line,
    account: Account,
    command: Command,
    key: Option<(String, String)>,
    epoch: Option<u64>,
) -> Response {
    // The second wire has its key in the body, and says nothing about it in headers.
    let echoed = key.as_ref().filter(|_| account == Account::Intents).map(|(key, _)| key.clone());
    let request = gateway::Request { account, command, key, epoch };
    let (gateway, shutdown) = (app.gateway.clone(), app.shutdown.clone());
    let executed = app.tasks.spawn(async move { gateway.execute(request, &shutdown).await });
    let reply = executed.await.unwrap_or_else(|_| Reply::Answer { answer: account.internal(), replayed: false });
    show(app, line, echoed, reply).await
}

async fn show(app: App, line: Line, key: Option<String>, reply: Reply) -> Response {
    match reply {
        Reply::Answer { answer, replayed } => {
            let mut response = respond(&answer);
            if let Some(value) = key.and_then(|key| HeaderValue::from_str(&key).ok()) {
                response.headers_mut().insert("idempotency-key", value);
            }
            if replayed {
                response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
            }
            response
        }
        Reply::Hold => {
            tokio::select! {
                () = tokio::time::sleep(app.gateway.timings.hold) => {}
                () = app.shutdown.cancelled() => {}
            }
            broken(&line)
        }
        Reply::Reset => broken(&line),
        Reply::Cut(answer) => cut(line, &answer),
        Reply::Html => {
            let page = "<!doctype html><title>Gateway</title><p>Please try again later.</p>";
            ([(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
    }
}

/// The response is never written: the connection breaks at the first byte.
fn broken(line: &Line) -> Response {
    line.reset();
    Response::new(Body::empty())
}

/// Announces the whole length, sends half of it, breaks the connection.
fn cut(line: Line, answer: &Answer) -> Response {
    let (length, half) = (answer.body.len(), answer.body.as_bytes()[..answer.body.len() / 2].to_vec());
    let rest = async move {
        tokio::time::sleep(HALF_WAY).await;
        line.reset();
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    };
    let first = futures::stream::once(async move { Ok(Bytes::from(half)) });
    let body = Body::from_stream(futures::StreamExt::chain(first, futures::stream::once(rest)));
    ([(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, length.to_string())], body)
        .into_response()
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let fits = |key: &&str| (1..=LONGEST_KEY).contains(&key.len());
    let key = value
        .to_str()
        .ok()
        .filter(fits)
        .ok_or_else(|| ApiError::malformed("Idempotency-Key must have 1 to 255 characters."))?;
    Ok(Some(key.to_owned()))
}

pub(super) fn epoch(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("shopsphere-epoch") else { return Ok(None) };
    let epoch = value.to_str().ok().and_then(|text| text.parse().ok());
    epoch.map(Some).ok_or_else(|| ApiError::malformed("ShopSphere-Epoch must be a number."))
}
