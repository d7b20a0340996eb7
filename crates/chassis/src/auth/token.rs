//! An access token: three parts, a header of three known members, claims with known types. Whatever is not exactly that is not
//! a token. Reading comes before trusting; the types say which of the two has happened.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Region, SessionId, UserId};
use serde::Deserialize;

use super::keys::{Algorithm, Key, MAX_KEY_ID};

/// A token of ours has about 1 KiB; more roles than fit here are a mistake.
const MAX_TOKEN: usize = 8 * 1024;

/// What a token must say to be ours.
#[derive(Debug)]
pub(super) struct Expected {
    pub issuer: String,
    pub audience: String,
    pub algorithm: Algorithm,
    /// Seconds by which clocks may differ.
    pub leeway_s: i64,
}

/// Parsed, and not to be believed.
pub(super) struct Unread<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    pub header: Header,
    pub claims: Claims,
}

/// The person a token was issued to: signed by our issuer, for us, and in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub region: Region,
    pub roles: Vec<String>,
}

/// Any other member (`jku`, `x5u`, `jwk`, `x5c`, `crit`, `b64`, `zip`) makes the token unreadable: none of them is needed and
/// each has been used to choose the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    alg: String,
    typ: String,
    pub kid: String,
}

#[derive(Deserialize)]
pub(super) struct Claims {
    pub iss: String,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
    sub: String,
    sid: String,
    residency_region: String,
    #[serde(default)]
    realm_access: RealmAccess,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Deserialize)]
struct RealmAccess {
    #[serde(default)]
    roles: Vec<String>,
}

/// Takes a token apart. `None` for whatever is not one.
pub(super) fn read(token: &str) -> Option<Unread<'_>> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    // A further dot would be outside of the alphabet, so five-part tokens end here.
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let header: Header = serde_json::from_slice(&part(header)?).ok()?;
    let claims: Claims = serde_json::from_slice(&part(claims)?).ok()?;
    Some(Unread { signed, signature: part(signature)?, header, claims })
}

impl Unread<'_> {
    /// Whether the token says what ours say. Checked before the signature, because a key is looked up only for such tokens.
    pub(super) fn is_acceptable(&self, expected: &Expected, now: i64) -> bool {
        let (header, claims) = (&self.header, &self.claims);
        let audience = match &claims.aud {
            Audience::One(one) => *one == expected.audience,
            Audience::Many(many) => many.contains(&expected.audience),
        };
        let reached =
            |instant: Option<i64>| instant.is_none_or(|instant| instant <= now.saturating_add(expected.leeway_s));
        header.alg == expected.algorithm.name()
            && matches!(&*header.typ, "at+jwt" | "application/at+jwt")
            && (1..=MAX_KEY_ID).contains(&header.kid.len())
            && claims.iss == expected.issuer
            && audience
            && claims.exp > 0
            && claims.exp.saturating_add(expected.leeway_s) > now
            && reached(claims.nbf)
            && reached(claims.iat)
    }

    /// Unix seconds from which on [`Self::is_acceptable`] says no because of the time.
    pub(super) fn good_until(&self, expected: &Expected) -> i64 {
        self.claims.exp.saturating_add(expected.leeway_s)
    }

    /// Checks the signature; only then the claims become facts.
    pub(super) fn verified_by(self, key: &Key) -> Option<TokenHolder> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return None;
        }
        Some(TokenHolder {
            user_id: self.claims.sub.parse().ok()?,
            session_id: SessionId::parse(&self.claims.sid).ok()?,
            region: self.claims.residency_region.parse().ok()?,
            roles: self.claims.realm_access.roles,
        })
    }
}
