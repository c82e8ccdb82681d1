//! Who is alive: SWIM over datagrams, with Lifeguard's suspicion and a node's doubt in itself.
//!
//! The group of a gate is the gates; the group of a manager or worker is its datacenter's managers and workers. Workers
//! probe managers alone; a worker asks another worker only when a manager wants it to.
//!
//! | in | what happens |
//! |---|---|
//! | `start` | members are asked for at the configured ones, until one tells them |
//! | `receive` | the sender is heard, its rumours are taken in, its question is answered |
//! | `wake` | rounds, rumours, suspicions, exchanges and second chances whose time has come |
//! | `sign_of_life` | somebody was heard by another way: this node is not cut off |
//! | `leave` | others are told; questions are still answered |
//!
//! Out come datagrams, `Observe` of every change, [`Swim::changes`] and [`Swim::trip`]. The machine never touches the
//! disk, takes no part in any decision of the log, and trusts no address that a packet names for an answer.
//!
//! A member dies of its suspicion running out at each observer for itself; another's word of the death is enough only
//! where at least two members accuse. An observer that hears nobody, woke late or finds old messages in its queue lets
//! no suspicion run out for a while (`awareness.rs`).
//!
//! A member that a partition made dead comes back by itself: now and then one of the dead (or of the configured ones
//! that were never heard) is asked. The question carries its death, so it refutes; and whoever comes back is asked for
//! its view, which brings the rest.
//!
//! How it behaves is set by [`Rules`], of which plain SWIM and Lifeguard are values.

mod awareness;
mod gossip;
mod learn;
mod member;
mod pack;
mod packet;
mod probe;
mod round;
mod rows;
mod rules;
mod send;
mod suspicion;
mod sync;
mod table;
mod timers;

pub use gossip::RUMOURS_MAX;
pub use member::{Addr, Claim, Fact, Incarnation, MEMBERS_MAX, MemberInfo, MemberStatus};
pub use packet::{Body, FACTS_BYTES_MAX, FACTS_MAX, PACKET_BYTES_MAX, Packet, Parts};
pub use rules::Rules;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::borrow::Borrow;

use self::awareness::Awareness;
use self::gossip::Gossip;
use self::learn::{Refutations, Stranger};
use self::probe::{Order, Relays, Round};
use self::send::To;
use self::suspicion::Suspicion;
use self::sync::{Exchange, Following, Page};
use self::table::{Ix, Members};
use self::timers::Timers;
use crate::config::Peer;
use crate::effect::{Effect, Effects};
use crate::id::{BootNo, NodeId, Role};
use crate::observe::{Observation, Stale};
use crate::rng::NodeRng;
use crate::time::{Duration, Instant, Now};
use crate::wheel::Wheel;
use crate::wire::Malformed;

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
    /// How it behaves; [`Rules::ours`] but in comparisons.
    pub rules: Rules,
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
    /// Rumours are sent.
    Gossip,
    /// A question for another: first the nack, then the end.
    Relay(u32),
    /// A suspicion runs out.
    Suspicion(Ix),
    /// A deferred refutation.
    Refute,
    /// A page of an exchange has not come.
    Page,
    /// The next exchange with a random member.
    Exchange,
    /// A dead member is asked again.
    SecondChance,
    /// A dead or never heard member is forgotten.
    Forget(Ix),
}

/// What a deadline is for. Programs that give each activity a thread of its own (and models of them) can hold one back
/// while another goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Rounds of questions.
    Probe,
    /// Sending rumours.
    Gossip,
    /// Exchanges of views and second chances.
    Exchange,
    /// Answers for others.
    Relay,
    /// Nothing is sent: suspicions, deferred refutations, forgetting.
    Quiet,
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
    /// Members never heard, with how often they were asked; and by when they are asked next.
    unheard: BTreeMap<Ix, Stranger>,
    strangers: Wheel<Ix>,
    /// Members that died lately: rumours still go to them, since they may be wrong.
    fallen: VecDeque<(Instant, Ix)>,
    /// Those who may get a second chance: all of the dead whom this node asks, configured ones that left, and some who
    /// came back.
    dead: Vec<Ix>,
    round: Option<Round>,
    relays: Relays,
    suspicions: BTreeMap<Ix, Suspicion>,
    gossip: Gossip,
    /// Whether [`Timer::Gossip`] is armed.
    gossiping: bool,
    exchange: Option<Exchange>,
    /// Who spoke last, and who answered last: the way to it is whole both ways. When they were asked for their view
    /// because this node doubted itself.
    heard_last: Option<NodeId>,
    answered_last: Option<NodeId>,
    consulted_at: Instant,
    /// When others were asked whether they know of a death that one has told.
    second_word_at: Instant,
    /// When the accused of an accusation that was repeated was asked.
    asked_accused_at: Instant,
    /// Periods until the next exchange with a random member, and how many members were told of at the last.
    exchange_wait: u64,
    known_at_exchange: usize,
    /// Whether some member has told all that it knows since the start, and who is asked whether it has learnt more.
    joined: bool,
    following: Option<Following>,
    refutations: Refutations,
    timers: Timers,
    next_seq: u32,
    awareness: Awareness,
    changes: Vec<(NodeId, MemberStatus)>,
    trip: Option<(NodeId, Duration)>,
    /// Newer facts than the packet at hand brought: they go with its answer.
    corrections: Vec<Fact>,
}

impl Swim {
    /// A machine that knows the configured members and has heard none. Nothing happens before [`Swim::start`].
    pub fn new(config: SwimConfig, seed: [u8; 32]) -> Self {
        let rules = &config.rules;
        assert!(rules.period > rules.probe_timeout, "a round outlasts the wait for its direct answer");
        let mut rng = NodeRng::new(seed, STREAM);
        let incarnation = Incarnation::of_boot(config.boot);
        assert!(incarnation.is_legal(), "a boot number is at least 1 and below a billion");
        let mut swim = Self {
            next_seq: rng.u64() as u32,
            members: Members::new(rng.u64()),
            rng,
            incarnation,
            leaving: false,
            order: Order::default(),
            unheard: BTreeMap::new(),
            strangers: Wheel::default(),
            fallen: VecDeque::new(),
            dead: Vec::new(),
            round: None,
            relays: Relays::default(),
            suspicions: BTreeMap::new(),
            gossip: Gossip::default(),
            gossiping: false,
            exchange: None,
            heard_last: None,
            answered_last: None,
            consulted_at: Instant::ZERO,
            second_word_at: Instant::ZERO,
            asked_accused_at: Instant::ZERO,
            exchange_wait: 1,
            known_at_exchange: 0,
            joined: false,
            following: None,
            refutations: Refutations::default(),
            timers: Timers::default(),
            awareness: Awareness::new(rules.period),
            changes: Vec::new(),
            trip: None,
            corrections: Vec::new(),
            config,
        };
        swim.know_seeds();
        swim
    }

    /// Begins to ask and to join.
    pub fn start(&mut self, now: Now, out: &mut Effects) {
        // A random first wait: members that start together do not ask in step.
        let first = Duration::from_nanos(self.rng.below(self.config.rules.period.as_nanos()));
        self.timers.arm(Timer::Period, now.mono + first);
        if self.config.rules.second_chance_periods > 0 {
            self.arm_about(Timer::SecondChance, now, self.config.rules.second_chance_periods);
        }
        self.arm_first_exchange(now);
        self.join(now, out);
    }

    /// Takes one datagram in. `from` is where it came from.
    pub fn receive(&mut self, now: Now, from: Addr, packet: impl Borrow<Packet>, out: &mut Effects) {
        self.take_in(now, from, packet.borrow(), out);
    }

    fn take_in(&mut self, now: Now, from: Addr, packet: &Packet, out: &mut Effects) {
        if !packet.is_legal(self.config.rules.packet_facts) {
            return out.push(Effect::Observe(Observation::Malformed(Malformed::Bounds)));
        }
        if !packet.fits_group(self.config.role) {
            return out.push(Effect::Observe(Observation::Malformed(Malformed::Role)));
        }
        if packet.from == self.config.node {
            return ignore(Stale::Sender, out);
        }
        self.sign_of_life(now);
        self.corrections.clear();
        let Ok(ix) = self.hear(now, packet.introduction(), out) else {
            return ignore(Stale::Sender, out);
        };
        self.heard_last = Some(packet.from);
        let to = To { node: packet.from, ix, addr: from };
        match packet.body {
            Body::Page { from, next, more, parts } => {
                let page = Page { from, next, more, parts };
                self.paged(now, packet.from, page, &packet.facts, out);
            }
            _ => packet.facts.iter().for_each(|fact| self.learn(now, packet.from, fact, out)),
        }
        if matches!(packet.body, Body::Ack { .. } | Body::IndirectAck { .. } | Body::Nack { .. }) {
            self.answered_last = Some(packet.from);
        }
        match packet.body {
            Body::Ping { seq, target } if target == self.config.node => {
                self.answer(to, Body::Ack { seq }, out);
            }
            Body::Ping { .. } => ignore(Stale::Unknown, out),
            Body::Ack { seq } => self.acked(now, packet.from, seq, out),
            Body::PingReq { seq, target, budget_ms } => {
                self.asked(now, (to, seq), target, Duration::from_millis(budget_ms.into()), out);
            }
            Body::IndirectAck { seq } | Body::Nack { seq } => {
                let good = matches!(packet.body, Body::IndirectAck { .. });
                self.proxied(now, packet.from, seq, good, out);
            }
            Body::Pull { from, mutual, parts } => {
                self.pulled(now, to, (from, mutual, parts), packet.digest.as_deref(), out);
            }
            Body::Page { .. } | Body::Rumours => {}
        }
    }

    /// Does everything whose time has come.
    pub fn wake(&mut self, now: Now, out: &mut Effects) {
        while self.wake_next(now, out) {}
    }

    /// Does the first thing whose time has come; tells whether there was one.
    pub fn wake_next(&mut self, now: Now, out: &mut Effects) -> bool {
        let Some((due, timer)) = self.timers.pop_due(now.mono) else { return false };
        self.notice_lateness(now, due);
        self.fire(now, timer, out);
        true
    }

    /// Somebody of whatever group was heard, by whatever way: this node is not cut off from everybody.
    pub fn sign_of_life(&mut self, now: Now) {
        if self.config.rules.silence {
            self.awareness.heard(now);
        }
    }

    /// Says goodbye: others hold this node as left, not as failed. It goes on answering until its process ends.
    pub fn leave(&mut self, now: Now, out: &mut Effects) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        self.round = None;
        self.timers.disarm(Timer::Direct);
        self.timers.disarm(Timer::Refute);
        self.spread(now, gossip::SELF, self.config.node);
        self.say_goodbye(out);
    }

    /// When [`Swim::wake`] is wanted next.
    pub fn wake_at(&self) -> Option<Instant> {
        self.timers.peek().map(|(at, _)| at)
    }

    /// The earliest deadline and what it is for.
    pub fn due(&self) -> Option<(Instant, Chore)> {
        let (due, timer) = self.timers.peek()?;
        let chore = match timer {
            Timer::Period | Timer::Direct => Chore::Probe,
            Timer::Gossip => Chore::Gossip,
            Timer::Exchange | Timer::Page | Timer::SecondChance => Chore::Exchange,
            Timer::Relay(_) => Chore::Relay,
            Timer::Suspicion(_) | Timer::Refute | Timer::Forget(_) => Chore::Quiet,
        };
        Some((due, chore))
    }

    /// Holds the earliest deadline back until then.
    pub fn postpone(&mut self, until: Instant) {
        if let Some((_, timer)) = self.timers.pop_due(Instant::FAR_FUTURE) {
            self.timers.arm(timer, until);
        }
    }

    /// Members whose status changed since the last call, oldest change first. The owner drains it after each call, so
    /// it holds one call's changes.
    pub fn changes(&mut self) -> Vec<(NodeId, MemberStatus)> {
        core::mem::take(&mut self.changes)
    }

    /// The round trip that the last datagram measured, if it did: of a direct question, without what it waited here.
    pub fn trip(&mut self) -> Option<(NodeId, Duration)> {
        self.trip.take()
    }

    /// What is believed of a node; `None` for one that is not known. This node is alive, or has left.
    pub fn status(&self, node: NodeId) -> Option<MemberStatus> {
        if node == self.config.node {
            return Some(if self.leaving { MemberStatus::Left } else { MemberStatus::Alive });
        }
        self.members.find(node).map(|ix| self.members.status(ix))
    }

    /// All other members, in the order in which their places were first taken.
    pub fn members(&self) -> impl Iterator<Item = MemberInfo> {
        self.members.iter().map(|(_, member)| MemberInfo {
            node: member.fact.node,
            status: member.status(),
            listed: member.is_rumoured(),
            addr: member.fact.addr,
            role: member.fact.role,
            boot: member.fact.incarnation.boot(),
        })
    }

    /// How many other members are said to live, whether they were heard or not.
    pub fn listed(&self) -> usize {
        self.members.rumoured()
    }

    /// This node's own incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The local health multiplier: 1 when all is well, up to 9 when this node doubts itself.
    pub fn health_multiplier(&self) -> u64 {
        self.awareness.multiplier()
    }

    /// Bytes that the members take on the heap, in the table and in the order of questions.
    pub fn member_bytes(&self) -> usize {
        self.members.heap_bytes() + self.order.heap_bytes()
    }

    fn fire(&mut self, now: Now, timer: Timer, out: &mut Effects) {
        match timer {
            Timer::Period => self.next_round(now, out),
            Timer::Direct => self.ask_proxies(now, out),
            Timer::Gossip => self.gossip_due(now, out),
            Timer::Relay(seq) => self.relay_due(now, seq, out),
            Timer::Suspicion(ix) => self.suspicion_due(now, ix, out),
            Timer::Refute => self.refute_deferred(now, out),
            Timer::Page => self.page_missed(now, out),
            Timer::Exchange => self.exchange_due(now, out),
            Timer::SecondChance => self.second_chance(now, out),
            Timer::Forget(ix) => self.time_to_forget(ix, out),
        }
    }

    /// A timer that comes late, or a round that ended late, is a sign that this node slept. What it missed may be lying
    /// in its queue: it listens before it judges.
    fn notice_lateness(&mut self, now: Now, due: Instant) {
        if self.config.rules.lateness {
            self.awareness.late(now.mono, now.mono.since(due));
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
        self.timers.arm(timer, now.mono + self.config.rules.period.scale(periods * about, 1_000));
    }
}

fn ignore(why: Stale, out: &mut Effects) {
    out.push(Effect::Observe(Observation::Ignored(why)));
}

#[cfg(test)]
mod tests;
