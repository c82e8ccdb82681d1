//! Rounds of questions, questions for others, rumours sent on their own, and second chances for the dead.

use super::member::MemberStatus;
use super::packet::Body;
use super::probe::{RELAYS_PUT, Relay, Round, sample};
use super::send::To;
use super::table::Ix;
use super::{Swim, Timer, ignore};
use crate::effect::Effects;
use crate::id::NodeId;
use crate::observe::Stale;
use crate::time::{Duration, Now};

/// Members never heard that are asked in one period, beside the round's own question: at least, and at most. While the
/// view is still being told it is the least.
const STRANGERS_PER_PERIOD: (usize, usize) = (4, 32);
/// Longest wait between two questions to such a member, in periods; the waits double up to it.
const STRANGER_WAIT_MAX: u64 = 32;
/// Members asked whether they, too, know of a death.
const OTHERS: usize = 2;
/// Members told at once when this node leaves; rumour does the rest.
const GOODBYES: usize = 8;
/// Rumours go to members that died this many periods ago at most: they may live, and would refute.
const FALLEN_PERIODS: u64 = 30;

impl Swim {
    pub(super) fn next_round(&mut self, now: Now, out: &mut Effects) {
        self.close_round(now, out);
        let (timeout, length) = self.spans();
        self.timers.arm(Timer::Period, now.mono + length);
        if self.leaving {
            return;
        }
        if let Some(target) = self.next_target() {
            let seq = self.seq();
            let (direct_until, ends_at) = (now.mono + timeout, now.mono + length);
            self.round = Some(Round {
                target,
                seq,
                asked_at: now.mono,
                direct_until,
                ends_at,
                answered: false,
                proxies: Default::default(),
                replies: 0,
            });
            self.timers.arm(Timer::Direct, direct_until);
            self.ask(target, seq, out);
        }
        self.ask_strangers(now, out);
    }

    /// How long a direct answer is waited for, and how long a round lasts. Doubt in oneself multiplies; distance is
    /// added: one and a half of the slowest recent trip to the target, and two trips and a half by way of a proxy.
    fn spans(&self) -> (Duration, Duration) {
        let rules = &self.config.rules;
        let multiplier = if rules.local_health { self.awareness.multiplier() } else { 1 };
        let trip = if rules.measured { self.awareness.slowest_trip() } else { Duration::ZERO };
        let timeout = rules.probe_timeout.scale(multiplier, 1).max(trip.scale(3, 2));
        (timeout, rules.period.scale(multiplier, 1).max(timeout + trip.scale(5, 2)))
    }

    /// An unanswered round is an accusation, unless this node has reason to doubt itself.
    fn close_round(&mut self, now: Now, out: &mut Effects) {
        let Some(round) = self.round.take().filter(|round| !round.answered) else { return };
        self.timers.disarm(Timer::Direct);
        if !matches!(self.members.status(round.target), MemberStatus::Alive | MemberStatus::Suspect) {
            return;
        }
        self.notice_lateness(now, round.ends_at);
        let missing = round.proxies.len() as u32 - round.replies.min(round.proxies.len() as u32);
        self.awareness.worse(if round.proxies.is_empty() { 1 } else { missing });
        self.awareness.unanswered();
        if !self.awareness.is_wary(now.mono) {
            self.accuse(now, round.target, out);
        }
    }

    fn next_target(&mut self) -> Option<Ix> {
        let live = |status| matches!(status, MemberStatus::Alive | MemberStatus::Suspect);
        for _ in 0..2 {
            while let Some(ix) = self.order.next() {
                if live(self.members.status(ix)) {
                    return Some(ix);
                }
            }
            let members = &mut self.members;
            self.order.retain(|ix| {
                let kept = live(members.status(ix));
                members.set_ordered(ix, kept);
                kept
            });
            self.order.begin(&mut self.rng);
        }
        None
    }

    fn ask(&mut self, ix: Ix, seq: u32, out: &mut Effects) {
        let target = self.members.node(ix);
        self.send_to_member(ix, Body::Ping { seq, target }, out);
    }

    /// This node has reason to doubt what it holds against others. Whoever it heard last, and whoever answered it last,
    /// are told of it, of this member first, and answer with what is newer. At most once a period.
    pub(super) fn consult(&mut self, now: Now, first: Ix, out: &mut Effects) {
        if self.consulted_at + self.config.rules.period > now.mono {
            return;
        }
        self.consulted_at = now.mono;
        let suspects = self.suspicions.range(first..).chain(self.suspicions.range(..first));
        let mut load = self.load();
        let _full = suspects.map(|(ix, _)| self.fact(*ix, self.config.node)).all(|fact| load.put(fact));
        let heard = self.heard_last.filter(|node| Some(*node) != self.answered_last);
        for peer in [self.answered_last, heard].into_iter().flatten() {
            let Some(ix) = self.members.find(peer) else { continue };
            let (seq, addr) = (self.seq(), self.members.at(ix).fact.addr);
            let to = To { node: peer, ix: Some(ix), addr };
            self.send_with(load.clone(), to, Body::Ping { seq, target: peer }, out);
        }
    }

    /// One member says that another is dead, and one is not enough. Whoever learns it so late that rumours rest already
    /// would wait for the longest suspicion: others are asked now, and if they know it, their answers say so. At most
    /// once a period.
    pub(super) fn ask_for_another_word(&mut self, now: Now, about: Ix, teller: NodeId, out: &mut Effects) {
        if self.second_word_at + self.config.rules.period > now.mono {
            return;
        }
        self.second_word_at = now.mono;
        let (members, order) = (&self.members, &self.order);
        let asked = sample(
            |place| order.at(place),
            order.len(),
            OTHERS,
            &mut self.rng,
            |ix| members.status(ix) == MemberStatus::Alive && ix != about && members.node(ix) != teller,
        );
        for ix in asked {
            let fact = self.members.at(ix).fact;
            let to = To { node: fact.node, ix: Some(ix), addr: fact.addr };
            let mut load = self.charge(to);
            load.put(self.told(about));
            let body = Body::Ping { seq: self.seq(), target: fact.node };
            self.send_load(fact.addr, body, load, None, out);
        }
    }

    fn ask_strangers(&mut self, now: Now, out: &mut Effects) {
        let (least, most) = STRANGERS_PER_PERIOD;
        let count = if self.is_joining() { least } else { (self.unheard.len() / 16).clamp(least, most) };
        for _ in 0..count {
            let Some((_, ix)) = self.strangers.pop_due(now.mono) else { return };
            let Some(stranger) = self.unheard.get_mut(&ix) else { continue };
            let wait = STRANGER_WAIT_MAX.min(1 << stranger.tries.min(63));
            stranger.tries += 1;
            self.strangers.arm(ix, now.mono + self.config.rules.period.scale(wait, 1));
            let seq = self.seq();
            self.ask(ix, seq, out);
        }
    }

    pub(super) fn ask_proxies(&mut self, now: Now, out: &mut Effects) {
        let Some(round) = self.round.as_ref().filter(|round| !round.answered) else { return };
        let (target_ix, seq, left) = (round.target, round.seq, round.ends_at.since(now.mono));
        let late_from = round.direct_until;
        self.notice_lateness(now, late_from);
        let target = self.members.node(target_ix);
        let (members, order) = (&self.members, &self.order);
        let proxies = sample(
            |place| order.at(place),
            order.len(),
            self.config.rules.proxies,
            &mut self.rng,
            |ix| members.status(ix) == MemberStatus::Alive && ix != target_ix,
        );
        for ix in &proxies {
            self.send_to_member(*ix, Body::PingReq { seq, target, budget_ms: left.as_wire_millis() }, out);
        }
        let proxies = proxies.iter().map(|ix| self.members.node(*ix)).collect();
        if let Some(round) = self.round.as_mut() {
            round.proxies = proxies;
        }
    }

    pub(super) fn acked(&mut self, now: Now, from: NodeId, seq: u32, out: &mut Effects) {
        if let Some(round) = self.round.as_ref()
            && round.seq == seq
            && self.members.node(round.target) == from
        {
            if !round.answered && now.mono <= round.direct_until {
                let took = (now.mono - now.waited).since(round.asked_at);
                self.trip = Some((from, took));
                self.awareness.trip(took);
            }
            self.round_answered(now);
        } else if self.relays.get_mut(seq).is_some_and(|relay| relay.target == from) {
            for (seq, relay) in self.relays.answered_by(from) {
                self.timers.disarm(Timer::Relay(seq));
                let to = To { node: relay.asker, ix: self.members.find(relay.asker), addr: relay.asker_addr };
                self.send(to, Body::IndirectAck { seq: relay.asker_seq }, out);
            }
        }
        // Anything else answers a second chance, a question to a stranger, or comes late: being heard is all it is for.
    }

    pub(super) fn proxied(&mut self, now: Now, from: NodeId, seq: u32, good: bool, out: &mut Effects) {
        match self.round.as_mut().filter(|round| round.seq == seq && round.proxies.contains(&from)) {
            Some(round) => {
                round.replies += 1;
                if good {
                    self.round_answered(now);
                }
            }
            None => ignore(Stale::Sequence, out),
        }
    }

    /// The round has its answer. If doubt made it longer than a period, the next one need not wait for its end.
    fn round_answered(&mut self, now: Now) {
        let Some(round) = self.round.as_mut().filter(|round| !round.answered) else { return };
        round.answered = true;
        let next = now.mono.max(round.asked_at + self.config.rules.period);
        let sooner = next < round.ends_at;
        self.awareness.better();
        self.timers.disarm(Timer::Direct);
        if sooner {
            self.timers.arm(Timer::Period, next);
        }
    }

    // ---- questions for others ----

    pub(super) fn asked(
        &mut self,
        now: Now,
        (asker, asker_seq): (To, u32),
        target: NodeId,
        budget: Duration,
        out: &mut Effects,
    ) {
        let seq = self.seq();
        let Some(ix) = self.members.find(target) else {
            return self.answer(asker, Body::Nack { seq: asker_seq }, out);
        };
        let relay = Relay { asker: asker.node, asker_addr: asker.addr, asker_seq, target, nacked: false };
        let put = self.relays.about(target) < RELAYS_PUT;
        if !self.relays.insert(seq, relay) {
            return self.answer(asker, Body::Nack { seq: asker_seq }, out);
        }
        // Lifeguard section IV-A: the nack comes at 80 % of the time that the asker waits.
        let budget = budget.min(self.config.rules.period.scale(9, 1));
        self.timers.arm(Timer::Relay(seq), now.mono + budget.scale(4, 5));
        if put {
            self.ask(ix, seq, out);
        }
    }

    pub(super) fn relay_due(&mut self, now: Now, seq: u32, out: &mut Effects) {
        let Some(relay) = self.relays.get_mut(seq) else { return };
        if relay.nacked {
            self.relays.remove(seq);
            return;
        }
        relay.nacked = true;
        let relay = *relay;
        self.timers.arm(Timer::Relay(seq), now.mono + self.config.rules.period);
        if self.config.rules.local_health {
            let to = To { node: relay.asker, ix: self.members.find(relay.asker), addr: relay.asker_addr };
            self.send(to, Body::Nack { seq: relay.asker_seq }, out);
        }
    }

    // ---- rumours, second chances, goodbyes ----

    pub(super) fn gossip_due(&mut self, now: Now, out: &mut Effects) {
        self.gossiping = self.gossip.is_fresh(self.config.rules.gossip_sends);
        if !self.gossiping {
            return;
        }
        self.timers.arm(Timer::Gossip, now.mono + self.config.rules.gossip_period);
        let lately = self.config.rules.period.scale(FALLEN_PERIODS, 1);
        while self.fallen.front().is_some_and(|(since, _)| now.mono.since(*since) > lately) {
            self.fallen.pop_front();
        }
        let (order, fallen, members) = (&self.order, &self.fallen, &self.members);
        let from = |place: usize| match place.checked_sub(order.len()) {
            None => order.at(place),
            Some(place) => fallen[place].1,
        };
        let is_fallen = |ix| fallen.iter().any(|(_, fell)| *fell == ix);
        let targets =
            sample(from, order.len() + fallen.len(), self.config.rules.gossip_fanout, &mut self.rng, |ix| {
                match members.status(ix) {
                    MemberStatus::Alive | MemberStatus::Suspect => true,
                    MemberStatus::Dead => is_fallen(ix),
                    MemberStatus::Unconfirmed | MemberStatus::Left => false,
                }
            });
        for ix in targets {
            if !self.gossip.is_fresh(self.config.rules.gossip_sends) {
                break;
            }
            self.send_to_member(ix, Body::Rumours, out);
        }
    }

    pub(super) fn second_chance(&mut self, now: Now, out: &mut Effects) {
        self.arm_about(Timer::SecondChance, now, self.config.rules.second_chance_periods);
        if self.leaving {
            return;
        }
        while !self.dead.is_empty() {
            let pick = self.rng.below(self.dead.len() as u64) as usize;
            let ix = self.dead[pick];
            if matches!(self.members.status(ix), MemberStatus::Dead | MemberStatus::Left) {
                let seq = self.seq();
                return self.ask(ix, seq, out);
            }
            self.dead.swap_remove(pick);
        }
    }

    pub(super) fn say_goodbye(&mut self, out: &mut Effects) {
        let (order, members) = (&self.order, &self.members);
        let live = |ix: Ix| matches!(members.status(ix), MemberStatus::Alive | MemberStatus::Suspect);
        let told = sample(|place| order.at(place), order.len(), GOODBYES, &mut self.rng, live);
        for ix in told {
            self.send_to_member(ix, Body::Rumours, out);
        }
    }
}
