//! Exchanging views: at the start with a configured member, then now and then with a random one, and with whoever comes
//! back from the dead. Rumours travel a bounded number of times; exchanges bring what they missed.
//!
//! The asker pulls page by page, one packet each way, so that neither side ever sends more than one packet for one
//! received. It sends a digest of its view along, in parts by ranges of ids; pages leave out the parts in which both
//! agree, and tell which those are, for the questions that follow. So two members with equal views exchange two packets.
//! A mutual exchange makes the other side pull in turn where they differ.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use super::member::{Addr, Claim, Fact, MemberStatus};
use super::packet::{Body, Parts};
use super::probe::sample;
use super::send::{To, own_fact};
use super::table::{Ix, LEAVES, leaf};
use super::{Swim, Timer};
use crate::effect::Effects;
use crate::id::NodeId;
use crate::time::{Duration, Now};

/// How often one page is asked for before the exchange is given up.
const PAGE_TRIES: u32 = 3;
/// Members for each part of a digest that are aimed at.
const MEMBERS_PER_PART: usize = 4;
/// Fewest parts of a digest.
const PARTS_MIN: usize = 16;

/// The exchange that this node drives. There is one at a time; another occasion meanwhile is let pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    peer: NodeId,
    addr: Addr,
    after: Option<NodeId>,
    mutual: bool,
    /// What is still worth asking for, once the other side has told.
    parts: Option<Parts>,
    tries: u32,
}

impl Swim {
    /// Asks a configured member for all others, until one has answered to the end.
    pub(super) fn join(&mut self, now: Now, out: &mut Effects) {
        let seeds: Vec<Ix> =
            self.members.iter().filter(|(_, member)| member.seed).map(|(ix, _)| ix).collect();
        match seeds.get(self.rng.below(seeds.len() as u64) as usize) {
            Some(&ix) => self.exchange_with(now, ix, out),
            None => self.joined = true,
        }
    }

    /// Exchanges views with a member, both ways.
    pub(super) fn exchange_with(&mut self, now: Now, ix: Ix, out: &mut Effects) {
        let fact = self.members.at(ix).fact;
        self.begin(now, fact.node, fact.addr, true, out);
    }

    /// Arms the first exchange at random: members that start together do not exchange in step.
    pub(super) fn arm_first_exchange(&mut self, now: Now) {
        let most = self.config.rules.exchange_periods;
        self.exchange_wait = if self.config.rules.digest { 1 } else { most };
        let span = self.config.rules.period.scale(self.exchange_wait, 1);
        let wait = Duration::from_nanos(self.rng.below(span.as_nanos()));
        self.timers.arm(Timer::Exchange, now.mono + wait);
    }

    /// The time for an exchange with a random member has come. While exchanges bring members that were not known, as
    /// after a start or a cut, they follow each other soon; then ever more slowly.
    pub(super) fn exchange_due(&mut self, now: Now, out: &mut Effects) {
        let most = self.config.rules.exchange_periods;
        let grew =
            core::mem::replace(&mut self.known_at_exchange, self.members.told_of()) < self.members.told_of();
        self.exchange_wait =
            if grew && self.config.rules.digest { 1 } else { (2 * self.exchange_wait).min(most) };
        self.arm_about(Timer::Exchange, now, self.exchange_wait);
        let (order, members) = (self.order.members(), &self.members);
        let alive = |ix| members.status(ix) == MemberStatus::Alive;
        let chosen = sample(|place| order[place], order.len(), 1, &mut self.rng, alive);
        if let Some(&ix) = chosen.first() {
            self.exchange_with(now, ix, out);
        }
    }

    /// The page that was asked for has not come.
    pub(super) fn page_missed(&mut self, now: Now, out: &mut Effects) {
        match self.exchange {
            Some(exchange) if exchange.tries < PAGE_TRIES => self.pull(now, exchange, out),
            _ => self.end(now, out),
        }
    }

    /// A member wants to know what this node knows.
    pub(super) fn pulled(
        &mut self,
        now: Now,
        peer: To,
        (after, mutual, parts): (Option<NodeId>, bool, Option<Parts>),
        digest: Option<&[u32]>,
        out: &mut Effects,
    ) {
        let mut facts = self.charge(peer);
        let told = digest.map(|theirs| Parts::differing(&self.digest(theirs.len()), theirs)).or(parts);
        let differing = told.unwrap_or(Parts::ALL);
        let equal = differing.is_empty();
        let room = self.config.rules.packet_facts - facts.len();
        // The first rows after `after`, and one more to see whether there is one.
        let mut first: BinaryHeap<(NodeId, Ix)> = BinaryHeap::with_capacity(room + 2);
        for (ix, node) in self.members.told().filter(|_| !equal) {
            if after < Some(node) && node != peer.node && differing.has(leaf(node, LEAVES)) {
                first.push((node, ix));
                if first.len() > room + 1 {
                    first.pop();
                }
            }
        }
        let mut rows = first.into_sorted_vec();
        let more = rows.len() > room;
        rows.truncate(room);
        let next = rows.last().filter(|_| more).map(|(node, _)| *node);
        facts.extend(rows.iter().map(|(_, ix)| self.told(*ix)));
        let parts = told.filter(|_| next.is_some());
        self.send_facts(peer.addr, Body::Page { after, next, parts }, facts, None, out);
        if mutual && after.is_none() && !equal {
            self.begin(now, peer.node, peer.addr, false, out);
        }
    }

    /// A page came. What it says of others is that member's belief: a death is taken as an accusation.
    pub(super) fn paged(
        &mut self,
        now: Now,
        from: NodeId,
        (after, next, parts): (Option<NodeId>, Option<NodeId>, Option<Parts>),
        facts: &[Fact],
        out: &mut Effects,
    ) {
        let digests = self.config.rules.digest;
        for fact in facts {
            let live = || {
                matches!(self.status(fact.node), Some(MemberStatus::Alive | MemberStatus::Suspect))
                    && fact.node != self.config.node
            };
            let claim = match fact.claim {
                Claim::Dead if live() => Claim::Suspect { by: from },
                claim => claim,
            };
            let fact = Fact { claim, ..*fact };
            match self.members.find(fact.node).is_none() && fact.node != self.config.node {
                // Where the group grows faster than rumours travel, exchanges bring newcomers to whoever lacks them.
                true => self.meet(now, fact, !digests || !self.gossip.is_crowded(), out),
                false => self.learn(now, from, &fact, out),
            }
        }
        let Some(exchange) = self.exchange.filter(|open| open.peer == from && open.after == after) else {
            return;
        };
        match next {
            Some(next) if Some(next) > after => {
                let exchange = Exchange { after: Some(next), parts, tries: 0, ..exchange };
                self.pull(now, exchange, out);
            }
            _ => {
                self.joined = true;
                self.end(now, out);
            }
        }
    }

    fn begin(&mut self, now: Now, peer: NodeId, addr: Addr, mutual: bool, out: &mut Effects) {
        if self.exchange.is_none() && !self.leaving {
            self.pull(now, Exchange { peer, addr, after: None, mutual, parts: None, tries: 0 }, out);
        }
    }

    fn pull(&mut self, now: Now, exchange: Exchange, out: &mut Effects) {
        let Exchange { peer, addr, after, mutual, parts, tries } = exchange;
        self.exchange = Some(Exchange { tries: tries + 1, ..exchange });
        self.timers.arm(Timer::Page, now.mono + self.config.rules.period);
        let to = To { node: peer, ix: self.members.find(peer), addr };
        let size = (self.members.rumoured() / MEMBERS_PER_PART).next_power_of_two().clamp(PARTS_MIN, LEAVES);
        let compares = self.config.rules.digest && parts.is_none();
        let digest = compares.then(|| self.digest(size));
        let facts = self.charge(to);
        self.send_facts(addr, Body::Pull { after, mutual, parts }, facts, digest, out);
    }

    /// The digest of this node's view, itself included.
    fn digest(&self, parts: usize) -> Vec<u32> {
        self.members.digest(parts, &own_fact(self))
    }

    fn end(&mut self, now: Now, out: &mut Effects) {
        self.exchange = None;
        self.timers.disarm(Timer::Page);
        if !self.joined {
            self.join(now, out);
        }
    }
}
