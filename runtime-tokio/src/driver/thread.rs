//! The loop of a node's thread.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidegate_core::effect::HaltReason;
use tidegate_core::id::NodeId;
use tidegate_core::wire::{Message, encode_frame};
use tidegate_core::{Effect, Effects, Event, Instant, Node, Now};
use tokio::sync::watch;

use super::api::Calls;
use super::clock::NodeClock;
use super::executors::Executors;
use super::inbox::{Inbox, InboxSender, Input, Item};
use super::metrics::Metrics;
use super::testimony::Testimony;
use crate::disk::StoreQueue;
use crate::net::{DatagramSender, SendQueue};
use crate::record::Recorder;

/// Longest sleep. A deadline is waited for on a clock that stands still while the machine sleeps; looking again this
/// often bounds how late a woken machine acts.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How a node's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The node said so.
    Halted(HaltReason),
    /// It was stopped from outside, without draining.
    Stopped,
    /// An invariant of the node was broken.
    Panicked,
}

impl Exit {
    /// The exit code of a process that served this node alone (documented in `docs/configuration.md`).
    pub const fn code(self) -> u8 {
        match self {
            Self::Halted(HaltReason::Drained) | Self::Stopped => 0,
            Self::Halted(HaltReason::StoreFailed) => 10,
            Self::Halted(HaltReason::OldDisk) => 11,
            Self::Halted(HaltReason::BadRows) => 12,
            Self::Panicked => 13,
            Self::Halted(HaltReason::BadVoters) => 14,
            Self::Halted(HaltReason::OldVersion) => 15,
        }
    }
}

/// What a node's thread works with.
pub struct Parts {
    /// The node.
    pub node: Node,
    /// Its clocks: the ones its inbox stamps by.
    pub clock: NodeClock,
    /// Its disk.
    pub store: StoreQueue,
    /// Its datagrams.
    pub datagrams: DatagramSender,
    /// Its executors (workers).
    pub executors: Option<Box<dyn Executors>>,
    /// Its testimony.
    pub testimony: Testimony,
    /// Its recording.
    pub recorder: Option<Recorder>,
    /// Its counters.
    pub metrics: Metrics,
}

/// A node's thread before it runs.
pub struct Driver {
    inbox: Inbox,
    parts: Parts,
    links: HashMap<NodeId, SendQueue>,
    calls: Calls,
    effects: Effects,
}

/// A running node's thread.
#[derive(Debug)]
pub struct DriverHandle {
    inbox: InboxSender,
    exit: watch::Receiver<Option<Exit>>,
    thread: JoinHandle<()>,
}

impl DriverHandle {
    /// Asks the node to finish and leave.
    pub fn drain(&self) {
        self.inbox.push(Event::Drain);
    }

    /// Ends the thread without asking the node: to the node's peers it is as if the process had died.
    pub fn stop(&self) {
        self.inbox.push_input(Input::Stop);
    }

    /// Waits until the node has ended.
    pub async fn ended(&mut self) -> Exit {
        match self.exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Panicked),
            Err(_) => Exit::Panicked,
        }
    }

    /// Waits for the thread itself; after [`DriverHandle::ended`] this takes no time to speak of.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the node's thread panicked outside of a step");
        }
    }
}

impl Driver {
    /// A thread for these parts.
    pub fn new(inbox: Inbox, parts: Parts) -> Self {
        Self { inbox, parts, links: HashMap::new(), calls: Calls::default(), effects: Effects::new() }
    }

    /// Starts the thread; the node's first event is `Start`. `inbox` is the sending end of the driver's own inbox.
    pub fn spawn(mut self, name: &str, inbox: InboxSender) -> io::Result<DriverHandle> {
        let (ended, exit) = watch::channel(None);
        let thread = thread::Builder::new().name(format!("node {name}")).spawn(move || {
            // A broken invariant ends this node, not the process: its peers see it die, and what it ran is stopped.
            let exit = catch_unwind(AssertUnwindSafe(|| self.run())).unwrap_or(Exit::Panicked);
            if let Some(executors) = &mut self.parts.executors {
                executors.shutdown();
            }
            drop(self);
            ended.send_replace(Some(exit));
        })?;
        Ok(DriverHandle { inbox, exit, thread })
    }

    fn run(&mut self) -> Exit {
        if let Some(exit) = self.step(Duration::ZERO, Event::Start) {
            return exit;
        }
        let mut items = VecDeque::new();
        loop {
            let patience = self.patience();
            self.inbox.take(&mut items, patience);
            if items.is_empty()
                && let Some(late) = self.overdue()
                && let Some(exit) = self.step(late, Event::Wake)
            {
                return exit;
            }
            for item in items.drain(..) {
                if let Some(exit) = self.handle(item) {
                    return exit;
                }
            }
        }
    }

    /// How long the thread may sleep.
    fn patience(&self) -> Duration {
        let Some(at) = self.parts.node.wake_at() else {
            return LONGEST_SLEEP;
        };
        Duration::from_nanos(at.since(self.parts.clock.mono()).as_nanos()).min(LONGEST_SLEEP)
    }

    /// How late the node's next deadline is; `None` where it lies ahead.
    fn overdue(&self) -> Option<Duration> {
        let at = self.parts.node.wake_at()?;
        let now = self.parts.clock.mono();
        (at <= now).then(|| Duration::from_nanos(now.since(at).as_nanos()))
    }

    fn handle(&mut self, item: Item) -> Option<Exit> {
        let waited = Duration::from_nanos(self.parts.clock.mono().since(item.at).as_nanos());
        let event = match item.input {
            Input::Event(event) => event,
            Input::Up { peer, boot, dialect, queue } => {
                self.links.insert(peer, queue);
                Event::Connected { peer, boot, dialect }
            }
            Input::Call { call, identity, request, slot } => {
                self.calls.open(call, slot);
                Event::Api { call, identity, request }
            }
            Input::Stop => return Some(Exit::Stopped),
        };
        match &event {
            Event::Disconnected { peer } => drop(self.links.remove(peer)),
            Event::ApiClosed { call } => self.calls.close(*call),
            Event::Malformed { why, .. } => self.parts.metrics.count_malformed(&format!("{why:?}")),
            Event::StoreFailed { why, .. } => tracing::error!("the disk failed: {why}"),
            _ => {}
        }
        self.step(waited, event)
    }

    /// One step and its effects; the end, if it was the last one.
    fn step(&mut self, waited: Duration, event: Event) -> Option<Exit> {
        let clock = self.parts.clock;
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        let now = Now {
            mono: clock.mono(),
            wall: clock.wall(),
            waited: tidegate_core::Duration::from_nanos(nanos),
        };
        if let Some(recorder) = &mut self.parts.recorder {
            recorder.event(now, &event);
        }
        self.parts.node.step_into(now, event, &mut self.effects);
        if let Some(recorder) = &mut self.parts.recorder {
            recorder.effects(&self.effects);
        }
        let mut effects = std::mem::take(&mut self.effects);
        let exit = effects.drain(..).find_map(|effect| self.perform(now, effect));
        self.effects = effects;
        self.count_step(now.mono, waited);
        exit
    }

    fn count_step(&self, begun: Instant, waited: Duration) {
        let metrics = &self.parts.metrics;
        metrics.steps.inc();
        metrics.waited_seconds.observe(waited.as_secs_f64());
        let took = self.parts.clock.mono().since(begun);
        metrics.step_seconds.observe(Duration::from_nanos(took.as_nanos()).as_secs_f64());
        metrics.calls_open.set(i64::try_from(self.calls.len()).unwrap_or(i64::MAX));
    }

    /// Performs one effect; the end, if it is one.
    fn perform(&mut self, now: Now, effect: Effect) -> Option<Exit> {
        match effect {
            Effect::Send { to, message } => self.send(to, &message),
            Effect::SendDatagram { to, packet } => self.parts.datagrams.send(to, &packet),
            Effect::Store { token, writes } => self.parts.store.store(token, writes),
            Effect::Exec(command) => match &mut self.parts.executors {
                Some(executors) => executors.perform(*command),
                None => tracing::error!("an execution was asked of a node without executors"),
            },
            Effect::Answer { call, answer } => self.calls.answer(call, *answer),
            Effect::Push { call, event } => self.calls.push(call, event),
            Effect::Observe(observation) => self.parts.testimony.hear(now.wall, observation),
            Effect::Halt(reason) => return Some(Exit::Halted(reason)),
        }
        None
    }

    /// Queues a message for a peer. Without a connection it is lost, which the node knows; a peer that does not read
    /// loses its connection, which the node will hear.
    fn send(&mut self, to: NodeId, message: &Message) {
        let Some(queue) = self.links.get(&to) else {
            return;
        };
        let mut frame = Vec::new();
        match encode_frame(message, &mut frame) {
            Ok(()) => {
                if queue.send(frame) {
                    self.parts.metrics.messages_sent.inc();
                }
            }
            Err(large) => tracing::error!(
                peer = %to, kind = ?message.kind(), bytes = large.bytes, most = large.most,
                "a message is too large for the wire"
            ),
        }
    }
}
