//! People in memory. A method's effect happens whole between two crash points, as a commit does.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::UserId;
use messaging::crash;

use super::lock;
use crate::domain::{Address, Consents, Profile, ProfileChange, Registration, SignUpId};
use crate::usecases::ports::{
    AddressBook, Changed, ConsentState, People, Registered, SignUpEnding, StoreError, UnfinishedSignUp,
};

#[derive(Clone, Debug)]
struct Person {
    profile: Profile,
    /// The whole log, oldest first.
    consents: Vec<ConsentState>,
    addresses: AddressBook,
}

#[derive(Clone, Debug)]
struct Intent {
    /// `None` while open.
    ending: Option<(SignUpEnding, DateTime<Utc>)>,
    looks: u16,
    next_look_at: DateTime<Utc>,
}

#[derive(Default)]
struct State {
    people: HashMap<UserId, Person>,
    intents: HashMap<SignUpId, Intent>,
    /// Events as the outbox would have them.
    registered: Vec<UserId>,
}

#[derive(Default)]
pub struct MemoryPeople(Mutex<State>);

impl MemoryPeople {
    /// Everybody who has a row.
    pub fn everybody(&self) -> Vec<UserId> {
        lock(&self.0).people.keys().copied().collect()
    }

    /// `UserRegistered` events, in order.
    pub fn registered(&self) -> Vec<UserId> {
        lock(&self.0).registered.clone()
    }

    pub fn open_sign_ups(&self) -> usize {
        lock(&self.0).intents.values().filter(|intent| intent.ending.is_none()).count()
    }
}

/// Runs `effect` on the state as one step that a crash can precede or follow but not split.
fn step<T>(
    state: &Mutex<State>,
    before: &'static str,
    after: &'static str,
    effect: impl FnOnce(&mut State) -> T,
) -> Result<T, StoreError> {
    let crashed = |crashed: crash::Crashed| StoreError::Unavailable(crashed.into());
    crash::point(before).map_err(crashed)?;
    let result = effect(&mut lock(state));
    crash::point(after).map_err(crashed)?;
    Ok(result)
}

#[async_trait]
impl People for MemoryPeople {
    async fn begin_sign_up(
        &self,
        sign_up: SignUpId,
        _now: DateTime<Utc>,
        first_look: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        step(&self.0, "sign-up.before_intent", "sign-up.after_intent", |state| {
            state.intents.entry(sign_up).or_insert(Intent { ending: None, looks: 0, next_look_at: first_look });
        })
    }

    async fn register(&self, registration: &Registration) -> Result<Registered, StoreError> {
        step(&self.0, "sign-up.before_person", "sign-up.after_person", |state| {
            if state.people.contains_key(&registration.user_id) {
                return Registered::Already;
            }
            state.people.insert(registration.user_id, Person::new(registration));
            state.registered.push(registration.user_id);
            if let Some(intent) = registration.sign_up.and_then(|id| state.intents.get_mut(&id)) {
                intent.ending = Some((SignUpEnding::Done(registration.user_id), registration.registered_at));
            }
            Registered::New
        })
    }

    async fn close_sign_up(
        &self,
        sign_up: SignUpId,
        ending: SignUpEnding,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        step(&self.0, "sign-up.before_close", "sign-up.after_close", |state| {
            if let Some(intent) = state.intents.get_mut(&sign_up) {
                intent.ending.get_or_insert((ending, now));
            }
        })
    }

    async fn postpone_sign_up(&self, sign_up: SignUpId, until: DateTime<Utc>) -> Result<(), StoreError> {
        step(&self.0, "sign-up.before_postpone", "sign-up.after_postpone", |state| {
            if let Some(intent) = state.intents.get_mut(&sign_up).filter(|intent| intent.ending.is_none()) {
                intent.looks += 1;
                intent.next_look_at = until;
            }
        })
    }

    async fn unfinished_sign_ups(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<UnfinishedSignUp>, StoreError> {
        let state = lock(&self.0);
        let mut due: Vec<_> =
            state.intents.iter().filter(|(_, intent)| intent.ending.is_none() && intent.next_look_at <= now).collect();
        due.sort_by_key(|(_, intent)| intent.next_look_at);
        Ok(due
            .into_iter()
            .take(limit as usize)
            .map(|(id, intent)| UnfinishedSignUp { sign_up: *id, looks: intent.looks })
            .collect())
    }

    async fn forget_sign_ups(&self, closed_before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        let mut state = lock(&self.0);
        let old = |intent: &Intent| intent.ending.is_some_and(|(_, at)| at < closed_before);
        let gone: Vec<_> =
            state.intents.iter().filter(|(_, intent)| old(intent)).map(|(id, _)| *id).take(limit as usize).collect();
        state.intents.retain(|id, _| !gone.contains(id));
        Ok(gone.len() as u64)
    }

    async fn profile(&self, user: UserId) -> Result<Option<Profile>, StoreError> {
        Ok(lock(&self.0).people.get(&user).map(|person| person.profile.clone()))
    }

    async fn change_profile(
        &self,
        user: UserId,
        expected: i64,
        change: &ProfileChange,
        _now: DateTime<Utc>,
    ) -> Result<Changed<Profile>, StoreError> {
        let mut state = lock(&self.0);
        let Some(person) = state.people.get_mut(&user) else { return Ok(Changed::Absent) };
        let profile = &mut person.profile;
        if profile.version != expected {
            return Ok(Changed::Stale);
        }
        profile.first_name = change.first_name.clone().unwrap_or(profile.first_name.clone());
        profile.last_name = change.last_name.clone().unwrap_or(profile.last_name.clone());
        profile.language = change.language.unwrap_or(profile.language);
        profile.version += 1;
        Ok(Changed::Done(profile.clone()))
    }

    async fn consents(&self, user: UserId) -> Result<Option<ConsentState>, StoreError> {
        Ok(lock(&self.0).people.get(&user).and_then(|person| person.consents.last().copied()))
    }

    async fn change_consents(
        &self,
        user: UserId,
        consents: Consents,
        now: DateTime<Utc>,
    ) -> Result<Changed<ConsentState>, StoreError> {
        let mut state = lock(&self.0);
        let Some(person) = state.people.get_mut(&user) else { return Ok(Changed::Absent) };
        let newest = person.consents.last().copied();
        if let Some(same) = newest.filter(|newest| newest.consents == consents) {
            return Ok(Changed::Done(same));
        }
        let entry = ConsentState { version: newest.map_or(1, |newest| newest.version + 1), consents, changed_at: now };
        person.consents.push(entry);
        Ok(Changed::Done(entry))
    }

    async fn addresses(&self, user: UserId) -> Result<Option<AddressBook>, StoreError> {
        Ok(lock(&self.0).people.get(&user).map(|person| person.addresses.clone()))
    }

    async fn replace_addresses(
        &self,
        user: UserId,
        expected: i64,
        list: &[Address],
        _now: DateTime<Utc>,
    ) -> Result<Changed<AddressBook>, StoreError> {
        let mut state = lock(&self.0);
        let Some(person) = state.people.get_mut(&user) else { return Ok(Changed::Absent) };
        if person.addresses.version != expected {
            return Ok(Changed::Stale);
        }
        person.addresses = AddressBook { version: expected + 1, addresses: list.to_vec() };
        Ok(Changed::Done(person.addresses.clone()))
    }
}

impl Person {
    fn new(registration: &Registration) -> Self {
        let profile = Profile {
            user_id: registration.user_id,
            email: registration.email.clone(),
            first_name: registration.first_name.clone(),
            last_name: registration.last_name.clone(),
            language: registration.language,
            region: registration.region,
            version: 1,
            created_at: registration.registered_at,
        };
        let consents =
            vec![ConsentState { version: 1, consents: registration.consents, changed_at: registration.registered_at }];
        Self { profile, consents, addresses: AddressBook { version: 1, addresses: Vec::new() } }
    }
}
