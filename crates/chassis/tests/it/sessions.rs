//! Sessions in the real Redis of the test stack (`./dev servers up`), and without one.

use std::time::{Duration, Instant};

use chassis::auth::{RedisSessions, SessionReader, SessionStoreDown};
use chassis::config::{Redis, Secret};
use common::{Region, SessionId, UserId, ids};
use contracts::session::{self, SessionRecord};
use redis::AsyncCommands;

/// Port 8151 of the table, moved by the test stack's offset.
fn url() -> String {
    let offset: u16 = std::env::var("SHOPSPHERE_PORT_OFFSET").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    format!("redis://127.0.0.1:{}", 8151 + offset)
}

fn reader(url: &str) -> std::sync::Arc<RedisSessions> {
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
    assert_eq!(sessions.read(&id).await, Err(SessionStoreDown), "a key of another type grants nothing");
    let _: () = redis.del(session::key(&id)).await.unwrap();
    assert_eq!(sessions.read(&id).await, Ok(None));
}

#[tokio::test]
async fn without_redis_the_answer_is_quick_and_is_not_no() {
    let sessions = reader("redis://127.0.0.1:9");
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(sessions.read(&SessionId::parse("any").unwrap()).await, Err(SessionStoreDown));
        assert!(begun.elapsed() < Duration::from_millis(600), "{:?}", begun.elapsed());
    }
}
