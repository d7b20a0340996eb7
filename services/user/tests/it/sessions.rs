//! Logging in, staying in, getting out.

use common::Explain as _;
use user::usecases::{UserError, log_in, log_out, log_out_everywhere, refresh_session};

use crate::support::{HERE, PASSWORD, SOURCE, World, credentials};

const ADA: &str = "ada@example.com";

async fn world_with_ada() -> World {
    let world = World::new();
    world.registered(ADA).await;
    world
}

#[tokio::test]
async fn a_login_opens_a_session_that_says_what_the_person_agreed_to() {
    let world = world_with_ada().await;
    let (tokens, holder) = world.logged_in("Ada@Example.com").await;
    let record = world.sessions.get(&holder.session_id).expect("a session");
    assert_eq!((record.user_id, record.region, record.personalisation_consent), (holder.user_id, HERE, true));
    assert_eq!(tokens.expires_in, 300);
}

#[tokio::test]
async fn whatever_is_wrong_with_the_credentials_the_answer_is_the_same() {
    let world = world_with_ada().await;
    let long = "x".repeat(5000);
    let cases = [
        (ADA, "wrong password"),
        ("nobody@example.com", PASSWORD),
        ("not an e-mail", PASSWORD),
        (ADA, ""),
        (ADA, &long),
        (ADA, "nul\0nul\0"),
        ("", ""),
    ];
    for (email, password) in cases {
        let refused = log_in(&world.app, &credentials(email, password), SOURCE).await.expect_err(email);
        assert_eq!(
            (refused.code(), refused.to_string()),
            ("unauthenticated", UserError::WrongCredentials.to_string()),
            "{email:?}"
        );
    }
}

#[tokio::test]
async fn a_limited_login_does_not_ask_the_provider() {
    let world = world_with_ada().await;
    world.limits.refuse();
    world.identities.be_away(true);
    let refused = log_in(&world.app, &credentials(ADA, PASSWORD), SOURCE).await.expect_err("a refusal");
    assert_eq!((refused.code(), refused.retry_after().map(|after| after.as_secs())), ("too-many-requests", Some(7)));
}

#[tokio::test]
async fn without_provider_or_session_store_nobody_gets_in() {
    let world = world_with_ada().await;
    world.identities.be_away(true);
    let refused = log_in(&world.app, &credentials(ADA, PASSWORD), SOURCE).await.expect_err("a refusal");
    assert_eq!(refused.code(), "dependency-down");
    world.identities.be_away(false);
    world.sessions.be_away(true);
    let refused = log_in(&world.app, &credentials(ADA, PASSWORD), SOURCE).await.expect_err("a refusal");
    assert_eq!(refused.code(), "dependency-down");
}

#[tokio::test]
async fn a_refresh_gives_a_new_pair_and_keeps_the_session() {
    let world = world_with_ada().await;
    let (tokens, holder) = world.logged_in(ADA).await;
    let rotated = refresh_session(&world.app, &tokens.refresh_token, SOURCE).await.expect("a new pair");
    assert_ne!(rotated.refresh_token, tokens.refresh_token);
    assert!(world.sessions.get(&holder.session_id).is_some());
    refresh_session(&world.app, &rotated.refresh_token, SOURCE).await.expect("another pair");
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_whole_session() {
    let world = world_with_ada().await;
    let (tokens, holder) = world.logged_in(ADA).await;
    let rotated = refresh_session(&world.app, &tokens.refresh_token, SOURCE).await.expect("a new pair");
    for token in [&tokens.refresh_token, &rotated.refresh_token] {
        let refused = refresh_session(&world.app, token, SOURCE).await.expect_err("a refusal");
        assert_eq!(refused.code(), "unauthenticated");
    }
    assert!(world.sessions.get(&holder.session_id).is_none(), "the thief and the owner are both out");
    assert!(world.identities.is_ended(&holder.session_id));
}

#[tokio::test]
async fn nonsense_is_no_refresh_token_and_ends_nothing() {
    let world = world_with_ada().await;
    let (_, holder) = world.logged_in(ADA).await;
    for token in ["", "x", "a.b.c", &"x".repeat(100_000)] {
        assert!(matches!(refresh_session(&world.app, token, SOURCE).await, Err(UserError::SessionOver)));
    }
    assert!(world.sessions.get(&holder.session_id).is_some());
}

#[tokio::test]
async fn a_logout_counts_although_the_provider_is_away() {
    let world = world_with_ada().await;
    let (tokens, holder) = world.logged_in(ADA).await;
    world.identities.be_away(true);
    log_out(&world.app, holder.user_id, &holder.session_id).await.expect("a logout");
    assert!(world.sessions.get(&holder.session_id).is_none());
    world.identities.be_away(false);
    let refused = refresh_session(&world.app, &tokens.refresh_token, SOURCE).await;
    assert!(matches!(refused, Err(UserError::SessionOver)), "a refresh never brings a closed session back");
    assert!(world.sessions.get(&holder.session_id).is_none());
    assert!(world.identities.is_ended(&holder.session_id), "and finishes the logout");
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_session_of_this_person_only() {
    let world = world_with_ada().await;
    world.registered("bob@example.com").await;
    let (_, first) = world.logged_in(ADA).await;
    let (_, second) = world.logged_in(ADA).await;
    let (_, bob) = world.logged_in("bob@example.com").await;
    log_out_everywhere(&world.app, first.user_id).await.expect("a logout");
    assert!(world.sessions.get(&first.session_id).is_none() && world.sessions.get(&second.session_id).is_none());
    assert!(world.sessions.get(&bob.session_id).is_some());
}

#[tokio::test]
async fn a_logout_without_session_store_says_so() {
    let world = world_with_ada().await;
    let (_, holder) = world.logged_in(ADA).await;
    world.sessions.be_away(true);
    let refused = log_out(&world.app, holder.user_id, &holder.session_id).await.expect_err("a refusal");
    assert_eq!(refused.code(), "dependency-down");
}
