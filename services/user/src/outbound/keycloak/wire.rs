//! Keycloak's representations, as far as we use them. Attributes carry what a sign-up needs to be finished from here alone.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Fault;
use crate::domain::{Consents, SignUp, SignUpId};
use crate::usecases::ports::{Identity, TokenPair};

pub(super) const SIGN_UP: &str = "sign_up_id";
const REGION: &str = "residency_region";
const LANGUAGE: &str = "language";
const PERSONALISATION: &str = "consent_personalisation";
const MARKETING: &str = "consent_marketing";

type Attributes = HashMap<String, Vec<String>>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewUser<'a> {
    username: &'a str,
    email: &'a str,
    enabled: bool,
    email_verified: bool,
    first_name: &'a str,
    last_name: &'a str,
    attributes: Attributes,
    credentials: [Credential<'a>; 1],
}

#[derive(Serialize)]
struct Credential<'a> {
    r#type: &'static str,
    value: &'a str,
    temporary: bool,
}

impl<'a> NewUser<'a> {
    pub(super) fn new(sign_up: SignUpId, person: &'a SignUp) -> Self {
        let attributes = [
            (SIGN_UP, sign_up.to_string()),
            (REGION, person.region.code().to_owned()),
            (LANGUAGE, person.language.code().to_owned()),
            (PERSONALISATION, person.consents.personalisation.to_string()),
            (MARKETING, person.consents.marketing.to_string()),
        ];
        Self {
            username: person.email.open(),
            email: person.email.open(),
            enabled: true,
            email_verified: false,
            first_name: person.first_name.open(),
            last_name: person.last_name.open(),
            attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect(),
            credentials: [Credential { r#type: "password", value: person.password.open(), temporary: false }],
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    id: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[serde(default)]
    attributes: Attributes,
}

impl TryFrom<User> for Identity {
    type Error = Fault;

    fn try_from(mut user: User) -> Result<Self, Fault> {
        let mut attribute = |name: &str| user.attributes.remove(name).and_then(|values| values.into_iter().next());
        let sign_up = attribute(SIGN_UP).and_then(|text| uuid::Uuid::try_parse(&text).ok()).map(SignUpId::from_uuid);
        // Anything but a clear yes is a no.
        let mut agreed = |name: &str| attribute(name).as_deref() == Some("true");
        let consents = Consents { personalisation: agreed(PERSONALISATION), marketing: agreed(MARKETING) };
        Ok(Self {
            user_id: user.id.parse().map_err(|_| Fault::Missing("a user id of ours"))?,
            sign_up,
            language: attribute(LANGUAGE),
            region: attribute(REGION),
            consents,
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Tokens {
    access_token: String,
    expires_in: u64,
    refresh_token: String,
    refresh_expires_in: u64,
}

impl From<Tokens> for TokenPair {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_token,
            expires_in: tokens.expires_in,
            refresh_token: tokens.refresh_token,
            refresh_expires_in: tokens.refresh_expires_in,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ServiceToken {
    pub(super) access_token: String,
    pub(super) expires_in: u32,
}

/// What Keycloak says when it refuses; two shapes, one per API.
#[derive(Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) error: String,
    #[serde(default, rename = "errorMessage")]
    error_message: String,
}

impl Refusal {
    pub(super) fn is_about_the_password(&self) -> bool {
        self.error_message.to_ascii_lowercase().contains("password")
            || self.error.to_ascii_lowercase().contains("password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_from_its_attributes() {
        let text = r#"{"id":"3b1f8a3e-9a55-4a53-9a55-0b7d1f5d9c11","username":"ada@example.com","email":"ada@example.com","firstName":"Ada",
            "lastName":"Lovelace","attributes":{"sign_up_id":["0191f3f0-0000-7000-8000-000000000001"],"residency_region":["eu"],
            "language":["de"],"consent_personalisation":["true"],"consent_marketing":["yes"]}}"#;
        let user: User = serde_json::from_str(text).expect("a user");
        let identity = Identity::try_from(user).expect("an identity");
        assert!(identity.sign_up.is_some());
        assert_eq!((identity.region.as_deref(), identity.language.as_deref()), (Some("eu"), Some("de")));
        assert_eq!(identity.consents, Consents { personalisation: true, marketing: false });
    }

    #[test]
    fn an_identity_of_an_operator_has_no_attributes() {
        let user: User = serde_json::from_str(r#"{"id":"3b1f8a3e-9a55-4a53-9a55-0b7d1f5d9c11"}"#).expect("a user");
        let identity = Identity::try_from(user).expect("an identity");
        assert_eq!((identity.sign_up, identity.region, identity.consents), (None, None, Consents::default()));
    }

    #[test]
    fn a_user_id_that_is_not_ours_is_a_fault() {
        let user: User = serde_json::from_str(r#"{"id":"f:ldap:ada"}"#).expect("a user");
        assert!(Identity::try_from(user).is_err());
    }
}
