//! The writer thread: batches in, durable news out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use redb::Database;
use tidegate_core::Event;
use tidegate_core::store::{StoreToken, Write};

use super::open::Problem;
use super::{Disk, ROWS};
use crate::driver::{InboxSender, Metrics};

/// Most bytes that may wait for the disk. Nothing may be dropped, so beyond it the disk counts as failed.
pub const MAX_OUTSTANDING_BYTES: usize = 256 * 1024 * 1024;

/// Most bytes in one commit: a bound on how long the first of its batches waits for the last.
const MAX_COMMIT_BYTES: usize = 8 * 1024 * 1024;

/// What a batch costs beside its rows.
const BATCH_OVERHEAD: usize = 64;

/// One `Effect::Store`.
struct Batch {
    token: StoreToken,
    writes: Vec<Write>,
    bytes: usize,
}

/// Where the node puts its batches.
#[derive(Debug)]
pub struct StoreQueue {
    batches: Sender<Batch>,
    outstanding: Arc<AtomicUsize>,
    news: InboxSender,
}

impl StoreQueue {
    /// Hands a batch to the writer. Never waits.
    pub fn store(&self, token: StoreToken, writes: Vec<Write>) {
        let rows =
            writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, |value| value.len()));
        let bytes = BATCH_OVERHEAD + rows.sum::<usize>();
        let outstanding = self.outstanding.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if outstanding > MAX_OUTSTANDING_BYTES {
            let why = format!("{outstanding} bytes wait for the disk, at most {MAX_OUTSTANDING_BYTES} may");
            self.news.push(Event::StoreFailed { token, why });
        } else if self.batches.send(Batch { token, writes, bytes }).is_err() {
            // The writer has ended after a failure, which it has reported.
            tracing::debug!(token = token.0, "a batch came after the disk had failed");
        }
    }
}

/// The running thread. It ends when its queue is dropped and everything queued is durable, or at the first failure.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread of a file.
    pub fn start(disk: Disk, news: InboxSender, metrics: Metrics) -> std::io::Result<(Self, StoreQueue)> {
        let (batches, incoming) = channel();
        let outstanding = Arc::new(AtomicUsize::new(0));
        let queue = StoreQueue { batches, outstanding: Arc::clone(&outstanding), news: news.clone() };
        let thread = thread::Builder::new()
            .name("disk".into())
            .spawn(move || write_all(&disk, &incoming, &outstanding, &news, &metrics))?;
        Ok((Self { thread }, queue))
    }

    /// Waits for the thread's end.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the disk writer panicked");
        }
    }
}

/// Commits what is queued, as much at a time as there is, until the queue ends or a write fails.
fn write_all(
    disk: &Disk,
    incoming: &Receiver<Batch>,
    outstanding: &AtomicUsize,
    news: &InboxSender,
    metrics: &Metrics,
) {
    while let Ok(first) = incoming.recv() {
        let mut group = vec![first];
        let mut bytes = group[0].bytes;
        while bytes < MAX_COMMIT_BYTES
            && let Ok(next) = incoming.try_recv()
        {
            bytes += next.bytes;
            group.push(next);
        }
        let begun = Instant::now();
        let (first, last) = (group[0].token, group[group.len() - 1].token);
        match commit(&disk.db, &group) {
            Ok(()) => {
                metrics.committed(group.len(), bytes, begun.elapsed());
                outstanding.fetch_sub(bytes, Ordering::Relaxed);
                news.push(Event::Stored { token: last });
            }
            Err(problem) => {
                let why = format!("cannot write {}: {problem}", disk.path.display());
                news.push(Event::StoreFailed { token: first, why });
                return;
            }
        }
    }
}

/// Writes a group in one durable transaction: all of it, or nothing.
fn commit(db: &Database, group: &[Batch]) -> Result<(), Problem> {
    let transaction = db.begin_write().map_err(Problem::other)?;
    {
        let mut rows = transaction.open_table(ROWS).map_err(Problem::other)?;
        for write in group.iter().flat_map(|batch| &batch.writes) {
            match &write.value {
                Some(value) => rows.insert(&*write.key.0, &*value.0).map(drop),
                None => rows.remove(&*write.key.0).map(drop),
            }
            .map_err(Problem::from_storage)?;
        }
    }
    transaction.commit().map_err(Problem::other)
}
