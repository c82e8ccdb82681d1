//! Taking facts in: what is heard from a member itself, what is said of it, and what is said of this node.

use super::gossip::SELF;
use super::member::{Claim, Fact, Incarnation, MemberStatus};
use super::packet::Body;
use super::suspicion::{Group, Suspicion};
use super::table::{Ix, Member};
use super::{Swim, Timer, ignore};
use crate::effect::{Effect, Effects};
use crate::id::{NodeId, Role};
use crate::observe::{Observation, Stale};
use crate::time::{Duration, Instant, Now};

/// Refutations that may follow each other at once. After them there is one in half a period: an accusation waits no
/// longer than that for its answer, which is far less than the shortest suspicion.
const REFUTATIONS_MAX: u32 = 5;
/// Periods until a dead, departed or never heard member is forgotten: the reap time of dead nodes and the tombstone's
/// after it. While it is remembered, an old rumour cannot bring it back.
const FORGET_PERIODS: u64 = 1_140;
/// A suspicion that may not run out now is looked at again after this part of a period.
const LOOK_AGAIN: u64 = 4;
/// Nobody is buried on one member's word before others were asked: once a period, from so many periods before its end
/// on. The accused has to hear of it, and its answer to come back here.
const ASKED_PERIODS: u64 = 4;
/// Most members that died lately and still get rumours. At the bound the first goes.
const FALLEN_MAX: usize = 64;

/// How often this node refuted lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Refutations {
    /// Refutations that count, less one for each half period since.
    level: u32,
    counted_at: Instant,
    deferred: Option<Incarnation>,
}

/// A member that was never heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    /// Since when it is known.
    pub since: Instant,
    /// How often it was asked.
    pub tries: u32,
}

/// Another process speaks in a member's name.
pub(super) struct Impostor;

impl Swim {
    /// Configured members are known from the beginning, unheard and with nothing said of them.
    pub(super) fn know_seeds(&mut self) {
        let role = if self.config.role == Role::Gate { Role::Gate } else { Role::Manager };
        for peer in self.config.seeds.clone() {
            if peer.node != self.config.node && self.members.find(peer.node).is_none() {
                let (node, incarnation, claim) = (peer.node, Incarnation::NONE, Claim::Alive);
                let fact = Fact { node, incarnation, claim, role, addr: peer.addr };
                let ix = self.members.add(&Member { fact, confirmed: false, seed: true });
                self.unheard.insert(ix, Stranger { since: Instant::ZERO, tries: 0 });
                self.strangers.arm(ix, Instant::ZERO);
            }
        }
    }

    /// A member spoke: it is confirmed, and what it says of itself is true of that incarnation. Gives its place, if it
    /// has one.
    pub(super) fn hear(&mut self, now: Now, said: Fact, out: &mut Effects) -> Result<Option<Ix>, Impostor> {
        // Most who speak answer the open round: no need to look them up.
        let asked = self.round.as_ref().map(|round| round.target);
        let asked = asked.filter(|ix| self.members.node(*ix) == said.node);
        let ix = asked.or_else(|| self.members.find(said.node));
        if let Some(ix) = ix
            && self.members.status(ix) != MemberStatus::Unconfirmed
        {
            if self.members.key(ix).0 == said.incarnation {
                // Two processes under one name: a member moves only with a new life.
                if self.members.addr_at(ix) != said.addr {
                    return Err(Impostor);
                }
                if let Some(suspicion) = self.suspicions.get_mut(&ix) {
                    suspicion.heard(now.mono - now.waited);
                }
                return Ok(Some(ix));
            }
            if !self.config.rules.own_word {
                return Ok(Some(ix));
            }
        }
        let held = ix.map(|ix| self.members.at(ix));
        let mut member = held.unwrap_or(Member { fact: said, confirmed: false, seed: false });
        let news = match held {
            None => true,
            Some(_) if said.incarnation.is_absurd(member.fact.incarnation) => {
                member.fact = said;
                true
            }
            Some(_) => member.merge(&said),
        };
        let first = !member.confirmed;
        if first && member.fact.incarnation == said.incarnation {
            // Its own word on where it is, over a rumour's.
            (member.fact.role, member.fact.addr) = (said.role, said.addr);
        }
        member.confirmed = true;
        let ix = if held != Some(member) { self.put(now, ix, member, out) } else { ix };
        let Some(ix) = ix else { return Ok(None) };
        if news && (held.is_some() || self.tells_of_newcomers()) {
            self.spread(now, ix, said.node);
        }
        if first && let Claim::Suspect { .. } = member.fact.claim {
            // The rumour came before the member did; from now on it counts.
            self.suspect(now, ix, member.fact.incarnation, self.config.node);
        }
        if held.is_some_and(|old| old.status() == MemberStatus::Dead)
            && member.status() == MemberStatus::Alive
        {
            self.exchange_with(now, ix, out);
        }
        Ok(Some(ix))
    }

    /// Takes in what `teller` says of a member.
    pub(super) fn learn(&mut self, now: Now, teller: NodeId, fact: &Fact, out: &mut Effects) {
        if fact.node == self.config.node {
            return self.learn_of_self(now, *fact, out);
        }
        let Some(ix) = self.members.find(fact.node) else {
            // Who is being told the group itself does not tell others of it.
            return self.meet(now, *fact, self.tells_of_newcomers(), out);
        };
        let (said, known) = (fact.key(), self.members.key(ix));
        if said < known {
            if self.config.rules.own_word && self.corrections.len() < self.config.rules.packet_facts {
                self.corrections.push(self.told(ix));
            }
            return;
        }
        match fact.claim {
            Claim::Suspect { by } if said == known => {
                self.confirm(now, ix, fact.incarnation, by);
                if by == teller {
                    self.ask_the_accused(now, ix, out);
                }
            }
            Claim::Suspect { by } => self.learn_suspicion(now, ix, *fact, by, out),
            Claim::Dead if said > known => self.learn_death(now, ix, teller, *fact, out),
            _ if said > known => self.take(now, ix, *fact, out),
            _ => {}
        }
    }

    /// The round of this member had no answer.
    pub(super) fn accuse(&mut self, now: Now, ix: Ix, out: &mut Effects) {
        let member = self.members.at(ix);
        if member.is_live() {
            let by = self.config.node;
            let fact = Fact { claim: Claim::Suspect { by }, ..member.fact };
            self.learn_suspicion(now, ix, fact, by, out);
        }
    }

    /// A suspicion has run out unrefuted. Where this node may be the one that is cut off or slept, that proves nothing
    /// yet, and whoever it still hears is asked; but not for ever, since all others may really be dead.
    pub(super) fn suspicion_due(&mut self, now: Now, ix: Ix, out: &mut Effects) {
        let Some(suspicion) = self.suspicions.get(&ix) else { return };
        let silent = self.config.rules.silence && self.awareness.is_silent(now.mono);
        let alone = self.config.rules.silence && suspicion.has_one_witness();
        let deadline = suspicion.deadline();
        if now.mono < deadline {
            let again = if alone { (now.mono + self.config.rules.period).min(deadline) } else { deadline };
            self.timers.arm(Timer::Suspicion(ix), again);
            return self.ask_before_burying(now, ix, alone, out);
        }
        let wary = self.awareness.is_wary(now.mono) || self.awareness.is_unsettled();
        let ends_by = match silent || wary {
            true => suspicion.ends_by(self.awareness.last_heard()),
            false if alone => suspicion.ends_alone_by(self.awareness.is_lonely()),
            false => now.mono,
        };
        if now.mono < ends_by {
            let again = now.mono + self.config.rules.period.scale(1, LOOK_AGAIN);
            self.timers.arm(Timer::Suspicion(ix), again.min(ends_by));
            return self.consult(now, ix, out);
        }
        if silent {
            out.push(Effect::Observe(Observation::Unheard));
        }
        let fact = Fact { claim: Claim::Dead, ..self.members.at(ix).fact };
        self.take(now, ix, fact, out);
    }

    /// A dead, departed or never heard member has been so for long enough. Who was never heard goes without a word.
    pub(super) fn time_to_forget(&mut self, ix: Ix, out: &mut Effects) {
        if matches!(self.members.status(ix), MemberStatus::Dead | MemberStatus::Left) {
            out.push(Effect::Observe(Observation::Forgotten(self.members.node(ix))));
        }
        self.forget(ix);
    }

    /// Nothing here mentions the member any more.
    fn forget(&mut self, ix: Ix) {
        self.timers.disarm(Timer::Forget(ix));
        self.timers.disarm(Timer::Suspicion(ix));
        self.strangers.disarm(ix);
        self.unheard.remove(&ix);
        self.suspicions.remove(&ix);
        self.gossip.remove(ix);
        self.fallen.retain(|(_, fallen)| *fallen != ix);
        self.dead.retain(|dead| *dead != ix);
        if self.round.as_ref().is_some_and(|round| round.target == ix) {
            self.round = None;
            self.timers.disarm(Timer::Direct);
        }
        if self.members.is_ordered(ix) {
            self.order.retain(|ordered| ordered != ix);
        }
        self.members.remove(ix);
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
            false if fact.claim != Claim::Alive => self.spread(now, SELF, self.config.node),
            false => {}
        }
    }

    fn refute(&mut self, now: Now, accused: Incarnation, out: &mut Effects) {
        let Some(above) = self.incarnation.above(accused) else {
            return ignore(Stale::Invalid, out);
        };
        let rest = self.config.rules.period.scale(1, 2);
        let budget = &mut self.refutations;
        let rested = now.mono.since(budget.counted_at).as_nanos() / rest.as_nanos();
        if rested > 0 {
            budget.level = budget.level.saturating_sub(rested.min(u64::from(u32::MAX)) as u32);
            budget.counted_at = now.mono;
        }
        if budget.level >= REFUTATIONS_MAX {
            budget.deferred = budget.deferred.max(Some(accused));
            let next = budget.counted_at + rest;
            return self.timers.arm(Timer::Refute, next);
        }
        budget.level += 1;
        self.incarnation = above;
        self.awareness.worse(1);
        self.spread(now, SELF, self.config.node);
        out.push(Effect::Observe(Observation::Refuted));
    }

    /// A node that is not known is told of. The death of a stranger is no news.
    pub(super) fn meet(&mut self, now: Now, fact: Fact, told_on: bool, out: &mut Effects) {
        let by = match fact.claim {
            Claim::Dead | Claim::Left => return,
            Claim::Suspect { by } => by,
            Claim::Alive => fact.node,
        };
        if let Some(ix) = self.put(now, None, Member { fact, confirmed: false, seed: false }, out)
            && told_on
        {
            self.spread(now, ix, by);
        }
    }

    /// Another accuser of a member that is suspected already.
    fn confirm(&mut self, now: Now, ix: Ix, incarnation: Incarnation, by: NodeId) {
        let Some(suspicion) = self.suspicions.get_mut(&ix) else { return };
        let counts = suspicion.incarnation() == incarnation
            && suspicion.wants(by)
            && (by == self.config.node || self.members.find(by).is_some())
            && by != self.members.node(ix);
        if counts {
            suspicion.confirm(by);
            let (deadline, alone) = (suspicion.deadline(), suspicion.has_one_witness());
            self.arm_suspicion(now, ix, deadline, alone);
            self.spread(now, ix, by);
        }
    }

    fn learn_suspicion(&mut self, now: Now, ix: Ix, fact: Fact, by: NodeId, out: &mut Effects) {
        let member = self.members.at(ix);
        if fact.key() == member.fact.key() {
            return self.confirm(now, ix, fact.incarnation, by);
        }
        if by == fact.node || by != self.config.node && self.members.find(by).is_none() {
            return ignore(Stale::Sender, out);
        }
        if member.confirmed && !member.fact.incarnation.believes(fact.incarnation) {
            return ignore(Stale::Invalid, out);
        }
        let mut told = member;
        if told.merge(&fact) {
            self.put(now, Some(ix), told, out);
            self.spread(now, ix, by);
            if told.confirmed {
                self.suspect(now, ix, fact.incarnation, by);
            }
        }
    }

    /// Another holds a member for dead. That is enough where with it enough members accuse; else it is an accusation.
    fn learn_death(&mut self, now: Now, ix: Ix, teller: NodeId, fact: Fact, out: &mut Effects) {
        let member = self.members.at(ix);
        let suspicion =
            self.suspicions.get(&ix).filter(|suspicion| suspicion.incarnation() == fact.incarnation);
        let proven = match suspicion {
            Some(suspicion) => suspicion.is_proven_with(teller),
            None => self.config.rules.witnesses.min(self.group_about(member.fact.role).judges) <= 1,
        };
        if proven || !member.is_live() {
            return self.take(now, ix, fact, out);
        }
        let fact = Fact { claim: Claim::Suspect { by: teller }, ..fact };
        if fact.key() >= member.fact.key() {
            self.learn_suspicion(now, ix, fact, teller, out);
        }
        if self.config.rules.own_word && self.members.status(ix) == MemberStatus::Suspect {
            self.ask_for_another_word(now, ix, teller, out);
        }
    }

    /// Takes a newer fact as it is.
    fn take(&mut self, now: Now, ix: Ix, fact: Fact, out: &mut Effects) {
        let mut member = self.members.at(ix);
        if member.confirmed && !member.fact.incarnation.believes(fact.incarnation) {
            return ignore(Stale::Invalid, out);
        }
        if member.merge(&fact) {
            self.put(now, Some(ix), member, out);
            self.spread(now, ix, self.config.node);
        }
    }

    fn suspect(&mut self, now: Now, ix: Ix, incarnation: Incarnation, by: NodeId) {
        let group = self.group_about(self.members.at(ix).fact.role);
        let suspicion = Suspicion::new(incarnation, by, now.mono, group, &self.config.rules);
        self.arm_suspicion(now, ix, suspicion.deadline(), suspicion.has_one_witness());
        self.suspicions.insert(ix, suspicion);
    }

    /// Who judges a live member of this role: all, or of workers the managers, for workers do not ask each other.
    fn group_about(&self, suspect: Role) -> Group {
        let (live, is_judge) = (self.members.live(), self.probes(suspect));
        let judges = match suspect {
            Role::Worker => live - self.members.live_workers() + usize::from(is_judge),
            // This node counts in the suspect's place.
            _ => live,
        };
        Group { members: live + 1, judges, is_judge }
    }

    /// A suspicion is looked at for the first time a while before it runs out.
    fn arm_suspicion(&mut self, now: Now, ix: Ix, deadline: Instant, alone: bool) {
        let periods = match (self.config.rules.silence, alone) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => ASKED_PERIODS,
        };
        let look = deadline - self.config.rules.period.scale(periods, 1);
        // In the past where confirmations come late: it is due with the next wake.
        self.timers.arm(Timer::Suspicion(ix), look.max(now.mono));
    }

    /// What rests on one member's word is put to others; where nobody else judges, to the accused itself, for rounds that
    /// fail grow long and may leave no question in the time that is left. What several find is put to the accused where
    /// rumours are slow: its refutation may be under way. That question takes no rumours along: they would be lost on the
    /// dead.
    fn ask_before_burying(&mut self, now: Now, ix: Ix, alone: bool, out: &mut Effects) {
        let only_judge = self.suspicions.get(&ix).is_some_and(Suspicion::is_one_judges);
        if alone && !only_judge {
            self.consult(now, ix, out);
        } else if (only_judge || self.gossip.is_crowded()) && self.probes(self.members.at(ix).fact.role) {
            let seq = self.seq();
            self.put_to(ix, seq, out);
        }
    }

    /// An accuser says again what this node has from it alone: it waits for an answer that it may have no way to, and that
    /// has passed this node by. The accused is asked; its answer says what is newer. At most once a period.
    fn ask_the_accused(&mut self, now: Now, ix: Ix, out: &mut Effects) {
        let alone = self.suspicions.get(&ix).is_some_and(Suspicion::lacks_confirmation);
        let rested = self.asked_accused_at + self.config.rules.period <= now.mono;
        if alone && rested && self.config.rules.silence && self.probes(self.members.at(ix).fact.role) {
            self.asked_accused_at = now.mono;
            let seq = self.seq();
            self.put_to(ix, seq, out);
        }
    }

    /// A question that takes what its receiver is accused of along, and no rumours: they would be lost on the dead.
    fn put_to(&mut self, ix: Ix, seq: u32, out: &mut Effects) {
        let fact = self.fact(ix, self.config.node);
        let mut load = self.load();
        load.put(fact);
        self.send_load(fact.addr, Body::Ping { seq, target: fact.node }, load, None, out);
    }

    /// The one place where a record changes: order, timers, testimony and changes follow its status. Gives its place;
    /// none where there is no room.
    fn put(&mut self, now: Now, ix: Option<Ix>, member: Member, out: &mut Effects) -> Option<Ix> {
        let before = ix.map(|ix| self.members.status(ix));
        let after = member.status();
        let ix = match ix {
            Some(ix) => {
                self.members.set(ix, &member);
                ix
            }
            None => self.make_room(out).then(|| self.members.add(&member))?,
        };
        let live = |status| matches!(status, MemberStatus::Alive | MemberStatus::Suspect);
        let probed = self.probes(member.fact.role);
        if after != MemberStatus::Suspect && self.suspicions.remove(&ix).is_some() {
            self.timers.disarm(Timer::Suspicion(ix));
        }
        if live(after) && probed && !self.members.is_ordered(ix) {
            self.order.insert(ix, &mut self.rng);
            self.members.set_ordered(ix, true);
        }
        if before == Some(after) {
            return Some(ix);
        }
        self.arm_forget(now, ix, &member);
        if after == MemberStatus::Unconfirmed {
            self.unheard.insert(ix, Stranger { since: now.mono, tries: 0 });
            if probed && member.fact.role != Role::Worker {
                self.strangers.arm(ix, now.mono);
            }
            return Some(ix);
        }
        if before == Some(MemberStatus::Unconfirmed) {
            self.unheard.remove(&ix);
            self.strangers.disarm(ix);
        }
        if after == MemberStatus::Dead && probed {
            self.bury(now, ix);
        }
        // Who left comes back by itself, unless it knows nobody: a lone manager is configured with none but itself.
        if after == MemberStatus::Left && probed && member.seed && !self.dead.contains(&ix) {
            self.dead.push(ix);
        }
        let node = member.fact.node;
        self.changes.push((node, after));
        out.push(Effect::Observe(Observation::Member { node, status: after }));
        Some(ix)
    }

    fn bury(&mut self, now: Now, ix: Ix) {
        if !self.dead.contains(&ix) {
            self.dead.push(ix);
        }
        self.fallen.retain(|(_, fallen)| *fallen != ix);
        if self.fallen.len() == FALLEN_MAX {
            self.fallen.pop_front();
        }
        self.fallen.push_back((now.mono, ix));
    }

    /// Whether there is room for another member, if need be made by forgetting the longest known stranger that is not
    /// configured.
    fn make_room(&mut self, out: &mut Effects) -> bool {
        if !self.members.is_full() {
            return true;
        }
        let strangers = self.unheard.iter().filter(|(ix, _)| !self.members.at(**ix).seed);
        match strangers.map(|(ix, stranger)| (stranger.since, *ix)).min() {
            Some((_, ix)) => self.forget(ix),
            None => ignore(Stale::State, out),
        }
        !self.members.is_full()
    }

    fn arm_forget(&mut self, now: Now, ix: Ix, member: &Member) {
        let passing =
            matches!(member.status(), MemberStatus::Unconfirmed | MemberStatus::Dead | MemberStatus::Left);
        match passing && !member.seed {
            true => self.timers.arm(Timer::Forget(ix), now.mono + forget_after(self.config.rules.period)),
            false => {
                self.timers.disarm(Timer::Forget(ix));
            }
        }
    }
}

fn forget_after(period: Duration) -> Duration {
    period.scale(FORGET_PERIODS, 1)
}
