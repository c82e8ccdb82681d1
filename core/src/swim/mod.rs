//! Who is alive: SWIM over datagrams, with Lifeguard's suspicion.
//!
//! The group of a gate is the gates; the group of a manager or worker is its datacenter's managers and workers. Workers
//! probe managers alone; a worker asks another worker only when a manager wants it to.
//!
//! | in | what happens |
//! |---|---|
//! | `start` | members are asked for at the configured ones, until one tells them |
//! | `receive` | the sender is heard, its rumours are taken in, its question is answered |
//! | `wake` | rounds, suspicions, exchanges and second chances whose time has come |
//! | `leave` | others are told; questions are still answered |
//!
//! Out come datagrams, `Observe` of every change, and [`Swim::changes`]. The machine never touches the disk, takes no
//! part in any decision of the log, and trusts no address that a packet names for an answer.
//!
//! A member that a partition made dead comes back by itself: every [`SECOND_CHANCE_PERIODS`] one of the dead (or of the
//! configured ones that were never heard) is asked. The question carries its death, so it refutes; and whoever comes
//! back is asked for its view, which brings the rest.

mod gossip;
mod learn;
mod member;
mod packet;
mod probe;
mod suspicion;
mod sync;

pub use gossip::RUMOURS_MAX;
pub use member::{Addr, Claim, Fact, Incarnation, MEMBERS_MAX, MemberInfo, MemberStatus};
pub use packet::{Body, FACTS_MAX, PACKET_BYTES_MAX, Packet};

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use self::gossip::Gossip;
use self::learn::Refutations;
use self::member::{Member, Members};
use self::probe::{Order, PROXIES, Relay, Relays, Round};
use self::suspicion::Suspicion;
use self::sync::Exchange;
use crate::config::Peer;
use crate::effect::{Effect, Effects};
use crate::id::{BootNo, NodeId, Role};
use crate::observe::{Observation, Stale};
use crate::rng::NodeRng;
use crate::time::{Duration, Instant, Now};
use crate::wheel::Wheel;
use crate::wire::Malformed;

/// Periods between second chances for the dead, give or take a fifth. One datagram each, so it can be frequent.
pub const SECOND_CHANCE_PERIODS: u64 = 10;
/// Members never heard that are asked in one period, beside the round's own question.
const STRANGERS_PER_PERIOD: usize = 4;
/// Longest wait between two questions to such a member, in periods; the waits double up to it.
const STRANGER_WAIT_MAX: u64 = 32;
/// Members told at once when this node leaves; rumour does the rest.
const GOODBYES: usize = 8;
/// The machine's own stream of the node's randomness.
const STREAM: u64 = 0x5357_494d;

/// What the machine is built from.
#[derive(Clone, Debug)]
pub struct SwimConfig {
    /// This node.
    pub node: NodeId,
    /// Where it takes datagrams, as others reach it.
    pub addr: Addr,
    /// What it does.
    pub role: Role,
    /// Which start of the node this is.
    pub boot: BootNo,
    /// One round; not zero.
    pub period: Duration,
    /// Wait for a direct answer before proxies are asked; shorter than the period.
    pub probe_timeout: Duration,
    /// Configured members: gates for a gate, the datacenter's managers for a manager or worker. This node among them
    /// is skipped.
    pub seeds: Vec<Peer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The round ends and the next begins.
    Period,
    /// The round's direct question was not answered.
    Direct,
    /// A question for another: first the nack, then the end.
    Relay(u32),
    /// A suspicion runs out.
    Suspicion(NodeId),
    /// A deferred refutation.
    Refute,
    /// A page of an exchange has not come.
    Page,
    /// The next exchange with a random member.
    Exchange,
    /// A dead member is asked again.
    SecondChance,
    /// A dead or never heard member is forgotten.
    Forget(NodeId),
}

/// The membership machine of one node.
#[derive(Clone, Debug)]
pub struct Swim {
    config: SwimConfig,
    rng: NodeRng,
    incarnation: Incarnation,
    leaving: bool,
    members: Members,
    order: Order,
    /// Members never heard, by when they are asked next, with how often they were.
    strangers: Wheel<NodeId>,
    tries: BTreeMap<NodeId, u32>,
    round: Option<Round>,
    relays: Relays,
    suspicions: BTreeMap<NodeId, Suspicion>,
    gossip: Gossip,
    exchange: Option<Exchange>,
    /// Whether some member has told all that it knows since the start.
    joined: bool,
    refutations: Refutations,
    timers: Wheel<Timer>,
    next_seq: u32,
    /// This node slept and listens before it judges, until then.
    judges_from: Instant,
    changes: Vec<(NodeId, MemberStatus)>,
    /// Newer facts than the packet at hand brought: they go with its answer.
    corrections: Vec<Fact>,
}

impl Swim {
    /// A machine that knows the configured members and has heard none. Nothing happens before [`Swim::start`].
    pub fn new(config: SwimConfig, seed: [u8; 32]) -> Self {
        assert!(config.period > config.probe_timeout, "a round outlasts the wait for its direct answer");
        let mut rng = NodeRng::new(seed, STREAM);
        let incarnation = Incarnation::of_boot(config.boot);
        assert!(incarnation.is_legal(), "a boot number is at least 1 and below a billion");
        let mut swim = Self {
            next_seq: rng.u64() as u32,
            rng,
            incarnation,
            leaving: false,
            members: Members::default(),
            order: Order::default(),
            strangers: Wheel::default(),
            tries: BTreeMap::new(),
            round: None,
            relays: Relays::default(),
            suspicions: BTreeMap::new(),
            gossip: Gossip::default(),
            exchange: None,
            joined: false,
            refutations: Refutations::default(),
            timers: Wheel::default(),
            judges_from: Instant::ZERO,
            changes: Vec::new(),
            corrections: Vec::new(),
            config,
        };
        swim.know_seeds();
        swim
    }

    /// Begins to ask and to join.
    pub fn start(&mut self, now: Now, out: &mut Effects) {
        // A random first wait: members that start together do not ask in step.
        let first = Duration::from_nanos(self.rng.below(self.config.period.as_nanos()));
        self.timers.arm(Timer::Period, now.mono + first);
        self.arm_about(Timer::SecondChance, now, SECOND_CHANCE_PERIODS);
        self.arm_about(Timer::Exchange, now, sync::EXCHANGE_PERIODS);
        self.join(now, out);
    }

    /// Takes one datagram in. `from` is where it came from.
    pub fn receive(&mut self, now: Now, from: Addr, packet: Packet, out: &mut Effects) {
        if !packet.is_legal() {
            return out.push(Effect::Observe(Observation::Malformed(Malformed::Bounds)));
        }
        if !packet.fits_group(self.config.role) {
            return out.push(Effect::Observe(Observation::Malformed(Malformed::Role)));
        }
        if packet.from == self.config.node {
            return ignore(Stale::Sender, out);
        }
        self.corrections.clear();
        self.hear(now, packet.introduction(), out);
        match packet.body {
            Body::Page { after, next } => self.paged(now, packet.from, (after, next), &packet.facts, out),
            _ => packet.facts.iter().for_each(|fact| self.learn(now, *fact, out)),
        }
        match packet.body {
            Body::Ping { seq, target } if target == self.config.node => {
                self.answer(packet.from, from, Body::Ack { seq }, out)
            }
            Body::Ping { .. } => ignore(Stale::Unknown, out),
            Body::Ack { seq } => self.acked(packet.from, seq, out),
            Body::PingReq { seq, target, budget_ms } => self.asked(
                now,
                (packet.from, from, seq),
                target,
                Duration::from_millis(budget_ms.into()),
                out,
            ),
            Body::IndirectAck { seq } | Body::Nack { seq } => {
                let good = matches!(packet.body, Body::IndirectAck { .. });
                self.proxied(packet.from, seq, good, out)
            }
            Body::Pull { after, mutual } => self.pulled(now, (packet.from, from), after, mutual, out),
            Body::Page { .. } | Body::Rumours => {}
        }
    }

    /// Does everything whose time has come.
    pub fn wake(&mut self, now: Now, out: &mut Effects) {
        while let Some((due, timer)) = self.timers.pop_due(now.mono) {
            if now.mono.since(due) > self.config.period {
                // This node slept. What it missed may be lying in its queue: it listens before it judges.
                self.judges_from = now.mono + self.config.period + self.config.period;
            }
            self.fire(now, timer, out);
        }
    }

    /// Says goodbye: others hold this node as left, not as failed. It goes on answering until its process ends.
    pub fn leave(&mut self, _now: Now, out: &mut Effects) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        self.round = None;
        self.timers.disarm(Timer::Direct);
        self.timers.disarm(Timer::Refute);
        self.gossip.push(Fact { claim: Claim::Left, ..self.own_fact() });
        for node in self.order.sample(GOODBYES, &mut self.rng, |_| true) {
            self.send_to_member(node, Body::Rumours, out);
        }
    }

    /// When [`Swim::wake`] is wanted next.
    pub fn wake_at(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Members whose status changed since the last call, oldest change first. The owner drains it after each call, so
    /// it holds one call's changes.
    pub fn changes(&mut self) -> Vec<(NodeId, MemberStatus)> {
        core::mem::take(&mut self.changes)
    }

    /// What is believed of a node; `None` for one that is not known. This node is alive, or has left.
    pub fn status(&self, node: NodeId) -> Option<MemberStatus> {
        if node == self.config.node {
            return Some(if self.leaving { MemberStatus::Left } else { MemberStatus::Alive });
        }
        self.members.get(node).map(Member::status)
    }

    /// All other members, by node.
    pub fn members(&self) -> impl Iterator<Item = MemberInfo> {
        self.members.iter().map(|(node, member)| MemberInfo {
            node,
            status: member.status(),
            addr: member.fact.addr,
            role: member.fact.role,
            boot: member.fact.incarnation.boot(),
        })
    }

    /// This node's own incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn fire(&mut self, now: Now, timer: Timer, out: &mut Effects) {
        match timer {
            Timer::Period => self.next_round(now, out),
            Timer::Direct => self.ask_proxies(out),
            Timer::Relay(seq) => self.relay_due(now, seq, out),
            Timer::Suspicion(node) => self.suspicion_due(now, node, out),
            Timer::Refute => self.refute_deferred(now, out),
            Timer::Page => self.page_missed(now, out),
            Timer::Exchange => self.exchange_due(now, out),
            Timer::SecondChance => self.second_chance(now, out),
            Timer::Forget(node) => self.forget(node),
        }
    }

    // ---- rounds ----

    fn next_round(&mut self, now: Now, out: &mut Effects) {
        self.timers.arm(Timer::Period, now.mono + self.config.period);
        if let Some(round) = self.round.take()
            && !round.answered
            && now.mono >= self.judges_from
        {
            self.accuse(now, round.target, out);
        }
        if self.leaving {
            return;
        }
        if let Some(target) = self.order.next(&mut self.rng) {
            let seq = self.seq();
            self.round = Some(Round { target, seq, answered: false, proxies: Default::default() });
            self.timers.arm(Timer::Direct, now.mono + self.config.probe_timeout);
            self.send_to_member(target, Body::Ping { seq, target }, out);
        }
        self.ask_strangers(now, out);
    }

    fn ask_strangers(&mut self, now: Now, out: &mut Effects) {
        for _ in 0..STRANGERS_PER_PERIOD {
            let Some((_, node)) = self.strangers.pop_due(now.mono) else { return };
            let tries = self.tries.entry(node).or_default();
            let wait = STRANGER_WAIT_MAX.min(1 << (*tries).min(63));
            *tries += 1;
            self.strangers.arm(node, now.mono + self.config.period.scale(wait, 1));
            let seq = self.seq();
            self.send_to_member(node, Body::Ping { seq, target: node }, out);
        }
    }

    fn ask_proxies(&mut self, out: &mut Effects) {
        let Some(round) = self.round.as_ref().filter(|round| !round.answered) else { return };
        let (target, seq) = (round.target, round.seq);
        let left = self.config.period.saturating_sub(self.config.probe_timeout);
        let proxies = self.order.sample(PROXIES, &mut self.rng, |node| {
            let alive = self.members.get(node).is_some_and(|member| member.status() == MemberStatus::Alive);
            alive && node != target
        });
        for proxy in &proxies {
            self.send_to_member(*proxy, Body::PingReq { seq, target, budget_ms: left.as_wire_millis() }, out);
        }
        if let Some(round) = self.round.as_mut() {
            round.proxies = proxies;
        }
    }

    fn acked(&mut self, from: NodeId, seq: u32, out: &mut Effects) {
        if let Some(round) = self.round.as_mut().filter(|round| round.seq == seq && round.target == from) {
            round.answered = true;
        } else if self.relays.get_mut(seq).is_some_and(|relay| relay.target == from)
            && let Some(relay) = self.relays.remove(seq)
        {
            self.timers.disarm(Timer::Relay(seq));
            self.send(relay.asker, relay.asker_addr, Body::IndirectAck { seq: relay.asker_seq }, out);
        }
        // Anything else answers a second chance, a question to a stranger, or comes late: being heard is all it is for.
    }

    fn proxied(&mut self, from: NodeId, seq: u32, good: bool, out: &mut Effects) {
        match self.round.as_mut().filter(|round| round.seq == seq && round.proxies.contains(&from)) {
            Some(round) => round.answered |= good,
            None => ignore(Stale::Sequence, out),
        }
    }

    // ---- questions for others ----

    fn asked(
        &mut self,
        now: Now,
        (asker, asker_addr, asker_seq): (NodeId, Addr, u32),
        target: NodeId,
        budget: Duration,
        out: &mut Effects,
    ) {
        let seq = self.seq();
        let known = self.members.get(target).is_some();
        let relay = Relay { asker, asker_addr, asker_seq, target, nacked: false };
        if !known || !self.relays.insert(seq, relay) {
            return self.answer(asker, asker_addr, Body::Nack { seq: asker_seq }, out);
        }
        // Lifeguard section IV-A: the nack comes at 80 % of the time that the asker waits.
        self.timers.arm(Timer::Relay(seq), now.mono + budget.min(self.config.period).scale(4, 5));
        self.send_to_member(target, Body::Ping { seq, target }, out);
    }

    fn relay_due(&mut self, now: Now, seq: u32, out: &mut Effects) {
        let Some(relay) = self.relays.get_mut(seq) else { return };
        if relay.nacked {
            self.relays.remove(seq);
            return;
        }
        relay.nacked = true;
        let relay = *relay;
        self.timers.arm(Timer::Relay(seq), now.mono + self.config.period);
        self.send(relay.asker, relay.asker_addr, Body::Nack { seq: relay.asker_seq }, out);
    }

    // ---- second chances ----

    fn second_chance(&mut self, now: Now, out: &mut Effects) {
        self.arm_about(Timer::SecondChance, now, SECOND_CHANCE_PERIODS);
        if self.leaving {
            return;
        }
        let dead: Vec<NodeId> = self
            .members
            .iter()
            .filter(|(_, member)| member.status() == MemberStatus::Dead && self.probes(member.fact.role))
            .map(|(node, _)| node)
            .collect();
        let pick = self.rng.below(dead.len() as u64) as usize;
        if let Some(&target) = dead.get(pick) {
            let seq = self.seq();
            self.send_to_member(target, Body::Ping { seq, target }, out);
        }
    }

    // ---- sending ----

    fn send_to_member(&mut self, node: NodeId, body: Body, out: &mut Effects) {
        if let Some(member) = self.members.get(node) {
            let addr = member.fact.addr;
            self.send(node, addr, body, out);
        }
    }

    /// Answers the packet at hand: what it said and was out of date comes back as it is now.
    fn answer(&mut self, node: NodeId, addr: Addr, body: Body, out: &mut Effects) {
        let mut facts = self.charge(node);
        facts.append(&mut self.corrections);
        facts.truncate(FACTS_MAX);
        self.send_with(facts, node, addr, body, out);
    }

    fn send(&mut self, node: NodeId, addr: Addr, body: Body, out: &mut Effects) {
        let facts = self.charge(node);
        self.send_with(facts, node, addr, body, out);
    }

    /// What is held against a node, if anything. Whatever is sent to it carries that first, so that it can refute at
    /// the first opportunity (Lifeguard, section IV-C: the buddy system).
    fn charge(&self, node: NodeId) -> Vec<Fact> {
        let fact = self.members.get(node).map(|member| member.fact);
        fact.filter(|fact| fact.claim != Claim::Alive).into_iter().collect()
    }

    /// Sends these facts, and rumours in the room that they leave.
    fn send_with(&mut self, mut facts: Vec<Fact>, node: NodeId, addr: Addr, body: Body, out: &mut Effects) {
        let room = FACTS_MAX - facts.len();
        self.gossip.fill(&mut facts, room, node, self.members.rumoured() + 1);
        self.send_facts(addr, body, facts, out);
    }

    fn send_facts(&self, addr: Addr, body: Body, facts: Vec<Fact>, out: &mut Effects) {
        let packet = Packet {
            from: self.config.node,
            incarnation: self.incarnation,
            role: self.config.role,
            addr: self.config.addr,
            body,
            facts,
        };
        out.push(Effect::SendDatagram { to: addr, packet: Box::new(packet) });
    }

    fn own_fact(&self) -> Fact {
        Fact {
            node: self.config.node,
            incarnation: self.incarnation,
            claim: Claim::Alive,
            role: self.config.role,
            addr: self.config.addr,
        }
    }

    fn seq(&mut self) -> u32 {
        self.next_seq = self.next_seq.wrapping_add(1);
        self.next_seq
    }

    /// Whether this node asks members of that role by itself.
    fn probes(&self, role: Role) -> bool {
        self.config.role != Role::Worker || role != Role::Worker
    }

    /// Arms at this many periods from now, give or take a fifth: members do not fall into step.
    fn arm_about(&mut self, timer: Timer, now: Now, periods: u64) {
        let about = self.rng.range(800, 1_200);
        self.timers.arm(timer, now.mono + self.config.period.scale(periods * about, 1_000));
    }
}

fn ignore(why: Stale, out: &mut Effects) {
    out.push(Effect::Observe(Observation::Ignored(why)));
}

#[cfg(test)]
mod tests;
