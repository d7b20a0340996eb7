//! The index of visits on the disk of one machine: what a process answers from when it starts, with the store or without.

use std::path::PathBuf;

/// A snapshot in a file of its own; without a folder there is none.
#[derive(Clone, Debug, Default)]
pub struct VisitFile {
    folder: Option<PathBuf>,
}

impl VisitFile {
    /// An empty name means that nothing is kept.
    pub fn in_folder(folder: &str) -> Self {
        Self { folder: Some(PathBuf::from(folder)).filter(|folder| !folder.as_os_str().is_empty()) }
    }

    /// Whether anything is kept.
    pub fn is_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// `None` when there is no file, or none that can be read: both mean a start from the store.
    pub fn read(&self) -> Option<Vec<u8>> {
        std::fs::read(self.folder.as_ref()?.join("visits.snapshot")).ok()
    }

    /// Writes beside the old file and puts the new one in its place, so that a reader finds the one or the other, whole.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::create_dir_all(folder)?;
        let new = folder.join(format!("visits.snapshot.{}", std::process::id()));
        std::fs::write(&new, bytes)?;
        std::fs::rename(&new, folder.join("visits.snapshot"))
    }
}
