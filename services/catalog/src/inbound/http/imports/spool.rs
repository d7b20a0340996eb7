//! An uploaded file, kept on disk while it is looked through: it may be larger than memory, and it must be there to its end
//! before a line of it counts. And its lines, each of bounded length.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};

/// The largest file: half a million products of half a kilobyte. The edge lets as much through.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// A file that is older than this is nobody's any more: its process was killed. The longest import takes minutes.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest line: a product with ten languages of the longest description.
pub const MOST_LINE: usize = 1024 * 1024;

/// A file that goes away with this.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the file broke off before its end; nothing was stored")]
    BrokeOff,
    #[error("a file has at most {} MiB; nothing was stored", MOST_BYTES / 1024 / 1024)]
    TooLarge,
    #[error("the file cannot be kept while it is looked through; nothing was stored")]
    Disk(#[from] std::io::Error),
}

impl Spool {
    /// Takes `body` to its end.
    pub async fn take(body: Body, directory: &Path) -> Result<Self, SpoolError> {
        tokio::fs::create_dir_all(directory).await?;
        sweep(directory).await?;
        let mut spool = Self { path: directory.join(format!("{}.import", common::ids::random())), bytes: 0 };
        let mut file = BufWriter::new(File::create(&spool.path).await?);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| SpoolError::BrokeOff)?;
            spool.bytes += piece.len() as u64;
            if spool.bytes > MOST_BYTES {
                return Err(SpoolError::TooLarge);
            }
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        Ok(spool)
    }

    /// Where it lies while this lives.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

/// Removes what killed processes have left, which would fill the disk that pictures are on.
async fn sweep(directory: &Path) -> std::io::Result<()> {
    let mut files = tokio::fs::read_dir(directory).await?;
    while let Some(file) = files.next_entry().await? {
        let age = file.metadata().await.and_then(|facts| facts.modified()).map(|changed| changed.elapsed());
        let is_ours = file.path().extension().is_some_and(|extension| extension == "import");
        if is_ours && age.is_ok_and(|age| age.is_ok_and(|age| age > ABANDONED)) {
            // Another process may have done so first.
            let _ = tokio::fs::remove_file(file.path()).await;
        }
    }
    Ok(())
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Left behind, it would only take room; the folder is for such files.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What stands between two line ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Text {
    Line(String),
    TooLong,
    NotUtf8,
}

pub struct Lines {
    file: BufReader<File>,
    number: u64,
}

/// One line of a file.
#[derive(Debug)]
pub struct Numbered {
    /// From 1.
    pub number: u64,
    pub text: Text,
    /// Whether a line end follows it.
    pub ended: bool,
}

impl Lines {
    pub async fn open(path: PathBuf) -> Result<Self, std::io::Error> {
        Ok(Self { file: BufReader::with_capacity(64 * 1024, File::open(path).await?), number: 0 })
    }

    /// The next line without its end. Of one that is too long nothing is kept.
    pub async fn next(&mut self) -> Result<Option<Numbered>, std::io::Error> {
        let (mut line, mut too_long, mut began) = (Vec::new(), false, false);
        loop {
            let buffer = self.file.fill_buf().await?;
            if buffer.is_empty() {
                if !began {
                    return Ok(None);
                }
                return Ok(Some(self.numbered(line, too_long, false)));
            }
            began = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            if line.len() + piece.len() > MOST_LINE {
                too_long = true;
                line = Vec::new();
            } else if !too_long {
                line.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.file.consume(used);
            if end.is_some() {
                return Ok(Some(self.numbered(line, too_long, true)));
            }
        }
    }

    fn numbered(&mut self, line: Vec<u8>, too_long: bool, ended: bool) -> Numbered {
        self.number += 1;
        let text = match String::from_utf8(line) {
            _ if too_long => Text::TooLong,
            Ok(line) => Text::Line(line),
            Err(_) => Text::NotUtf8,
        };
        Numbered { number: self.number, text, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(content: Vec<u8>) -> Vec<(Text, bool)> {
        let directory = std::env::temp_dir().join(format!("spool-{}", common::ids::random()));
        let spool = Spool::take(Body::from(content), &directory).await.unwrap();
        let (mut lines, mut all) = (Lines::open(spool.path()).await.unwrap(), Vec::new());
        while let Some(line) = lines.next().await.unwrap() {
            all.push((line.text, line.ended));
        }
        drop(spool);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "the file is gone");
        std::fs::remove_dir(&directory).unwrap();
        all
    }

    #[tokio::test]
    async fn lines_end_where_they_end_and_not_one_is_longer_than_it_may_be() {
        let line = |text: &str| Text::Line(text.to_owned());
        assert_eq!(lines_of(b"a\n\nb".to_vec()).await, [(line("a"), true), (line(""), true), (line("b"), false)]);
        assert_eq!(lines_of(Vec::new()).await, []);
        let mut long = vec![b'x'; MOST_LINE * 3];
        long.extend_from_slice(b"\nshort\n\xff\n");
        assert_eq!(lines_of(long).await, [(Text::TooLong, true), (line("short"), true), (Text::NotUtf8, true)]);
        assert_eq!(lines_of(vec![b'x'; MOST_LINE]).await, [(line(&"x".repeat(MOST_LINE)), false)]);
    }

    #[tokio::test]
    async fn half_a_file_is_none() {
        let directory = std::env::temp_dir().join(format!("spool-{}", common::ids::random()));
        let pieces = [Ok("{}\n".to_owned()), Err(std::io::Error::other("the line went dead"))];
        let broken = Body::from_stream(futures::stream::iter(pieces));
        assert!(matches!(Spool::take(broken, &directory).await, Err(SpoolError::BrokeOff)));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "nothing is left");
        std::fs::remove_dir(&directory).unwrap();
    }

    #[tokio::test]
    async fn what_a_killed_process_has_left_goes_with_the_next_import_and_nothing_else_does() {
        let directory = std::env::temp_dir().join(format!("spool-{}", common::ids::random()));
        std::fs::create_dir(&directory).unwrap();
        let of_age = |name: &str, age: Duration| {
            let file = std::fs::File::create(directory.join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
        };
        of_age("left.import", ABANDONED + Duration::from_secs(60));
        of_age("under-way.import", ABANDONED - Duration::from_secs(60));
        of_age("a.png", ABANDONED * 2);
        drop(Spool::take(Body::from("{}\n"), &directory).await.unwrap());
        let mut names: Vec<_> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["a.png", "under-way.import"]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
