//! What waits for one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

/// Most bytes that may wait for a connection. Beyond it the peer counts as not reading and the connection is closed.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What a frame costs beside its bytes.
const FRAME_OVERHEAD: usize = 64;

#[derive(Debug, Default)]
struct Gauge {
    bytes: AtomicUsize,
    overrun: Notify,
}

/// The node's end: frames go in, in order. Dropping it ends the connection after everything queued is sent.
#[derive(Debug)]
pub struct SendQueue {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    gauge: Arc<Gauge>,
}

/// The connection's end.
#[derive(Debug)]
pub(super) struct Outgoing {
    frames: mpsc::UnboundedReceiver<Vec<u8>>,
    gauge: Arc<Gauge>,
}

impl SendQueue {
    /// An empty queue.
    pub(super) fn new() -> (Self, Outgoing) {
        let (sender, frames) = mpsc::unbounded_channel();
        let gauge = Arc::<Gauge>::default();
        (Self { frames: sender, gauge: Arc::clone(&gauge) }, Outgoing { frames, gauge })
    }

    /// Queues a frame. False where the connection is down, or goes down because its peer does not read: the node will
    /// hear `Disconnected`.
    pub fn send(&self, frame: Vec<u8>) -> bool {
        let cost = frame.len() + FRAME_OVERHEAD;
        if self.gauge.bytes.fetch_add(cost, Ordering::Relaxed) + cost > MAX_BYTES {
            self.gauge.overrun.notify_one();
            return false;
        }
        self.frames.send(frame).is_ok()
    }
}

impl Outgoing {
    /// Waits for a frame and appends it, and more that are queued, to `batch`, up to `limit` bytes. False at the end.
    pub(super) async fn fill(&mut self, batch: &mut Vec<u8>, limit: usize) -> bool {
        let Some(frame) = self.frames.recv().await else {
            return false;
        };
        self.take(&frame, batch);
        while batch.len() < limit
            && let Ok(frame) = self.frames.try_recv()
        {
            self.take(&frame, batch);
        }
        true
    }

    fn take(&self, frame: &[u8], batch: &mut Vec<u8>) {
        self.gauge.bytes.fetch_sub(frame.len() + FRAME_OVERHEAD, Ordering::Relaxed);
        batch.extend_from_slice(frame);
    }

    /// Resolves when the queue has overrun.
    pub(super) fn overrun(&self) -> impl Future<Output = ()> + use<> {
        let gauge = Arc::clone(&self.gauge);
        async move { gauge.overrun.notified().await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_that_is_not_read_overruns_and_says_so() {
        let (queue, outgoing) = SendQueue::new();
        let frame = vec![0; 1024 * 1024];
        let taken = (0..100).take_while(|_| queue.send(frame.clone())).count();
        assert_eq!(taken, 15, "16 MiB hold 15 frames of 1 MiB with their overhead");
        outgoing.overrun().await;
    }

    #[tokio::test]
    async fn frames_keep_their_order_and_give_their_room_back() {
        let (queue, mut outgoing) = SendQueue::new();
        for round in 0..40u8 {
            assert!(queue.send(vec![round; 1024 * 1024]));
            let mut batch = Vec::new();
            assert!(outgoing.fill(&mut batch, 1).await);
            assert_eq!(batch, vec![round; 1024 * 1024]);
        }
        drop(queue);
        assert!(!outgoing.fill(&mut Vec::new(), 1).await);
    }
}
