//! The gateway's idempotency keys, derived from what they protect: a site that lost the row sends the same key again and
//! meets the charge that exists.

use common::{OrderId, Region};
use sha2::{Digest as _, Sha256};

use super::{Attempt, Call};

/// `base32(SHA-256(region ‖ order ‖ attempt number ‖ operation))`: 52 lower-case letters and digits. Parts are separated by a
/// character none of them contains.
pub fn gateway_key(region: Region, order: OrderId, attempt: u32, call: Call) -> String {
    let digest = Sha256::digest(format!("{}\u{1f}{order}\u{1f}{attempt}\u{1f}{}", region.code(), call.code()));
    base32(&digest)
}

/// The key under which `call` is sent for `attempt` as it was last committed.
///
/// A gateway repeats its first answer to a key, refusals included: a cancel that was refused while the bank was still
/// deciding would be refused for ever. A cancel moves no money and may be sent again under a new key, so its key knows the
/// version of the attempt; whatever moves money has one key for good.
pub fn call_key(region: Region, attempt: &Attempt, call: Call) -> String {
    match call {
        Call::Cancel => {
            let text = format!("{}\u{1f}{}\u{1f}{}", region.code(), attempt.order, attempt.number);
            base32(&Sha256::digest(format!("{text}\u{1f}{}\u{1f}{}", call.code(), attempt.version)))
        }
        _ => gateway_key(region, attempt.order, attempt.number, call),
    }
}

/// The same key for a gateway whose keys may not be longer than `longest`: its beginning, five bits in each character.
pub fn short_gateway_key(region: Region, order: OrderId, attempt: u32, call: Call, longest: usize) -> String {
    gateway_key(region, order, attempt, call).chars().take(longest).collect()
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let (mut text, mut buffer, mut bits) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits & 31) as usize]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_rfc_4648_without_padding() {
        for (plain, coded) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_key_depends_on_each_part_and_never_changes() {
        let (one, two) = (OrderId::from_uuid(uuid::Uuid::from_u128(1)), OrderId::from_uuid(uuid::Uuid::from_u128(2)));
        let key = gateway_key(Region::Eu, one, 1, Call::Confirm);
        assert_eq!(key, gateway_key(Region::Eu, one, 1, Call::Confirm));
        for other in [
            gateway_key(Region::Us, one, 1, Call::Confirm),
            gateway_key(Region::Eu, two, 1, Call::Confirm),
            gateway_key(Region::Eu, one, 2, Call::Confirm),
            gateway_key(Region::Eu, one, 1, Call::Capture),
        ] {
            assert_ne!(key, other);
        }
        assert_eq!(short_gateway_key(Region::Eu, one, 1, Call::Confirm, 45), key[..45]);
        // Recorded: another derivation would meet no charge that an earlier release made.
        assert_eq!(key.len(), 52);
    }

    #[test]
    fn only_a_cancel_gets_a_new_key_with_a_new_version() {
        let order = crate::domain::order::tests::an_order();
        let first = Attempt::charge(&order, None, chrono::DateTime::UNIX_EPOCH);
        let later = Attempt { version: 2, ..first.clone() };
        for call in Call::ALL {
            let same = call_key(Region::Eu, &first, call) == call_key(Region::Eu, &later, call);
            assert_eq!(same, call != Call::Cancel, "{call:?}");
            let plain = gateway_key(Region::Eu, order.id, 1, call);
            assert_eq!(call_key(Region::Eu, &first, call) == plain, call != Call::Cancel, "{call:?}");
        }
    }
}
