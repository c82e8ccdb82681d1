//! Transcripts of one machine, laws of merging and bounds, and small seeded worlds.

mod hostile;
mod laws;
mod transcripts;
mod world;
mod worlds;

use alloc::vec::Vec;

use super::*;
use crate::time::WallTime;

/// A node's id in tests: its number in every byte.
fn id(n: u8) -> NodeId {
    NodeId([n; 16])
}

/// A node's address in tests.
fn addr(n: u8) -> Addr {
    Addr { ip: [n; 16], port: 7_000 + u16::from(n) }
}

fn peer(n: u8) -> Peer {
    Peer { node: id(n), name: std::format!("n{n}"), addr: addr(n) }
}

fn config(n: u8, role: Role, seeds: &[u8]) -> SwimConfig {
    SwimConfig {
        node: id(n),
        addr: addr(n),
        role,
        boot: BootNo(1),
        period: Duration::from_secs(1),
        probe_timeout: Duration::from_millis(500),
        seeds: seeds.iter().map(|n| peer(*n)).collect(),
    }
}

fn at(millis: u64) -> Now {
    let mono = Instant::ZERO + Duration::from_millis(millis);
    Now { mono, wall: WallTime::default(), waited: Duration::ZERO }
}

fn fact(n: u8, incarnation: Incarnation, claim: Claim) -> Fact {
    Fact { node: id(n), incarnation, claim, role: Role::Gate, addr: addr(n) }
}

fn packet(from: u8, incarnation: Incarnation, body: Body, facts: &[Fact]) -> Packet {
    Packet { from: id(from), incarnation, role: Role::Gate, addr: addr(from), body, facts: facts.to_vec() }
}

fn life(boot: u32) -> Incarnation {
    Incarnation::of_boot(BootNo(boot))
}

impl Swim {
    /// What holds between any two calls.
    fn check(&self) {
        let status = |wanted: &[MemberStatus]| -> Vec<NodeId> {
            let matching = self.members.iter().filter(|(_, member)| wanted.contains(&member.status()));
            matching.map(|(node, _)| node).collect()
        };
        let suspects = status(&[MemberStatus::Suspect]);
        assert_eq!(
            suspects,
            self.suspicions.keys().copied().collect::<Vec<_>>(),
            "a suspect has a suspicion"
        );
        for node in suspects {
            assert!(self.timers.deadline(Timer::Suspicion(node)).is_some(), "a suspicion ends");
        }
        let live = status(&[MemberStatus::Alive, MemberStatus::Suspect]);
        assert_eq!(live.len(), self.members.live());
        let mut asked = self.order.nodes().to_vec();
        asked.sort_unstable();
        let probed = |node: &NodeId| self.members.get(*node).is_some_and(|row| self.probes(row.fact.role));
        assert_eq!(
            asked,
            live.into_iter().filter(probed).collect::<Vec<_>>(),
            "the living are asked, nobody else"
        );
        for node in self.strangers.keys() {
            let member = self.members.get(*node).expect("a stranger that is asked is known");
            assert_eq!(member.status(), MemberStatus::Unconfirmed);
        }
        assert!(self.tries.keys().all(|node| self.strangers.deadline(*node).is_some()));
        assert!(self.gossip.len() <= RUMOURS_MAX);
        assert!(self.relays.len() <= probe::RELAYS_MAX);
        assert!(self.members.iter().count() <= MEMBERS_MAX);
        assert_eq!(self.exchange.is_some(), self.timers.deadline(Timer::Page).is_some(), "an exchange ends");
    }
}
