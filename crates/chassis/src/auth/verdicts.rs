//! Tokens that were found good, remembered by their hash: a person sends the same token for minutes, and checking its signature
//! costs more than everything else that is done to read a page.
//!
//! Decided here: for how long a verdict counts. Until the token expires, and only while the issuer still publishes the key that
//! signed it. Bad tokens are not remembered: a forger could fill the memory with them. Whether a session lives is not part of the
//! verdict; it is asked each time.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use ring::digest::{SHA256, digest};

use super::token::TokenHolder;

/// About twenty thousand people at once in one process; more cost them a signature check each.
const MOST_BYTES: u64 = 8 << 20;
/// What a verdict takes beside its texts.
const OVERHEAD: usize = 256;

#[derive(Debug)]
pub(super) struct Verdict {
    pub holder: TokenHolder,
    /// The key that signed it.
    pub key_id: String,
    /// Unix seconds from which on it no longer counts.
    pub until: i64,
}

type Hash = [u8; 32];

pub(super) struct Verdicts(Cache<Hash, Arc<Verdict>, BySize>);

#[derive(Clone)]
struct BySize;

impl Weighter<Hash, Arc<Verdict>> for BySize {
    fn weight(&self, _: &Hash, verdict: &Arc<Verdict>) -> u64 {
        let roles: usize = verdict.holder.roles.iter().map(|role| role.len() + size_of::<String>()).sum();
        (OVERHEAD + verdict.key_id.len() + roles) as u64
    }
}

impl Default for Verdicts {
    fn default() -> Self {
        Self(Cache::with_weighter((MOST_BYTES / OVERHEAD as u64) as usize, MOST_BYTES, BySize))
    }
}

impl Verdicts {
    /// What was found about `token`, if that still counts at `now`.
    pub(super) fn of(&self, token: &str, now: i64) -> Option<Arc<Verdict>> {
        self.0.get(&hash(token)).filter(|verdict| now < verdict.until)
    }

    pub(super) fn remember(&self, token: &str, verdict: Verdict) {
        self.0.insert(hash(token), Arc::new(verdict));
    }
}

/// Of the whole token, signature included: another signature over the same claims is another token.
fn hash(token: &str) -> Hash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}
