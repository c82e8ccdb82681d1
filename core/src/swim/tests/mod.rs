//! Transcripts of one machine, laws of merging and bounds, and small seeded worlds.

mod agreement;
mod hostile;
mod laws;
mod transcripts;
mod world;
mod worlds;

use alloc::collections::BTreeSet;
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
        rules: Rules::ours(Duration::from_secs(1), Duration::from_millis(500)),
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
    Packet {
        from: id(from),
        incarnation,
        role: Role::Gate,
        addr: addr(from),
        body,
        facts: facts.to_vec(),
        digest: None,
    }
}

fn life(boot: u32) -> Incarnation {
    Incarnation::of_boot(BootNo(boot))
}

impl Swim {
    /// What holds between any two calls.
    fn check(&self) {
        let of = |wanted: &[MemberStatus]| -> Vec<Ix> {
            self.members.iter().filter(|(_, it)| wanted.contains(&it.status())).map(|(ix, _)| ix).collect()
        };
        let suspects = of(&[MemberStatus::Suspect]);
        assert_eq!(
            suspects,
            self.suspicions.keys().copied().collect::<Vec<_>>(),
            "a suspect has a suspicion"
        );
        for ix in suspects {
            assert!(self.timers.deadline(Timer::Suspicion(ix)).is_some(), "a suspicion ends");
        }
        let live = of(&[MemberStatus::Alive, MemberStatus::Suspect]);
        assert_eq!(live.len(), self.members.live());
        let workers = live.iter().filter(|ix| self.members.at(**ix).fact.role == Role::Worker).count();
        assert_eq!(workers, self.members.live_workers());
        let asked: BTreeSet<Ix> = (0..self.order.len()).map(|place| self.order.at(place)).collect();
        assert_eq!(asked.len(), self.order.len(), "nobody is asked twice in a traversal");
        let probed = |ix: &&Ix| self.probes(self.members.at(**ix).fact.role);
        assert!(live.iter().filter(probed).all(|ix| asked.contains(ix)), "the living are asked");
        for (ix, member) in self.members.iter() {
            assert_eq!(self.members.is_ordered(ix), asked.contains(&ix));
            assert_eq!(self.members.find(member.fact.node), Some(ix), "a member is found by its id");
        }
        assert_eq!(of(&[MemberStatus::Unconfirmed]), self.unheard.keys().copied().collect::<Vec<_>>());
        for ix in self.strangers.keys() {
            assert!(self.unheard.contains_key(ix), "only strangers are asked as such");
        }
        let probed_dead = of(&[MemberStatus::Dead]);
        assert!(probed_dead.iter().filter(probed).all(|ix| self.dead.contains(ix)));
        assert!(self.gossip.len() <= RUMOURS_MAX);
        assert!(!self.gossip.is_fresh(6) || self.gossiping, "rumours are sent");
        assert_eq!(self.gossiping, self.timers.deadline(Timer::Gossip).is_some());
        assert!(self.relays.len() <= probe::RELAYS_MAX);
        for seq in self.relays.numbers() {
            assert!(self.timers.deadline(Timer::Relay(seq)).is_some(), "a question for another ends");
        }
        if let Some(round) = self.round.as_ref().filter(|round| !round.answered) {
            let next = self.timers.deadline(Timer::Period).expect("there is a next round");
            assert!(next <= round.ends_at, "a round ends with the next");
        }
        assert!(self.members.iter().count() <= MEMBERS_MAX);
        assert_eq!(self.exchange.is_some(), self.timers.deadline(Timer::Page).is_some(), "an exchange ends");
    }
}
