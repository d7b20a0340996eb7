//! Signing up: what a request must say, what a registered person is, and when an unfinished sign-up is over.
//!
//! A sign-up reaches into two systems. Its intent is committed first, the identity second, the person third; whatever is
//! interrupted between them is carried on by [`NextStep`], which looks at facts only and therefore may run at any time.

use std::fmt;

use chrono::{DateTime, Duration, Utc};
use common::{FieldProblem, Region, UserId};
use uuid::Uuid;

use super::consent::Consents;
use super::person::{BrokenRule, Email, Language, Password, PersonName};

/// One try to sign up; also written into the identity, so that each of the two systems can find the other's half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignUpId(Uuid);

impl SignUpId {
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for SignUpId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(out)
    }
}

/// A sign-up as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct SignUpForm {
    pub email: String,
    pub password: String,
    pub first_name: String,
    pub last_name: String,
    pub residency_region: String,
    pub language: Option<String>,
    pub consents: Consents,
}

/// A sign-up that can be carried out here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignUp {
    pub email: Email,
    pub password: Password,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub language: Language,
    pub region: Region,
    pub consents: Consents,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedSignUp {
    /// The person lives in another region of the topology and must sign up there.
    Elsewhere(Region),
    Fields(Vec<FieldProblem>),
}

impl SignUp {
    /// The region is looked at first: of a person who belongs elsewhere nothing more is read.
    ///
    /// # Errors
    /// [`RefusedSignUp`] with the right region, or with all fields at fault.
    pub fn parse(form: &SignUpForm, here: Region) -> Result<Self, RefusedSignUp> {
        let mut problems = Vec::new();
        match form.residency_region.parse::<Region>() {
            Ok(region) if region == here => {}
            Ok(elsewhere) => return Err(RefusedSignUp::Elsewhere(elsewhere)),
            Err(_) => problems.push(BrokenRule::invalid("not a region, see GET /v1/regions").at("/residency_region")),
        }
        fn kept<T>(parsed: Result<T, BrokenRule>, pointer: &str, problems: &mut Vec<FieldProblem>) -> Option<T> {
            parsed.map_err(|broken| problems.push(broken.at(pointer))).ok()
        }
        let email = kept(Email::parse(&form.email), "/email", &mut problems);
        let password = kept(Password::parse(&form.password), "/password", &mut problems);
        let first_name = kept(PersonName::parse(&form.first_name), "/first_name", &mut problems);
        let last_name = kept(PersonName::parse(&form.last_name), "/last_name", &mut problems);
        let language = match &form.language {
            Some(text) => kept(Language::parse(text, here), "/language", &mut problems),
            None => Some(Language::default_of(here)),
        };
        match (email, password, first_name, last_name, language) {
            (Some(email), Some(password), Some(first_name), Some(last_name), Some(language)) if problems.is_empty() => {
                Ok(Self { email, password, first_name, last_name, language, region: here, consents: form.consents })
            }
            _ => Err(RefusedSignUp::Fields(problems)),
        }
    }
}

/// A person who has an identity and gets their row now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub user_id: UserId,
    /// Absent for identities that an operator made.
    pub sign_up: Option<SignUpId>,
    pub email: Email,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub language: Language,
    pub region: Region,
    pub consents: Consents,
    pub registered_at: DateTime<Utc>,
}

/// A sign-up younger than this is somebody's running request. Longer than all deadlines of that request together.
pub const LEFT_ALONE: Duration = Duration::seconds(30);
/// When the identity was not there, it is looked for once more after this time: the provider may still have been at it.
pub const SECOND_LOOK: Duration = Duration::minutes(10);

/// What becomes of a sign-up that nobody works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The identity exists: give the person their row.
    Complete(UserId),
    LookAgain {
        at: DateTime<Utc>,
    },
    /// There is no identity and there will be none.
    Abandon,
}

impl NextStep {
    /// `looks` counts the earlier vain looks, `found` is the identity that names this sign-up.
    pub fn decide(found: Option<UserId>, looks: u16, now: DateTime<Utc>) -> Self {
        match (found, looks) {
            (Some(user), _) => Self::Complete(user),
            (None, 0) => Self::LookAgain { at: now + SECOND_LOOK },
            (None, _) => Self::Abandon,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> SignUpForm {
        SignUpForm {
            email: "ada@example.com".to_owned(),
            password: "correct horse".to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            residency_region: Region::ALL[0].code().to_owned(),
            language: None,
            consents: Consents { personalisation: true, marketing: false },
        }
    }

    fn faults(form: &SignUpForm) -> Vec<String> {
        match SignUp::parse(form, Region::ALL[0]) {
            Err(RefusedSignUp::Fields(problems)) => problems.into_iter().map(|problem| problem.pointer).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_whole_form_is_a_sign_up() {
        let sign_up = SignUp::parse(&form(), Region::ALL[0]).expect("a whole form");
        assert_eq!(sign_up.language, Language::default_of(Region::ALL[0]));
        assert!(sign_up.consents.personalisation && !sign_up.consents.marketing);
    }

    #[test]
    fn every_field_at_fault_is_named() {
        let bad = SignUpForm {
            email: "x".to_owned(),
            password: "x".to_owned(),
            first_name: String::new(),
            last_name: "x".repeat(51),
            language: Some("xx".to_owned()),
            ..form()
        };
        assert_eq!(faults(&bad), ["/email", "/password", "/first_name", "/last_name", "/language"]);
    }

    #[test]
    fn only_this_region_signs_people_up() {
        let elsewhere =
            SignUpForm { residency_region: Region::ALL[1].code().to_owned(), email: "x".to_owned(), ..form() };
        assert_eq!(SignUp::parse(&elsewhere, Region::ALL[0]), Err(RefusedSignUp::Elsewhere(Region::ALL[1])));
        for spelling in ["EU", "EU ", "eu ", "ＥＵ", "XX", ""] {
            assert_eq!(
                faults(&SignUpForm { residency_region: spelling.to_owned(), ..form() }),
                ["/residency_region"],
                "{spelling:?}"
            );
        }
    }

    #[test]
    fn an_unfinished_sign_up_ends_in_a_person_or_in_nothing() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let user = UserId::from_uuid(Uuid::from_u128(7));
        let cases = [
            (Some(user), 0, NextStep::Complete(user)),
            (Some(user), 9, NextStep::Complete(user)),
            (None, 0, NextStep::LookAgain { at: now + SECOND_LOOK }),
            (None, 1, NextStep::Abandon),
        ];
        for (found, looks, expected) in cases {
            assert_eq!(NextStep::decide(found, looks, now), expected);
        }
    }
}
