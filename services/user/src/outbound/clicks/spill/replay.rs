//! From the disk to the broker: file after file, line after line, and a file goes only when all of it is confirmed. Refused events whose
//! topic cannot be written are put aside into a file of their own, so that they hold up no click and its file no room.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::join;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::super::Broker;
use super::super::line::{Line, lines};
use super::held::{Closed, Queue, Shared, Size};
use super::{FOR_US, REST, sync_folder};
use crate::metrics;
use crate::usecases::ports::Down;

/// Lines under way at once: enough to fill the broker's batches, few enough to leave the live ones their place.
const TOGETHER: usize = 256;
/// And their bytes, so that a slow broker confirms them within its deadline: what it did not is sent again.
const BYTES_TOGETHER: usize = 1 << 20;
/// Between tries while the broker is away.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Reads of a file in a row that may fail before those behind it come first.
const MOST_READS: u32 = 3;

/// Empties the spill.
pub struct Replay {
    shared: Arc<Shared>,
}

/// How far the oldest file of a queue is.
#[derive(Default)]
struct Progress {
    /// Lines with clicks that are confirmed.
    clicks: usize,
    /// Lines that tell of refused events and are confirmed, or stand in another file.
    refused: usize,
    /// Reads that failed in a row.
    unread: u32,
}

impl Replay {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Replays until `shutdown`: what is there at once, later files when they are closed.
    pub async fn run(self, broker: Arc<dyn Broker>, shutdown: CancellationToken) {
        let Shared { clicks, refused, .. } = &*self.shared;
        join(self.drain(clicks, &*broker, &shutdown), self.drain(refused, &*broker, &shutdown)).await;
    }

    async fn drain(&self, queue: &Queue, broker: &dyn Broker, shutdown: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut progress = Progress::default();
        loop {
            let Some(oldest) = queue.oldest() else {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = queue.wake.notified() => continue,
                }
            };
            let outcome = tokio::select! {
                () = shutdown.cancelled() => return,
                outcome = self.file(&oldest, broker, &mut progress) => outcome,
            };
            match outcome {
                Ok(()) => {
                    queue.stuck(false);
                    self.shared.pop(queue);
                    (pause, progress) = (FIRST_PAUSE, Progress::default());
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "spilled clicks wait");
                    queue.stuck(progress.unread == 0);
                    if progress.unread == MOST_READS {
                        let path = oldest.path.display();
                        tracing::error!(%path, "a spilled file cannot be read and comes last");
                        queue.files().rotate_left(1);
                        progress = Progress::default();
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
                    }
                }
            }
        }
    }

    async fn file(&self, file: &Closed, broker: &dyn Broker, progress: &mut Progress) -> anyhow::Result<()> {
        let mut bytes = match tokio::fs::read(&file.path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = file.path.display();
                tracing::error!(%path, bytes = file.size.all, "a spilled file is gone, with its clicks");
                self.shared.exchange(file.size, Size::default());
                return Ok(());
            }
            Err(error) => {
                progress.unread += 1;
                return Err(error).context("read a spilled file");
            }
        };
        progress.unread = 0;
        // More may stand there after a write that failed and could not be taken back.
        bytes.truncate(usize::try_from(file.size.all).unwrap_or(usize::MAX));
        let (lines, rest) = lines(&bytes);
        let (refused, clicks): (Vec<_>, Vec<_>) = lines.into_iter().partition(Line::is_refused);
        publish(broker, &clicks, &mut progress.clicks).await?;
        if let Err(down) = publish(broker, &refused, &mut progress.refused).await {
            if file.size.is_refused() {
                return Err(down.into());
            }
            tracing::warn!(error = format!("{:#}", down.source), "spilled refused clicks are put aside and wait");
            self.put_aside(&refused[progress.refused.min(refused.len())..], file).await.context("put them aside")?;
            progress.refused = refused.len();
        }
        if !rest.is_empty() {
            // Where a process stopped in a write this was promised to nobody; where a disk went bad it was, so it is kept.
            tracing::error!(bytes = rest.len(), "the end of a spilled file cannot be read and is kept beside it");
            keep(&file.path.with_extension(REST), rest).await.context("keep the end of a spilled file")?;
            sync_folder(&self.shared.folder).await.context("make the name of the kept end durable")?;
        }
        tokio::fs::remove_file(&file.path).await.context("remove a replayed file")?;
        if let Err(error) = sync_folder(&self.shared.folder).await {
            // The file is gone all the same. Should it come back with the machine, its lines come twice.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the removal of a replayed file may not be durable"
            );
        }
        self.shared.exchange(file.size, Size { all: rest.len() as u64, refused: 0 });
        tracing::info!(lines = clicks.len(), refused = refused.len(), "spilled clicks were replayed");
        Ok(())
    }

    /// Gives `lines` a file of their own, on the disk before the one goes that they come from. For a moment they stand in both, which
    /// may be more than the bound by as much.
    async fn put_aside(&self, lines: &[Line<'_>], from: &Closed) -> io::Result<()> {
        let (path, size) = (self.shared.next_path(), Size::of(lines));
        let mut bytes = Vec::new();
        lines.iter().for_each(|line| line.write(&mut bytes));
        let kept = async {
            keep(&path, &bytes).await?;
            sync_folder(&self.shared.folder).await
        };
        if let Err(error) = kept.await {
            let _ = tokio::fs::remove_file(&path).await;
            return Err(error);
        }
        self.shared.exchange(Size::default(), size);
        self.shared.push(Closed { path, size, since: from.since });
        Ok(())
    }
}

/// Publishes what of `lines` is not `done`.
async fn publish(broker: &dyn Broker, lines: &[Line<'_>], done: &mut usize) -> Result<(), Down> {
    while let Some(left) = lines.get(*done..).filter(|left| !left.is_empty()) {
        let portion = &left[..together(left)];
        broker.publish(portion).await?;
        *done += portion.len();
        metrics::REPLAYED.inc_by(portion.len() as u64);
    }
    Ok(())
}

/// How many of the next lines go together; one, however long it is.
fn together(lines: &[Line<'_>]) -> usize {
    let mut bytes = 0;
    let fit = |line: &&Line<'_>| {
        bytes += line.payload.len();
        bytes <= BYTES_TOGETHER
    };
    lines.iter().take(TOGETHER).take_while(fit).count().max(1)
}

/// On the disk before the file it comes from goes.
async fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(FOR_US).open(path).await?;
    file.write_all(bytes).await?;
    file.flush().await?;
    file.sync_data().await
}

#[cfg(test)]
mod tests {
    use contracts::topics::CLICKSTREAM_RAW;

    use super::*;

    #[test]
    fn as_many_lines_go_together_as_a_slow_broker_confirms_and_never_none() {
        let of = |bytes: usize| Line { topic: &CLICKSTREAM_RAW, key: "k".into(), payload: vec![0; bytes].into() };
        assert_eq!(together(&vec![of(10); 1_000]), TOGETHER);
        assert_eq!(together(&vec![of(300_000); 10]), 3);
        assert_eq!(together(&[of(BYTES_TOGETHER + 1), of(1)]), 1);
    }
}
