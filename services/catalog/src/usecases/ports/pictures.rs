//! Where pictures are kept: an object store of named bytes.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use common::{ErrorKind, Explain};

use crate::domain::picture::PictureName;

/// The object store did not do what was asked; the text is for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the pictures cannot be used: {0}")]
pub struct PicturesDown(pub String);

impl Explain for PicturesDown {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        "dependency-down"
    }
}

#[async_trait]
pub trait Pictures: Send + Sync {
    /// Resolves when the picture is there for good. Putting it again changes nothing.
    async fn put(&self, name: &PictureName, bytes: Bytes) -> Result<(), PicturesDown>;

    async fn get(&self, name: &PictureName) -> Result<Option<Bytes>, PicturesDown>;

    async fn has(&self, name: &PictureName) -> Result<bool, PicturesDown>;

    /// A folder of this machine for files that are on their way.
    fn scratch(&self) -> PathBuf;
}
