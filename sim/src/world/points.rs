//! Fault points in the drivers of nodes: what a driver may do without breaking the contract of a step.
//!
//! A plan says how often each point fires. Where none is on, a world costs and does what it would without this file.

use tidegate_core::event::Event;
use tidegate_core::id::CallId;
use tidegate_core::store::StoreToken;
use tidegate_core::wire::Message;

use super::clock::Time;
use super::facts::HostIx;
use super::fate::{About, Draw};
use super::net::Frame;
use super::step::client_of;
use super::{Item, Machine, World};
use crate::plan::{Plan, Point};

const MS: Time = 1_000_000;
/// A late completion is at most this late.
const STORED_LATE: Time = 50 * MS;
/// A late timer is at most this late.
const WAKE_LATE: Time = 2_000 * MS;
/// A node is woken for nothing within this time.
const FOR_NOTHING: Time = 200 * MS;
/// A hiccup lasts at most this long.
const HICCUP: Time = 300 * MS;
/// A connection breaks within this time after something was sent.
const RESET: Time = 100 * MS;
/// Messages that the next session of a link delivers once more, at most, each way.
const REDELIVERED_MAX: usize = 16;

/// How often each point fires, in 10,000.
#[derive(Clone, Copy)]
pub(super) struct Points {
    any: bool,
    often: [u16; Point::ALL.len()],
}

impl Points {
    pub fn new(plan: &Plan) -> Self {
        let often = Point::ALL.map(|point| plan.driver.get(&point).copied().unwrap_or(0));
        Self { any: often.iter().any(|often| *often > 0), often }
    }

    /// Every point is off from now on.
    pub fn end(&mut self) {
        self.any = false;
    }

    #[inline]
    pub const fn any(&self) -> bool {
        self.any
    }

    #[inline]
    fn is_on(&self, point: Point) -> bool {
        self.any && self.often[point as usize] > 0
    }
}

/// How often each point was passed at a host: the number of the decision.
pub(super) type Passed = [u32; Point::ALL.len()];

impl<M: Machine> World<M> {
    /// What the driver does about a message that was just sent.
    pub(super) fn sent(&mut self, from: HostIx, to: HostIx, link: usize, end: u8, message: &Message) {
        self.after_send(from, to);
        if self.fires(Point::Redeliver, from).is_some() {
            // The newest are those that a driver may believe to be lost.
            let again = &mut self.links[link].again[usize::from(end)];
            again.drain(..(again.len() + 1).saturating_sub(REDELIVERED_MAX));
            again.push(message.clone());
        }
    }

    /// What was sent on the last session comes once more on this one, if its version has such messages.
    pub(super) fn redeliver(&mut self, link: usize) {
        let [dialect, _] = self.links[link].dialects;
        for end in 0..2u8 {
            let mut again = std::mem::take(&mut self.links[link].again[usize::from(end)]);
            again.retain(|message| dialect.knows(message));
            for message in again {
                self.launch(link, end, Frame::Message(Box::new(message)), Draw(0), 0);
            }
        }
    }

    /// Whether a point fires at a host this time, and a draw for how.
    #[inline]
    pub(super) fn fires(&mut self, point: Point, host: HostIx) -> Option<Draw> {
        if !self.points.is_on(point) || host >= self.scene.nodes {
            return None;
        }
        let passed = &mut self.hosts[host].passed[point as usize];
        *passed += 1;
        let number = u64::from(*passed);
        let draw = self.fate.of(self.hosts[host].key).decide(About::Driver, point as u64, number);
        if draw.below(10_000) >= u64::from(self.points.often[point as usize]) {
            return None;
        }
        *self.fired.entry(point.name()).or_insert(0) += 1;
        if let Some(trace) = &mut self.trace {
            let text = format!("DRIVER {} at {}", point.name(), self.scene.hosts[host].name);
            trace.line(&self.scene, &text);
        }
        Some(draw.next())
    }

    /// A write has ended, and the node hears of it: now, or late. Completions keep their order.
    pub(super) fn complete(&mut self, host: HostIx, token: StoreToken, failed: bool) {
        let late = self.fires(Point::StoredLate, host).map_or(0, |draw| draw.below(STORED_LATE));
        let this = &mut self.hosts[host];
        if late == 0 && this.completing == 0 {
            return self.completed(host, token, failed);
        }
        let at = (self.now + late).max(this.completes_at);
        this.completes_at = at;
        this.completing += 1;
        let boot = self.scene.boots[host];
        self.queue.push(at, Item::Completed { host: host as u32, boot, token, failed });
    }

    /// A completion that came late.
    pub(super) fn completes(&mut self, host: HostIx, token: StoreToken, failed: bool) {
        self.hosts[host].completing -= 1;
        self.completed(host, token, failed);
    }

    fn completed(&mut self, host: HostIx, token: StoreToken, failed: bool) {
        let event = if failed {
            Event::StoreFailed { token, why: "input/output error".into() }
        } else {
            Event::Stored { token }
        };
        self.deliver(host, event);
    }

    /// How much later than asked a timer fires.
    #[inline]
    pub(super) fn wake_lateness(&mut self, host: HostIx) -> Time {
        self.fires(Point::WakeLate, host).map_or(0, |draw| draw.below(WAKE_LATE))
    }

    /// After a step: the node may be woken for nothing, or get no turn for a while.
    pub(super) fn after_step(&mut self, host: HostIx) {
        if let Some(draw) = self.fires(Point::WakeForNothing, host) {
            let boot = self.scene.boots[host];
            self.queue
                .push(self.now + draw.below(FOR_NOTHING), Item::WokenForNothing { host: host as u32, boot });
        }
        if let Some(draw) = self.fires(Point::Hiccup, host) {
            let busy = &mut self.hosts[host].busy_until;
            *busy = (*busy).max(self.now) + draw.below(HICCUP);
        }
    }

    /// The place of the event that comes next of those that wait at a host.
    pub(super) fn next_in_inbox(&mut self, host: HostIx) -> usize {
        let waiting = self.hosts[host].inbox.len() as u64;
        let starts = matches!(self.hosts[host].inbox.front(), Some((_, Event::Start)));
        if waiting < 2 || starts {
            return 0;
        }
        let Some(draw) = self.fires(Point::Reorder, host) else { return 0 };
        let inbox = &self.hosts[host].inbox;
        let source = inbox.get(draw.below(waiting) as usize).map(|(_, event)| Source::of(event));
        inbox.iter().position(|(_, event)| Some(Source::of(event)) == source).unwrap_or(0)
    }

    /// A message was sent: the connection may break just after it.
    pub(super) fn after_send(&mut self, from: HostIx, to: HostIx) {
        if let Some(draw) = self.fires(Point::ResetAfterSend, from) {
            let at = self.now + draw.below(RESET);
            self.queue.push(at, Item::ResetPair { a: from as u32, b: to as u32 });
        }
    }

    /// A gate says something to a client: its call may be closed meanwhile.
    pub(super) fn after_push(&mut self, gate: HostIx, call: CallId) {
        if self.fires(Point::CallClosed, gate).is_some() {
            self.queue.push(self.now, Item::CallClosed { gate: gate as u32, call });
        }
    }

    /// The driver of a gate closes a call.
    pub(super) fn call_closed(&mut self, gate: HostIx, call: CallId) {
        if self.hosts[gate].open_calls.remove(&call).is_some() {
            self.deliver(gate, Event::ApiClosed { call });
            self.call_lost(client_of(call), call, "the gate closed the call");
        }
    }
}

/// Where an event comes from. Events of one source keep their order.
#[derive(PartialEq, Eq)]
enum Source {
    Peer(tidegate_core::id::NodeId),
    Datagrams,
    Disk,
    Executor,
    Client(HostIx),
    Own,
}

impl Source {
    const fn of(event: &Event) -> Self {
        match event {
            Event::Received { peer, .. }
            | Event::Connected { peer, .. }
            | Event::Disconnected { peer }
            | Event::GreetingRefused { peer: Some(peer), .. }
            | Event::Malformed { peer: Some(peer), .. } => Self::Peer(*peer),
            Event::Datagram { .. }
            | Event::GreetingRefused { peer: None, .. }
            | Event::Malformed { peer: None, .. } => Self::Datagrams,
            Event::Stored { .. } | Event::StoreFailed { .. } => Self::Disk,
            Event::Exec(_) => Self::Executor,
            Event::Api { call, .. } | Event::ApiWritable { call, .. } | Event::ApiClosed { call } => {
                Self::Client(client_of(*call))
            }
            Event::Start | Event::Wake | Event::Drain | Event::Usage(_) => Self::Own,
        }
    }
}
