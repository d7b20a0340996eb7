//! What the use cases ask of the world. Few and deep: each method is a whole step that happens or does not.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{Region, SessionId, UserId};
use contracts::session::SessionRecord;

use crate::domain::{
    Address, Click, Consents, Email, Password, Profile, ProfileChange, RefusedClick, Registration, SignUp, SignUpId,
};

/// The store of people could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("this site may not write now; nothing was changed")]
    NotWritable,
    #[error("the outcome is not known yet; repeat the request")]
    OutcomeUnknown,
    #[error("the store of people is not available; nothing was changed")]
    Unavailable(#[source] anyhow::Error),
    /// A row says what cannot be, or a statement was refused: a defect.
    #[error("the store of people is inconsistent")]
    Inconsistent(#[source] anyhow::Error),
}

/// Something we need gave no usable answer. Whether it did what was asked is not known.
#[derive(Debug, thiserror::Error)]
#[error("{target} is not available")]
pub struct Down {
    pub target: &'static str,
    pub retry_after: Option<Duration>,
    #[source]
    pub source: anyhow::Error,
}

/// What became of a change that names the version it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed<T> {
    Done(T),
    /// Somebody else was faster; nothing was changed.
    Stale,
    /// There is no such person.
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    New,
    /// The person has a row; nothing was changed.
    Already,
}

/// How a sign-up ended without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUpEnding {
    /// The identity provider said no: the e-mail is known, or the password is not to its taste.
    Refused,
    /// There is no identity and there will be none.
    Abandoned,
    /// The person has a row by another way.
    Done(UserId),
}

/// An open sign-up that is due to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnfinishedSignUp {
    pub sign_up: SignUpId,
    /// Vain looks so far.
    pub looks: u16,
}

/// Consents as they stand, and which entry of the person's log says so (from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentState {
    pub version: i64,
    pub consents: Consents,
    pub changed_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressBook {
    pub version: i64,
    pub addresses: Vec<Address>,
}

/// People of the region: the system of record.
#[async_trait]
pub trait People: Send + Sync {
    /// Commits the intent to sign somebody up, before anything else is touched; due to be looked at from `first_look`.
    async fn begin_sign_up(
        &self,
        sign_up: SignUpId,
        now: DateTime<Utc>,
        first_look: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// In one commit: the person, their consents, the event, the end of the sign-up.
    async fn register(&self, registration: &Registration) -> Result<Registered, StoreError>;

    /// Ends a sign-up that is still open; another one is left as it is.
    async fn close_sign_up(
        &self,
        sign_up: SignUpId,
        ending: SignUpEnding,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Counts a vain look and sets the time of the next one.
    async fn postpone_sign_up(&self, sign_up: SignUpId, until: DateTime<Utc>) -> Result<(), StoreError>;

    /// Open sign-ups due at `now`, the longest due first.
    async fn unfinished_sign_ups(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<UnfinishedSignUp>, StoreError>;

    /// Forgets sign-ups that were closed before `closed_before`, at most `limit`; says how many.
    async fn forget_sign_ups(&self, closed_before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    async fn profile(&self, user: UserId) -> Result<Option<Profile>, StoreError>;

    /// Changes version `expected` of the profile and no other.
    async fn change_profile(
        &self,
        user: UserId,
        expected: i64,
        change: &ProfileChange,
        now: DateTime<Utc>,
    ) -> Result<Changed<Profile>, StoreError>;

    async fn consents(&self, user: UserId) -> Result<Option<ConsentState>, StoreError>;

    /// Adds an entry to the person's log unless it would say the same as the last one. Never [`Changed::Stale`].
    async fn change_consents(
        &self,
        user: UserId,
        consents: Consents,
        now: DateTime<Utc>,
    ) -> Result<Changed<ConsentState>, StoreError>;

    async fn addresses(&self, user: UserId) -> Result<Option<AddressBook>, StoreError>;

    /// Replaces version `expected` of the whole list and no other.
    async fn replace_addresses(
        &self,
        user: UserId,
        expected: i64,
        list: &[Address],
        now: DateTime<Utc>,
    ) -> Result<Changed<AddressBook>, StoreError>;
}

/// What became of the wish for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    New(UserId),
    /// An identity with this e-mail exists.
    EmailKnown,
    /// The provider does not like the password.
    PasswordRefused,
}

/// An identity as the provider tells it; nothing is believed before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user_id: UserId,
    pub sign_up: Option<SignUpId>,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub language: Option<String>,
    /// Absent for identities that an operator made.
    pub region: Option<String>,
    pub consents: Consents,
}

/// Tokens as handed to the client. Not parsed, not logged.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPair {
    pub access_token: String,
    /// Seconds.
    pub expires_in: u64,
    pub refresh_token: String,
    /// Seconds.
    pub refresh_expires_in: u64,
}

impl std::fmt::Debug for TokenPair {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("TokenPair(***)")
    }
}

/// The identity provider: who somebody is, and their tokens.
#[async_trait]
pub trait Identities: Send + Sync {
    /// Makes an identity that names `sign_up` and carries all that is needed to finish it. Not repeated on failure.
    async fn create(&self, sign_up: SignUpId, person: &SignUp) -> Result<Created, Down>;

    async fn find_by_sign_up(&self, sign_up: SignUpId) -> Result<Option<Identity>, Down>;

    async fn find(&self, user: UserId) -> Result<Option<Identity>, Down>;

    /// `None`: not these credentials, or not allowed to log in; which of the two is nobody's business.
    async fn log_in(&self, email: &Email, password: &Password) -> Result<Option<TokenPair>, Down>;

    /// `None`: not a refresh token that can be used (now, or any more).
    async fn refresh(&self, refresh_token: &str) -> Result<Option<TokenPair>, Down>;

    async fn end_session(&self, session: &SessionId) -> Result<(), Down>;

    async fn end_all_sessions(&self, user: UserId) -> Result<(), Down>;
}

/// What a verified access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub region: Region,
}

/// Verifies access tokens exactly as every service does for every request.
#[async_trait]
pub trait Tokens: Send + Sync {
    async fn verify(&self, access_token: &str) -> Result<TokenHolder, Down>;
}

/// Fingerprint of a refresh token, so that its second use can be recognised without keeping it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RefreshMark(pub [u8; 32]);

/// Sessions, shared by all services. A missing one never grants anything.
#[async_trait]
pub trait Sessions: Send + Sync {
    async fn open(&self, session: &SessionId, record: &SessionRecord) -> Result<(), Down>;

    /// Gives a living session a new record and its whole idle time again, and marks the used refresh token. `false`: the
    /// session is gone and stays gone.
    async fn extend(&self, session: &SessionId, record: &SessionRecord, used: &RefreshMark) -> Result<bool, Down>;

    /// Whose session a refresh token belonged to that has been used before.
    async fn used_before(&self, mark: &RefreshMark) -> Result<Option<(UserId, SessionId)>, Down>;

    async fn close(&self, user: UserId, session: &SessionId) -> Result<(), Down>;

    async fn close_all(&self, user: UserId) -> Result<(), Down>;

    /// Gives all living sessions of the person this record, their remaining time unchanged.
    async fn rewrite_all(&self, record: &SessionRecord) -> Result<(), Down>;
}

/// What one request reported about one person or browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickBatch<'a> {
    pub pseudonym: String,
    pub personalisation_consent: bool,
    pub bot: bool,
    pub received_at: DateTime<Utc>,
    pub clicks: Vec<Click<'a>>,
    pub refused: Vec<RefusedClick>,
}

impl ClickBatch<'_> {
    /// That somebody wants no personalisation: without a click, and told all the same.
    pub fn refusal(pseudonym: String, received_at: DateTime<Utc>) -> Self {
        let (clicks, refused) = (Vec::new(), Vec::new());
        Self { pseudonym, personalisation_consent: false, bot: false, received_at, clicks, refused }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.personalisation_consent && self.clicks.is_empty() && self.refused.is_empty()
    }
}

/// Clicks on their way to personalization, and those that were refused on theirs to whoever looks for the reason.
#[async_trait]
pub trait ClickLog: Send + Sync {
    /// Returns when the good clicks are durable, and what tells of the refused ones is. Where there is room for good ones alone, the
    /// refused are dropped and counted.
    async fn append(&self, batch: &ClickBatch<'_>) -> Result<(), Down>;
}

/// Something that costs others when it is done without measure.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    SignUp { source: IpAddr },
    LogIn { source: IpAddr, email: &'a str },
    Refresh { source: IpAddr },
    ReportClicks { source: IpAddr, pseudonym: &'a str },
}

/// Limits that stand even when nothing else does.
pub trait Limits: Send + Sync {
    /// # Errors
    /// How long to wait.
    fn admit(&self, attempt: Attempt<'_>) -> Result<(), Duration>;
}
