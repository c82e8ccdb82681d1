//! Sending: what a packet carries beside what it is about.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::member::{Addr, Claim, Fact};
use super::pack;
use super::packet::{Body, Packet};
use super::suspicion::Suspicion;
use super::table::Ix;
use super::{Swim, Timer, gossip};
use crate::effect::{Effect, Effects};
use crate::id::NodeId;
use crate::time::{Duration, Now};

/// Room without bounds.
const UNLIMITED: usize = usize::MAX / 2;

/// Whom a packet is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct To {
    pub node: NodeId,
    /// Its place, where it is known.
    pub ix: Option<Ix>,
    pub addr: Addr,
}

/// The facts that go along in a packet, as far as there is room.
#[derive(Clone, Debug)]
pub(super) struct Load {
    facts: Vec<Fact>,
    most: usize,
    /// Bytes that are left, and who sends: what the first fact can refer to.
    room: usize,
    sender: Fact,
}

impl Load {
    /// Takes a fact along; `false` where it does not fit.
    #[inline]
    pub fn put(&mut self, fact: Fact) -> bool {
        if self.facts.len() == self.most {
            return false;
        }
        // Where only the number of facts is limited, as in comparisons, their size does not matter.
        if self.room < UNLIMITED {
            let before = self.facts.last().unwrap_or(&self.sender);
            let size = pack::size(&fact, Some(before), self.sender.node);
            if size > self.room {
                return false;
            }
            self.room -= size;
        }
        self.facts.push(fact);
        true
    }
}

impl Swim {
    /// The newest fact about a subject travels from now on.
    pub(super) fn spread(&mut self, now: Now, about: Ix, by: NodeId) {
        self.gossip.push(about, by);
        let period = self.config.rules.gossip_period;
        if !self.gossiping && period > Duration::ZERO {
            self.gossiping = true;
            let wait = Duration::from_nanos(self.rng.below(period.as_nanos()));
            self.timers.arm(Timer::Gossip, now.mono + wait);
        }
    }

    pub(super) fn send_to_member(&mut self, ix: Ix, body: Body, out: &mut Effects) {
        let fact = self.members.at(ix).fact;
        self.send(To { node: fact.node, ix: Some(ix), addr: fact.addr }, body, out);
    }

    /// Answers the packet at hand: what it said and was out of date comes back as it is now.
    pub(super) fn answer(&mut self, to: To, body: Body, out: &mut Effects) {
        let mut load = self.charge(to);
        let corrections = core::mem::take(&mut self.corrections);
        let _full = corrections.into_iter().all(|fact| load.put(fact));
        self.send_with(load, to, body, out);
    }

    pub(super) fn send(&mut self, to: To, body: Body, out: &mut Effects) {
        let load = self.charge(to);
        self.send_with(load, to, body, out);
    }

    /// An empty load for one packet.
    pub(super) fn load(&self) -> Load {
        let (sender, rules) = (own_fact(self), &self.config.rules);
        let room = rules.packet_bytes - pack::size(&sender, None, sender.node);
        Load { facts: Vec::new(), most: rules.packet_facts, room, sender }
    }

    /// What is held against a node, if anything. Whatever is sent to it carries that first, so that it can refute at
    /// the first opportunity (Lifeguard, section IV-C: the buddy system).
    pub(super) fn charge(&self, to: To) -> Load {
        let mut load = self.load();
        if let Some(ix) = to.ix.filter(|_| self.config.rules.buddy)
            && self.members.key(ix).1 != Claim::Alive.rank()
        {
            load.put(self.fact(ix, self.config.node));
        }
        load
    }

    /// Sends this load, and rumours in the room that it leaves.
    pub(super) fn send_with(&mut self, mut load: Load, to: To, body: Body, out: &mut Effects) {
        if !self.gossip.is_empty() {
            let sends_max = self.gossip.sends_max(self.config.rules.lambda, self.members.rumoured() + 1);
            load.facts.reserve_exact((load.most - load.facts.len()).min(self.gossip.len()));
            let (members, me) = (&self.members, own_fact(self));
            // What is said of the receiver itself is in the charge.
            let not = to.ix.filter(|_| self.config.rules.buddy);
            self.gossip.take(not, sends_max, |rumour| {
                load.put(match rumour.about {
                    gossip::SELF => me,
                    ix => accused(members.at(ix).fact, rumour.by),
                })
            });
        }
        self.send_load(to.addr, body, load, None, out);
    }

    pub(super) fn send_load(
        &self,
        addr: Addr,
        body: Body,
        load: Load,
        digest: Option<Vec<u32>>,
        out: &mut Effects,
    ) {
        let packet = Packet {
            from: self.config.node,
            incarnation: self.incarnation,
            role: self.config.role,
            addr: self.config.addr,
            body,
            facts: load.facts,
            digest,
        };
        out.push(Effect::SendDatagram { to: addr, packet: Box::new(packet) });
    }

    /// The newest fact about a member as this node tells it to others. A suspicion goes with the one who found it:
    /// hearsay is no second witness.
    pub(super) fn told(&self, ix: Ix) -> Fact {
        let first = self.suspicions.get(&ix).map(Suspicion::first_accuser);
        self.fact(ix, first.unwrap_or(self.config.node))
    }

    /// The newest fact about a member, and if that is a suspicion, with its accuser.
    pub(super) fn fact(&self, ix: Ix, by: NodeId) -> Fact {
        accused(self.members.at(ix).fact, by)
    }
}

fn accused(fact: Fact, by: NodeId) -> Fact {
    match fact.claim {
        Claim::Suspect { .. } => Fact { claim: Claim::Suspect { by }, ..fact },
        _ => fact,
    }
}

/// What this node says of itself.
pub(super) fn own_fact(swim: &Swim) -> Fact {
    Fact {
        node: swim.config.node,
        incarnation: swim.incarnation,
        claim: if swim.leaving { Claim::Left } else { Claim::Alive },
        role: swim.config.role,
        addr: swim.config.addr,
    }
}
