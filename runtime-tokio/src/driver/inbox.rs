//! The one queue into a node's thread.
//!
//! Everything that must not be lost waits for room where it comes from: a connection keeps its peer waiting, a call its
//! caller. Datagrams may be lost and are, beyond their share. What the node itself has caused (its writes, its
//! executions) is bounded by the node and always has room.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_core::api::{Identity, Request};
use tidegate_core::id::{BootNo, CallId, NodeId};
use tidegate_core::wire::Dialect;
use tidegate_core::{Event, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api::CallSlot;
use super::clock::NodeClock;
use crate::net::SendQueue;

/// Datagrams that may wait for the node; later ones are lost, as datagrams are.
const DATAGRAMS: usize = 1_024;

/// API calls, beside those of streams, that may wait for the node; later callers wait in their connection.
const CALLS: usize = 1_024;

/// One thing for the node's thread.
#[derive(Debug)]
pub(crate) enum Input {
    /// An event as it is.
    Event(Event),
    /// A connection is up, and this is where its messages go.
    Up { peer: NodeId, boot: BootNo, dialect: Dialect, queue: SendQueue },
    /// A call, and who waits for it.
    Call { call: CallId, identity: Identity, request: Box<Request>, slot: CallSlot },
    /// End without draining.
    Stop,
}

/// A thing in the queue: since when, and whose room it takes.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) at: Instant,
    pub(super) input: Input,
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    clock: NodeClock,
    queue: Mutex<Queue>,
    filled: Condvar,
    datagrams: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Shared {
    /// The queue. A panic elsewhere cannot leave it half changed: every change is one call.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiving end: the node's thread has it.
#[derive(Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

/// The sending end. Clones share the queue.
#[derive(Clone, Debug)]
pub struct InboxSender {
    shared: Arc<Shared>,
}

impl Inbox {
    /// An empty inbox that stamps by this clock.
    pub fn new(clock: NodeClock) -> (InboxSender, Self) {
        let shared = Arc::new(Shared {
            clock,
            queue: Mutex::default(),
            filled: Condvar::new(),
            datagrams: Arc::new(Semaphore::new(DATAGRAMS)),
            calls: Arc::new(Semaphore::new(CALLS)),
        });
        (InboxSender { shared: Arc::clone(&shared) }, Self { shared })
    }

    /// Moves what is queued into `into`, which must be empty; waits at most `patience` for something to come.
    pub(super) fn take(&self, into: &mut VecDeque<Item>, patience: Duration) {
        let mut queue = self.shared.queue();
        if queue.items.is_empty() {
            queue = match self.shared.filled.wait_timeout(queue, patience) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        std::mem::swap(&mut queue.items, into);
    }
}

#[cfg(test)]
impl Inbox {
    /// What comes within `patience`.
    pub(crate) fn take_inputs(&self, patience: Duration) -> Vec<Input> {
        let mut items = VecDeque::new();
        self.take(&mut items, patience);
        items.into_iter().map(|item| item.input).collect()
    }

    /// The plain events that come within `patience`.
    pub(crate) fn take_events(&self, patience: Duration) -> Vec<Event> {
        let event = |input| match input {
            Input::Event(event) => Some(event),
            _ => None,
        };
        self.take_inputs(patience).into_iter().filter_map(event).collect()
    }
}

impl Drop for Inbox {
    /// Nobody reads any more: what waits is dropped, and so is what comes.
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        let dropped = std::mem::take(&mut queue.items);
        drop(queue);
        drop(dropped);
    }
}

impl InboxSender {
    /// Queues an event that the node itself has caused, or that needs no room. Never waits.
    pub fn push(&self, event: Event) {
        self.put(Input::Event(event), None);
    }

    /// Queues an event that holds room of its source until the node takes it.
    pub(crate) fn push_in_room(&self, event: Event, room: OwnedSemaphorePermit) {
        self.put(Input::Event(event), Some(room));
    }

    /// Queues anything. Never waits.
    pub(crate) fn push_input(&self, input: Input) {
        self.put(input, None);
    }

    /// Queues an event that came by datagram, unless too many wait already; tells whether it did.
    pub(crate) fn offer_datagram(&self, event: Event) -> bool {
        match Arc::clone(&self.shared.datagrams).try_acquire_owned() {
            Ok(room) => {
                self.put(Input::Event(event), Some(room));
                true
            }
            Err(_) => false,
        }
    }

    /// Queues a call; waits for room.
    pub(crate) async fn call(&self, input: Input) {
        // The semaphore is never closed.
        let room = Arc::clone(&self.shared.calls).acquire_owned().await.ok();
        self.put(input, room);
    }

    fn put(&self, input: Input, room: Option<OwnedSemaphorePermit>) {
        let item = Item { at: self.shared.clock.mono(), input, _room: room };
        let mut queue = self.shared.queue();
        if queue.closed {
            drop(queue);
            drop(item);
            return;
        }
        queue.items.push_back(item);
        drop(queue);
        self.shared.filled.notify_one();
    }
}
