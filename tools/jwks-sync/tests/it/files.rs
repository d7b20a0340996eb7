//! Kong's file and HAProxy's folder.

use std::collections::BTreeMap;
use std::fs;

use axum::http::StatusCode;
use jwks_sync::declarative::Files;
use jwks_sync::folder::Folder;
use jwks_sync::{Done, Target};
use serde_json::{Value, json};
use xtask::layout::checkout;

use crate::support::{FakeIssuer, Place, Signer, verifies};

/// Credentials in a written file, by key id.
fn credentials(files: &Files) -> BTreeMap<String, Value> {
    let file: Value = serde_json::from_str(&fs::read_to_string(&files.output).unwrap()).unwrap();
    let rows = file["consumers"][0]["jwt_secrets"].as_array().unwrap().clone();
    rows.into_iter().map(|row| (row["key"].as_str().unwrap().to_owned(), row)).collect()
}

fn kong(place: &Place) -> (Files, Target) {
    let files = || Files { base: checkout().join("deploy/edge/kong/eu.json"), output: place.0.join("kong.json") };
    (files(), Target::File(files()))
}

#[tokio::test]
async fn during_a_rotation_kongs_file_has_the_old_and_the_new_key_and_then_the_new_one() {
    let (place, issuer) = (Place::new("kong"), FakeIssuer::start().await);
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let (files, target) = kong(&place);
    let good = |signer: &Signer| {
        credentials(&files).get(&signer.id).is_some_and(|row| verifies(row["rsa_public_key"].as_str().unwrap(), signer))
    };
    // second, what the issuer publishes, whose tokens are good afterwards
    let story: [(i64, Vec<&Signer>, (bool, bool)); 5] = [
        (0, vec![&old], (true, false)),
        (60, vec![&new, &old], (true, true)),
        (120, vec![&new], (true, true)),
        (779, vec![&new], (true, true)),
        (780, vec![&new], (false, true)),
    ];
    for (second, published, expected) in story {
        issuer.publishes(&published);
        issuer.run(&target, second).await.unwrap();
        assert_eq!((good(&old), good(&new)), expected, "second {second}");
        for row in credentials(&files).values() {
            assert_eq!(row["algorithm"], "ES256", "the default of Kong is a shared secret");
            let tag = row["tags"][0].as_str();
            assert!(tag.is_none_or(|tag| !tag.contains([',', '/'])), "Kong refuses {tag:?}");
        }
    }
    // everything else is the committed file
    let mut written: Value = serde_json::from_str(&fs::read_to_string(&files.output).unwrap()).unwrap();
    written["consumers"][0].as_object_mut().unwrap().remove("jwt_secrets");
    assert_eq!(written, serde_json::from_str::<Value>(&fs::read_to_string(&files.base).unwrap()).unwrap());
}

#[tokio::test]
async fn a_run_that_finds_nothing_new_writes_nothing() {
    let (place, issuer) = (Place::new("idle"), FakeIssuer::start().await);
    let (files, target) = kong(&place);
    issuer.publishes(&[&Signer::new("one")]);
    assert_eq!(issuer.run(&target, 0).await.unwrap(), Done { published: 1, leaving: 0, changed: true });
    let before = fs::metadata(&files.output).unwrap().modified().unwrap();
    assert_eq!(issuer.run(&target, 60).await.unwrap(), Done { published: 1, leaving: 0, changed: false });
    assert_eq!(fs::metadata(&files.output).unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn an_issuer_that_says_nothing_usable_takes_no_key_away() {
    let (place, issuer) = (Place::new("silent"), FakeIssuer::start().await);
    let (files, target) = kong(&place);
    let signer = Signer::new("one");
    issuer.publishes(&[&signer]);
    issuer.run(&target, 0).await.unwrap();
    let before = fs::read_to_string(&files.output).unwrap();
    let mut strange = signer.published();
    strange["kid"] = json!("../../etc/passwd");
    let many: Vec<_> = (0..9).map(|at| Signer::new(&format!("k{at}")).published()).collect();
    let cases = [
        (StatusCode::INTERNAL_SERVER_ERROR, "{}".to_owned(), "500"),
        (StatusCode::OK, "<html>".to_owned(), "is none"),
        (StatusCode::OK, json!({"keys": []}).to_string(), "no key for ES256"),
        (StatusCode::OK, json!({"keys": [{"kty": "RSA", "use": "enc", "kid": "x"}]}).to_string(), "no key for ES256"),
        (StatusCode::OK, json!({"keys": [strange]}).to_string(), "no key for ES256"),
        (StatusCode::OK, json!({"keys": many}).to_string(), "9 keys"),
        (StatusCode::OK, "x".repeat(70_000), "larger than"),
    ];
    for (status, body, expected) in cases {
        issuer.answers(status, &body);
        // long after any overlap
        let error = issuer.run(&target, 1_000_000).await.expect_err(expected);
        assert!(format!("{error:#}").contains(expected), "{expected}: {error:#}");
        assert_eq!(fs::read_to_string(&files.output).unwrap(), before, "{expected}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_understood_is_not_overwritten() {
    let (place, issuer) = (Place::new("odd"), FakeIssuer::start().await);
    let (files, target) = kong(&place);
    issuer.publishes(&[&Signer::new("one")]);
    for odd in
        ["half a fi", "{\"consumers\": []}", "{\"consumers\": [{\"username\": \"issuer-eu\", \"jwt_secrets\": [{}]}]}"]
    {
        fs::write(&files.output, odd).unwrap();
        issuer.run(&target, 0).await.expect_err(odd);
        assert_eq!(fs::read_to_string(&files.output).unwrap(), odd);
    }
}

#[tokio::test]
async fn the_folder_has_a_file_per_key_and_remembers_since_when_one_is_leaving() {
    let (place, issuer) = (Place::new("folder"), FakeIssuer::start().await);
    let (old, new) = (Signer::new("old"), Signer::new("new-1_A"));
    let folder = place.0.join("keys");
    let target = Target::Folder(Folder(folder.clone()));
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    issuer.publishes(&[&old]);
    issuer.run(&target, 0).await.unwrap();
    issuer.publishes(&[&new]);
    assert_eq!(issuer.run(&target, 60).await.unwrap(), Done { published: 1, leaving: 1, changed: true });
    assert_eq!(names(), ["new-1_A.pem", "old.pem"]);
    let leaving = fs::read_to_string(folder.join("old.pem")).unwrap();
    assert!(
        leaving.starts_with("left: 1790000060\n-----BEGIN PUBLIC KEY-----\n") && verifies(&leaving, &old),
        "{leaving}"
    );
    assert_eq!(issuer.run(&target, 719).await.unwrap(), Done { published: 1, leaving: 1, changed: false });
    issuer.run(&target, 720).await.unwrap();
    assert_eq!(names(), ["new-1_A.pem"]);
}
