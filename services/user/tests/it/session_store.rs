//! Sessions in Redis as this service writes them and every service reads them: on one server, and on a cluster, where a session and the index
//! of its person's sessions lie on different servers.

use std::time::Duration;

use chassis::auth::{RedisSessions as LookUp, SessionReader as _};
use chassis::config::{Redis, Secret};
use common::{Region, SessionId, UserId, ids};
use contracts::session::SessionRecord;
use testkit::{RedisCluster, servers};
use user::outbound::redis::RedisSessions;
use user::usecases::ports::{RefreshMark, Sessions as _};

#[tokio::test]
async fn on_one_server_sessions_are_opened_changed_and_ended() {
    sessions_are_opened_changed_and_ended(&servers().redis_url).await;
}

#[tokio::test]
async fn on_a_cluster_sessions_are_opened_changed_and_ended() {
    let cluster = RedisCluster::start(3, false).await;
    sessions_are_opened_changed_and_ended(&cluster.url()).await;
}

fn somebodys_record() -> SessionRecord {
    SessionRecord { user_id: UserId::from_uuid(ids::random()), region: Region::Eu, personalisation_consent: true }
}

fn session() -> SessionId {
    SessionId::parse(&ids::random().to_string()).expect("a session id")
}

/// Of a refresh token that nobody else has.
fn a_mark() -> RefreshMark {
    let half = ids::random().into_bytes();
    let mut mark = [0; 32];
    mark[..16].copy_from_slice(&half);
    RefreshMark(mark)
}

async fn sessions_are_opened_changed_and_ended(url: &str) {
    let settings = Redis { url: Secret::new(url) };
    let store = RedisSessions::connect(&settings).expect("a well-formed URL");
    let look_up = LookUp::connect(&settings, Duration::from_secs(5)).expect("a well-formed URL");
    let (record, stranger) = (somebodys_record(), somebodys_record());
    let (of_the_stranger, opened): (SessionId, Vec<SessionId>) = (session(), (0..55).map(|_| session()).collect());
    store.open(&of_the_stranger, &stranger).await.expect("redis answers");
    for session in &opened {
        store.open(session, &record).await.expect("redis answers");
    }
    let living = async || {
        let mut living = Vec::new();
        for session in &opened {
            if let Some(record) = look_up.read(session).await.expect("redis answers") {
                living.push((session.clone(), record));
            }
        }
        living
    };
    let newest = &opened[54];
    assert_eq!(living().await.len(), 50, "as many as somebody may have");
    assert!(living().await.iter().any(|(session, known)| session == newest && *known == record));

    let withdrawn = SessionRecord { personalisation_consent: false, ..record.clone() };
    store.rewrite_all(&withdrawn).await.expect("redis answers");
    assert_eq!(living().await.iter().filter(|(_, known)| *known == withdrawn).count(), 50);

    let mark = a_mark();
    assert_eq!(store.used_before(&mark).await.expect("redis answers"), None);
    assert!(store.extend(newest, &record, &mark).await.expect("redis answers"));
    assert_eq!(store.used_before(&mark).await.expect("redis answers"), Some((record.user_id, newest.clone())));
    assert_eq!(look_up.read(newest).await.expect("redis answers"), Some(record.clone()));

    store.close(record.user_id, newest).await.expect("redis answers");
    assert!(!store.extend(newest, &record, &mark).await.expect("redis answers"), "what is over stays over");
    assert_eq!(living().await.len(), 49);
    store.close_all(record.user_id).await.expect("redis answers");
    assert_eq!(living().await.len(), 0);
    store.close_all(record.user_id).await.expect("there is nothing left to end");
    assert_eq!(look_up.read(&of_the_stranger).await.expect("redis answers"), Some(stranger.clone()));
    store.close_all(stranger.user_id).await.expect("redis answers");
}
