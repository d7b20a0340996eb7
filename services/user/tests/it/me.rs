//! What people change about themselves.

use common::{Explain as _, UserId, ids};
use user::domain::{AddressForm, Consents, ProfileForm};
use user::usecases::ports::ClickBatch;
use user::usecases::{
    UserError, change_addresses, change_consents, change_profile, view_addresses, view_consents, view_me,
};

use crate::support::{ELSEWHERE, HERE, PSEUDONYM_KEY, World};

fn named(first_name: &str) -> ProfileForm {
    ProfileForm { first_name: Some(first_name.to_owned()), ..ProfileForm::default() }
}

fn address() -> AddressForm {
    AddressForm {
        recipient: "Ada Lovelace".to_owned(),
        line1: "Example Street 1".to_owned(),
        line2: None,
        postal_code: "10115".to_owned(),
        city: "Berlin".to_owned(),
        country: HERE.countries()[0].to_owned(),
    }
}

#[tokio::test]
async fn a_profile_changes_from_the_version_that_was_seen() {
    let world = World::new();
    let user = world.registered("ada@example.com").await;
    assert!(matches!(change_profile(&world.app, user, None, &named("Augusta")).await, Err(UserError::VersionMissing)));
    let changed = change_profile(&world.app, user, Some(1), &named("Augusta")).await.expect("a change");
    assert_eq!((changed.version, changed.first_name.open(), changed.last_name.open()), (2, "Augusta", "Lovelace"));
    assert!(matches!(change_profile(&world.app, user, Some(1), &named("Mallory")).await, Err(UserError::VersionStale)));
    assert!(matches!(
        change_profile(&world.app, user, Some(1), &ProfileForm::default()).await,
        Err(UserError::VersionStale)
    ));
    let same = change_profile(&world.app, user, Some(2), &ProfileForm::default()).await.expect("nothing to change");
    assert_eq!(same.version, 2);
}

#[tokio::test]
async fn who_is_not_there_is_not_found() {
    let world = World::new();
    let nobody = UserId::from_uuid(ids::random());
    assert!(matches!(view_me(&world.app, nobody).await, Err(UserError::NotFound)));
    assert!(matches!(view_consents(&world.app, nobody).await, Err(UserError::NotFound)));
    assert!(matches!(view_addresses(&world.app, nobody).await, Err(UserError::NotFound)));
    assert!(matches!(change_profile(&world.app, nobody, Some(1), &named("x")).await, Err(UserError::NotFound)));
    assert!(matches!(change_consents(&world.app, nobody, Consents::default()).await, Err(UserError::NotFound)));
    assert!(matches!(change_addresses(&world.app, nobody, Some(1), &[]).await, Err(UserError::NotFound)));
}

#[tokio::test]
async fn a_withdrawn_consent_is_in_every_living_session_when_the_answer_comes() {
    let world = World::new();
    let user = world.registered("ada@example.com").await;
    let (_, first) = world.logged_in("ada@example.com").await;
    let (_, second) = world.logged_in("ada@example.com").await;
    let state = change_consents(&world.app, user, Consents { personalisation: false, marketing: true })
        .await
        .expect("a change");
    assert_eq!(state.version, 2);
    for holder in [first, second] {
        assert!(!world.sessions.get(&holder.session_id).expect("a session").personalisation_consent);
    }
    let same = change_consents(&world.app, user, state.consents).await.expect("the same again");
    assert_eq!(same, state, "saying the same adds nothing to the log");
}

#[tokio::test]
async fn a_consent_that_did_not_reach_the_sessions_may_be_sent_again() {
    let world = World::new();
    let user = world.registered("ada@example.com").await;
    let (_, holder) = world.logged_in("ada@example.com").await;
    let refused = Consents { personalisation: false, marketing: false };
    world.sessions.be_away(true);
    assert_eq!(change_consents(&world.app, user, refused).await.expect_err("a refusal").code(), "dependency-down");
    world.sessions.be_away(false);
    change_consents(&world.app, user, refused).await.expect("the same again");
    assert!(!world.sessions.get(&holder.session_id).expect("a session").personalisation_consent);
}

#[tokio::test]
async fn a_withdrawal_is_told_to_whoever_keeps_clicks_and_a_yes_is_not() {
    let world = World::new();
    let user = world.registered("ada@example.com").await;
    let no = Consents { personalisation: false, marketing: true };
    let yes = Consents { personalisation: true, ..no };
    world.clicks.refuse();
    let refused = change_consents(&world.app, user, no).await.expect_err("the log of clicks is away");
    assert_eq!((refused.kind().status(), refused.code()), (503, "dependency-down"));
    assert_eq!(view_consents(&world.app, user).await.expect("consents").consents, no, "it holds already");
    world.clicks.accept();
    change_consents(&world.app, user, no).await.expect("the same again");
    change_consents(&world.app, user, yes).await.expect("a change");
    let [told] = world.clicks.batches().try_into().expect("one word");
    assert_eq!(told, ClickBatch::refusal(contracts::interest::pseudonym(PSEUDONYM_KEY, user), world.now()));
    assert!(!told.personalisation_consent && !told.bot);
}

#[tokio::test]
async fn an_address_list_is_replaced_from_the_version_that_was_seen() {
    let world = World::new();
    let user = world.registered("ada@example.com").await;
    let book = change_addresses(&world.app, user, Some(1), &[address(), address()]).await.expect("a change");
    assert_eq!((book.version, book.addresses.len()), (2, 2));
    assert!(matches!(change_addresses(&world.app, user, Some(1), &[]).await, Err(UserError::VersionStale)));
    assert!(matches!(change_addresses(&world.app, user, None, &[]).await, Err(UserError::VersionMissing)));
    let abroad = AddressForm { country: ELSEWHERE.countries()[0].to_owned(), ..address() };
    assert_eq!(
        change_addresses(&world.app, user, Some(2), &[abroad]).await.expect_err("a refusal").code(),
        "invalid-field"
    );
    let card = AddressForm { line2: Some("4111 1111 1111 1111".to_owned()), ..address() };
    assert_eq!(
        change_addresses(&world.app, user, Some(2), &[card]).await.expect_err("a refusal").code(),
        "card-data-refused"
    );
    assert_eq!(view_addresses(&world.app, user).await.expect("a list"), book);
}
