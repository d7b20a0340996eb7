//! The cursor of a person's list of orders: a place in the list with a check over it and its owner, so that a cursor that was
//! altered or belongs to somebody else is refused instead of silently leading somewhere. It grants nothing: the owner stands
//! in the query itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use common::{OrderId, UserId};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::usecases::views::Position;

const VERSION: u8 = 1;
/// Bytes of the check: enough against mistakes, and nothing is gained by making one fit.
const CHECK: usize = 8;
const LENGTH: usize = 1 + 8 + 16 + CHECK;

pub fn encode(owner: UserId, position: Position) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(position.created_at.timestamp_micros().to_be_bytes());
    bytes.extend(position.id.uuid().as_bytes());
    let check = check(owner, &bytes);
    bytes.extend(check);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` for anything that [`encode`] did not make for `owner`.
pub fn decode(owner: UserId, text: &str) -> Option<Position> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == LENGTH)?;
    let (place, claimed) = bytes.split_at(LENGTH - CHECK);
    if place[0] != VERSION || check(owner, place) != claimed {
        return None;
    }
    let micros = i64::from_be_bytes(place[1..9].try_into().ok()?);
    Some(Position {
        created_at: DateTime::from_timestamp_micros(micros)?,
        id: OrderId::from_uuid(Uuid::from_slice(&place[9..]).ok()?),
    })
}

fn check(owner: UserId, place: &[u8]) -> [u8; CHECK] {
    let digest =
        Sha256::new().chain_update(b"orders").chain_update(owner.uuid().as_bytes()).chain_update(place).finalize();
    let mut check = [0; CHECK];
    check.copy_from_slice(&digest[..CHECK]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_owner_and_only_unaltered() {
        let (owner, other) = (UserId::from_uuid(Uuid::from_u128(1)), UserId::from_uuid(Uuid::from_u128(2)));
        let position = Position {
            created_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            id: Uuid::from_u128(9).into(),
        };
        let cursor = encode(owner, position);
        assert_eq!(decode(owner, &cursor), Some(position));
        assert_eq!(decode(other, &cursor), None);
        for place in 0..cursor.len() {
            let mut altered = cursor.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            assert_ne!(decode(owner, std::str::from_utf8(&altered).unwrap()), Some(position));
        }
        for text in ["", "x", "../../", "' OR 1=1 --", &cursor.repeat(2), &cursor[1..]] {
            assert_eq!(decode(owner, text), None, "{text}");
        }
    }
}
