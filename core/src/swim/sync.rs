//! Exchanging whole views: at the start with a configured member, then now and then with a random one, and with whoever
//! comes back from the dead. Rumours travel a bounded number of times; exchanges bring what they missed.
//!
//! The asker pulls page by page, one packet each way, so that neither side ever sends more than one packet for one
//! received. A mutual exchange makes the other side pull in turn.

use alloc::vec::Vec;

use super::member::{Addr, Claim, Fact, MemberStatus};
use super::packet::{Body, FACTS_MAX};
use super::{Swim, Timer};
use crate::effect::Effects;
use crate::id::NodeId;
use crate::time::Now;

/// Periods between exchanges with a random member, give or take a fifth.
pub(super) const EXCHANGE_PERIODS: u64 = 30;
/// How often one page is asked for before the exchange is given up.
const PAGE_TRIES: u32 = 3;

/// The exchange that this node drives. There is one at a time; another occasion meanwhile is let pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    peer: NodeId,
    addr: Addr,
    after: Option<NodeId>,
    mutual: bool,
    tries: u32,
}

impl Swim {
    /// Asks a configured member for all others, until one has answered to the end.
    pub(super) fn join(&mut self, now: Now, out: &mut Effects) {
        let seeds: Vec<(NodeId, Addr)> = self
            .members
            .iter()
            .filter(|(_, member)| member.seed)
            .map(|(node, member)| (node, member.fact.addr))
            .collect();
        match seeds.get(self.rng.below(seeds.len() as u64) as usize) {
            Some(&(peer, addr)) => self.begin(now, peer, addr, true, out),
            None => self.joined = true,
        }
    }

    /// Exchanges views with a member, both ways.
    pub(super) fn exchange_with(&mut self, now: Now, node: NodeId, out: &mut Effects) {
        if let Some(member) = self.members.get(node) {
            let addr = member.fact.addr;
            self.begin(now, node, addr, true, out);
        }
    }

    /// The time for an exchange with a random member has come.
    pub(super) fn exchange_due(&mut self, now: Now, out: &mut Effects) {
        self.arm_about(Timer::Exchange, now, EXCHANGE_PERIODS);
        let alive =
            |node| self.members.get(node).is_some_and(|member| member.status() == MemberStatus::Alive);
        if let Some(&node) = self.order.sample(1, &mut self.rng, alive).first() {
            self.exchange_with(now, node, out);
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
        (peer, addr): (NodeId, Addr),
        after: Option<NodeId>,
        mutual: bool,
        out: &mut Effects,
    ) {
        let mut facts = self.charge(peer);
        let mut next = None;
        let known = |fact: &Fact| fact.incarnation.is_legal() && fact.node != peer;
        for fact in self.members.after(after).map(|member| member.fact).filter(known) {
            if facts.len() == FACTS_MAX {
                next = facts.last().map(|last| last.node);
                break;
            }
            facts.push(fact);
        }
        self.send_facts(addr, Body::Page { after, next }, facts, out);
        if mutual && after.is_none() {
            self.begin(now, peer, addr, false, out);
        }
    }

    /// A page came. What it says of others is that member's belief: a death is taken as an accusation.
    pub(super) fn paged(
        &mut self,
        now: Now,
        from: NodeId,
        (after, next): (Option<NodeId>, Option<NodeId>),
        facts: &[Fact],
        out: &mut Effects,
    ) {
        for fact in facts {
            let alive = |node| {
                matches!(self.status(node), Some(MemberStatus::Alive | MemberStatus::Suspect))
                    && node != self.config.node
            };
            let claim = match fact.claim {
                Claim::Dead if alive(fact.node) => Claim::Suspect { by: from },
                claim => claim,
            };
            self.learn(now, Fact { claim, ..*fact }, out);
        }
        let Some(exchange) = self.exchange.filter(|open| open.peer == from && open.after == after) else {
            return;
        };
        match next {
            Some(next) if Some(next) > after => {
                let exchange = Exchange { after: Some(next), tries: 0, ..exchange };
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
            self.pull(now, Exchange { peer, addr, after: None, mutual, tries: 0 }, out);
        }
    }

    fn pull(&mut self, now: Now, exchange: Exchange, out: &mut Effects) {
        let Exchange { peer, addr, after, mutual, tries } = exchange;
        self.exchange = Some(Exchange { tries: tries + 1, ..exchange });
        self.timers.arm(Timer::Page, now.mono + self.config.period);
        self.send(peer, addr, Body::Pull { after, mutual }, out);
    }

    fn end(&mut self, now: Now, out: &mut Effects) {
        self.exchange = None;
        self.timers.disarm(Timer::Page);
        if !self.joined {
            self.join(now, out);
        }
    }
}
