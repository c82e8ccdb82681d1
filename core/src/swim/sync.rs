//! Exchanging views: at the start with a configured member, then now and then with a random one, and with whoever comes
//! back from the dead. Rumours travel a bounded number of times; exchanges bring what they missed.
//!
//! The asker pulls page by page, one packet each way, so that neither side ever sends more than one packet for one
//! received. Pages follow the places of the other's table. At the start everything is wanted, and told once: whoever
//! told it is asked a period later from where it ended, and again for as long as that brings members that were not
//! known. Whoever is being told so is *joining*: in a group that is not small it tells nobody of others, since the one
//! who tells it tells them too.
//!
//! Later the asker sends a digest of its view along, in parts by ranges of ids; pages leave out the parts in which both
//! agree, and tell which those are, for the questions that follow. So two members with equal views exchange two packets.
//! A mutual exchange makes the other side pull in turn where they differ.

use alloc::vec::Vec;

use super::member::{Addr, Claim, Fact, MEMBERS_MAX, MemberStatus};
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
/// In a group of more members than these, who joins tells nobody of others: its one teller is enough.
const SMALL: usize = 32;

/// The exchange that this node drives. There is one at a time; another occasion meanwhile is let pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    peer: NodeId,
    addr: Addr,
    /// From which place of the other's table on.
    from: u32,
    scope: Scope,
    tries: u32,
}

/// What an exchange is to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// All that the other side knows.
    All,
    /// What differs, which the other side will say.
    Differing { mutual: bool },
    /// These parts.
    Parts(Parts),
}

/// Who has told all that it knew, and from which place of its table on there would be more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Following {
    peer: NodeId,
    from: u32,
}

/// What a page says of itself (see [`Body::Page`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub from: u32,
    pub next: u32,
    pub more: bool,
    pub parts: Option<Parts>,
}

impl Swim {
    /// Asks a configured member for all others, or any that was heard, until one has answered to the end.
    pub(super) fn join(&mut self, now: Now, out: &mut Effects) {
        let mut tellers: Vec<Ix> =
            self.members.iter().filter(|(_, member)| member.seed).map(|(ix, _)| ix).collect();
        tellers.extend(self.random_alive());
        match tellers.get(self.rng.below(tellers.len() as u64) as usize) {
            Some(&ix) => {
                let fact = self.members.at(ix).fact;
                self.begin(now, (fact.node, fact.addr), 0, Scope::All, out);
            }
            None => self.joined = true,
        }
    }

    /// Whether this node is still being told who is there.
    pub(super) fn is_joining(&self) -> bool {
        self.config.rules.digest && (!self.joined || self.following.is_some())
    }

    /// Whether this node tells others of a member that is new to it.
    pub(super) fn tells_of_newcomers(&self) -> bool {
        self.members.told_of() <= SMALL || !self.is_joining()
    }

    fn random_alive(&mut self) -> Option<Ix> {
        let (order, members) = (&self.order, &self.members);
        let alive = |ix| members.status(ix) == MemberStatus::Alive;
        sample(|place| order.at(place), order.len(), 1, &mut self.rng, alive).first().copied()
    }

    /// Exchanges views with a member, both ways.
    pub(super) fn exchange_with(&mut self, now: Now, ix: Ix, out: &mut Effects) {
        let fact = self.members.at(ix).fact;
        self.begin(now, (fact.node, fact.addr), 0, Scope::Differing { mutual: true }, out);
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
        self.following = self.following.filter(|_| grew);
        if let Some(Following { peer, from }) = self.following
            && let Some(ix) = self.members.find(peer)
        {
            return self.begin(now, (peer, self.members.addr_at(ix)), from, Scope::All, out);
        }
        if let Some(ix) = self.random_alive() {
            self.exchange_with(now, ix, out);
        }
    }

    /// The page that was asked for has not come.
    pub(super) fn page_missed(&mut self, now: Now, out: &mut Effects) {
        match self.exchange {
            Some(exchange) if exchange.tries < PAGE_TRIES => self.pull(now, exchange, out),
            _ => {
                self.following = None;
                self.end(now, out);
            }
        }
    }

    /// A member wants to know what this node knows.
    pub(super) fn pulled(
        &mut self,
        now: Now,
        peer: To,
        (from, mutual, parts): (u32, bool, Option<Parts>),
        digest: Option<&[u32]>,
        out: &mut Effects,
    ) {
        let mut load = self.charge(peer);
        let told = digest.map(|theirs| Parts::differing(&self.digest(theirs.len()), theirs)).or(parts);
        let differing = told.unwrap_or(Parts::ALL);
        let equal = differing.is_empty();
        let mut rows = self
            .members
            .told(from)
            .filter(|(_, node)| *node != peer.node && (told.is_none() || differing.has(leaf(*node, LEAVES))));
        // The first place whose row has no room; where views are equal none is looked at.
        let rest = if equal { None } else { rows.find(|(ix, _)| !load.put(self.told(*ix))) };
        drop(rows);
        let (more, next) = (rest.is_some(), rest.map_or(self.members.end(), |(ix, _)| ix));
        let parts = told.filter(|_| more);
        self.send_load(peer.addr, Body::Page { from, next, more, parts }, load, None, out);
        if mutual && from == 0 && !equal {
            self.begin(now, (peer.node, peer.addr), 0, Scope::Differing { mutual: false }, out);
        }
    }

    /// A page came. What it says of others is that member's belief: a death is taken as an accusation.
    pub(super) fn paged(&mut self, now: Now, from: NodeId, page: Page, facts: &[Fact], out: &mut Effects) {
        let digests = self.config.rules.digest;
        // What is told to who joins is no news to others: its teller tells them.
        let joins = self.exchange.is_some_and(|open| open.peer == from && open.scope == Scope::All);
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
                true => {
                    let told_on = !digests || !joins && !self.gossip.is_crowded();
                    self.meet(now, fact, told_on, out);
                }
                false => self.learn(now, from, &fact, out),
            }
        }
        let Some(exchange) = self.exchange.filter(|open| open.peer == from && open.from == page.from) else {
            return;
        };
        let next = page.next.min(MEMBERS_MAX as u32);
        if page.more && next > page.from {
            let scope = page.parts.map_or(exchange.scope, Scope::Parts);
            return self.pull(now, Exchange { from: next, scope, tries: 0, ..exchange }, out);
        }
        if exchange.scope == Scope::All && digests {
            self.following = Some(Following { peer: from, from: next.max(page.from) });
        }
        self.joined = true;
        self.end(now, out);
    }

    fn begin(&mut self, now: Now, (peer, addr): (NodeId, Addr), from: u32, scope: Scope, out: &mut Effects) {
        if self.exchange.is_none() && !self.leaving {
            self.pull(now, Exchange { peer, addr, from, scope, tries: 0 }, out);
        }
    }

    fn pull(&mut self, now: Now, exchange: Exchange, out: &mut Effects) {
        let Exchange { peer, addr, from, scope, tries } = exchange;
        self.exchange = Some(Exchange { tries: tries + 1, ..exchange });
        self.timers.arm(Timer::Page, now.mono + self.config.rules.period);
        let to = To { node: peer, ix: self.members.find(peer), addr };
        let size = (self.members.rumoured() / MEMBERS_PER_PART).next_power_of_two().clamp(PARTS_MIN, LEAVES);
        let (mutual, parts, digest) = match scope {
            Scope::All => (false, None, None),
            Scope::Differing { mutual } => {
                (mutual, None, self.config.rules.digest.then(|| self.digest(size)))
            }
            Scope::Parts(parts) => (false, Some(parts), None),
        };
        let load = self.charge(to);
        self.send_load(addr, Body::Pull { from, mutual, parts }, load, digest, out);
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
