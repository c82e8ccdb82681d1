//! Ordered connections of a node: which peers are connected, and how far away they are.
//!
//! In: the driver's `Connected` and `Disconnected`, the peers' `Ping` and `Pong`, time. Out: `Ping`s and `Pong`s.
//! [`Links`] neither dials nor decides who is dead: a missing answer only means that no new round trip is known.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::effect::{Effect, Effects};
use crate::id::{BootNo, NodeId};
use crate::observe::{Observation, Stale};
use crate::time::{Duration, Instant, Now};
use crate::wheel::Wheel;
use crate::wire::Message;

/// The connected peers. At most one entry for each peer; gone with its connection.
#[derive(Clone, Debug, Default)]
pub struct Links {
    peers: BTreeMap<NodeId, Link>,
    due: Wheel<NodeId>,
    next_token: u64,
}

/// One connection.
#[derive(Clone, Debug)]
struct Link {
    boot: BootNo,
    /// The ping that has no answer yet: its token, and when it left.
    unanswered: Option<(u64, Instant)>,
    /// The newest round trips, written in turn.
    samples: [Option<Duration>; Links::WINDOW],
    next_sample: usize,
}

impl Links {
    /// Every connection is measured this often, and once when it comes up.
    pub const PERIOD: Duration = Duration::from_secs(2);
    /// The least of this many round trips counts: queues only add, so the least is nearest to the path itself, and
    /// a changed path is noticed within `WINDOW * PERIOD`.
    pub const WINDOW: usize = 16;

    /// A connection is up; an older one to the same peer is forgotten with its measurements. Pings at once.
    pub fn connected(&mut self, now: Now, peer: NodeId, boot: BootNo, out: &mut Effects) {
        let link = Link { boot, unanswered: None, samples: [None; Self::WINDOW], next_sample: 0 };
        self.peers.insert(peer, link);
        self.ping(now, peer, out);
    }

    /// A connection is gone. Tells whether it was known.
    pub fn disconnected(&mut self, peer: NodeId) -> bool {
        self.due.disarm(peer);
        self.peers.remove(&peer).is_some()
    }

    /// Answers a peer's ping.
    pub fn receive_ping(&mut self, peer: NodeId, token: u64, out: &mut Effects) {
        out.push(Effect::Send { to: peer, message: Box::new(Message::Pong { token }) });
    }

    /// Takes the answer to a ping. Only the newest ping of a connection counts, and only once.
    pub fn receive_pong(&mut self, now: Now, peer: NodeId, token: u64, out: &mut Effects) {
        let Some(link) = self.peers.get_mut(&peer) else {
            out.push(Effect::Observe(Observation::Ignored(Stale::Unknown)));
            return;
        };
        let Some((_, sent)) = link.unanswered.take_if(|(asked, _)| *asked == token) else {
            out.push(Effect::Observe(Observation::Ignored(Stale::Sequence)));
            return;
        };
        // The answer was here `waited` ago: the driver's queue is no part of the path.
        link.samples[link.next_sample] = Some((now.mono - now.waited).since(sent));
        link.next_sample = (link.next_sample + 1) % Self::WINDOW;
    }

    /// Pings every peer whose turn it is.
    pub fn wake(&mut self, now: Now, out: &mut Effects) {
        while let Some((_, peer)) = self.due.pop_due(now.mono) {
            self.ping(now, peer, out);
        }
    }

    /// The earliest next ping.
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

    /// The connected peers, by id.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.keys().copied()
    }

    fn ping(&mut self, now: Now, peer: NodeId, out: &mut Effects) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        self.next_token += 1;
        link.unanswered = Some((self.next_token, now.mono));
        self.due.arm(peer, now.mono + Self::PERIOD);
        out.push(Effect::Send { to: peer, message: Box::new(Message::Ping { token: self.next_token }) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const PEER: NodeId = NodeId([7; 16]);

    fn at(ms: u64) -> Now {
        Now { mono: Instant::from_nanos(ms * 1_000_000), ..Now::default() }
    }

    /// The tokens of the pings in `out`, which is emptied; other effects fail the test.
    fn pings(out: &mut Effects) -> Vec<u64> {
        out.drain(..)
            .map(|effect| match effect {
                Effect::Send { to: PEER, message } => match *message {
                    Message::Ping { token } => token,
                    other => panic!("not a ping: {other:?}"),
                },
                other => panic!("not a ping: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn the_least_recent_round_trip_counts_and_the_drivers_queue_does_not() {
        let (mut links, mut out) = (Links::default(), Effects::new());
        links.connected(at(0), PEER, BootNo(1), &mut out);
        assert_eq!(pings(&mut out), [1]);
        assert_eq!(links.rtt(PEER), None, "unknown until measured");
        links.receive_pong(at(30), PEER, 1, &mut out);
        assert_eq!(links.rtt(PEER), Some(Duration::from_millis(30)));

        links.wake(at(2_000), &mut out);
        assert_eq!(pings(&mut out), [2]);
        let late = Now { waited: Duration::from_millis(80), ..at(2_100) };
        links.receive_pong(late, PEER, 2, &mut out);
        assert_eq!(links.rtt(PEER), Some(Duration::from_millis(20)));
        assert!(out.is_empty());
    }

    #[test]
    fn old_repeated_and_foreign_answers_change_nothing() {
        let (mut links, mut out) = (Links::default(), Effects::new());
        links.connected(at(0), PEER, BootNo(1), &mut out);
        links.wake(at(2_000), &mut out);
        assert_eq!(pings(&mut out), [1, 2]);
        links.receive_pong(at(2_001), PEER, 1, &mut out);
        links.receive_pong(at(2_010), PEER, 2, &mut out);
        links.receive_pong(at(2_011), PEER, 2, &mut out);
        links.receive_pong(at(2_012), NodeId([8; 16]), 2, &mut out);
        let ignored = |why| Effect::Observe(Observation::Ignored(why));
        assert_eq!(
            out.to_vec(),
            [ignored(Stale::Sequence), ignored(Stale::Sequence), ignored(Stale::Unknown)]
        );
        assert_eq!(links.rtt(PEER), Some(Duration::from_millis(10)));
    }

    #[test]
    fn a_lost_connection_leaves_nothing() {
        let (mut links, mut out) = (Links::default(), Effects::new());
        links.connected(at(0), PEER, BootNo(3), &mut out);
        assert_eq!(
            (links.boot(PEER), links.wake_at()),
            (Some(BootNo(3)), Some(Instant::ZERO + Links::PERIOD))
        );
        assert!(links.disconnected(PEER) && !links.disconnected(PEER));
        assert_eq!((links.boot(PEER), links.wake_at(), links.is_connected(PEER)), (None, None, false));
    }
}
