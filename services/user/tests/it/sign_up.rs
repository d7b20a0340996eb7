//! Signing up reaches into two systems; whatever stops in between, neither keeps a person that the other does not have.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Duration;
use common::{Explain as _, UserId, ids};
use testkit::TestDatabase;
use testkit::crash::survives_every_crash;
use user::domain::{Consents, Password};
use user::outbound::memory::Fault;
use user::outbound::postgres::PostgresPeople;
use user::usecases::ports::Identity;
use user::usecases::{Reconciled, SignedUp, UserError, reconcile_sign_ups, sign_up};

use crate::support::{ELSEWHERE, HERE, PASSWORD, SOURCE, World, form, sorted};

#[tokio::test]
async fn a_new_person_has_an_identity_a_row_an_event_and_no_open_sign_up() {
    let world = World::new();
    let user = world.registered("ada@example.com").await;
    assert_eq!(world.identities.everybody(), [user]);
    assert_eq!(world.people.everybody(), [user]);
    assert_eq!(world.people.registered(), [user]);
    assert_eq!(world.people.open_sign_ups(), 0);
    let state = world.app.people.consents(user).await.expect("the store answers").expect("consents");
    assert_eq!(state.consents, Consents { personalisation: true, marketing: false });
}

#[tokio::test]
async fn a_known_email_is_accepted_and_changes_nothing() {
    let world = World::new();
    let user = world.registered("ada@example.com").await;
    let mut again = form("ADA@example.com");
    again.first_name = "Mallory".to_owned();
    again.password = "another password".to_owned();
    assert_eq!(sign_up(&world.app, &again, SOURCE).await.expect("an answer"), SignedUp::Accepted);
    assert_eq!(world.people.everybody(), [user]);
    assert_eq!(world.people.registered(), [user]);
    assert_eq!(world.people.open_sign_ups(), 0);
    let profile = world.app.people.profile(user).await.expect("the store answers").expect("a profile");
    assert_eq!(profile.first_name.open(), "Ada");
    world.logged_in("ada@example.com").await;
}

#[tokio::test]
async fn what_is_refused_leaves_no_trace() {
    let world = World::new();
    let mut elsewhere = form("ada@example.com");
    elsewhere.residency_region = ELSEWHERE.code().to_owned();
    assert!(
        matches!(sign_up(&world.app, &elsewhere, SOURCE).await, Err(UserError::Elsewhere(region)) if region == ELSEWHERE)
    );
    let mut weak = form("ada@example.com");
    weak.password = "short".to_owned();
    assert!(matches!(sign_up(&world.app, &weak, SOURCE).await, Err(UserError::Fields(_))));
    world.limits.refuse();
    assert!(matches!(sign_up(&world.app, &form("ada@example.com"), SOURCE).await, Err(UserError::TooMany { .. })));
    assert_eq!(
        (world.identities.everybody().len(), world.people.everybody().len(), world.people.open_sign_ups()),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_password_that_only_the_provider_refuses_is_a_fault_of_that_field() {
    let world = World::new();
    world.identities.fail_next_create(Fault::PasswordRefused);
    let refused = sign_up(&world.app, &form("ada@example.com"), SOURCE).await.expect_err("a refusal");
    assert_eq!((refused.code(), refused.fields()[0].pointer.as_str()), ("invalid-field", "/password"));
    assert_eq!((world.people.everybody().len(), world.people.open_sign_ups()), (0, 0));
}

#[tokio::test]
async fn a_lost_answer_of_the_provider_is_carried_forward() {
    let world = World::new();
    world.identities.fail_next_create(Fault::LostAnswer);
    assert!(matches!(sign_up(&world.app, &form("ada@example.com"), SOURCE).await, Err(UserError::Down(_))));
    assert_eq!((world.identities.everybody().len(), world.people.everybody().len()), (1, 0));

    world.clock.advance(Duration::seconds(29));
    assert_eq!(
        reconcile_sign_ups(&world.app, 10).await.expect("a run"),
        Reconciled::default(),
        "a young sign-up is left alone"
    );
    world.clock.advance(Duration::seconds(2));
    assert_eq!(
        reconcile_sign_ups(&world.app, 10).await.expect("a run"),
        Reconciled { completed: 1, ..Reconciled::default() }
    );
    assert_eq!(world.people.everybody(), world.identities.everybody());
    let user = world.people.everybody()[0];
    let state = world.app.people.consents(user).await.expect("the store answers").expect("consents");
    assert!(state.consents.personalisation && !state.consents.marketing, "consents come back from the identity");
    world.logged_in("ada@example.com").await;
}

#[tokio::test]
async fn a_wish_that_never_arrived_is_given_up_after_the_second_look() {
    let world = World::new();
    world.identities.fail_next_create(Fault::LostRequest);
    assert!(sign_up(&world.app, &form("ada@example.com"), SOURCE).await.is_err());
    let rounds = world.reconcile_to_the_end().await;
    assert_eq!(
        rounds,
        [Reconciled { postponed: 1, ..Reconciled::default() }, Reconciled { abandoned: 1, ..Reconciled::default() }]
    );
    assert_eq!(world.people.open_sign_ups(), 0);
    world.registered("ada@example.com").await;
}

#[tokio::test]
async fn a_second_try_after_a_lost_answer_is_neutral_and_both_halves_end_up_there() {
    let world = World::new();
    world.identities.fail_next_create(Fault::LostAnswer);
    assert!(sign_up(&world.app, &form("ada@example.com"), SOURCE).await.is_err());
    assert_eq!(sign_up(&world.app, &form("ada@example.com"), SOURCE).await.expect("an answer"), SignedUp::Accepted);
    world.reconcile_to_the_end().await;
    assert_eq!(world.people.everybody(), world.identities.everybody());
    assert_eq!(world.people.open_sign_ups(), 0);
}

#[tokio::test]
async fn a_login_before_the_reconciler_registers_the_person_once() {
    let world = World::new();
    world.identities.fail_next_create(Fault::LostAnswer);
    assert!(sign_up(&world.app, &form("ada@example.com"), SOURCE).await.is_err());
    let (_, holder) = world.logged_in("ada@example.com").await;
    assert_eq!(world.people.everybody(), [holder.user_id]);
    assert_eq!(world.people.open_sign_ups(), 0, "the login also ends the sign-up");
    world.reconcile_to_the_end().await;
    assert_eq!(world.people.registered(), [holder.user_id], "one event");
}

#[tokio::test]
async fn an_identity_that_cannot_be_read_does_not_hold_up_the_others() {
    let world = World::new();
    world.identities.fail_next_create(Fault::LostAnswer);
    assert!(sign_up(&world.app, &form("broken@example.com"), SOURCE).await.is_err());
    let broken = identity_of(&world, "broken@example.com").await;
    world
        .identities
        .add(Identity { first_name: String::new(), ..broken }, Password::as_typed(PASSWORD).expect("a password"));
    world.clock.advance(Duration::seconds(1));
    world.identities.fail_next_create(Fault::LostAnswer);
    assert!(sign_up(&world.app, &form("ada@example.com"), SOURCE).await.is_err());

    world.clock.advance(Duration::seconds(40));
    let done = reconcile_sign_ups(&world.app, 10).await.expect("a run");
    assert_eq!(done, Reconciled { completed: 1, postponed: 1, abandoned: 0 });
    assert_eq!(world.people.open_sign_ups(), 1, "it stays open until somebody mends it");
}

async fn identity_of(world: &World, email: &str) -> Identity {
    let mut found = Vec::new();
    for user in world.identities.everybody() {
        found.extend(world.app.identities.find(user).await.expect("an answer"));
    }
    found.into_iter().find(|identity| identity.email == email).expect("an identity")
}

/// A process that stops anywhere in a sign-up and never gets the request again.
#[tokio::test]
async fn a_sign_up_may_stop_anywhere_and_the_reconciler_ends_it() {
    let survived = survives_every_crash(
        async || (World::new(), AtomicBool::new(false)),
        async |(world, asked): &(World, AtomicBool)| {
            if !asked.swap(true, Ordering::SeqCst) {
                let _ = sign_up(&world.app, &form("ada@example.com"), SOURCE).await;
            }
            world.reconcile_to_the_end().await;
        },
        async |(world, _): &(World, AtomicBool), when: &str| {
            assert_eq!(sorted(world.people.everybody()), sorted(world.identities.everybody()), "{when}");
            assert_eq!(world.people.registered(), world.people.everybody(), "one event each: {when}");
            assert_eq!(world.people.open_sign_ups(), 0, "{when}");
        },
    )
    .await;
    for point in [
        "sign-up.before_intent",
        "sign-up.after_intent",
        "sign-up.before_identity",
        "sign-up.after_identity",
        "sign-up.before_person",
        "sign-up.after_person",
    ] {
        assert!(survived.points.contains(&point), "{point} in {:?}", survived.points);
    }
}

/// The same, and the person clicks *sign up* again.
#[tokio::test]
async fn a_sign_up_that_stopped_anywhere_may_be_sent_again() {
    survives_every_crash(
        async || World::new(),
        async |world: &World| {
            let _ = sign_up(&world.app, &form("ada@example.com"), SOURCE).await;
            world.reconcile_to_the_end().await;
        },
        async |world: &World, when: &str| {
            assert_eq!(world.people.everybody().len(), 1, "{when}");
            assert_eq!(world.people.everybody(), world.identities.everybody(), "{when}");
            assert_eq!(world.people.registered().len(), 1, "{when}");
            assert_eq!(world.people.open_sign_ups(), 0, "{when}");
        },
    )
    .await;
}

/// The same with the real store: its commits stop at every point of their own.
#[tokio::test]
async fn every_commit_of_a_sign_up_may_stop_anywhere() {
    struct Stored {
        world: World,
        asked: AtomicBool,
    }
    let database = TestDatabase::create("user_profile", &user::MIGRATOR).await;
    let survived = survives_every_crash(
        async || {
            // An emptied database is as fresh as a new one, and opening connections is what takes the time here.
            for table in ["DELETE FROM consents", "DELETE FROM users", "DELETE FROM sign_ups", "DELETE FROM outbox"] {
                sqlx::query(table).execute(&database.owner).await.expect("the owner may empty tables");
            }
            let store = std::sync::Arc::new(PostgresPeople::new(database.database.clone()));
            Stored { world: World::with_people(store, std::sync::Arc::default()), asked: AtomicBool::new(false) }
        },
        async |stored: &Stored| {
            if !stored.asked.swap(true, Ordering::SeqCst) {
                let _ = sign_up(&stored.world.app, &form("ada@example.com"), SOURCE).await;
            }
            stored.world.reconcile_to_the_end().await;
        },
        async |stored: &Stored, when: &str| {
            let rows: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT user_id FROM users")
                .fetch_all(&database.owner)
                .await
                .expect("users can be read");
            let rows: Vec<UserId> = rows.into_iter().map(UserId::from_uuid).collect();
            assert_eq!(rows, stored.world.identities.everybody(), "{when}");
            let events: i64 = database.count("outbox").await;
            assert_eq!(events, rows.len() as i64, "one event each: {when}");
            let open: i64 = sqlx::query_scalar("SELECT count(*) FROM sign_ups WHERE state = 'open'")
                .fetch_one(&database.owner)
                .await
                .expect("sign-ups can be counted");
            assert_eq!(open, 0, "{when}");
        },
    )
    .await;
    assert!(
        survived.points.iter().filter(|point| **point == "commit.after_commit").count() >= 2,
        "{:?}",
        survived.points
    );
}

#[tokio::test]
async fn an_identity_of_an_operator_gets_its_row_at_the_first_login() {
    let world = World::new();
    let user = UserId::from_uuid(ids::random());
    let identity = Identity {
        user_id: user,
        sign_up: None,
        email: "staff@example.com".to_owned(),
        first_name: "Staff".to_owned(),
        last_name: "Member".to_owned(),
        language: None,
        region: Some(HERE.code().to_owned()),
        consents: Consents::default(),
    };
    world.identities.add(identity, Password::as_typed(PASSWORD).expect("a password"));
    let (_, holder) = world.logged_in("staff@example.com").await;
    assert_eq!((holder.user_id, world.people.registered()), (user, vec![user]));
}
