//! Kong's declarative file. Decided here: the committed file is the base and has no keys; what is written is that file with one credential per
//! key at its issuer's consumer. A key that is leaving carries since when as a tag, so the file is all the memory there is.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use chassis::auth::Algorithm;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::keyring::{Held, Keyring};

/// How the tag of a leaving key begins; Kong allows neither commas nor slashes in it.
const LEFT: &str = "left-";

/// The two files.
#[derive(Debug)]
pub struct Files {
    pub base: PathBuf,
    pub output: PathBuf,
}

impl Files {
    /// The keys that the gateway has now; none when nothing was written yet.
    ///
    /// # Errors
    /// When the file is there and cannot be understood: it is not guessed what a gateway has.
    pub fn held(&self) -> Result<Keyring> {
        match fs::read_to_string(&self.output) {
            Ok(text) => held(&text).with_context(|| format!("{}", self.output.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Keyring::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", self.output.display())),
        }
    }

    /// Writes the file when it differs. Says whether it did.
    ///
    /// # Errors
    /// When the base has no issuer, or the file cannot be written.
    pub fn write(&self, ring: &Keyring, algorithm: Algorithm) -> Result<bool> {
        let base = fs::read_to_string(&self.base).with_context(|| format!("read {}", self.base.display()))?;
        let text = with_keys(&base, ring, algorithm).with_context(|| format!("{}", self.base.display()))?;
        if fs::read_to_string(&self.output).is_ok_and(|now| now == text) {
            return Ok(false);
        }
        replace(&self.output, &text)?;
        Ok(true)
    }
}

/// The consumer of an issuer: the one place for its keys.
fn consumer(file: &mut Value) -> Result<&mut Value> {
    let all = file["consumers"].as_array_mut().context("has no consumers")?;
    let mut issuers =
        all.iter_mut().filter(|row| row["username"].as_str().is_some_and(|name| name.starts_with("issuer-")));
    let first = issuers.next().context("has no consumer for an issuer")?;
    if issuers.next().is_some() {
        bail!("has two consumers for an issuer");
    }
    Ok(first)
}

fn with_keys(base: &str, ring: &Keyring, algorithm: Algorithm) -> Result<String> {
    let mut file: Value = serde_json::from_str(base).context("is not JSON")?;
    let credentials = ring.iter().map(|(id, key)| {
        let mut credential = json!({"key": id, "algorithm": algorithm.name(), "rsa_public_key": key.pem});
        if let Some(left) = key.left {
            credential["tags"] = json!([format!("{LEFT}{}", left.timestamp())]);
        }
        credential
    });
    consumer(&mut file)?["jwt_secrets"] = credentials.collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&file)?))
}

fn held(text: &str) -> Result<Keyring> {
    let mut file: Value = serde_json::from_str(text).context("is not JSON")?;
    let rows = consumer(&mut file)?["jwt_secrets"].take();
    let key = |row: &Value| -> Result<(String, Held)> {
        let left = row["tags"][0].as_str().and_then(|tag| tag.strip_prefix(LEFT)).map(instant).transpose()?;
        let text =
            |name: &str| row[name].as_str().map(str::to_owned).with_context(|| format!("a credential has no {name}"));
        Ok((text("key")?, Held { pem: text("rsa_public_key")?, left }))
    };
    rows.as_array().into_iter().flatten().map(key).collect()
}

/// Seconds since 1970, as they are kept beside a leaving key.
pub(crate) fn instant(text: &str) -> Result<DateTime<Utc>> {
    let seconds = text.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    seconds.with_context(|| format!("{text:?} is no instant"))
}

/// A reader sees the old text or the new one.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let told = || format!("write {}", path.display());
    let fresh = path.with_extension("new");
    let mut file = fs::File::create(&fresh).with_context(told)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(told)?;
    fs::rename(&fresh, path).with_context(told)
}
