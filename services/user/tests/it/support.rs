//! A world of memory ports, and people to put into it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use common::{Clock, ManualClock, Region, SharedClock, UserId, ids};
use user::domain::{Consents, Email, Language, PersonName, Registration, SignUpForm, SignUpId};
use user::outbound::memory::{MemoryClicks, MemoryIdentities, MemoryPeople, MemorySessions, OpenLimits};
use user::usecases::ports::{People, TokenHolder, TokenPair};
use user::usecases::{App, LogInForm, Pseudonyms, Reconciled, SignedUp, log_in, reconcile_sign_ups, sign_up};

pub const HERE: Region = Region::ALL[0];
pub const ELSEWHERE: Region = Region::ALL[1];
pub const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const PASSWORD: &str = "correct horse battery staple";
pub const PSEUDONYM_KEY: &[u8] = b"a key of the tests";

/// The application and everything a test may look at behind its back.
pub struct World {
    pub app: App,
    pub people: Arc<MemoryPeople>,
    pub identities: Arc<MemoryIdentities>,
    pub sessions: Arc<MemorySessions>,
    pub clicks: Arc<MemoryClicks>,
    pub limits: Arc<OpenLimits>,
    pub clock: Arc<ManualClock>,
}

impl World {
    pub fn new() -> Self {
        let people = Arc::new(MemoryPeople::default());
        Self::with_people(people.clone(), people)
    }

    /// `store` is what the application writes to; `people` is looked at only when it is the same thing.
    pub fn with_people(store: Arc<dyn People>, people: Arc<MemoryPeople>) -> Self {
        let identities = Arc::new(MemoryIdentities::new(HERE));
        let sessions = Arc::new(MemorySessions::default());
        let clicks = Arc::new(MemoryClicks::default());
        let limits = Arc::new(OpenLimits::default());
        let clock = Arc::new(ManualClock::at(noon()));
        let app = App {
            region: HERE,
            people: store,
            identities: identities.clone(),
            tokens: identities.clone(),
            sessions: sessions.clone(),
            clicks: clicks.clone(),
            limits: limits.clone(),
            clock: clock.clone() as SharedClock,
            pseudonyms: Pseudonyms::new(PSEUDONYM_KEY),
        };
        Self { app, people, identities, sessions, clicks, limits, clock }
    }

    /// Signs `email` up and says who that is.
    pub async fn registered(&self, email: &str) -> UserId {
        match sign_up(&self.app, &form(email), SOURCE).await.expect("a sign-up") {
            SignedUp::Registered(user) => user,
            SignedUp::Accepted => panic!("{email} was known"),
        }
    }

    /// Logs `email` in.
    pub async fn logged_in(&self, email: &str) -> (TokenPair, TokenHolder) {
        let tokens = log_in(&self.app, &credentials(email, PASSWORD), SOURCE).await.expect("a login");
        let holder = self.app.tokens.verify(&tokens.access_token).await.expect("a token of ours");
        (tokens, holder)
    }

    /// Lets enough time pass that every sign-up is looked at twice.
    pub async fn reconcile_to_the_end(&self) -> Vec<Reconciled> {
        let mut rounds = Vec::new();
        for pause in [Duration::seconds(31), Duration::minutes(11)] {
            self.clock.advance(pause);
            // A stopped process reconciles nothing and the caller comes again; a busy store is asked again, as the timer would.
            for _ in 0..3 {
                if let Ok(done) = reconcile_sign_ups(&self.app, 10).await {
                    rounds.push(done);
                    break;
                }
            }
        }
        rounds
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

pub fn noon() -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + Duration::days(20_000) + Duration::hours(12)
}

pub fn form(email: &str) -> SignUpForm {
    SignUpForm {
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        residency_region: HERE.code().to_owned(),
        language: None,
        consents: Consents { personalisation: true, marketing: false },
    }
}

pub fn credentials(email: &str, password: &str) -> LogInForm {
    LogInForm { email: email.to_owned(), password: password.to_owned() }
}

/// Somebody new, with a sign-up of their own.
pub fn registration() -> Registration {
    Registration {
        user_id: UserId::from_uuid(ids::random()),
        sign_up: Some(SignUpId::from_uuid(ids::random())),
        email: Email::parse("ada@example.com").expect("an e-mail"),
        first_name: PersonName::parse("Ada").expect("a name"),
        last_name: PersonName::parse("Lovelace").expect("a name"),
        language: Language::default_of(HERE),
        region: HERE,
        consents: Consents { personalisation: true, marketing: false },
        registered_at: noon(),
    }
}

/// Sorted, so that two lists of people can be compared.
pub fn sorted(mut people: Vec<UserId>) -> Vec<UserId> {
    people.sort();
    people
}
