//! Where a list goes on. Decided here: a cursor is ours alone, opaque, and belongs to one list with one set of filters. A
//! cursor that was changed, invented, or taken from another list is not one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{ErrorKind, Explain};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Longer texts are not looked at: the longest payload is a page of SKUs.
const MAX_LENGTH: usize = 4096;
/// 96 bits are enough against guessing: a forged cursor gains nothing but a wrong page.
const TAG_LENGTH: usize = 12;

/// Seals and opens the cursors of a region.
#[derive(Clone)]
pub struct CursorSeal {
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one of this list; begin again without it")]
pub struct InvalidCursor;

impl Explain for InvalidCursor {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> &'static str {
        "cursor-invalid"
    }
}

impl CursorSeal {
    /// `secret` may serve other purposes too: the seal works with a key derived from it.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: tag(secret, &["catalog list cursor"]) }
    }

    /// A cursor of the list `scope` that carries `payload`.
    pub fn seal(&self, scope: &str, payload: &str) -> String {
        let tag = tag(&self.key, &[scope, payload]);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(&tag[..TAG_LENGTH]))
    }

    /// The payload of a cursor of the list `scope`.
    ///
    /// # Errors
    /// [`InvalidCursor`] for every other text.
    pub fn open(&self, scope: &str, cursor: &str) -> Result<String, InvalidCursor> {
        let (payload, seal) = cursor.split_once('.').filter(|_| cursor.len() <= MAX_LENGTH).ok_or(InvalidCursor)?;
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor);
        let payload = String::from_utf8(decoded(payload)?).map_err(|_| InvalidCursor)?;
        let seal = decoded(seal)?;
        let expected = tag(&self.key, &[scope, &payload]);
        if seal.len() == TAG_LENGTH && same(&seal, &expected[..TAG_LENGTH]) { Ok(payload) } else { Err(InvalidCursor) }
    }
}

/// Keyed hash of `parts`, each preceded by its length so that no two lists of parts are one text.
fn tag(key: &[u8], parts: &[&str]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("an HMAC key has any length"));
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().to_vec()
}

/// Compares without telling by its time where the first difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_opens_only_in_its_own_list_and_region() {
        let (seal, other) = (CursorSeal::new(b"secret"), CursorSeal::new(b"another"));
        let cursor = seal.seal("products", "A-1");
        assert_eq!(seal.open("products", &cursor), Ok("A-1".to_owned()));
        assert_eq!(seal.open("search", &cursor), Err(InvalidCursor));
        assert_eq!(other.open("products", &cursor), Err(InvalidCursor));
    }

    proptest! {
        #[test]
        fn an_invented_or_changed_cursor_is_refused(text in ".*", at in 0_usize..100, letter in "[A-Za-z0-9]") {
            let seal = CursorSeal::new(b"secret");
            prop_assert_eq!(seal.open("products", &text), Err(InvalidCursor));
            let cursor = seal.seal("products", "FA-0001;FA-0002");
            let at = at % cursor.len();
            let changed = format!("{}{letter}{}", &cursor[..at], &cursor[at + 1..]);
            // The last letter of each part carries unused bits, so only texts that differ in meaning must differ in effect.
            prop_assert!(changed == cursor || seal.open("products", &changed) != Ok("FA-0001;FA-0003".to_owned()));
            prop_assert!(changed == cursor || seal.open("products", &changed).map_or(true, |payload| payload == "FA-0001;FA-0002"));
        }
    }
}
