//! How long to wait before asking again. 1 s, 2 s, 4 s … 5 min, each between half and the whole of that.
//!
//! The jitter is derived from the attempt and its count of tries instead of drawn: the domain has no source of chance, and
//! two attempts still do not wake together.

use chrono::Duration;
use sha2::{Digest as _, Sha256};

/// The first pause: a gateway that hiccups is back within seconds.
const FIRST_MS: u64 = 1_000;
/// The longest pause: an unknown outcome must be resolved within minutes of the gateway's return.
const LONGEST_MS: u64 = 300_000;

/// The pause after `tries` fruitless tries (from 1) of `subject`.
pub fn pause(subject: uuid::Uuid, tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(20);
    let whole = FIRST_MS.saturating_mul(1 << doublings).min(LONGEST_MS);
    let digest = Sha256::new().chain_update(subject.as_bytes()).chain_update(tries.to_be_bytes()).finalize();
    let chance = u64::from(u16::from_be_bytes([digest[0], digest[1]]));
    let ms = whole / 2 + whole / 2 * chance / u64::from(u16::MAX);
    Duration::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// A pause that somebody else asked for, within our own bounds: `Retry-After: 3600` does not park an order for an hour.
pub fn bounded(asked: std::time::Duration, ours: Duration) -> Duration {
    let longest = Duration::milliseconds(i64::try_from(LONGEST_MS).unwrap_or(i64::MAX));
    Duration::from_std(asked).unwrap_or(longest).clamp(ours, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds_and_differ_between_attempts() {
        let (one, two) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
        for tries in [0, 1, 2, 5, 9, 50, u32::MAX] {
            let pause = pause(one, tries);
            assert!(pause >= Duration::milliseconds(500) && pause <= Duration::minutes(5), "{tries}: {pause}");
        }
        assert!(pause(one, 12) >= Duration::seconds(150));
        assert_ne!(pause(one, 3), pause(two, 3));
        assert_eq!(pause(one, 3), pause(one, 3));
    }

    #[test]
    fn a_neighbours_wish_stays_within_our_bounds() {
        let ours = Duration::seconds(2);
        assert_eq!(bounded(std::time::Duration::from_secs(3600), ours), Duration::minutes(5));
        assert_eq!(bounded(std::time::Duration::ZERO, ours), ours);
        assert_eq!(bounded(std::time::Duration::from_secs(7), ours), Duration::seconds(7));
        assert_eq!(bounded(std::time::Duration::MAX, ours), Duration::minutes(5));
    }
}
