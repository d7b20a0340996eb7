//! One suite that the memory store and the real store must both pass, so that the use-case tests mean something.

use std::sync::Arc;

use chrono::Duration;
use common::{UserId, ids};
use futures::future::join_all;
use testkit::TestDatabase;
use user::domain::address::parse_list;
use user::domain::{AddressForm, Consents, PersonName, ProfileChange, SignUpId};
use user::outbound::memory::MemoryPeople;
use user::outbound::postgres::PostgresPeople;
use user::usecases::ports::{Changed, People, Registered, SignUpEnding, StoreError};

use crate::support::{HERE, noon, registration};

/// A store, and what has to live as long as it.
struct Store {
    people: Arc<dyn People>,
    _database: Option<TestDatabase>,
}

async fn stores() -> [Store; 2] {
    let database = TestDatabase::create("user_profile", &user::MIGRATOR).await;
    let real = Arc::new(PostgresPeople::new(database.database.clone()));
    [
        Store { people: Arc::new(MemoryPeople::default()), _database: None },
        Store { people: real, _database: Some(database) },
    ]
}

/// Repeats what the store says it did not do. Many connections opened at once on a busy machine may take longer than a pool waits.
async fn insistently<T>(attempt: impl AsyncFn() -> Result<T, StoreError>) -> T {
    for _ in 0..20 {
        match attempt().await {
            Err(StoreError::Unavailable(_)) => {}
            outcome => return outcome.expect("an answer"),
        }
    }
    panic!("the store stays unavailable")
}

fn first_name(name: &str) -> ProfileChange {
    ProfileChange { first_name: Some(PersonName::parse(name).expect("a name")), ..ProfileChange::default() }
}

#[tokio::test]
async fn a_person_is_registered_once() {
    for Store { people, .. } in stores().await {
        let person = registration();
        let sign_up = person.sign_up.expect("a sign-up");
        people.begin_sign_up(sign_up, noon(), noon()).await.expect("a commit");
        assert_eq!(people.register(&person).await.expect("a commit"), Registered::New);
        assert_eq!(people.register(&person).await.expect("a commit"), Registered::Already);
        let profile = people.profile(person.user_id).await.expect("an answer").expect("a profile");
        assert_eq!((&profile.email, &profile.first_name, profile.version), (&person.email, &person.first_name, 1));
        assert_eq!((profile.created_at, profile.region, profile.language), (noon(), HERE, person.language));
        let state = people.consents(person.user_id).await.expect("an answer").expect("consents");
        assert_eq!((state.version, state.consents, state.changed_at), (1, person.consents, noon()));
        let book = people.addresses(person.user_id).await.expect("an answer").expect("a list");
        assert_eq!((book.version, book.addresses.len()), (1, 0));
        assert!(people.unfinished_sign_ups(noon(), 10).await.expect("an answer").is_empty());
    }
}

#[tokio::test]
async fn ten_registrations_of_one_person_at_once_make_one() {
    for Store { people, .. } in stores().await {
        let person = registration();
        let tries = (0..10).map(|_| insistently(async || people.register(&person).await));
        let new = join_all(tries).await.into_iter().filter(|registered| *registered == Registered::New).count();
        assert_eq!(new, 1);
    }
}

#[tokio::test]
async fn who_is_unknown_is_absent_everywhere() {
    for Store { people, .. } in stores().await {
        let nobody = UserId::from_uuid(ids::random());
        assert_eq!(people.profile(nobody).await.expect("an answer"), None);
        assert_eq!(people.consents(nobody).await.expect("an answer"), None);
        assert_eq!(people.addresses(nobody).await.expect("an answer"), None);
        assert_eq!(
            people.change_profile(nobody, 1, &first_name("x"), noon()).await.expect("an answer"),
            Changed::Absent
        );
        assert_eq!(
            people.change_consents(nobody, Consents::default(), noon()).await.expect("an answer"),
            Changed::Absent
        );
        assert_eq!(people.replace_addresses(nobody, 1, &[], noon()).await.expect("an answer"), Changed::Absent);
    }
}

#[tokio::test]
async fn of_fifty_changes_from_one_version_one_wins() {
    for Store { people, .. } in stores().await {
        let person = registration();
        people.register(&person).await.expect("a commit");
        let user = person.user_id;
        let tries = (0..50).map(async |n| {
            let change = first_name(&format!("Ada {n}"));
            insistently(async || people.change_profile(user, 1, &change, noon()).await).await
        });
        let outcomes = join_all(tries).await;
        let winners: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| if let Changed::Done(profile) = outcome { Some(profile) } else { None })
            .collect();
        assert_eq!((winners.len(), outcomes.iter().filter(|outcome| **outcome == Changed::Stale).count()), (1, 49));
        assert_eq!(people.profile(person.user_id).await.expect("an answer").as_ref(), Some(winners[0]));
        assert_eq!(winners[0].version, 2);
    }
}

#[tokio::test]
async fn consents_are_a_log_and_saying_the_same_adds_nothing() {
    for Store { people, .. } in stores().await {
        let person = registration();
        people.register(&person).await.expect("a commit");
        let later = noon() + Duration::hours(1);
        let refused = Consents { personalisation: false, marketing: false };
        let Changed::Done(state) = people.change_consents(person.user_id, refused, later).await.expect("an answer")
        else {
            panic!("a change")
        };
        assert_eq!((state.version, state.consents, state.changed_at), (2, refused, later));
        let again =
            people.change_consents(person.user_id, refused, later + Duration::hours(1)).await.expect("an answer");
        assert_eq!(again, Changed::Done(state));
        assert_eq!(people.consents(person.user_id).await.expect("an answer"), Some(state));
    }
}

#[tokio::test]
async fn addresses_are_replaced_in_their_order() {
    let form = |city: &str, line2: Option<&str>| AddressForm {
        recipient: "Ada 李".to_owned(),
        line1: "Example Street 1".to_owned(),
        line2: line2.map(str::to_owned),
        postal_code: "10115".to_owned(),
        city: city.to_owned(),
        country: HERE.countries()[0].to_owned(),
    };
    let list = parse_list(&[form("Berlin", None), form("Aachen", Some("Rear building"))], HERE).expect("two addresses");
    for Store { people, .. } in stores().await {
        let person = registration();
        people.register(&person).await.expect("a commit");
        let Changed::Done(book) = people.replace_addresses(person.user_id, 1, &list, noon()).await.expect("an answer")
        else {
            panic!("a change")
        };
        assert_eq!((book.version, &book.addresses), (2, &list));
        assert_eq!(people.addresses(person.user_id).await.expect("an answer"), Some(book));
        assert_eq!(people.replace_addresses(person.user_id, 1, &[], noon()).await.expect("an answer"), Changed::Stale);
        let Changed::Done(empty) = people.replace_addresses(person.user_id, 2, &[], noon()).await.expect("an answer")
        else {
            panic!("a change")
        };
        assert_eq!((empty.version, empty.addresses.len()), (3, 0));
        let profile = people.profile(person.user_id).await.expect("an answer").expect("a profile");
        assert_eq!(profile.version, 1, "the two lists of versions do not disturb each other");
    }
}

#[tokio::test]
async fn sign_ups_come_due_are_postponed_closed_and_forgotten() {
    for Store { people, .. } in stores().await {
        let [first, second] = [(); 2].map(|()| SignUpId::from_uuid(ids::random()));
        people.begin_sign_up(first, noon(), noon() + Duration::seconds(30)).await.expect("a commit");
        people.begin_sign_up(second, noon(), noon() + Duration::seconds(40)).await.expect("a commit");
        assert!(people.unfinished_sign_ups(noon() + Duration::seconds(29), 10).await.expect("an answer").is_empty());
        let due = people.unfinished_sign_ups(noon() + Duration::seconds(60), 10).await.expect("an answer");
        assert_eq!(due.iter().map(|due| (due.sign_up, due.looks)).collect::<Vec<_>>(), [(first, 0), (second, 0)]);
        assert_eq!(people.unfinished_sign_ups(noon() + Duration::seconds(60), 1).await.expect("an answer").len(), 1);

        people.postpone_sign_up(first, noon() + Duration::minutes(10)).await.expect("a commit");
        people.close_sign_up(second, SignUpEnding::Abandoned, noon()).await.expect("a commit");
        people.close_sign_up(second, SignUpEnding::Refused, noon()).await.expect("a closed one stays as it is");
        let due = people.unfinished_sign_ups(noon() + Duration::minutes(11), 10).await.expect("an answer");
        assert_eq!(due.iter().map(|due| (due.sign_up, due.looks)).collect::<Vec<_>>(), [(first, 1)]);

        assert_eq!(people.forget_sign_ups(noon(), 10).await.expect("a commit"), 0);
        assert_eq!(people.forget_sign_ups(noon() + Duration::seconds(1), 10).await.expect("a commit"), 1);
        assert_eq!(
            people.unfinished_sign_ups(noon() + Duration::minutes(11), 10).await.expect("an answer").len(),
            1,
            "open ones stay"
        );
    }
}

#[tokio::test]
async fn a_sign_up_given_up_too_early_is_done_when_the_person_comes() {
    for Store { people, .. } in stores().await {
        let person = registration();
        let sign_up = person.sign_up.expect("a sign-up");
        people.begin_sign_up(sign_up, noon(), noon()).await.expect("a commit");
        people.close_sign_up(sign_up, SignUpEnding::Abandoned, noon()).await.expect("a commit");
        assert_eq!(people.register(&person).await.expect("a commit"), Registered::New);
    }
}
