//! Gateways know no key sets: Kong wants one credential per key, HAProxy a file. This program reads the issuer's key set once, and writes
//! what the gateway shall hold. Decided here: the order of one run, and that a run which cannot read the issuer changes nothing. Which
//! keys are usable is decided by `chassis::auth`, for services and gateway alike; how long a key stays, by [`keyring`].

pub mod cluster;
pub mod declarative;
pub mod folder;
pub mod issuer;
pub mod keyring;
pub mod pem;

use anyhow::Result;
use chrono::{DateTime, Utc};

use keyring::Keyring;

/// Where keys are put.
pub enum Target {
    /// Kong's declarative file.
    File(declarative::Files),
    /// A folder with a PEM file per key, for HAProxy.
    Folder(folder::Folder),
    /// Secrets and a KongConsumer.
    Cluster(Box<cluster::Cluster>),
}

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub published: usize,
    /// Not published any more and still good.
    pub leaving: usize,
    /// Whether anything had to be written.
    pub changed: bool,
}

/// One run.
///
/// # Errors
/// The issuer or the target cannot be read, or not be written. What the gateway holds is as before, or further by whole keys.
pub async fn sync(
    issuer: &issuer::Issuer,
    target: &Target,
    overlap: chrono::Duration,
    now: DateTime<Utc>,
) -> Result<Done> {
    let published = issuer.keys().await?;
    let next = |held: &Keyring| keyring::renewed(held, &published, now, overlap);
    let (ring, changed) = match target {
        Target::File(files) => {
            let ring = next(&files.held()?);
            let changed = files.write(&ring, issuer.algorithm())?;
            (ring, changed)
        }
        Target::Folder(folder) => {
            let held = folder.held()?;
            let ring = next(&held);
            folder.write(&held, &ring)?;
            let changed = ring != held;
            (ring, changed)
        }
        Target::Cluster(cluster) => {
            let state = cluster.read().await?;
            let ring = next(&state.held());
            let changed = cluster.write(&state, &ring, issuer.algorithm()).await?;
            (ring, changed)
        }
    };
    let leaving = ring.values().filter(|key| key.left.is_some()).count();
    Ok(Done { published: published.len(), leaving, changed })
}
