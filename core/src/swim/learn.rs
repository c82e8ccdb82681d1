//! Taking facts in: what is heard from a member itself, what is said of it, and what is said of this node.

use super::member::{Claim, Fact, Incarnation, Member, MemberStatus};
use super::suspicion::Suspicion;
use super::{Swim, Timer, ignore};
use crate::effect::{Effect, Effects};
use crate::id::{NodeId, Role};
use crate::observe::{Observation, Stale};
use crate::time::{Duration, Instant, Now};

/// Refutations in one window; a rumour beyond them is answered when the window ends.
const REFUTATIONS_MAX: u32 = 5;
/// Length of that window, in periods.
const REFUTATION_WINDOW: u64 = 10;
/// Periods until a dead, departed or never heard member is forgotten: the reap time of dead nodes and the tombstone's
/// after it. While it is remembered, an old rumour cannot bring it back.
const FORGET_PERIODS: u64 = 1_140;

/// How often this node refuted lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Refutations {
    window_ends: Instant,
    in_window: u32,
    deferred: Option<Incarnation>,
}

impl Swim {
    /// Configured members are known from the beginning, unheard and with nothing said of them.
    pub(super) fn know_seeds(&mut self) {
        let role = if self.config.role == Role::Gate { Role::Gate } else { Role::Manager };
        for peer in self.config.seeds.clone() {
            if peer.node != self.config.node {
                let (node, incarnation, claim) = (peer.node, Incarnation::NONE, Claim::Alive);
                let fact = Fact { node, incarnation, claim, role, addr: peer.addr };
                let member = Member { fact, confirmed: false, seed: true, since: Instant::ZERO };
                self.members.put(node, member);
                self.strangers.arm(node, Instant::ZERO);
            }
        }
    }

    /// A member spoke: it is confirmed, and what it says of itself is true of that incarnation.
    pub(super) fn hear(&mut self, now: Now, said: Fact, out: &mut Effects) {
        let held = self.members.get(said.node).copied();
        let mut member =
            held.unwrap_or(Member { fact: said, confirmed: false, seed: false, since: now.mono });
        let news = match held {
            None => true,
            Some(_) if said.incarnation.is_absurd(member.fact.incarnation) => {
                member.fact = said;
                true
            }
            Some(_) => member.merge(&said),
        };
        if member.fact.incarnation == said.incarnation {
            // Its own word on where it is; a rumour cannot move it within an incarnation.
            (member.fact.role, member.fact.addr) = (said.role, said.addr);
        }
        let first = !member.confirmed;
        member.confirmed = true;
        if held != Some(member) {
            self.put(now, member, out);
        }
        if news {
            self.gossip.push(said);
        }
        if first && let Claim::Suspect { by } = member.fact.claim {
            // The rumour came before the member did; from now on it counts.
            self.suspect(now, member.fact, by);
        }
        if held.is_some_and(|old| old.status() == MemberStatus::Dead)
            && member.status() == MemberStatus::Alive
        {
            self.exchange_with(now, said.node, out);
        }
    }

    /// Takes one rumour in.
    pub(super) fn learn(&mut self, now: Now, fact: Fact, out: &mut Effects) {
        if fact.node == self.config.node {
            return self.learn_of_self(now, fact, out);
        }
        if let Claim::Suspect { by } = fact.claim
            && (by == fact.node || by != self.config.node && self.members.get(by).is_none())
        {
            return ignore(Stale::Sender, out);
        }
        let Some(held) = self.members.get(fact.node).copied() else {
            return self.meet(now, fact, out);
        };
        if held.confirmed && !held.fact.incarnation.believes(fact.incarnation) {
            return ignore(Stale::Invalid, out);
        }
        let mut member = held;
        if member.merge(&fact) {
            self.put(now, member, out);
            self.gossip.push(member.fact);
            if let (Claim::Suspect { by }, true) = (fact.claim, member.confirmed) {
                self.suspect(now, member.fact, by);
            }
        } else if held.fact.key() > fact.key() {
            self.corrections.push(held.fact);
        } else if let Claim::Suspect { by } = fact.claim {
            self.confirm(fact, by);
        }
    }

    /// The round of this member had no answer.
    pub(super) fn accuse(&mut self, now: Now, node: NodeId, out: &mut Effects) {
        if let Some(member) = self.members.get(node)
            && matches!(member.status(), MemberStatus::Alive | MemberStatus::Suspect)
        {
            let fact = Fact { claim: Claim::Suspect { by: self.config.node }, ..member.fact };
            self.learn(now, fact, out);
        }
    }

    /// A suspicion ran out unrefuted.
    pub(super) fn suspicion_due(&mut self, now: Now, node: NodeId, out: &mut Effects) {
        if now.mono < self.judges_from {
            return self.timers.arm(Timer::Suspicion(node), self.judges_from);
        }
        if let Some(member) = self.members.get(node)
            && member.status() == MemberStatus::Suspect
        {
            let fact = Fact { claim: Claim::Dead, ..member.fact };
            self.learn(now, fact, out);
        }
    }

    /// A dead, departed or never heard member has been so for long enough.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.members.remove(node);
        self.gossip.remove(node);
        self.timers.disarm(Timer::Forget(node));
        self.strangers.disarm(node);
        self.tries.remove(&node);
    }

    /// The deferred refutation.
    pub(super) fn refute_deferred(&mut self, now: Now, out: &mut Effects) {
        if let Some(accused) = self.refutations.deferred.take()
            && accused >= self.incarnation
        {
            self.refute(now, accused, out);
        }
    }

    fn learn_of_self(&mut self, now: Now, fact: Fact, out: &mut Effects) {
        let about_now = fact.incarnation >= self.incarnation;
        let honest = fact.claim == Claim::Alive && fact.incarnation == self.incarnation;
        if self.leaving || honest {
            return;
        }
        match about_now {
            true => self.refute(now, fact.incarnation, out),
            // Old news: somebody has missed the newer.
            false if fact.claim != Claim::Alive => self.gossip.push(self.own_fact()),
            false => {}
        }
    }

    fn refute(&mut self, now: Now, accused: Incarnation, out: &mut Effects) {
        let Some(above) = self.incarnation.above(accused) else {
            return ignore(Stale::Invalid, out);
        };
        let window = self.config.period.scale(REFUTATION_WINDOW, 1);
        let budget = &mut self.refutations;
        if now.mono >= budget.window_ends {
            (budget.window_ends, budget.in_window) = (now.mono + window, 0);
        }
        if budget.in_window >= REFUTATIONS_MAX {
            budget.deferred = budget.deferred.max(Some(accused));
            return self.timers.arm(Timer::Refute, budget.window_ends);
        }
        budget.in_window += 1;
        self.incarnation = above;
        self.gossip.push(self.own_fact());
        out.push(Effect::Observe(Observation::Refuted));
    }

    /// A rumour of a node that is not known.
    fn meet(&mut self, now: Now, fact: Fact, out: &mut Effects) {
        let member = Member { fact, confirmed: false, seed: false, since: now.mono };
        self.put(now, member, out);
        if self.members.get(fact.node).is_some() {
            self.gossip.push(fact);
        }
    }

    fn suspect(&mut self, now: Now, fact: Fact, by: NodeId) {
        let members = self.members.live() + 1;
        let suspicion = Suspicion::new(fact.incarnation, by, now.mono, members, self.config.period);
        self.timers.arm(Timer::Suspicion(fact.node), suspicion.deadline());
        self.suspicions.insert(fact.node, suspicion);
    }

    fn confirm(&mut self, fact: Fact, by: NodeId) {
        if let Some(suspicion) = self.suspicions.get_mut(&fact.node)
            && suspicion.incarnation() == fact.incarnation
            && suspicion.confirm(by)
        {
            self.timers.arm(Timer::Suspicion(fact.node), suspicion.deadline());
            self.gossip.push(fact);
        }
    }

    /// The one place where a record changes: order, timers, testimony and changes follow its status.
    fn put(&mut self, now: Now, mut member: Member, out: &mut Effects) {
        let node = member.fact.node;
        let before = self.members.get(node).map(Member::status);
        let after = member.status();
        if before != Some(after) {
            member.since = now.mono;
        }
        if before.is_none() && self.members.is_full() {
            match self.members.oldest_stranger() {
                Some(stranger) => self.forget(stranger),
                None => return ignore(Stale::State, out),
            }
        }
        self.members.put(node, member);
        let live = |status| matches!(status, MemberStatus::Alive | MemberStatus::Suspect);
        let probed = self.probes(member.fact.role);
        if after != MemberStatus::Suspect && self.suspicions.remove(&node).is_some() {
            self.timers.disarm(Timer::Suspicion(node));
        }
        match (before.is_some_and(live), live(after)) {
            (false, true) if probed => self.order.insert(node, &mut self.rng),
            (true, false) => self.order.remove(node),
            _ => {}
        }
        if before == Some(after) {
            return;
        }
        self.arm_forget(now, &member);
        if after == MemberStatus::Unconfirmed {
            if probed && member.fact.role != Role::Worker {
                self.strangers.arm(node, now.mono);
            }
            return;
        }
        self.strangers.disarm(node);
        self.tries.remove(&node);
        self.changes.push((node, after));
        out.push(Effect::Observe(Observation::Member { node, status: after }));
    }

    fn arm_forget(&mut self, now: Now, member: &Member) {
        let passing =
            matches!(member.status(), MemberStatus::Unconfirmed | MemberStatus::Dead | MemberStatus::Left);
        let timer = Timer::Forget(member.fact.node);
        match passing && !member.seed {
            true => self.timers.arm(timer, now.mono + forget_after(self.config.period)),
            false => {
                self.timers.disarm(timer);
            }
        }
    }
}

fn forget_after(period: Duration) -> Duration {
    period.scale(FORGET_PERIODS, 1)
}
