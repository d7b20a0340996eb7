//! A real Keycloak turns its keys, in a realm of the test's own: the realm of the stack keeps its.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::auth::Algorithm;
use chrono::Duration;
use common::{Clock, SystemClock};
use jwks_sync::folder::Folder;
use jwks_sync::issuer::Issuer;
use jwks_sync::{Target, sync};
use serde_json::{Value, json};
use xtask::ports::Port;
use xtask::stack::{Stack, keycloak};

use crate::support::Place;

/// An administrator of one Keycloak.
struct Admin {
    client: reqwest::Client,
    base: String,
    realm: String,
}

impl Admin {
    async fn token(&self, realm: &str, form: &str) -> String {
        let url = format!("{}/realms/{realm}/protocol/openid-connect/token", self.base);
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer: Value = request.body(form.to_owned()).send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token of {realm}: {answer}")).to_owned()
    }

    /// As the administrator of the master realm, whose tokens live for a minute only.
    async fn post(&self, path: &str, body: &Value) {
        let form = format!("grant_type=password&client_id=admin-cli&username={0}&password={0}", keycloak::ADMIN);
        let token = self.token("master", &form).await;
        let request = self.client.post(format!("{}/admin/realms{path}", self.base)).bearer_auth(token).json(body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {} {}", answer.status(), answer.text().await.unwrap());
    }

    async fn remove(&self) {
        let form = format!("grant_type=password&client_id=admin-cli&username={0}&password={0}", keycloak::ADMIN);
        let token = self.token("master", &form).await;
        let url = format!("{}/admin/realms/{}", self.base, self.realm);
        self.client.delete(url).bearer_auth(token).send().await.unwrap().error_for_status().unwrap();
    }

    async fn add_key(&self, name: &str, priority: u32) {
        let component = json!({
            "name": name, "providerId": "ecdsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "config": {"priority": [priority.to_string()], "enabled": ["true"], "active": ["true"], "ecdsaEllipticCurveKey": ["P-256"]},
        });
        self.post(&format!("/{}/components", self.realm), &component).await;
    }

    /// The id of the key that signs now.
    async fn signs_with(&self) -> String {
        let form = "grant_type=client_credentials&client_id=machine&client_secret=machine-secret";
        let token = self.token(&self.realm, form).await;
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
        assert_eq!(header["alg"], "ES256");
        header["kid"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn keys_that_keycloak_turns_are_held_before_and_after() {
    let stack = Stack::from_env().unwrap();
    let admin = Admin {
        client: chassis::http_client::new(chassis::http_client::HttpClientSettings::default()).unwrap(),
        base: stack.ports.url(Port::Keycloak),
        realm: format!("rotation-{}-{}", std::process::id(), SystemClock.now().timestamp_millis()),
    };
    let realm = json!({
        "realm": admin.realm, "enabled": true, "sslRequired": "none", "defaultSignatureAlgorithm": "ES256",
        "clients": [{
            "clientId": "machine", "secret": "machine-secret", "publicClient": false, "serviceAccountsEnabled": true,
            "standardFlowEnabled": false,
        }],
    });
    admin.post("", &realm).await;
    admin.add_key("first", 200).await;

    let place = Place::new("keycloak");
    let folder = place.0.join("keys");
    let target = Target::Folder(Folder(folder.clone()));
    let url = format!("{}/realms/{}/protocol/openid-connect/certs", admin.base, admin.realm);
    let issuer = Issuer::new(&url, Algorithm::Es256).unwrap();
    let run = async || sync(&issuer, &target, Duration::seconds(660), SystemClock.now()).await.unwrap();
    let has = |id: &str| folder.join(format!("{id}.pem")).is_file();

    run().await;
    let old = admin.signs_with().await;
    assert!(has(&old), "the key that signs is not held");
    admin.add_key("second", 300).await;
    let new = admin.signs_with().await;
    assert_ne!(old, new, "the key with the higher priority signs");
    assert!(!has(&new));
    run().await;
    assert!(has(&old) && has(&new), "{:?}", fs::read_dir(&folder).unwrap().flatten().collect::<Vec<_>>());
    let before = run().await;
    assert!(!before.changed, "nothing was turned since");
    admin.remove().await;
}
