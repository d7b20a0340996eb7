//! The session in Redis: written by user at login, read by every service on every request. A missing key never grants anything.

use ::common::{Region, SessionId, UserId};

/// Longest life of a session without a login, in seconds (30 days).
pub const ABSOLUTE_LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;
/// A session that is not refreshed for this long is gone, in seconds (1 day).
pub const IDLE_LIFETIME_SECONDS: u64 = 24 * 60 * 60;

/// Key of one session.
pub fn key(session: &SessionId) -> String {
    format!("session:{}", session.as_str())
}

/// Key of the set of a person's sessions, for logging out everywhere.
pub fn index_key(user: UserId) -> String {
    format!("sessions:{user}")
}

/// What a session says. The consent is here so that a page need not ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    pub user_id: UserId,
    pub region: Region,
    pub personalisation_consent: bool,
}

impl SessionRecord {
    /// `1;<user>;<region>;<0|1>`; the first field is the layout's version.
    pub fn encode(&self) -> String {
        format!("1;{};{};{}", self.user_id, self.region.code(), u8::from(self.personalisation_consent))
    }

    /// `None` for anything that is not a session of this layout.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let (version, user, region, consent) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "1" || parts.next().is_some() {
            return None;
        }
        let personalisation_consent = match consent {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        Some(Self { user_id: user.parse().ok()?, region: region.parse().ok()?, personalisation_consent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_session_is_a_session() {
        let record = SessionRecord {
            user_id: UserId::from_uuid(common_ids()),
            region: Region::ALL[0],
            personalisation_consent: true,
        };
        assert_eq!(SessionRecord::decode(&record.encode()), Some(record.clone()));
        for broken in [
            "",
            "1;x;eu;1",
            &record.encode().replace("1;", "2;"),
            &format!("{};x", record.encode()),
            &record.encode().replace(";1", ";2"),
        ] {
            assert_ne!(SessionRecord::decode(broken), Some(record.clone()), "{broken}");
        }
    }

    fn common_ids() -> uuid::Uuid {
        ::common::ids::random()
    }
}
