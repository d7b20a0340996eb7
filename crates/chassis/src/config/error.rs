//! What can be wrong with a configuration, said in one line that names the key and where it was set.

use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Defaults,
    File(PathBuf),
    /// Name of the variable.
    Environment(String),
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => out.write_str("the compiled-in defaults"),
            Self::File(path) => path.display().fmt(out),
            Self::Environment(name) => write!(out, "environment variable {name}"),
        }
    }
}

/// The process ends with exit code 2 before any port opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    UnknownKey {
        key: String,
        source: Source,
    },
    WrongType {
        key: String,
        source: Source,
        expected: &'static str,
        found: &'static str,
    },
    /// The settings struct did not accept the value.
    Refused {
        key: String,
        source: Source,
        reason: String,
    },
    Malformed {
        source: Source,
        line: usize,
        reason: String,
    },
    Unreadable {
        source: Source,
        error: String,
    },
    /// Two values do not fit together; said by the service's own check.
    Invalid {
        key: String,
        reason: String,
    },
}

impl ConfigError {
    /// For `Service::check`: `key` as in `gateway.base_url`, `reason` in a few words.
    pub fn invalid(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { key: key.into(), reason: reason.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, source } => write!(out, "unknown key {key} in {source}"),
            Self::WrongType { key, source, expected, found } => {
                write!(out, "{key} in {source}: expected {expected}, found {found}")
            }
            Self::Refused { key, source, reason } => write!(out, "{key} in {source}: {reason}"),
            Self::Malformed { source, line, reason } => write!(out, "{source} line {line}: {reason}"),
            Self::Unreadable { source, error } => write!(out, "cannot read {source}: {error}"),
            Self::Invalid { key, reason } => write!(out, "{key}: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {}
