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
mod tests {
    use super::*;
    use crate::wire::Features;
    use proptest::prelude::*;
    use std::vec::Vec;

    const PEER: NodeId = NodeId([7; 16]);

    fn links() -> Links {
        Links::new([5; 32])
    }

    fn at(ms: u64) -> Now {
        Now { mono: Instant::from_nanos(ms * 1_000_000), ..Now::default() }
    }

    /// The tokens of the pings in `out`, which is emptied; other effects fail the test.
    fn pings(out: &mut Effects) -> Vec<u64> {
        out.drain(..)
            .filter(|effect| !matches!(effect, Effect::Observe(Observation::Greeted { .. })))
            .map(|effect| match effect {
                Effect::Send { to: PEER, message } => match *message {
                    Message::Ping { token } => token,
                    other => panic!("not a ping: {other:?}"),
                },
                other => panic!("not a ping: {other:?}"),
            })
            .collect()
    }

    fn ignored(why: Stale) -> Effect {
        Effect::Observe(Observation::Ignored(why))
    }

    const MISSED: Effect = Effect::Observe(Observation::PingMissed(PEER));

    proptest! {
        #[test]
        fn whoever_has_turns_is_pinged_once_in_each(start_ms in 0u64..10_000, phase_ms in 0u64..2_000) {
            let phase = Duration::from_millis(phase_ms);
            let mut links = links().in_turn(BTreeMap::from([(PEER, phase)]));
            let mut out = Effects::new();
            links.connected(at(start_ms), PEER, (BootNo(1), Dialect::OURS), &mut out);
            let mut last = at(start_ms).mono;
            for _ in 0..20 {
                let next = links.due.deadline(Due::Ping(PEER)).expect("there is a next one");
                let into = (next.as_nanos() + Links::PERIOD.as_nanos() - phase.as_nanos()) % Links::PERIOD.as_nanos();
                prop_assert!(into < Links::JITTER.as_nanos(), "{next:?}");
                // No further apart than silence is judged by.
                prop_assert!(next > last && next.since(last) <= Links::PERIOD + Links::JITTER);
                last = next;
                links.wake(Now { mono: next, ..Now::default() }, &mut out);
            }
        }
    }

    #[test]
    fn the_least_recent_round_trip_counts_and_the_drivers_queue_does_not() {
        let (mut links, mut out) = (links(), Effects::new());
        links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
        assert_eq!(pings(&mut out), [1]);
        assert_eq!((links.rtt(PEER), links.distance(at(0).mono, PEER)), (None, Rtt::Unknown));
        assert_eq!(
            links.receive_pong(at(30), PEER, (1, None, Condition::default()), &mut out),
            Some(Duration::from_millis(30))
        );
        assert_eq!(links.rtt(PEER), Some(Duration::from_millis(30)));

        links.wake(at(2_200), &mut out);
        assert_eq!(pings(&mut out), [2]);
        let late = Now { waited: Duration::from_millis(80), ..at(2_300) };
        links.receive_pong(late, PEER, (2, None, Condition::default()), &mut out);
        assert_eq!(links.rtt(PEER), Some(Duration::from_millis(20)));
        assert_eq!(links.distance(at(0).mono, PEER), Rtt::Measured(Duration::from_millis(20)));
        assert!(out.is_empty());
    }

    #[test]
    fn each_ping_is_answered_once_and_by_its_peer() {
        let (mut links, mut out) = (links(), Effects::new());
        links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
        assert_eq!(pings(&mut out), [1]);
        links.receive_pong(at(10), PEER, (1, None, Condition::default()), &mut out);
        links.receive_pong(at(11), PEER, (1, None, Condition::default()), &mut out);
        links.receive_pong(at(12), PEER, (9, None, Condition::default()), &mut out);
        links.receive_pong(at(13), NodeId([8; 16]), (1, None, Condition::default()), &mut out);
        assert_eq!(
            out.to_vec(),
            [ignored(Stale::Sequence), ignored(Stale::Sequence), ignored(Stale::Unknown)]
        );
        assert_eq!(links.rtt(PEER), Some(Duration::from_millis(10)));
    }

    #[test]
    fn a_ping_without_an_answer_is_missed_once_and_its_late_answer_is_none() {
        let (mut links, mut out) = (links(), Effects::new());
        links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
        assert_eq!(pings(&mut out), [1]);
        // Nothing is known: 3 x 200 ms and 500.
        links.wake(at(1_099), &mut out);
        assert!(out.is_empty());
        assert_eq!(links.wake_at(), Some(at(1_100).mono));
        links.wake(at(1_100), &mut out);
        assert_eq!(out.drain(..).collect::<Vec<_>>(), [MISSED]);
        assert_eq!(links.receive_pong(at(1_101), PEER, (1, None, Condition::default()), &mut out), None);
        assert_eq!(out.drain(..).collect::<Vec<_>>(), [ignored(Stale::Sequence)]);
        assert_eq!(links.tally(), Tally { sent: 1, missed: 1, ..Tally::default() });
    }

    #[test]
    fn a_far_peer_has_more_time_and_answers_may_overlap() {
        let (mut links, mut out) = (links(), Effects::new());
        links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
        links.receive_pong(at(1_000), PEER, (1, None, Condition::default()), &mut out);
        assert_eq!(links.timeout(at(1_000).mono, PEER), Links::TIMEOUT_MAX);
        links.wake(at(2_200), &mut out);
        links.wake(at(4_400), &mut out);
        assert_eq!(pings(&mut out), [1, 2, 3]);
        for (ms, token) in [(5_000, 2), (6_000, 3)] {
            assert!(
                links.receive_pong(at(ms), PEER, (token, None, Condition::default()), &mut out).is_some()
            );
        }
        assert_eq!(links.tally(), Tally { sent: 3, answered: 3, ..Tally::default() });
    }

    #[test]
    fn after_a_reconnect_the_distance_is_a_prediction_until_it_is_measured() {
        let (mut links, mut out) = (links(), Effects::new());
        let there = Some(Coordinates::new([6; 32]).own());
        links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
        links.receive_pong(at(30), PEER, (1, there, Condition::default()), &mut out);
        links.connected(at(100), PEER, (BootNo(2), Dialect::OURS), &mut out);
        assert!(matches!(links.distance(at(100).mono, PEER), Rtt::Predicted(_)));
        links.receive_pong(at(140), PEER, (2, there, Condition::default()), &mut out);
        assert_eq!(links.distance(at(140).mono, PEER), Rtt::Measured(Duration::from_millis(40)));
        assert_eq!(pings(&mut out), [1, 2]);
    }

    #[test]
    fn a_place_out_of_bounds_is_refused_and_the_round_trip_counts() {
        let (mut links, mut out) = (links(), Effects::new());
        let mut there = Coordinates::new([6; 32]).own();
        there.at_us[3] = i32::MIN;
        links.connected(at(0), PEER, (BootNo(1), Dialect::OURS), &mut out);
        assert_eq!(pings(&mut out), [1]);
        assert!(links.receive_pong(at(30), PEER, (1, Some(there), Condition::default()), &mut out).is_some());
        assert_eq!(out.to_vec(), [ignored(Stale::Invalid)]);
        links.disconnected(PEER);
        assert_eq!(links.distance(at(40).mono, PEER), Rtt::Unknown);
    }

    #[test]
    fn what_is_spoken_with_a_peer_is_that_of_its_newest_connection() {
        let (mut links, mut out) = (links(), Effects::new());
        let without = Dialect { features: Features::named(["gate_views"]), ..Dialect::OURS };
        for (dialect, told) in [(Dialect::of(0), false), (Dialect::OURS, true), (without, false)] {
            out.clear();
            links.connected(at(0), PEER, (BootNo(1), dialect), &mut out);
            let Dialect { minor, features } = dialect;
            assert_eq!(out[0], Effect::Observe(Observation::Greeted { peer: PEER, minor, features }));
            out.clear();
            links.receive_ping(PEER, 9, &mut out);
            let [Effect::Send { message, .. }] = &out[..] else { panic!("{out:?}") };
            assert!(dialect.knows(message));
            assert_eq!(matches!(**message, Message::Pong { coordinate: Some(_), .. }), told);
            assert_eq!(links.may_use(PEER, Feature::GateViews), features.has(Feature::GateViews));
        }
        links.disconnected(PEER);
        assert!(Feature::ALL.iter().all(|feature| !links.may_use(PEER, *feature)));
    }

    #[test]
    fn load_is_told_to_those_who_know_of_it_and_heard_until_the_connection_ends() {
        let (mut links, mut out) = (links(), Effects::new());
        links.take_usage(at(0), Usage { memory_permille: 990, ..Usage::default() }, &mut out);
        for (dialect, told) in [(Dialect::OURS, Condition::Overloaded), (Dialect::of(0), Condition::Healthy)]
        {
            links.connected(at(0), PEER, (BootNo(1), dialect), &mut out);
            out.clear();
            links.receive_ping(PEER, 9, &mut out);
            let [Effect::Send { message, .. }] = &out[..] else { panic!("{out:?}") };
            assert!(dialect.knows(message));
            assert!(matches!(**message, Message::Pong { condition, .. } if condition == told), "{message:?}");
        }
        out.clear();
        links.receive_pong(at(10), PEER, (2, None, Condition::Busy), &mut out);
        let heard = Observation::PeerCondition { node: PEER, condition: Condition::Busy };
        assert_eq!(out.to_vec(), [Effect::Observe(heard)]);
        assert_eq!(links.peer_condition(PEER), Condition::Busy);
        links.connected(at(20), PEER, (BootNo(1), Dialect::OURS), &mut out);
        assert_eq!(links.peer_condition(PEER), Condition::Healthy);
    }

    #[test]
    fn a_lost_connection_leaves_nothing() {
        let (mut links, mut out) = (links(), Effects::new());
        links.connected(at(0), PEER, (BootNo(3), Dialect::OURS), &mut out);
        assert_eq!(links.boot(PEER), Some(BootNo(3)));
        assert!(links.disconnected(PEER) && !links.disconnected(PEER));
        assert_eq!((links.boot(PEER), links.wake_at(), links.is_connected(PEER)), (None, None, false));
        assert_eq!(links.tally(), Tally { sent: 1, lost: 1, ..Tally::default() });
    }

    #[derive(Clone, Debug)]
    enum Op {
        Connect(u8),
        Disconnect(u8),
        Pong(u8, u64),
        Pass(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            1 => (0..3u8).prop_map(Op::Connect),
            1 => (0..3u8).prop_map(Op::Disconnect),
            4 => (0..3u8, 0..40u64).prop_map(|(peer, token)| Op::Pong(peer, token)),
            4 => (0..4_000u64).prop_map(Op::Pass),
            1 => (0..100_000u64).prop_map(Op::Pass),
        ]
    }

    proptest! {
        /// Every ping ends once, a miss is testified in the step that finds it, and few are under way.
        #[test]
        fn every_ping_ends_once(ops in proptest::collection::vec(op(), 0..120)) {
            let (mut links, mut now, mut missed) = (links(), 0, 0);
            for op in ops {
                let mut out = Effects::new();
                let peer = |ix: u8| NodeId([ix; 16]);
                links.wake(at(now), &mut out);
                match op {
                    Op::Connect(ix) => links.connected(at(now), peer(ix), (BootNo(1), Dialect::OURS), &mut out),
                    Op::Disconnect(ix) => drop(links.disconnected(peer(ix))),
                    Op::Pong(ix, token) => drop(links.receive_pong(at(now), peer(ix), (token, None, Condition::default()), &mut out)),
                    Op::Pass(ms) => {
                        now += ms;
                        links.wake(at(now), &mut out);
                        prop_assert!(links.wake_at().is_none_or(|next| next > at(now).mono));
                    }
                }
                let says_missed =
                    |effect: &&Effect| matches!(effect, Effect::Observe(Observation::PingMissed(_)));
                missed += out.iter().filter(says_missed).count() as u64;
                let open: usize = links.peers.values().map(|link| link.unanswered.len()).sum();
                let Tally { sent, answered, missed: counted, lost } = links.tally();
                prop_assert_eq!(sent, answered + counted + lost + open as u64);
                prop_assert_eq!(counted, missed);
                prop_assert!(links.peers.values().all(|link| link.unanswered.len() <= 4));
            }
        }
    }
}
