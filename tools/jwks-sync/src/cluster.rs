//! Kong in a cluster: a Secret per key, all of them named by the KongConsumer of the issuer. Decided here: there are places with fixed names,
//! `<consumer>-key-0` to `-7`, so that the job may touch these Secrets and no other of its namespace; a key keeps its place. A new key's
//! Secret stands before the consumer names it, and a key's Secret goes after the consumer has stopped naming it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chassis::auth::Algorithm;
use chassis::http_client::bounded;
use reqwest::{Certificate, Method, StatusCode, Url};
use serde_json::{Value, json};

use crate::declarative::instant;
use crate::keyring::{Held, Keyring, MAX_KEYS};

/// Objects of ours have a few kilobytes; their managed fields some more.
const MAX_ANSWER: usize = 256 * 1024;
/// The API server of a site answers within milliseconds, or is being replaced.
const PATIENCE: Duration = Duration::from_secs(5);

const MANAGER: &str = "jwks-sync";
const LEFT: &str = "shopsphere.example/left";
/// By this label Kong's controller knows what the Secret is.
const KIND: &str = "konghq.com/credential";
/// Kong's controller admits a credential with all four fields only, though a secret is of use with the algorithms HS* alone. Ours name
/// another algorithm, so nobody ever asks this one.
const NO_SECRET: &str = "none: the algorithm has a public key";

/// The API server, as far as this job needs it. Not to be printed: it holds the pod's token.
pub struct Cluster {
    client: reqwest::Client,
    api: Url,
    token: String,
    namespace: String,
    consumer: String,
}

/// What is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct State {
    places: [Option<(String, Held)>; MAX_KEYS],
    /// Names of Secrets at the consumer.
    named: Vec<String>,
}

impl State {
    /// The keys in their places.
    pub fn held(&self) -> Keyring {
        self.places.iter().flatten().cloned().collect()
    }
}

/// Which key stands where from now on: who stays keeps the place, who is new takes the first free one.
fn placed(now: &State, next: &Keyring) -> [Option<(String, Held)>; MAX_KEYS] {
    let mut places: [Option<(String, Held)>; MAX_KEYS] = Default::default();
    let mut seated = Vec::new();
    for (place, there) in places.iter_mut().zip(&now.places) {
        let Some((id, _)) = there else { continue };
        // one that stood twice after an interrupted run stands once again
        if let Some(key) = next.get(id).filter(|_| !seated.contains(id)) {
            *place = Some((id.clone(), key.clone()));
            seated.push(id.clone());
        }
    }
    let mut free = places.iter_mut().filter(|place| place.is_none());
    for (id, key) in next.iter().filter(|(id, _)| !seated.contains(id)) {
        // there are as many places as a ring may have keys
        if let Some(place) = free.next() {
            *place = Some((id.clone(), key.clone()));
        }
    }
    places
}

impl Cluster {
    /// `certificates` and `token` are the files that a pod is given.
    ///
    /// # Errors
    /// When a file cannot be read or no client can be made.
    pub fn new(api: &str, certificates: Option<&Path>, token: &Path, namespace: &str, consumer: &str) -> Result<Self> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        // a second call finds the provider of the first
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE);
        if let Some(path) = certificates {
            let roots = Certificate::from_pem_bundle(&read(path)?).with_context(|| format!("{}", path.display()))?;
            builder = builder.tls_certs_only(roots);
        }
        Ok(Self {
            client: builder.build().context("cannot make an HTTP client")?,
            api: Url::parse(api).with_context(|| format!("not a URL: {api:?}"))?,
            token: String::from_utf8(read(token)?).context("the token is not text")?.trim().to_owned(),
            namespace: namespace.to_owned(),
            consumer: consumer.to_owned(),
        })
    }

    /// What is there now.
    ///
    /// # Errors
    /// When the API server cannot be asked, or a Secret of ours cannot be understood.
    pub async fn read(&self) -> Result<State> {
        let mut state = State::default();
        for (at, place) in state.places.iter_mut().enumerate() {
            if let Some(secret) = self.get(&self.secret(at)).await? {
                *place = Some(key_of(&secret).with_context(|| self.name(at))?);
            }
        }
        let consumer = self.get(&self.consumer_path()).await?;
        let consumer = consumer.with_context(|| format!("there is no KongConsumer {}", self.consumer))?;
        let named = consumer["credentials"].as_array().into_iter().flatten().filter_map(Value::as_str);
        state.named = named.map(str::to_owned).collect();
        Ok(state)
    }

    /// Makes it what `next` says. Says whether anything was written.
    ///
    /// # Errors
    /// When the API server refuses. What was done by then is right and may be repeated.
    pub async fn write(&self, now: &State, next: &Keyring, algorithm: Algorithm) -> Result<bool> {
        let places = placed(now, next);
        let mut changed = false;
        for (at, place) in places.iter().enumerate() {
            if let Some((id, key)) = place.as_ref().filter(|_| *place != now.places[at]) {
                self.apply(&self.secret(at), &self.secret_object(at, id, key, algorithm)).await?;
                changed = true;
            }
        }
        let names: Vec<_> = (0..MAX_KEYS).filter(|at| places[*at].is_some()).map(|at| self.name(at)).collect();
        if names != now.named {
            let consumer = json!({
                "apiVersion": "configuration.konghq.com/v1", "kind": "KongConsumer",
                "metadata": {"name": self.consumer, "namespace": self.namespace}, "credentials": names,
            });
            self.apply(&self.consumer_path(), &consumer).await?;
            changed = true;
        }
        for at in (0..MAX_KEYS).filter(|at| places[*at].is_none() && now.places[*at].is_some()) {
            self.ask(Method::DELETE, &self.secret(at), None).await?;
            changed = true;
        }
        Ok(changed)
    }

    fn name(&self, at: usize) -> String {
        format!("{}-key-{at}", self.consumer)
    }

    fn secret(&self, at: usize) -> String {
        format!("/api/v1/namespaces/{}/secrets/{}", self.namespace, self.name(at))
    }

    fn consumer_path(&self) -> String {
        format!("/apis/configuration.konghq.com/v1/namespaces/{}/kongconsumers/{}", self.namespace, self.consumer)
    }

    fn secret_object(&self, at: usize, id: &str, key: &Held, algorithm: Algorithm) -> Value {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": self.name(at), "namespace": self.namespace,
                "labels": {KIND: "jwt", "app.kubernetes.io/part-of": "shopsphere", "app.kubernetes.io/managed-by": MANAGER},
            },
            // public keys; Kong has the one name for all kinds
            "data": {
                "key": STANDARD.encode(id), "algorithm": STANDARD.encode(algorithm.name()), "rsa_public_key": STANDARD.encode(&key.pem),
                "secret": STANDARD.encode(NO_SECRET),
            },
        });
        if let Some(left) = key.left {
            object["metadata"]["annotations"] = json!({LEFT: left.timestamp().to_string()});
        }
        object
    }

    async fn get(&self, path: &str) -> Result<Option<Value>> {
        self.ask(Method::GET, path, None).await
    }

    /// Server-side apply: made when it is not there, and only the fields that we name are ours.
    async fn apply(&self, path: &str, object: &Value) -> Result<()> {
        self.ask(Method::PATCH, &format!("{path}?fieldManager={MANAGER}&force=true"), Some(object)).await.map(|_| ())
    }

    /// `None` when there is no such object.
    async fn ask(&self, method: Method, path: &str, object: Option<&Value>) -> Result<Option<Value>> {
        let told = format!("{method} {path}");
        let url = self.api.join(path).with_context(|| told.clone())?;
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(object) = object {
            request = request.header("content-type", "application/apply-patch+yaml").body(object.to_string());
        }
        let response = request.send().await.with_context(|| told.clone())?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = bounded(response, MAX_ANSWER).await.with_context(|| told.clone())?;
        if !status.is_success() {
            let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
            bail!("{told}: {status} {}", answer["message"].as_str().unwrap_or_default());
        }
        Ok(Some(serde_json::from_slice(&body).with_context(|| told)?))
    }
}

fn key_of(secret: &Value) -> Result<(String, Held)> {
    let field = |name: &str| -> Result<String> {
        let text = secret["data"][name].as_str().with_context(|| format!("has no {name}"))?;
        String::from_utf8(STANDARD.decode(text).context("is not base64")?).context("is not text")
    };
    let left = secret["metadata"]["annotations"][LEFT].as_str().map(instant).transpose()?;
    Ok((field("key")?, Held { pem: field("rsa_public_key")?, left }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pem: &str) -> Held {
        Held { pem: pem.to_owned(), left: None }
    }

    fn ids(places: &[Option<(String, Held)>; MAX_KEYS]) -> Vec<&str> {
        places.iter().map(|place| place.as_ref().map_or("-", |(id, _)| id.as_str())).collect()
    }

    #[test]
    fn a_key_keeps_its_place_and_a_new_one_takes_the_first_free() {
        let mut now = State::default();
        for (at, id) in [(1, "a"), (3, "b"), (4, "c")] {
            now.places[at] = Some((id.to_owned(), held(id)));
        }
        let next = Keyring::from(["b", "c", "d", "e"].map(|id| (id.to_owned(), held(id))));
        assert_eq!(ids(&placed(&now, &next)), ["d", "e", "-", "b", "c", "-", "-", "-"]);
    }

    #[test]
    fn a_key_that_stood_twice_stands_once() {
        let mut now = State::default();
        now.places[0] = Some(("a".to_owned(), held("a")));
        now.places[5] = Some(("a".to_owned(), held("a")));
        assert_eq!(
            ids(&placed(&now, &Keyring::from([("a".to_owned(), held("a"))]))),
            ["a", "-", "-", "-", "-", "-", "-", "-"]
        );
    }
}
