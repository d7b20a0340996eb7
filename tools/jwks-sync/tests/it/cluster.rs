//! Kong's objects, with an API server that keeps what it is told and writes down who asked for what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jwks_sync::cluster::Cluster;
use jwks_sync::{Done, Target};
use serde_json::{Value, json};

use crate::support::{FakeIssuer, Place, Signer, serve, verifies};

const SECRETS: &str = "/api/v1/namespaces/shop/secrets/";
const CONSUMER: &str = "/apis/configuration.konghq.com/v1/namespaces/shop/kongconsumers/issuer";

#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    /// Everything but reading, in order.
    written: Vec<String>,
    read: Vec<String>,
    /// Writes that are still let through.
    patience: Option<usize>,
}

type Shared = Arc<Mutex<Server>>;

/// What Kong's controller lets into a cluster as a credential: all four fields, none of them empty.
fn admitted(object: &Value) -> bool {
    object["kind"] != "Secret"
        || ["algorithm", "rsa_public_key", "key", "secret"]
            .iter()
            .all(|field| object["data"][*field].as_str().is_some_and(|text| !text.is_empty()))
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut server = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if headers.get("authorization").is_none_or(|value| value != "Bearer the-token-of-the-pod") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let path = uri.path().to_owned();
    if method == Method::GET {
        server.read.push(path.clone());
        return match server.objects.get(&path) {
            Some(object) => axum::Json(object.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    if server.patience == Some(0) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "{\"message\":\"etcd is away\"}").into_response();
    }
    server.patience = server.patience.map(|left| left - 1);
    server.written.push(format!("{method} {path}"));
    if method == Method::DELETE {
        return axum::Json(server.objects.remove(&path).unwrap_or_default()).into_response();
    }
    let applied = headers.get("content-type").is_some_and(|value| value == "application/apply-patch+yaml");
    if method != Method::PATCH || !applied || uri.query() != Some("fieldManager=jwks-sync&force=true") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let object: Value = serde_json::from_slice(&body).unwrap();
    if !admitted(&object) {
        return (StatusCode::FORBIDDEN, "{\"message\":\"missing required field(s)\"}").into_response();
    }
    // who applies owns what is named, the rest stays
    let there = server.objects.entry(path).or_insert_with(|| json!({}));
    for (key, value) in object.as_object().unwrap() {
        there[key] = value.clone();
    }
    axum::Json(there.clone()).into_response()
}

struct World {
    shared: Shared,
    target: Target,
    _place: Place,
}

impl World {
    async fn new(name: &str) -> World {
        let (shared, place) = (Shared::default(), Place::new(name));
        let consumer = json!({"kind": "KongConsumer", "username": "issuer-eu", "metadata": {"name": "issuer", "namespace": "shop"}});
        shared.lock().unwrap().objects.insert(CONSUMER.to_owned(), consumer);
        let address = serve(Router::new().fallback(answer).with_state(shared.clone())).await;
        let token = place.0.join("token");
        std::fs::write(&token, "the-token-of-the-pod\n").unwrap();
        let cluster = Cluster::new(&format!("http://{address}"), None, &token, "shop", "issuer").unwrap();
        World { shared, target: Target::Cluster(Box::new(cluster)), _place: place }
    }

    fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().unwrap().written)
    }

    /// Is a token of this key good? The controller asks for a Secret that the consumer names, with its label.
    fn good(&self, signer: &Signer) -> bool {
        let server = self.shared.lock().unwrap();
        let named = server.objects[CONSUMER]["credentials"].as_array().cloned().unwrap_or_default();
        named.iter().any(|name| {
            let secret = &server.objects[&format!("{SECRETS}{}", name.as_str().unwrap())];
            let field = |name: &str| {
                String::from_utf8(STANDARD.decode(secret["data"][name].as_str().unwrap()).unwrap()).unwrap()
            };
            secret["metadata"]["labels"]["konghq.com/credential"] == "jwt"
                && field("key") == signer.id
                && field("algorithm") == "ES256"
                && verifies(&field("rsa_public_key"), signer)
        })
    }
}

#[tokio::test]
async fn during_a_rotation_the_consumer_has_the_old_and_the_new_key() {
    let (world, issuer) = (World::new("rotation").await, FakeIssuer::start().await);
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let story: [(i64, Vec<&Signer>, (bool, bool)); 5] = [
        (0, vec![&old], (true, false)),
        (60, vec![&new, &old], (true, true)),
        (120, vec![&new], (true, true)),
        (779, vec![&new], (true, true)),
        (780, vec![&new], (false, true)),
    ];
    for (second, published, expected) in story {
        issuer.publishes(&published);
        issuer.run(&world.target, second).await.unwrap();
        assert_eq!((world.good(&old), world.good(&new)), expected, "second {second}");
    }
    assert_eq!(
        world.written(),
        [
            // the Secret before its name
            format!("PATCH {SECRETS}issuer-key-0"),
            format!("PATCH {CONSUMER}"),
            format!("PATCH {SECRETS}issuer-key-1"),
            format!("PATCH {CONSUMER}"),
            // since when it is leaving
            format!("PATCH {SECRETS}issuer-key-0"),
            // the name before the Secret
            format!("PATCH {CONSUMER}"),
            format!("DELETE {SECRETS}issuer-key-0"),
        ]
    );
    let server = world.shared.lock().unwrap();
    assert_eq!(server.objects[CONSUMER]["username"], "issuer-eu", "what the chart says stays");
    let mut asked = server.read.clone();
    asked.sort();
    asked.dedup();
    let allowed: Vec<_> = (0..8).map(|at| format!("{SECRETS}issuer-key-{at}")).chain([CONSUMER.to_owned()]).collect();
    assert_eq!(asked, allowed, "the role of the job allows these and no others");
}

#[tokio::test]
async fn a_run_that_breaks_off_is_finished_by_the_next_and_loses_no_key_on_the_way() {
    let signers = [Signer::new("old"), Signer::new("new")];
    // the second run of this story writes three times: two Secrets and the consumer
    for writes in 0..4 {
        let (world, issuer) = (World::new(&format!("broken-{writes}")).await, FakeIssuer::start().await);
        issuer.publishes(&[&signers[0]]);
        issuer.run(&world.target, 0).await.unwrap();
        issuer.publishes(&[&signers[1]]);
        world.shared.lock().unwrap().patience = Some(writes);
        let broken = issuer.run(&world.target, 60).await;
        assert!(world.good(&signers[0]), "after {writes} writes the old key is gone");
        if let Err(error) = broken {
            assert!(format!("{error:#}").contains("etcd is away"), "{error:#}");
        }
        world.shared.lock().unwrap().patience = None;
        issuer.run(&world.target, 120).await.unwrap();
        assert!(world.good(&signers[0]) && world.good(&signers[1]), "{writes}");
        world.written();
        assert_eq!(
            issuer.run(&world.target, 180).await.unwrap(),
            Done { published: 1, leaving: 1, changed: false },
            "{writes}"
        );
        assert!(world.written().is_empty(), "a run that finds nothing new writes nothing");
    }
}

#[tokio::test]
async fn without_the_consumer_of_the_chart_nothing_is_written() {
    let (world, issuer) = (World::new("no-consumer").await, FakeIssuer::start().await);
    issuer.publishes(&[&Signer::new("one")]);
    world.shared.lock().unwrap().objects.clear();
    let error = issuer.run(&world.target, 0).await.expect_err("there is no consumer");
    assert!(error.to_string().contains("KongConsumer issuer"), "{error:#}");
    assert!(world.written().is_empty());
}
