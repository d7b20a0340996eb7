//! Interest ratings in Redis: written by personalization, read by catalog. Also how a person becomes a pseudonym, since
//! the intake that writes clicks and the services that read ratings must arrive at the same key.

use ::common::{UserId, VisitorId};
use hmac::{Hmac, Mac as _};
use prost::Message as _;
use sha2::Sha256;

use crate::personalization::v1::InterestProfile;

/// Profiles of people who do not come back are forgotten after this many seconds (30 days).
pub const PROFILE_LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Whose interests: a person with an account, or a browser without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Person(UserId),
    Visitor(VisitorId),
}

impl From<UserId> for Subject {
    fn from(user: UserId) -> Self {
        Self::Person(user)
    }
}

impl From<VisitorId> for Subject {
    fn from(visitor: VisitorId) -> Self {
        Self::Visitor(visitor)
    }
}

/// A keyed hash of a person or browser: 32 lower-case hexadecimal digits (128 bits). Without the region's key nobody can
/// go back from it to a person, nor from a guessed person to it. A browser chooses its own id; one that chooses somebody's
/// user id still gets another pseudonym, so it can neither read nor write that person's profile.
pub fn pseudonym(key: &[u8], subject: impl Into<Subject>) -> String {
    // HMAC takes keys of any length; the error type exists for other algorithms.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("an HMAC key has any length"));
    let (kind, id) = match subject.into() {
        Subject::Person(user) => (b"person:".as_slice(), user.uuid()),
        Subject::Visitor(visitor) => (b"visitor:".as_slice(), visitor.uuid()),
    };
    mac.update(kind);
    mac.update(id.as_bytes());
    hex::encode(&mac.finalize().into_bytes()[..16])
}

/// Name of the key of something about a person. The braces keep them in one slot wherever nothing stands before it.
pub fn key(what: &str, pseudonym: &str) -> String {
    format!("{what}:{{{pseudonym}}}")
}

/// Name of the key of a person's profile. Where it lies says `places`.
pub fn profile_key(pseudonym: &str) -> String {
    key("interest", pseudonym)
}

pub fn encode_profile(profile: &InterestProfile) -> Vec<u8> {
    profile.encode_to_vec()
}

/// `None` for bytes that are not a profile: ranking then does without.
pub fn decode_profile(bytes: &[u8]) -> Option<InterestProfile> {
    InterestProfile::decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_depends_on_the_key_and_the_person() {
        let (one, two) = (UserId::from_uuid(uuid::Uuid::from_u128(1)), UserId::from_uuid(uuid::Uuid::from_u128(2)));
        assert_eq!(pseudonym(b"key", one), pseudonym(b"key", one));
        assert_ne!(pseudonym(b"key", one), pseudonym(b"key", two));
        assert_ne!(pseudonym(b"key", one), pseudonym(b"other", one));
        assert_ne!(
            pseudonym(b"key", one),
            pseudonym(b"key", VisitorId::from_uuid(one.uuid())),
            "a chosen visitor id is nobody's"
        );
        assert_eq!(pseudonym(b"key", one).len(), 32);
    }
}
