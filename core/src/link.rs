//! Ordered connections of a node: which peers are connected, whether they answer, and how far away they are.
//!
//! | in | out |
//! |---|---|
//! | the driver's `Connected` and `Disconnected` | `Greeted` and a `Ping` at once; all of it is forgotten |
//! | the driver's `Usage` | how loaded this node is ([`crate::guard`]) |
//! | a peer's `Ping` | a `Pong` that says where this node stands, and how loaded it is |
//! | a peer's `Pong` | its round trip, for the caller to judge; how loaded it is |
//! | time | a `Ping` about every [`Links::PERIOD`], to some in turn ([`Links::in_turn`]); `PingMissed` for each that had no answer in time |
//!
//! Every ping ends once: answered, missed, or gone with its connection ([`Tally`]). [`Links`] neither dials nor decides
//! who is dead: a missing answer is testimony, and whoever judges asks for it ([`crate::federation`]).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use smallvec::SmallVec;

use crate::coordinates::{Coordinate, Coordinates};
use crate::effect::{Effect, Effects};
use crate::guard::{Condition, Gauge, Usage};
use crate::id::{BootNo, NodeId};
use crate::observe::{Observation, Stale};
use crate::rng::NodeRng;
use crate::routing::Rtt;
use crate::time::{Duration, Instant, Now};
use crate::wheel::Wheel;
use crate::wire::{Dialect, Feature, Message};

/// The machine's own stream of the node's randomness.
const STREAM: u64 = 0x4c49_4e4b;

/// The connected peers. At most one entry for each peer; gone with its connection.
#[derive(Clone, Debug)]
pub struct Links {
    peers: BTreeMap<NodeId, Link>,
    due: Wheel<Due>,
    next_token: u64,
    rng: NodeRng,
    /// Peers that have turns of their own within a period; at most the configured managers.
    phases: BTreeMap<NodeId, Duration>,
    coordinates: Coordinates,
    gauge: Gauge,
    tally: Tally,
}

/// What became of pings: `sent` is the sum of the others and of those under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub sent: u64,
    /// Answered in time.
    pub answered: u64,
    /// Not answered in time.
    pub missed: u64,
    /// Gone with their connection.
    pub lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The next ping.
    Ping(NodeId),
    /// The oldest ping's answer.
    Answer(NodeId),
}

/// One connection.
#[derive(Clone, Debug)]
struct Link {
    boot: BootNo,
    dialect: Dialect,
    /// How loaded the peer says it is.
    condition: Condition,
    /// Pings without an answer: token, when it left, when it counts as missed. Oldest first; they end in time, so there
    /// are at most [`Links::TIMEOUT_MAX`] / (0.9 [`Links::PERIOD`]) and one.
    unanswered: SmallVec<[Unanswered; 4]>,
    /// The newest round trips, written in turn.
    samples: [Option<Duration>; Links::WINDOW],
    next_sample: usize,
    /// Mean and mean deviation of the round trips, once there is one (RFC 6298, section 2).
    smoothed: Option<(Duration, Duration)>,
}

#[derive(Clone, Copy, Debug)]
struct Unanswered {
    token: u64,
    sent: Instant,
    ends: Instant,
}

impl Links {
    /// Every connection is measured this often, give or take a tenth, and once when it comes up.
    pub const PERIOD: Duration = Duration::from_secs(2);
    /// The least of this many round trips counts: queues only add, so the least is nearest to the path itself, and
    /// a changed path is noticed within `WINDOW * PERIOD`.
    pub const WINDOW: usize = 16;
    /// An answer is never missed sooner than this,
    pub const TIMEOUT_MIN: Duration = Duration::from_secs(1);
    /// nor waited for longer than this. Between them: three times the round trip that is seldom exceeded, and 0.5 s.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(5);
    /// Whoever has a turn is pinged this much later at most.
    pub const JITTER: Duration = Duration::from_millis(100);
    /// What is assumed of a peer that nothing is known of.
    const RTT_UNKNOWN: Duration = Duration::from_millis(200);

    /// No connection. Equal seeds give equal pings.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            peers: BTreeMap::new(),
            due: Wheel::default(),
            next_token: 0,
            rng: NodeRng::new(seed, STREAM),
            phases: BTreeMap::new(),
            coordinates: Coordinates::new(seed),
            gauge: Gauge::default(),
            tally: Tally::default(),
        }
    }

    /// These peers are pinged in turn: each at its own time within every period of this node's clock.
    #[must_use]
    pub fn in_turn(self, phases: BTreeMap<NodeId, Duration>) -> Self {
        Self { phases, ..self }
    }

    /// A connection is up; an older one to the same peer is forgotten with its measurements and what was spoken on it.
    /// Pings at once.
    pub fn connected(
        &mut self,
        now: Now,
        peer: NodeId,
        (boot, dialect): (BootNo, Dialect),
        out: &mut Effects,
    ) {
        self.disconnected(peer);
        let Dialect { minor, features } = dialect;
        out.push(Effect::Observe(Observation::Greeted { peer, minor, features }));
        let link = Link {
            boot,
            dialect,
            condition: Condition::default(),
            unanswered: SmallVec::new(),
            samples: [None; Self::WINDOW],
            next_sample: 0,
            smoothed: None,
        };
        self.peers.insert(peer, link);
        self.ping(now, peer, out);
    }

    /// Whether a feature may be used with a peer; none without a connection.
    pub fn may_use(&self, peer: NodeId, feature: Feature) -> bool {
        self.peers.get(&peer).is_some_and(|link| link.dialect.features.has(feature))
    }

    /// A connection is gone. Tells whether it was known.
    pub fn disconnected(&mut self, peer: NodeId) -> bool {
        self.due.disarm(Due::Ping(peer));
        self.due.disarm(Due::Answer(peer));
        let link = self.peers.remove(&peer);
        self.tally.lost += link.as_ref().map_or(0, |link| link.unanswered.len() as u64);
        link.is_some()
    }

    /// Answers a peer's ping.
    pub fn receive_ping(&mut self, peer: NodeId, token: u64, out: &mut Effects) {
        let coordinate = self.may_use(peer, Feature::Coordinates).then(|| self.coordinates.own());
        let condition = self.condition_for(peer);
        let message = Box::new(Message::Pong { token, coordinate, condition });
        out.push(Effect::Send { to: peer, message });
    }

    /// The driver says how loaded the machine is.
    pub fn take_usage(&mut self, now: Now, usage: Usage, out: &mut Effects) {
        if let Some(condition) = self.gauge.take(now, usage) {
            out.push(Effect::Observe(Observation::Condition(condition)));
        }
    }

    /// How loaded this node is, for a peer that knows of it; healthy for others.
    pub fn condition_for(&self, peer: NodeId) -> Condition {
        if self.may_use(peer, Feature::Conditions) { self.condition() } else { Condition::default() }
    }

    /// How loaded this node is.
    pub fn condition(&self) -> Condition {
        self.gauge.condition()
    }

    /// How loaded a connected peer said it is, in answer to the last ping; healthy where nothing is known.
    pub fn peer_condition(&self, peer: NodeId) -> Condition {
        self.peers.get(&peer).map_or(Condition::default(), |link| link.condition)
    }

    /// Takes the answer to a ping; gives its round trip. Each ping is answered once, and an answer that comes too late is
    /// none: its ping has been missed.
    pub fn receive_pong(
        &mut self,
        now: Now,
        peer: NodeId,
        (token, coordinate, condition): (u64, Option<Coordinate>, Condition),
        out: &mut Effects,
    ) -> Option<Duration> {
        let ignored = |why| Effect::Observe(Observation::Ignored(why));
        let Some(link) = self.peers.get_mut(&peer) else {
            out.push(ignored(Stale::Unknown));
            return None;
        };
        let Some(place) = link.unanswered.iter().position(|ping| ping.token == token) else {
            out.push(ignored(Stale::Sequence));
            return None;
        };
        let ping = link.unanswered.remove(place);
        self.tally.answered += 1;
        // The answer was here `waited` ago: the driver's queue is no part of the path.
        let rtt = (now.mono - now.waited).since(ping.sent);
        link.take_sample(rtt);
        if core::mem::replace(&mut link.condition, condition) != condition {
            out.push(Effect::Observe(Observation::PeerCondition { node: peer, condition }));
        }
        self.await_oldest(peer);
        if let Some(coordinate) = coordinate
            && self.coordinates.sample(now.mono, peer, rtt, coordinate).is_err()
        {
            // The round trip counts all the same: it was measured here.
            out.push(ignored(Stale::Invalid));
        }
        Some(rtt)
    }

    /// Pings every peer whose turn it is, and testifies to each ping whose answer has not come in time.
    pub fn wake(&mut self, now: Now, out: &mut Effects) {
        while let Some((_, due)) = self.due.pop_due(now.mono) {
            match due {
                Due::Ping(peer) => self.ping(now, peer, out),
                Due::Answer(peer) => self.miss(now, peer, out),
            }
        }
    }

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        self.due.next()
    }

    /// Whether the ordered connection to a peer is up.
    pub fn is_connected(&self, peer: NodeId) -> bool {
        self.peers.contains_key(&peer)
    }

    /// The boot that a connected peer stated.
    pub fn boot(&self, peer: NodeId) -> Option<BootNo> {
        self.peers.get(&peer).map(|link| link.boot)
    }

    /// The least recent round trip to a connected peer; `None` where none was measured.
    pub fn rtt(&self, peer: NodeId) -> Option<Duration> {
        self.peers.get(&peer)?.samples.iter().flatten().min().copied()
    }

    /// How far away a peer is: measured, or else predicted from where both stand, or else unknown.
    pub fn distance(&self, now: Instant, peer: NodeId) -> Rtt {
        match (self.rtt(peer), self.coordinates.predict(now, peer)) {
            (Some(measured), _) => Rtt::Measured(measured),
            (None, Some(predicted)) => Rtt::Predicted(predicted),
            (None, None) => Rtt::Unknown,
        }
    }

    /// How long an answer of a peer is waited for.
    pub fn timeout(&self, now: Instant, peer: NodeId) -> Duration {
        let measured = self.peers.get(&peer).and_then(|link| link.smoothed);
        let bound = match measured {
            Some((mean, deviation)) => mean + deviation.scale(4, 1),
            None => self.coordinates.upper_bound(now, peer).unwrap_or(Self::RTT_UNKNOWN),
        };
        (bound.scale(3, 1) + Duration::from_millis(500)).clamp(Self::TIMEOUT_MIN, Self::TIMEOUT_MAX)
    }

    /// What became of all pings.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The connected peers, by id.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.keys().copied()
    }

    fn ping(&mut self, now: Now, peer: NodeId, out: &mut Effects) {
        let ends = now.mono + self.timeout(now.mono, peer);
        let Some(link) = self.peers.get_mut(&peer) else { return };
        self.next_token += 1;
        self.tally.sent += 1;
        link.unanswered.push(Unanswered { token: self.next_token, sent: now.mono, ends });
        let next = match self.phases.get(&peer) {
            Some(phase) => {
                let jitter = Duration::from_nanos(self.rng.below(Self::JITTER.as_nanos()));
                next_turn(now.mono, *phase) + jitter
            }
            None => now.mono + Self::PERIOD.scale(self.rng.range(900, 1_101), 1_000),
        };
        self.due.arm(Due::Ping(peer), next);
        out.push(Effect::Send { to: peer, message: Box::new(Message::Ping { token: self.next_token }) });
        self.await_oldest(peer);
    }

    /// Ends the pings of a peer whose time is over.
    fn miss(&mut self, now: Now, peer: NodeId, out: &mut Effects) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let before = link.unanswered.len();
        link.unanswered.retain(|ping| ping.ends > now.mono);
        let missed = before - link.unanswered.len();
        self.tally.missed += missed as u64;
        out.extend((0..missed).map(|_| Effect::Observe(Observation::PingMissed(peer))));
        self.await_oldest(peer);
    }

    fn await_oldest(&mut self, peer: NodeId) {
        let ends = self.peers.get(&peer).and_then(|link| link.unanswered.iter().map(|ping| ping.ends).min());
        match ends {
            Some(ends) => self.due.arm(Due::Answer(peer), ends),
            None => drop(self.due.disarm(Due::Answer(peer))),
        }
    }
}

/// The first instant after `now` that lies `phase` after the beginning of a period.
fn next_turn(now: Instant, phase: Duration) -> Instant {
    let (now, period) = (now.as_nanos(), Links::PERIOD.as_nanos());
    let phase = phase.as_nanos() % period;
    let periods = (now + period - phase) / period;
    Instant::from_nanos(periods * period + phase)
}

impl Link {
    fn take_sample(&mut self, rtt: Duration) {
        self.samples[self.next_sample] = Some(rtt);
        self.next_sample = (self.next_sample + 1) % Links::WINDOW;
        self.smoothed = Some(match self.smoothed {
            None => (rtt, rtt.scale(1, 2)),
            Some((mean, deviation)) => {
                let off = Duration::from_nanos(mean.as_nanos().abs_diff(rtt.as_nanos()));
                (mean.scale(7, 8) + rtt.scale(1, 8), deviation.scale(3, 4) + off.scale(1, 4))
            }
        });
    }
}

#[cfg(test)]
mod tests;
