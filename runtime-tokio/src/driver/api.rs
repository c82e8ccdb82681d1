//! The seam between a gate's thread and its callers (HTTP, the command line of an embedded cluster).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_core::Event;
use tidegate_core::api::{Answer, ClientEvent, ClientEventKind, Identity, Request};
use tidegate_core::id::CallId;
use tokio::sync::{mpsc, oneshot};

use super::inbox::{InboxSender, Input};

/// Most credit of a stream: bounds what waits for its reader.
const MAX_CREDIT: u32 = 1_024;

/// The node's thread has ended: no answer will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeGone;

impl fmt::Display for NodeGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node has ended")
    }
}

impl std::error::Error for NodeGone {}

/// What a call gives.
#[derive(Debug)]
pub enum Reply {
    /// The one answer.
    Answer(Answer),
    /// To `Request::Events`: the events.
    Stream(EventStream),
}

/// Calls a gate. Clones call the same gate.
#[derive(Clone, Debug)]
pub struct ApiHandle {
    inbox: InboxSender,
    next: Arc<AtomicU64>,
}

/// Who waits for a call, as the node's thread keeps it.
#[derive(Debug)]
pub(crate) struct CallSlot {
    answer: oneshot::Sender<Answer>,
    events: Option<mpsc::Sender<ClientEvent>>,
}

/// Tells the node when a caller has gone before its call was over.
#[derive(Debug)]
struct Hangup {
    call: CallId,
    inbox: InboxSender,
    over: bool,
}

impl Drop for Hangup {
    fn drop(&mut self) {
        if !self.over {
            self.inbox.push(Event::ApiClosed { call: self.call });
        }
    }
}

impl ApiHandle {
    pub(crate) fn new(inbox: InboxSender) -> Self {
        Self { inbox, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Asks the gate. Dropping the future hangs up: the gate is told, and a recorded decision stays recorded.
    pub async fn call(&self, identity: Identity, mut request: Request) -> Result<Reply, NodeGone> {
        let call = CallId(self.next.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        let stream = match &mut request {
            Request::Events { credit, .. } => {
                *credit = (*credit).clamp(1, MAX_CREDIT);
                Some((*credit, mpsc::channel(*credit as usize)))
            }
            _ => None,
        };
        let (events, stream) = match stream {
            Some((credit, (events, stream))) => (Some(events), Some((credit, stream))),
            None => (None, None),
        };
        let mut hangup = Hangup { call, inbox: self.inbox.clone(), over: false };
        let slot = CallSlot { answer, events };
        self.inbox.call(Input::Call { call, identity, request: Box::new(request), slot }).await;
        let answer = answered.await.map_err(|_| NodeGone)?;
        match (answer, stream) {
            (Answer::Stream, Some((credit, events))) => {
                Ok(Reply::Stream(EventStream { events, credit, taken: 0, hangup }))
            }
            (answer, _) => {
                hangup.over = true;
                Ok(Reply::Answer(answer))
            }
        }
    }
}

/// The events of a job. Reading gives the gate credit for more; dropping it closes the stream.
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<ClientEvent>,
    credit: u32,
    taken: u32,
    hangup: Hangup,
}

impl EventStream {
    /// The next event; `None` at the end of the stream, which is also where the node ends.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        let event = self.events.recv().await;
        match &event {
            Some(_) => {
                self.taken += 1;
                // Half a window at a time: a reader that keeps up never waits, and few events carry credit. The gate
                // keeps a result until it hears that the final event was taken.
                let last = matches!(&event, Some(event) if matches!(event.kind, ClientEventKind::Final(_)));
                if last || self.taken * 2 >= self.credit {
                    let credit = std::mem::take(&mut self.taken);
                    self.hangup.inbox.push(Event::ApiWritable { call: self.hangup.call, credit });
                }
            }
            None => self.hangup.over = true,
        }
        event
    }
}

/// The open calls, as the node's thread keeps them.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: HashMap<CallId, CallSlot>,
}

impl Calls {
    /// A call begins.
    pub(super) fn open(&mut self, call: CallId, slot: CallSlot) {
        self.waiting.insert(call, slot);
    }

    /// The caller has gone.
    pub(super) fn close(&mut self, call: CallId) {
        self.waiting.remove(&call);
    }

    /// Gives the one answer. Where it opens a stream, the events stay open.
    pub(super) fn answer(&mut self, call: CallId, answer: Answer) {
        let Some(slot) = self.waiting.remove(&call) else {
            return; // The caller has gone; the node has been told, or is being told.
        };
        if let (Answer::Stream, Some(events)) = (&answer, slot.events) {
            let (nobody, _) = oneshot::channel();
            self.waiting.insert(call, CallSlot { answer: nobody, events: Some(events) });
        }
        // Fails only where the caller has gone.
        let _ = slot.answer.send(answer);
    }

    /// Gives the next event of a stream; `None` ends it.
    pub(super) fn push(&mut self, call: CallId, event: Option<Box<ClientEvent>>) {
        let Some(event) = event else {
            self.waiting.remove(&call);
            return;
        };
        let Some(events) = self.waiting.get(&call).and_then(|slot| slot.events.as_ref()) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = events.try_send(*event) {
            // The node keeps to the credit it was given; a stream that lost an event must not go on.
            tracing::error!(call = call.0, "a stream got more events than it had credit for; it is closed");
            self.waiting.remove(&call);
        }
    }

    /// How many calls and streams are open.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
