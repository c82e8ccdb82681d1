//! One connection, from its greeting to its end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::Event;
use tidegate_core::id::{NodeId, Role};
use tidegate_core::wire::{MAX_FRAME, Malformed, decode_frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::greeting::Greeted;
use super::queue::{Outgoing, SendQueue};
use crate::driver::{InboxSender, Input, Metrics};

/// Bytes of a connection that may wait for the node; the peer waits beyond it.
const RECEIVE_ROOM: usize = 2 * MAX_FRAME;
/// Bytes of one write.
const WRITE_BATCH: usize = 64 * 1024;
/// Frames that may be no message within [`STRIKE_SPAN`] before the connection is closed.
const STRIKES: u32 = 16;
const STRIKE_SPAN: Duration = Duration::from_secs(60);

/// Serves a connection until either end closes it, its peer does not read, or `superseded` resolves. The node hears
/// `Connected` first and `Disconnected` last.
pub(super) async fn serve(
    greeted: Greeted,
    me: Role,
    inbox: &InboxSender,
    metrics: &Metrics,
    superseded: impl Future<Output = ()>,
) {
    let Greeted { peer, dialect, stream, early } = greeted;
    let (node, role) = (peer.node, peer.role);
    let (queue, mut outgoing) = SendQueue::new();
    let overrun = outgoing.overrun();
    metrics.connections.inc();
    tracing::debug!(peer = %peer.name, role = role.as_str(), boot = peer.boot.0, "connected");
    inbox.push_input(Input::Up { peer: node, boot: peer.boot, dialect, queue });
    // Told at the end, and also where the task is aborted.
    let _end = End { node, inbox, metrics };
    let (read_half, mut write_half) = tokio::io::split(stream);
    let mut reader = Reader {
        node,
        from: role,
        to: me,
        inbox,
        metrics,
        room: Arc::new(Semaphore::new(RECEIVE_ROOM)),
        strikes: (Instant::now(), 0),
    };
    let why = tokio::select! {
        read = reader.read_all(early, read_half) => match read {
            Ok(()) => "closed by the peer".to_owned(),
            Err(error) => error.to_string(),
        },
        written = write_all(&mut outgoing, &mut write_half) => match written {
            Ok(()) => "closed by this node".to_owned(),
            Err(error) => error.to_string(),
        },
        () = overrun => {
            metrics.connections_overrun.inc();
            "the peer does not read".to_owned()
        }
        () = superseded => "the peer has connected again".to_owned(),
    };
    tracing::debug!(peer = %peer.name, role = role.as_str(), "disconnected: {why}");
}

/// Tells the node that the connection is gone.
struct End<'a> {
    node: NodeId,
    inbox: &'a InboxSender,
    metrics: &'a Metrics,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.metrics.connections.dec();
        self.inbox.push(Event::Disconnected { peer: self.node });
    }
}

/// Writes what is queued, as much at a time as there is, until the node drops the queue.
async fn write_all(outgoing: &mut Outgoing, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut batch = Vec::new();
    while outgoing.fill(&mut batch, WRITE_BATCH).await {
        stream.write_all(&batch).await?;
        stream.flush().await?;
        batch.clear();
        batch.shrink_to(WRITE_BATCH);
    }
    stream.shutdown().await
}

/// The receiving side.
struct Reader<'a> {
    node: NodeId,
    from: Role,
    to: Role,
    inbox: &'a InboxSender,
    metrics: &'a Metrics,
    room: Arc<Semaphore>,
    strikes: (Instant, u32),
}

impl Reader<'_> {
    /// Reads until the peer closes, or breaks the rules.
    async fn read_all(&mut self, mut bytes: Vec<u8>, mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
        loop {
            let taken = self.take_frames(&bytes).await?;
            bytes.drain(..taken);
            if bytes.is_empty() {
                bytes.shrink_to(WRITE_BATCH);
            }
            bytes.reserve(16 * 1024);
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Hands every whole frame to the node; gives the number of bytes they took.
    async fn take_frames(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        loop {
            let (taken, message) = match decode_frame(&bytes[at..], self.from, self.to) {
                Ok(None) => return Ok(at),
                Ok(Some((taken, Ok(message)))) => (taken, Ok(message)),
                Ok(Some((taken, Err(why)))) => (taken, Err(why)),
                Err(why) => (0, Err(why)),
            };
            match message {
                Ok(message) => {
                    self.metrics.messages_received.inc();
                    let event = Event::Received { peer: self.node, message: Box::new(message) };
                    self.hand_over(event, taken).await;
                }
                Err(why) => {
                    self.hand_over(Event::Malformed { peer: Some(self.node), why }, taken).await;
                    self.strike(why)?;
                }
            }
            at += taken;
        }
    }

    async fn hand_over(&self, event: Event, bytes: usize) {
        let weight = u32::try_from(bytes.min(RECEIVE_ROOM)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        if let Ok(room) = Arc::clone(&self.room).acquire_many_owned(weight).await {
            self.inbox.push_in_room(event, room);
        }
    }

    /// Counts a frame that was no message; the error ends the connection.
    fn strike(&mut self, why: Malformed) -> io::Result<()> {
        let (since, count) = &mut self.strikes;
        if since.elapsed() > STRIKE_SPAN {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if why.ends_connection() || *count > STRIKES {
            tracing::warn!(peer = %self.node, "closing a connection that sends no messages: {why:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("malformed: {why:?}")));
        }
        Ok(())
    }
}
