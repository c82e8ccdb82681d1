//! The network: ordered connections that break, datagrams that get lost, and cuts.
//!
//! An ordered connection is a session of two processes. What is sent on it arrives in order or, where the session
//! breaks, not at all; a lost segment is sent again and costs time; behind a cut everything waits until the cut ends or
//! the session's time is over. Both ends learn of the end of a session, each in its own time.

use tidegate_core::event::Event;
use tidegate_core::id::BootNo;
use tidegate_core::swim::{Addr, Packet};
use tidegate_core::wire::{self, Dialect, Malformed, Message};

use super::client::{Down, Up};
use super::clock::Time;
use super::codec::damage;
use super::facts::{Fact, HostIx};
use super::fate::{About, Draw};
use super::greeting::backoff;
use super::host::{Actor, Peer, host_at};
use super::{Item, Machine, World};
use crate::plan::{LinkPlan, MessageAction};

/// A lost segment is sent again after this long.
const RETRANSMIT: Time = 200_000_000;
/// Segments are lost at most this often in a row.
const RETRANSMITS_MAX: u32 = 6;
const US: Time = 1_000;

/// What travels on an ordered connection.
#[derive(Debug)]
pub(super) enum Frame {
    /// The session begins.
    Connected,
    /// The session is over.
    End,
    /// Between nodes.
    Message(Box<Message>),
    /// Bytes that are no message.
    Damaged(Malformed),
    /// From a client.
    Up(Box<Up>),
    /// To a client.
    Down(Box<Down>),
}

/// An ordered connection of two hosts, and its present session.
pub(super) struct Link {
    pub ends: [u32; 2],
    pub plan: LinkPlan,
    /// Numbers the sessions.
    session: u32,
    dialling: bool,
    /// How often in a row a greeting was refused on it.
    pub refused: u32,
    /// What each end speaks with the other one in this session.
    pub dialects: [Dialect; 2],
    /// Whether an end knows the session as open.
    pub up: [bool; 2],
    /// When the newest frame from an end arrives.
    last_arrival: [Time; 2],
    /// Frames from an end that wait for a cut to end.
    stalled: [Vec<Frame>; 2],
    /// When the newest frame from an end was through, where the link has a bandwidth.
    through: [Time; 2],
    /// What the next session delivers once more, from each end.
    pub again: [Vec<Message>; 2],
    /// Numbers the cuts, to tell whether a timeout is still about the same one.
    cut_no: u32,
    pub blocked: [bool; 2],
    /// By faults of the two hosts.
    pub delay_us: u64,
    pub loss_permille: u16,
}

impl Link {
    pub fn new(ends: [u32; 2], plan: LinkPlan) -> Self {
        Self {
            ends,
            plan,
            session: 0,
            dialling: false,
            refused: 0,
            dialects: [Dialect::default(); 2],
            up: [false; 2],
            last_arrival: [0; 2],
            stalled: [Vec::new(), Vec::new()],
            through: [0; 2],
            again: [Vec::new(), Vec::new()],
            cut_no: 0,
            blocked: [false; 2],
            delay_us: 0,
            loss_permille: 0,
        }
    }

    /// How long a frame takes, by itself.
    #[inline]
    fn travel(&self, draw: Draw) -> Time {
        let mut takes =
            (self.plan.latency_us + self.delay_us) * US + draw.below(self.plan.jitter_us * US + 1);
        if self.plan.spike_permille > 0 && draw.next().next().permille(self.plan.spike_permille) {
            takes += draw.below(self.plan.spike_us * US + 1);
        }
        let loss = self.plan.loss_permille + self.loss_permille;
        if loss > 0 {
            let mut draw = draw.next();
            for _ in 0..RETRANSMITS_MAX {
                if !draw.permille(loss) {
                    break;
                }
                takes += RETRANSMIT;
                draw = draw.next();
            }
        }
        takes
    }
}

impl<M: Machine> World<M> {
    // ---- sessions ----

    /// Dials, if the connection is down, both processes run and nothing is cut.
    pub(super) fn dial(&mut self, link: usize) {
        let this = &self.links[link];
        let [a, b] = this.ends.map(|host| host as usize);
        let possible = !this.dialling && this.up == [false; 2] && this.blocked == [false; 2];
        if !possible || !self.can_connect(a) || !self.can_connect(b) {
            return;
        }
        let draw = self.fate.between(self.hosts[a].key, self.hosts[b].key).decide(
            About::Dial,
            0,
            u64::from(this.session) | u64::from(this.refused) << 32,
        );
        // Two round trips: one for TCP, one for TLS.
        let takes = 4 * (this.plan.latency_us + this.delay_us) * US;
        let wait = draw.below(match this.refused {
            0 => self.scene.plan.network.redial_ms * 1_000_000,
            refused => backoff(refused),
        });
        self.links[link].dialling = true;
        self.queue.push(self.now + takes + wait, Item::Session { link: link as u32 });
    }

    fn can_connect(&self, host: HostIx) -> bool {
        self.hosts[host].runs() && self.hosts[host].frozen == 0
    }

    /// A dialled connection comes up, if it still can.
    pub(super) fn session_begins(&mut self, link: usize) {
        self.links[link].dialling = false;
        let [a, b] = self.links[link].ends.map(|host| host as usize);
        let this = &mut self.links[link];
        if this.up != [false; 2] || this.blocked != [false; 2] || !self.can_connect(a) || !self.can_connect(b)
        {
            return;
        }
        if !self.greet(link) {
            return;
        }
        let this = &mut self.links[link];
        this.session += 1;
        this.up = [true; 2];
        this.last_arrival = [self.now; 2];
        // The dialler's last handshake message travels before anything else that it sends.
        let draw = Draw(0);
        let at = self.now + this.travel(draw);
        this.last_arrival[0] = at;
        let session = this.session;
        self.queue.push(at, Item::Frame { link: link as u32, end: 1, session, frame: Frame::Connected });
        self.frame_arrives(link, 0, Frame::Connected);
        if self.points.any() {
            self.redeliver(link);
        }
    }

    /// How long a message waits until those before it are through, where the link has a bandwidth.
    fn queueing(&mut self, link: usize, end: u8, message: &Message) -> Time {
        let rate = u64::from(self.links[link].plan.bytes_per_ms);
        let mut bytes = Vec::new();
        if rate == 0 || wire::encode_frame(message, &mut bytes).is_err() {
            return 0;
        }
        let through = &mut self.links[link].through[usize::from(end)];
        *through = (*through).max(self.now) + bytes.len() as u64 * 1_000_000 / rate;
        *through - self.now
    }

    /// Every connection of a host that is down is dialled.
    pub(super) fn dial_all(&mut self, host: HostIx) {
        for peer in 0..self.hosts[host].peers.len() {
            let link = self.hosts[host].peers[peer].link as usize;
            self.dial(link);
        }
    }

    /// A process is gone: its ends of all sessions close, the others will learn of it.
    pub(super) fn hang_up_all(&mut self, host: HostIx) {
        for peer in 0..self.hosts[host].peers.len() {
            let (link, end) = (self.hosts[host].peers[peer].link as usize, self.hosts[host].peers[peer].end);
            // What a driver would deliver once more is in its memory.
            self.links[link].again[usize::from(end)].clear();
            self.close_end(link, end);
        }
    }

    /// One end closes without a word to its own host.
    fn close_end(&mut self, link: usize, end: u8) {
        let (mine, other) = (usize::from(end), usize::from(1 - end));
        let this = &mut self.links[link];
        if !this.up[mine] {
            return;
        }
        this.up[mine] = false;
        this.stalled[mine].clear();
        if this.up[other] {
            self.tell_end(link, end);
        }
    }

    /// The other end hears that the session is over: in order, or ahead of what is still on its way.
    fn tell_end(&mut self, link: usize, end: u8) {
        let mine = usize::from(end);
        let this = &self.links[link];
        let [a, b] = [this.ends[mine], this.ends[1 - mine]].map(|host| self.hosts[host as usize].key);
        let draw =
            self.fate.between(a, b).decide(About::Break, Peer::KIND_END as u64, u64::from(this.session));
        let at = if this.blocked[mine] {
            self.now + self.scene.plan.network.session_timeout_ms * 1_000_000
        } else {
            let soonest = self.now + this.travel(draw);
            if draw.next().permille(500) { soonest.max(this.last_arrival[mine]) } else { soonest }
        };
        let session = this.session;
        self.queue.push(at, Item::Frame { link: link as u32, end: 1 - end, session, frame: Frame::End });
    }

    /// The session breaks now, at both ends; what is on its way is lost.
    pub(super) fn break_session(&mut self, link: usize) {
        let this = &mut self.links[link];
        this.session += 1;
        this.stalled = [Vec::new(), Vec::new()];
        for end in 0..2 {
            if std::mem::take(&mut self.links[link].up[end]) {
                self.disconnected(link, end);
            }
        }
        self.dial(link);
    }

    fn disconnected(&mut self, link: usize, end: usize) {
        let [host, other] = [end, 1 - end].map(|end| self.links[link].ends[end] as usize);
        if host >= self.scene.nodes {
            self.client_disconnected(host, other);
        } else if other >= self.scene.nodes {
            self.close_calls(host, other);
        } else {
            let peer = self.scene.hosts[other].node;
            self.deliver(host, Event::Disconnected { peer });
        }
    }

    /// A cut has lasted for a session's time: the session breaks, if it is still the same cut.
    pub(super) fn cut_timeout(&mut self, link: usize, cut_no: u32) {
        let this = &self.links[link];
        if this.cut_no == cut_no && this.blocked != [false; 2] && this.up != [false; 2] {
            self.break_session(link);
        }
    }

    /// Recomputes what is cut on a link, and lets go on what waited.
    pub(super) fn refresh_link(&mut self, link: usize) {
        let [a, b] = self.links[link].ends;
        let blocked = [self.is_cut(a, b), self.is_cut(b, a)];
        let (one, two) = (&self.hosts[a as usize], &self.hosts[b as usize]);
        let (delay_us, loss) = (one.delay_us + two.delay_us, one.loss_permille + two.loss_permille);
        let this = &mut self.links[link];
        (this.delay_us, this.loss_permille) = (delay_us, loss.min(1_000));
        let before = std::mem::replace(&mut this.blocked, blocked);
        if before == blocked {
            return;
        }
        if before == [false; 2] {
            this.cut_no += 1;
            let at = self.now + self.scene.plan.network.session_timeout_ms * 1_000_000;
            let cut_no = this.cut_no;
            self.queue.push(at, Item::CutTimeout { link: link as u32, cut_no });
        }
        for end in 0..2u8 {
            let from = usize::from(end);
            if before[from] && !blocked[from] {
                for frame in std::mem::take(&mut self.links[link].stalled[from]) {
                    self.launch(link, end, frame, Draw(0), 0);
                }
                let this = &self.links[link];
                if !this.up[from] && this.up[1 - from] {
                    self.tell_end(link, end);
                }
            }
        }
        self.dial(link);
    }

    /// Whether nothing comes through from `a` to `b`.
    pub(super) fn is_cut(&self, a: u32, b: u32) -> bool {
        !self.cuts.is_empty() && self.cuts.contains_key(&(a, b))
    }

    // ---- frames ----

    /// Sends a message to a peer. Lost without notice where there is no connection.
    pub(super) fn send(&mut self, from: HostIx, peer: usize, message: Box<Message>) {
        let kind = message.kind() as usize;
        let this = &mut self.hosts[from].peers[peer];
        let number = this.sent[kind];
        this.sent[kind] += 1;
        let (link, end) = (this.link as usize, this.end);
        let to = self.links[link].ends[usize::from(1 - end)] as usize;
        self.tell(&Fact::Left { from, to, message: &message });
        if !self.links[link].up[usize::from(end)] {
            // It was told that the connection is over, unless that waits behind other events.
            if matches!(*message, Message::Dispatch { .. }) && self.hosts[from].inbox.is_empty() {
                let (from, to) = (self.scene.name(from), self.scene.name(to));
                self.violate(
                    "the reachable are asked",
                    format!("{from} asks {to}, which it is not connected to"),
                );
            }
            return;
        }
        self.said.note(from, &message);
        let fate = self.fate.between(self.hosts[from].key, self.hosts[to].key);
        let draw = fate.decide(About::Message, kind as u64, u64::from(number));
        let touched =
            if self.rules.is_empty() { None } else { self.touch(from, to, message.kind().as_str()) };
        let message = match self.through_the_wire(from, to, draw, message) {
            Ok(message) => message,
            Err(why) => return self.violate("wire", why),
        };
        match touched {
            None => {}
            Some(MessageAction::Drop) => return,
            Some(MessageAction::Corrupt) => {
                let why = self.corrupted(from, to, &message, draw);
                self.launch(link, end, Frame::Damaged(why), draw, 0);
                return;
            }
            Some(MessageAction::Shorten) => {
                let frame = match self.shortened(from, to, &message) {
                    Ok(message) => Frame::Message(Box::new(message)),
                    Err(why) => Frame::Damaged(why),
                };
                self.launch(link, end, frame, draw, 0);
                return;
            }
            Some(MessageAction::HoldMs(ms)) => {
                let at = self.now + self.links[link].travel(draw) + ms * 1_000_000;
                let session = self.links[link].session;
                let frame = Frame::Message(message);
                self.queue.push(at, Item::Frame { link: link as u32, end: 1 - end, session, frame });
                return;
            }
            Some(MessageAction::RepeatMs(ms)) => {
                let at = self.now + self.links[link].travel(draw) + ms * 1_000_000;
                let session = self.links[link].session;
                let frame = Frame::Message(message.clone());
                self.queue.push(at, Item::Frame { link: link as u32, end: 1 - end, session, frame });
            }
        }
        if self.points.any() {
            self.sent(from, to, link, end, &message);
        }
        let waits = self.queueing(link, end, &message);
        let arrives = self.arrival(link, end, draw, waits);
        if self.interest.has(super::Interest::SENDINGS) {
            self.tell(&Fact::Sent { from, to, message: &message, arrives });
        }
        self.launch_at(link, end, Frame::Message(message), arrives);
    }

    /// When what is sent now arrives, behind everything that was sent before; `None` where it does not, or where
    /// nobody knows when.
    #[inline]
    fn arrival(&mut self, link: usize, end: u8, draw: Draw, extra: Time) -> Option<Time> {
        let from = usize::from(end);
        let this = &mut self.links[link];
        if !this.up[from] || this.blocked[from] {
            return None;
        }
        let at = (self.now + this.travel(draw) + extra).max(this.last_arrival[from]);
        this.last_arrival[from] = at;
        Some(at)
    }

    /// Puts a frame on its way.
    #[inline]
    fn launch_at(&mut self, link: usize, end: u8, frame: Frame, arrives: Option<Time>) {
        let this = &mut self.links[link];
        if let Some(at) = arrives {
            let session = this.session;
            self.queue.push(at, Item::Frame { link: link as u32, end: 1 - end, session, frame });
        } else if this.up[usize::from(end)] {
            this.stalled[usize::from(end)].push(frame);
        }
    }

    /// Puts a frame on its way, behind everything that was sent before; tells when it arrives.
    pub(super) fn launch(
        &mut self,
        link: usize,
        end: u8,
        frame: Frame,
        draw: Draw,
        extra: Time,
    ) -> Option<Time> {
        let arrives = self.arrival(link, end, draw, extra);
        self.launch_at(link, end, frame, arrives);
        arrives
    }

    /// A frame arrives at an end, if its session is still the same.
    #[inline]
    pub(super) fn frame_due(&mut self, link: usize, end: u8, session: u32, frame: Frame) {
        let this = &self.links[link];
        if this.session == session && this.up[usize::from(end)] {
            self.frame_arrives(link, usize::from(end), frame);
        }
    }

    fn frame_arrives(&mut self, link: usize, end: usize, frame: Frame) {
        let [to, from] = [end, 1 - end].map(|end| self.links[link].ends[end] as usize);
        match frame {
            Frame::Message(message) => {
                if self.interest.has(super::Interest::ARRIVALS) {
                    self.tell(&Fact::Arrived { from, to, message: &message });
                }
                let peer = self.scene.hosts[from].node;
                self.deliver(to, Event::Received { peer, message });
            }
            Frame::Damaged(why) => {
                self.tell(&Fact::Damaged { host: to });
                let peer = self.scene.hosts[from].node;
                self.deliver(to, Event::Malformed { peer: Some(peer), why });
                if why.ends_connection() {
                    self.break_session(link);
                }
            }
            Frame::Connected if to < self.scene.nodes && from < self.scene.nodes => {
                let (peer, boot) = (self.scene.hosts[from].node, BootNo(self.scene.boots[from]));
                let dialect = self.links[link].dialects[end];
                self.deliver(to, Event::Connected { peer, boot, dialect });
            }
            Frame::Connected => {}
            Frame::End => {
                self.links[link].up[end] = false;
                self.links[link].stalled[end].clear();
                self.disconnected(link, end);
                self.dial(link);
            }
            Frame::Up(up) => self.gate_receive(to, from, *up),
            Frame::Down(down) => self.client_receive(to, *down),
        }
    }

    /// Sends from a client to a gate; false where there is no connection.
    pub(super) fn send_up(&mut self, client: HostIx, gate: HostIx, up: Up) -> bool {
        self.send_api(client, gate, Peer::KIND_UP, Frame::Up(Box::new(up)))
    }

    /// Sends from a gate to a client.
    pub(super) fn send_down(&mut self, gate: HostIx, client: HostIx, down: Down) -> bool {
        self.send_api(gate, client, Peer::KIND_DOWN, Frame::Down(Box::new(down)))
    }

    fn send_api(&mut self, from: HostIx, to: HostIx, kind: usize, frame: Frame) -> bool {
        let node = self.scene.hosts[to].node;
        let Some(peer) = self.hosts[from].peer(node) else { return false };
        let this = &mut self.hosts[from].peers[peer];
        let number = this.sent[kind];
        this.sent[kind] += 1;
        let (link, end) = (this.link as usize, this.end);
        if !self.links[link].up[usize::from(end)] {
            return false;
        }
        let fate = self.fate.between(self.hosts[from].key, self.hosts[to].key);
        let draw = fate.decide(About::Call, kind as u64, u64::from(number));
        self.launch(link, end, frame, draw, 0);
        true
    }

    /// A puppet's message goes from `from` to `to`; false where there is no connection.
    pub(super) fn send_puppet(&mut self, from: HostIx, to: HostIx, message: Box<Message>) -> bool {
        let node = self.scene.hosts[to].node;
        let Some(peer) = self.hosts[from].peer(node) else { return false };
        let (link, end) = (self.hosts[from].peers[peer].link as usize, self.hosts[from].peers[peer].end);
        self.launch(link, end, Frame::Message(message), Draw(0), 0).is_some()
    }

    /// Damaged bytes arrive at `to`, on its connection from `from`.
    pub(super) fn send_garbage(&mut self, from: HostIx, to: HostIx) {
        let node = self.scene.hosts[to].node;
        if let Some(peer) = self.hosts[from].peer(node) {
            let (link, end) = (self.hosts[from].peers[peer].link as usize, self.hosts[from].peers[peer].end);
            let number = self.hosts[to].wakes;
            let draw =
                self.fate.between(self.hosts[from].key, self.hosts[to].key).decide(About::Damage, 1, number);
            self.launch(link, end, Frame::Damaged(damage(draw)), draw, 0);
        }
    }

    // ---- datagrams ----

    /// Sends one datagram.
    pub(super) fn send_datagram(&mut self, from: HostIx, to: Addr, packet: Box<Packet>) {
        let Some(to) = host_at(to, self.scene.nodes) else { return };
        let count = self.hosts[from].datagrams_sent.entry(to as u32).or_insert(0);
        let number = *count;
        *count += 1;
        if self.is_cut(from as u32, to as u32) {
            return;
        }
        let fate = self.fate.between(self.hosts[from].key, self.hosts[to].key);
        let draw = fate.decide(About::Datagram, 0, u64::from(number));
        let packet = match self.datagram_through_the_wire(draw, packet) {
            Ok(packet) => packet,
            Err(why) => return self.violate("wire", why),
        };
        let (source, target) = (&self.hosts[from], &self.hosts[to]);
        let link = self.regions[source.region as usize * self.region_count + target.region as usize];
        let loss = (link.loss_permille + source.loss_permille + target.loss_permille).min(1_000);
        let delay = source.delay_us + target.delay_us;
        if draw.permille(loss) {
            return;
        }
        let plan = self.scene.plan.network.datagrams;
        let (jitter, order, twice) = (draw.next(), draw.next().next(), draw.next().next().next());
        let mut at = self.now + (link.latency_us + delay) * US + jitter.below(link.jitter_us * US + 1);
        if link.spike_permille > 0 && jitter.next().permille(link.spike_permille) {
            at += jitter.below(link.spike_us * US + 1);
        }
        if order.permille(plan.reorder_permille) {
            at += order.next().below(plan.reorder_us * US + 1);
        }
        match if self.rules.is_empty() { None } else { self.touch(from, to, "Datagram") } {
            None => {}
            Some(MessageAction::Drop | MessageAction::Corrupt | MessageAction::Shorten) => return,
            Some(MessageAction::HoldMs(ms)) => at += ms * 1_000_000,
            Some(MessageAction::RepeatMs(ms)) => {
                let packet = packet.clone();
                self.queue
                    .push(at + ms * 1_000_000, Item::Datagram { from: from as u32, to: to as u32, packet });
            }
        }
        if twice.permille(plan.duplicate_permille) {
            let later = at + twice.next().below(plan.reorder_us * US + 1);
            self.queue
                .push(later, Item::Datagram { from: from as u32, to: to as u32, packet: packet.clone() });
        }
        self.queue.push(at, Item::Datagram { from: from as u32, to: to as u32, packet });
    }

    /// A datagram arrives.
    pub(super) fn datagram_due(&mut self, from: HostIx, to: HostIx, packet: Box<Packet>) {
        if matches!(self.hosts[to].actor, Actor::Node(_)) {
            if let Err(why) = self.hosts[to].mark.admit(self.hosts[from].mark.bytes()) {
                self.tell(&Fact::Damaged { host: to });
                return self.deliver(to, Event::Malformed { peer: None, why });
            }
            if self.interest.has(super::Interest::SENDINGS) {
                self.tell(&Fact::Datagram { from, to, packet: &packet });
            }
            self.deliver(to, Event::Datagram { from: super::host::address(from), packet });
        }
    }
}
