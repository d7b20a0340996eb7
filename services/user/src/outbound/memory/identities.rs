//! An identity provider in memory, and the tokens it gives. A test scripts its faults.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use async_trait::async_trait;
use common::{Region, SessionId, UserId, ids};
use messaging::crash;

use super::{down, lock};
use crate::domain::{Email, Password, SignUp, SignUpId};
use crate::usecases::ports::{Created, Down, Identities, Identity, TokenHolder, TokenPair, Tokens};

/// What goes wrong at the next wish for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The wish never arrives.
    LostRequest,
    /// The identity is made and the answer is lost.
    LostAnswer,
    PasswordRefused,
}

#[derive(Default)]
struct State {
    by_email: HashMap<String, (Identity, Password)>,
    fault: Option<Fault>,
    away: bool,
    /// Refresh token → holder; a used one is taken out.
    refresh: HashMap<String, TokenHolder>,
    access: HashMap<String, TokenHolder>,
    ended: HashSet<SessionId>,
}

pub struct MemoryIdentities {
    region: Region,
    state: Mutex<State>,
}

impl MemoryIdentities {
    pub fn new(region: Region) -> Self {
        Self { region, state: Mutex::default() }
    }

    pub fn everybody(&self) -> Vec<UserId> {
        lock(&self.state).by_email.values().map(|(identity, _)| identity.user_id).collect()
    }

    pub fn fail_next_create(&self, fault: Fault) {
        lock(&self.state).fault = Some(fault);
    }

    /// From now on (or no longer) nothing is answered.
    pub fn be_away(&self, away: bool) {
        lock(&self.state).away = away;
    }

    /// An identity that did not come through a sign-up.
    pub fn add(&self, identity: Identity, password: Password) {
        lock(&self.state).by_email.insert(identity.email.clone(), (identity, password));
    }

    pub fn is_ended(&self, session: &SessionId) -> bool {
        lock(&self.state).ended.contains(session)
    }

    fn present(&self) -> Result<std::sync::MutexGuard<'_, State>, Down> {
        let state = lock(&self.state);
        if state.away { Err(lost()) } else { Ok(state) }
    }
}

fn lost() -> Down {
    down("the identity provider", anyhow::anyhow!("told to give no answer"))
}

fn issue(state: &mut State, holder: TokenHolder) -> TokenPair {
    let (access, refresh) = (ids::random().to_string(), ids::random().to_string());
    state.access.insert(access.clone(), holder.clone());
    state.refresh.insert(refresh.clone(), holder);
    TokenPair { access_token: access, expires_in: 300, refresh_token: refresh, refresh_expires_in: 1800 }
}

#[async_trait]
impl Identities for MemoryIdentities {
    async fn create(&self, sign_up: SignUpId, person: &SignUp) -> Result<Created, Down> {
        let crashed = |crashed: crash::Crashed| down("the identity provider", crashed);
        crash::point("sign-up.before_identity").map_err(crashed)?;
        let created = {
            let mut state = self.present()?;
            let fault = state.fault.take();
            if fault == Some(Fault::LostRequest) {
                return Err(lost());
            }
            if fault == Some(Fault::PasswordRefused) {
                return Ok(Created::PasswordRefused);
            }
            if state.by_email.contains_key(person.email.open()) {
                return Ok(Created::EmailKnown);
            }
            let identity = Identity {
                user_id: UserId::from_uuid(ids::random()),
                sign_up: Some(sign_up),
                email: person.email.open().to_owned(),
                first_name: person.first_name.open().to_owned(),
                last_name: person.last_name.open().to_owned(),
                language: Some(person.language.code().to_owned()),
                region: Some(person.region.code().to_owned()),
                consents: person.consents,
            };
            let user = identity.user_id;
            state.by_email.insert(identity.email.clone(), (identity, person.password.clone()));
            if fault == Some(Fault::LostAnswer) {
                return Err(lost());
            }
            Created::New(user)
        };
        crash::point("sign-up.after_identity").map_err(crashed)?;
        Ok(created)
    }

    async fn find_by_sign_up(&self, sign_up: SignUpId) -> Result<Option<Identity>, Down> {
        let state = self.present()?;
        Ok(state
            .by_email
            .values()
            .map(|(identity, _)| identity)
            .find(|identity| identity.sign_up == Some(sign_up))
            .cloned())
    }

    async fn find(&self, user: UserId) -> Result<Option<Identity>, Down> {
        let state = self.present()?;
        Ok(state.by_email.values().map(|(identity, _)| identity).find(|identity| identity.user_id == user).cloned())
    }

    async fn log_in(&self, email: &Email, password: &Password) -> Result<Option<TokenPair>, Down> {
        let mut state = self.present()?;
        let Some((identity, _)) = state.by_email.get(email.open()).filter(|(_, own)| own == password) else {
            return Ok(None);
        };
        let session_id = SessionId::parse(&ids::random().to_string())
            .map_err(|malformed| down("the identity provider", malformed))?;
        let holder = TokenHolder { user_id: identity.user_id, session_id, region: self.region };
        Ok(Some(issue(&mut state, holder)))
    }

    async fn refresh(&self, refresh_token: &str) -> Result<Option<TokenPair>, Down> {
        let mut state = self.present()?;
        let Some(holder) = state.refresh.remove(refresh_token) else { return Ok(None) };
        if state.ended.contains(&holder.session_id) {
            return Ok(None);
        }
        Ok(Some(issue(&mut state, holder)))
    }

    async fn end_session(&self, session: &SessionId) -> Result<(), Down> {
        self.present()?.ended.insert(session.clone());
        Ok(())
    }

    async fn end_all_sessions(&self, user: UserId) -> Result<(), Down> {
        let mut state = self.present()?;
        let sessions: Vec<_> = state
            .access
            .values()
            .filter(|holder| holder.user_id == user)
            .map(|holder| holder.session_id.clone())
            .collect();
        state.ended.extend(sessions);
        Ok(())
    }
}

#[async_trait]
impl Tokens for MemoryIdentities {
    async fn verify(&self, access_token: &str) -> Result<TokenHolder, Down> {
        lock(&self.state).access.get(access_token).cloned().ok_or_else(lost)
    }
}
