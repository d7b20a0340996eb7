//! With the real servers of the test stack (`./dev servers up --offset 2000`): sessions in Redis, tokens of Keycloak.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::auth::{AuthError, Authenticator, RedisSessions, SessionReader, SessionStoreDown};
use chassis::config::{Redis, Secret};
use common::{Region, SessionId, UserId, ids};
use contracts::session::{self, SessionRecord};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::{client, process, settings};

/// A port of the table, moved by the test stack's offset.
fn port(base: u16) -> u16 {
    base + std::env::var("SHOPSPHERE_PORT_OFFSET").ok().and_then(|text| text.parse::<u16>().ok()).unwrap_or(2000)
}

fn url() -> String {
    format!("redis://127.0.0.1:{}", port(8151))
}

fn reader(url: &str) -> Arc<RedisSessions> {
    RedisSessions::connect(&Redis { url: Secret::new(url) }, Duration::from_millis(250)).unwrap()
}

#[tokio::test]
async fn a_session_lives_until_its_key_is_gone() {
    let mut redis = redis::Client::open(url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .expect("the test stack's redis runs");
    let id = SessionId::parse(&ids::random().to_string()).unwrap();
    let record =
        SessionRecord { user_id: UserId::from_uuid(ids::random()), region: Region::Eu, personalisation_consent: true };
    let sessions = reader(&url());
    assert_eq!(sessions.read(&id).await, Ok(None));
    let _: () = redis.set_ex(session::key(&id), record.encode(), 60).await.unwrap();
    assert_eq!(sessions.read(&id).await, Ok(Some(record)));
    let _: () = redis.set_ex(session::key(&id), "nonsense", 60).await.unwrap();
    assert_eq!(sessions.read(&id).await, Ok(None), "what is not a session grants nothing");
    let _: () = redis.del(session::key(&id)).await.unwrap();
    let _: () = redis.lpush(session::key(&id), "a list").await.unwrap();
    assert!(sessions.read(&id).await.is_err(), "a key of another type grants nothing");
    let _: () = redis.del(session::key(&id)).await.unwrap();
    assert_eq!(sessions.read(&id).await, Ok(None));
}

/// As the runtime of a core does that has asked first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_stays_when_the_runtime_that_used_it_first_has_ended() {
    let sessions = reader(&url());
    let id = SessionId::parse(&ids::random().to_string()).unwrap();
    let (first, asked) = (sessions.clone(), id.clone());
    let on_a_core = std::thread::spawn(move || {
        let core = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        core.block_on(async { first.read(&asked).await })
    });
    let answer = tokio::task::spawn_blocking(move || on_a_core.join().unwrap()).await.unwrap();
    assert_eq!(answer, Ok(None));
    for _ in 0..3 {
        assert_eq!(sessions.read(&id).await, Ok(None), "nobody has to connect anew");
    }
}

#[tokio::test]
async fn a_look_up_on_a_connection_that_has_ended_is_made_on_a_new_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sessions = reader(&format!("redis://{}", listener.local_addr().unwrap()));
    let all_end = Arc::new(Notify::new());
    let told = all_end.clone();
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut redis =
                    TcpStream::connect(("127.0.0.1", port(8151))).await.expect("the test stack's redis runs");
                tokio::select! {
                    _ = copy_bidirectional(&mut caller, &mut redis) => {}
                    () = told.notified() => {}
                }
            });
        }
    });
    let id = SessionId::parse(&ids::random().to_string()).unwrap();
    for _ in 0..3 {
        assert_eq!(sessions.read(&id).await, Ok(None));
        all_end.notify_waiters();
        // until our side has heard of it
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn without_redis_the_answer_is_quick_and_is_not_no() {
    let sessions = reader("redis://127.0.0.1:9");
    for _ in 0..3 {
        let begun = Instant::now();
        let answer: Result<_, SessionStoreDown> = sessions.read(&SessionId::parse("any").unwrap()).await;
        assert!(answer.is_err());
        assert!(begun.elapsed() < Duration::from_millis(600), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_token_of_the_real_identity_provider_is_read_and_needs_a_session() {
    let realm = format!("http://127.0.0.1:{}/realms/shopsphere-eu", port(8156));
    let form = [
        ("grant_type", "password"),
        ("client_id", "shopsphere-api-login"),
        ("client_secret", "shopsphere-api-login-local"),
        ("username", "staff@shopsphere.example"),
        ("password", "ShopSphere-staff-1"),
    ];
    let answer = client()
        .post(format!("{realm}/protocol/openid-connect/token"))
        .form(&form)
        .send()
        .await
        .expect("the test stack's keycloak runs");
    let answer: Value = answer.json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}"));
    let settings =
        settings(&format!("[auth]\nissuer = \"{realm}\"\njwks_url = \"{realm}/protocol/openid-connect/certs\"\n"));
    let process = process(&settings);
    let authenticator = Authenticator::start(&process, &settings.auth, reader(&url())).unwrap();
    let holder = authenticator.holder(token).await.unwrap();
    assert_eq!(holder.region, Region::Eu);
    assert!(holder.roles.iter().any(|role| role == "staff"), "{:?}", holder.roles);
    assert_eq!(
        authenticator.verify(token).await,
        Err(AuthError::Unauthenticated),
        "a token without a session is not enough"
    );
    let mut redis = redis::Client::open(url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let record = SessionRecord { user_id: holder.user_id, region: Region::Eu, personalisation_consent: false };
    let _: () = redis.set_ex(session::key(&holder.session_id), record.encode(), 60).await.unwrap();
    assert_eq!(authenticator.verify(token).await.unwrap().user_id, holder.user_id);
    let _: () = redis.del(session::key(&holder.session_id)).await.unwrap();
}
