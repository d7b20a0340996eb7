//! A person with an account: signs up, logs in, and stays logged in while tokens expire.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::{Api, Call, Reply};

/// Tokens live 300 s; a new one is fetched well before.
const TOKEN_AGE: Duration = Duration::from_secs(200);

/// How long a new account may take until its owner is let in, and the pauses between two tries: each try costs the identity
/// provider a password hash, so tries in quick succession would keep a slow one from ever finishing the accounts.
const JOINING: Duration = Duration::from_secs(240);
const JOIN_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_JOIN_PAUSE: Duration = Duration::from_secs(32);

/// Logins again after a 401 in one call: a session that was lost is found again with the second try, or never.
const MAX_LOGINS: usize = 3;

/// A log-in whose answer was lost with its process may still be under way at the identity provider, which refuses another one meanwhile as
/// it refuses a wrong password. A person would try once more; so do we, twice, for longer than a log-in takes.
const MAX_REFUSALS: usize = 3;
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

pub struct Shopper {
    pub email: String,
    password: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
    token: Mutex<Option<(String, Instant)>>,
}

impl Shopper {
    pub fn new(email: String, password: &str, (first_name, last_name): (&'static str, &'static str)) -> Self {
        Self { email, password: password.to_owned(), first_name, last_name, token: Mutex::default() }
    }

    /// Creates the account; `false` when it was there before.
    ///
    /// # Errors
    /// The shop refuses.
    pub async fn sign_up(&self, api: &Api, region: &str, language: &str) -> anyhow::Result<bool> {
        let body = json!({
            "email": self.email, "password": self.password, "first_name": self.first_name, "last_name": self.last_name,
            "residency_region": region, "language": language, "consents": {"personalisation": true, "marketing": false},
        });
        let call = Call { method: Method::POST, path: "/v1/users", body: Some(&body), ..Call::default() };
        let reply = api.call(&call).await?;
        let status = reply.status;
        reply.success("sign-up")?;
        Ok(status == StatusCode::CREATED)
    }

    /// Signs up and logs in. A sign-up whose first try was cut off is finished by the shop in its own time; until then the login
    /// is refused, so both are tried again for a while.
    ///
    /// # Errors
    /// Still not let in after [`JOINING`].
    pub async fn join(&self, api: &Api, region: &str, language: &str) -> anyhow::Result<()> {
        let until = Instant::now() + JOINING;
        let mut pause = JOIN_PAUSE;
        loop {
            self.sign_up(api, region, language).await?;
            match self.token(api).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= until => {
                    return Err(error.context(format!("{} cannot join", self.email)));
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_JOIN_PAUSE);
        }
    }

    /// A token that is good for a while.
    ///
    /// # Errors
    /// The shop does not let this person in.
    pub async fn token(&self, api: &Api) -> anyhow::Result<String> {
        let mut held = self.token.lock().await;
        if let Some((token, since)) = held.as_ref()
            && since.elapsed() < TOKEN_AGE
        {
            return Ok(token.clone());
        }
        let body = json!({"email": self.email, "password": self.password});
        let call = Call { method: Method::POST, path: "/v1/sessions", body: Some(&body), ..Call::default() };
        let mut refusals = 0;
        let reply = loop {
            let reply = api.call(&call).await?;
            refusals += usize::from(reply.status == StatusCode::UNAUTHORIZED);
            if reply.status != StatusCode::UNAUTHORIZED || refusals == MAX_REFUSALS {
                break reply;
            }
            tokio::time::sleep(AFTER_REFUSAL).await;
        };
        let answer = reply.success("login")?;
        let token = answer["access_token"].as_str().context("the login brought no token")?.to_owned();
        *held = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    /// One try to log in, for whoever counts those that fail; a success brings the next token.
    ///
    /// # Errors
    /// No answer.
    pub async fn log_in_once(&self, api: &Api) -> anyhow::Result<Reply> {
        let body = json!({"email": self.email, "password": self.password});
        let call = Call { method: Method::POST, path: "/v1/sessions", body: Some(&body), ..Call::default() };
        let reply = api.once(&call).await?;
        if let Some(token) = reply.body["access_token"].as_str().filter(|_| reply.status.is_success()) {
            *self.token.lock().await = Some((token.to_owned(), Instant::now()));
        }
        Ok(reply)
    }

    async fn forget(&self, token: &str) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|(known, _)| known == token) {
            *held = None;
        }
    }

    /// Calls as this person, logging in again when the session is gone.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn call(
        &self,
        api: &Api,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<Reply> {
        for _ in 0..MAX_LOGINS {
            let token = self.token(api).await?;
            let call = Call { method: method.clone(), path, token: Some(&token), key, body, ..Call::default() };
            let reply = api.call(&call).await?;
            if reply.status != StatusCode::UNAUTHORIZED {
                return Ok(reply);
            }
            self.forget(&token).await;
        }
        bail!("{} {path}: still not let in after {MAX_LOGINS} logins of {}", method, self.email)
    }
}

/// Names of invented people, for accounts and addresses.
pub const PEOPLE: [(&str, &str); 20] = [
    ("Ada", "Winterfeld"),
    ("Bruno", "Castellane"),
    ("Chiara", "Oldenkamp"),
    ("Dario", "Beaumont"),
    ("Elif", "Sommerau"),
    ("Fabien", "Krogh"),
    ("Greta", "Montrose"),
    ("Hugo", "Lindenau"),
    ("Ines", "Faulhaber"),
    ("Jonas", "Delacroy"),
    ("Katja", "Brentwood"),
    ("Luca", "Ravensberg"),
    ("Mona", "Eisenhut"),
    ("Nils", "Carpentras"),
    ("Olivia", "Steinacker"),
    ("Pavel", "Hawthorne"),
    ("Quirin", "Valmont"),
    ("Rosa", "Holmgaard"),
    ("Samir", "Ettlinger"),
    ("Tilda", "Marchmont"),
];
