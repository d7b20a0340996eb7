//! Pictures in a folder of this machine, or of a volume that all processes of the region share: one process alone sees what it
//! took otherwise. Another object store is another implementation of the same port.
//!
//! A picture is written beside its place and then moved there, so that nobody ever reads half of one. Its name is its content,
//! so writing it twice, or from two processes at once, ends the same.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::picture::PictureName;
use crate::usecases::ports::pictures::{Pictures, PicturesDown};

#[derive(Clone, Debug)]
pub struct PictureFolder {
    folder: PathBuf,
}

impl PictureFolder {
    /// Made when first used.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn place(&self, name: &PictureName) -> PathBuf {
        // Two digits of the digest: no folder grows beyond what a file system likes.
        self.folder.join(&name.as_str()[..2]).join(name.as_str())
    }
}

#[async_trait]
impl Pictures for PictureFolder {
    async fn put(&self, name: &PictureName, bytes: Bytes) -> Result<(), PicturesDown> {
        let place = self.place(name);
        if tokio::fs::try_exists(&place).await.map_err(down)? {
            return Ok(());
        }
        let beside = place.with_extension(format!("{}.part", common::ids::random()));
        if let Some(folder) = place.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(down)?;
        }
        tokio::fs::write(&beside, &bytes).await.map_err(down)?;
        // On disk before it has its name: a name without its content would be wrong for ever.
        tokio::fs::File::open(&beside).await.map_err(down)?.sync_all().await.map_err(down)?;
        tokio::fs::rename(&beside, &place).await.map_err(down)
    }

    async fn get(&self, name: &PictureName) -> Result<Option<Bytes>, PicturesDown> {
        match tokio::fs::read(self.place(name)).await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(down(error)),
        }
    }

    async fn has(&self, name: &PictureName) -> Result<bool, PicturesDown> {
        tokio::fs::try_exists(self.place(name)).await.map_err(down)
    }

    fn scratch(&self) -> PathBuf {
        self.folder.join("incoming")
    }
}

fn down(error: std::io::Error) -> PicturesDown {
    PicturesDown(error.to_string())
}
