//! Keycloak's admin API, spoken as the service account of this service: it may manage users of its realm and nothing else.

use std::sync::{Mutex, PoisonError};

use chassis::http_client;
use chrono::{DateTime, Duration, Utc};
use common::{SessionId, SharedClock, UserId};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::{Fault, LARGEST_ANSWER, body_of, wire};
use crate::config;
use crate::domain::{SignUp, SignUpId};
use crate::usecases::ports::{Created, Identity};

/// A token is given up this long before it ends, so that it does not end on the way.
const MARGIN: Duration = Duration::seconds(20);

pub(super) struct Admin {
    http: reqwest::Client,
    token_url: String,
    /// `…/admin/realms/<realm>`
    base: String,
    client: (String, String),
    clock: SharedClock,
    /// Shared by all calls; two calls may fetch a token at once, which is harmless.
    token: Mutex<Option<(String, DateTime<Utc>)>>,
}

impl Admin {
    pub(super) fn new(
        http: reqwest::Client,
        settings: &config::Keycloak,
        token_url: String,
        clock: SharedClock,
    ) -> Self {
        let base = format!("{}/admin/realms/{}", settings.base_url.trim_end_matches('/'), settings.realm);
        let client = (settings.admin_client_id.clone(), settings.admin_client_secret.open().to_owned());
        Self { http, token_url, base, client, clock, token: Mutex::new(None) }
    }

    pub(super) async fn check(&self) -> Result<(), Fault> {
        let count = self.send(Method::GET, "/users/count", |request| request).await?;
        body_of::<u64>(count).await.map(drop)
    }

    pub(super) async fn create(&self, sign_up: SignUpId, person: &SignUp) -> Result<Created, Fault> {
        let user = wire::NewUser::new(sign_up, person);
        let response = self.send(Method::POST, "/users", |request| request.json(&user)).await?;
        match response.status() {
            StatusCode::CREATED => created_id(&response).map(Created::New),
            StatusCode::CONFLICT => Ok(Created::EmailKnown),
            StatusCode::BAD_REQUEST => {
                let body = http_client::bounded(response, LARGEST_ANSWER).await?;
                let refusal: wire::Refusal = serde_json::from_slice(&body).unwrap_or_default();
                if refusal.is_about_the_password() {
                    Ok(Created::PasswordRefused)
                } else {
                    Err(Fault::Status(StatusCode::BAD_REQUEST))
                }
            }
            other => Err(Fault::Status(other)),
        }
    }

    pub(super) async fn find_by_sign_up(&self, sign_up: SignUpId) -> Result<Option<Identity>, Fault> {
        let query = [
            ("q", format!("{}:{sign_up}", wire::SIGN_UP)),
            ("max", "2".to_owned()),
            ("briefRepresentation", "false".to_owned()),
        ];
        let response = self.send(Method::GET, "/users", |request| request.query(&query)).await?;
        let users: Vec<wire::User> = body_of(response).await?;
        // A search that ignored the filter must not hand us somebody else.
        let found = users.into_iter().map(Identity::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().find(|identity| identity.sign_up == Some(sign_up)))
    }

    pub(super) async fn find(&self, user: UserId) -> Result<Option<Identity>, Fault> {
        let response = self.send(Method::GET, &format!("/users/{user}"), |request| request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let user: wire::User = body_of(response).await?;
        Identity::try_from(user).map(Some)
    }

    pub(super) async fn end_session(&self, session: &SessionId) -> Result<(), Fault> {
        self.end(Method::DELETE, &format!("/sessions/{}", session.as_str())).await
    }

    pub(super) async fn end_all_sessions(&self, user: UserId) -> Result<(), Fault> {
        self.end(Method::POST, &format!("/users/{user}/logout")).await
    }

    /// What is gone already has been ended.
    async fn end(&self, method: Method, path: &str) -> Result<(), Fault> {
        let status = self.send(method, path, |request| request).await?.status();
        if status.is_success() || status == StatusCode::NOT_FOUND { Ok(()) } else { Err(Fault::Status(status)) }
    }

    /// A token that Keycloak no longer takes (its keys or its database were replaced) is exchanged once.
    async fn send(
        &self,
        method: Method,
        path: &str,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Fault> {
        let url = format!("{}{path}", self.base);
        let attempt = |token: String| {
            http_client::traced(dress(self.http.request(method.clone(), &url).bearer_auth(token))).send()
        };
        let response = attempt(self.token().await?).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        *self.cached() = None;
        Ok(attempt(self.token().await?).await?)
    }

    async fn token(&self) -> Result<String, Fault> {
        if let Some((token, until)) = self.cached().clone()
            && self.clock.now() < until
        {
            return Ok(token);
        }
        let (client, secret) = &self.client;
        let form =
            [("grant_type", "client_credentials"), ("client_id", client.as_str()), ("client_secret", secret.as_str())];
        let asked = self.clock.now();
        let response = http_client::traced(self.http.post(&self.token_url)).form(&form).send().await?;
        let granted: wire::ServiceToken = body_of(response).await?;
        let until = asked + Duration::seconds(i64::from(granted.expires_in)) - MARGIN;
        *self.cached() = Some((granted.access_token.clone(), until));
        Ok(granted.access_token)
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Option<(String, DateTime<Utc>)>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of a new user is the last part of its address.
fn created_id(response: &Response) -> Result<UserId, Fault> {
    let location = response.headers().get(reqwest::header::LOCATION).and_then(|value| value.to_str().ok());
    location.and_then(|url| url.rsplit('/').next()?.parse().ok()).ok_or(Fault::Missing("the id of the new user"))
}
