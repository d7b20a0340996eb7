//! A folder with a file per key, named by the key's id: what HAProxy's `jwt_verify` reads. A leaving key says since when in a line before its
//! PEM, which readers of PEM pass over. HAProxy reads such files when it starts: whoever changed the folder reloads it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::declarative::{instant, replace};
use crate::keyring::{Held, Keyring};

const LEFT: &str = "left: ";

/// The folder; it is made when it is not there.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// The keys in the folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn held(&self) -> Result<Keyring> {
        let told = || format!("read {}", self.0.display());
        if !self.0.is_dir() {
            return Ok(Keyring::new());
        }
        let mut ring = Keyring::new();
        for entry in fs::read_dir(&self.0).with_context(told)? {
            let path = entry.with_context(told)?.path();
            let id = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".pem"));
            let Some(id) = id else { continue };
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let (left, pem) = match text.strip_prefix(LEFT).and_then(|rest| rest.split_once('\n')) {
                Some((left, pem)) => {
                    (Some(instant(left).with_context(|| format!("{}", path.display()))?), pem.to_owned())
                }
                None => (None, text),
            };
            ring.insert(id.to_owned(), Held { pem, left });
        }
        Ok(ring)
    }

    /// Makes the folder what `next` says: first what is new, then what goes.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    pub fn write(&self, held: &Keyring, next: &Keyring) -> Result<()> {
        fs::create_dir_all(&self.0).with_context(|| format!("make {}", self.0.display()))?;
        let path = |id: &str| self.0.join(format!("{id}.pem"));
        for (id, key) in next.iter().filter(|(id, key)| held.get(*id) != Some(*key)) {
            let left = key.left.map_or_else(String::new, |left| format!("{LEFT}{}\n", left.timestamp()));
            replace(&path(id), &format!("{left}{}", key.pem))?;
        }
        for id in held.keys().filter(|id| !next.contains_key(*id)) {
            fs::remove_file(path(id)).with_context(|| format!("remove {}", path(id).display()))?;
        }
        Ok(())
    }
}
