//! Our machine with the rules of a node, its packets encoded as on the wire.

use tidegate_core::config::Peer;
use tidegate_core::id::{BootNo, NodeId, Role};
use tidegate_core::swim::{
    Addr, Body, Claim, Fact, Incarnation, MemberStatus, Packet, Rules, Swim, SwimConfig,
};
use tidegate_core::wire::{decode_packet, encode_packet};
use tidegate_core::{Duration, Effect, Effects, Instant, Now, Observation};

use crate::world::{Member, Wants, mix};

/// Facts of one question: so many fit at any life that they share.
const FACTS: usize = 60;

/// Its id: well spread, in the realm of all others, and its number can be read from it.
fn id(n: u32) -> NodeId {
    let mut name = mix(u64::from(n) + 1).to_be_bytes();
    name[4..].copy_from_slice(&n.to_be_bytes());
    NodeId::of_halves(name, [0xcd; 8])
}

fn number(id: NodeId) -> u32 {
    u32::from_be_bytes([id.0[4], id.0[5], id.0[6], id.0[7]])
}

fn addr(n: u32) -> Addr {
    let mut ip = [0; 16];
    ip[10..12].copy_from_slice(&[0xff, 0xff]);
    ip[12..].copy_from_slice(&n.to_be_bytes());
    Addr { ip, port: 7_946 }
}

fn number_at(addr: Addr) -> u32 {
    u32::from_be_bytes([addr.ip[12], addr.ip[13], addr.ip[14], addr.ip[15]])
}

fn packet(from: u32, boot: u32, body: Body, facts: Vec<Fact>) -> Packet {
    let incarnation = Incarnation::of_boot(BootNo(boot));
    Packet { from: id(from), incarnation, role: Role::Gate, addr: addr(from), body, facts, digest: None }
}

fn at(now: u64) -> Now {
    Now { mono: Instant::from_nanos(now), ..Now::default() }
}

pub struct Ours {
    swim: Swim,
    me: u32,
    members: u32,
    seed: [u8; 32],
    out: Effects,
    /// For when a wake is queued; another that comes first makes it void.
    queued: u64,
}

fn machine(me: u32, seed: [u8; 32], seeds: Vec<Peer>) -> Swim {
    let rules = Rules::ours(Duration::from_secs(1), Duration::from_millis(500));
    Swim::new(
        SwimConfig { node: id(me), addr: addr(me), role: Role::Gate, boot: BootNo(1), rules, seeds },
        seed,
    )
}

impl Ours {
    fn perform(&mut self, now: u64, want: &mut Wants<u64>) {
        for effect in self.out.drain(..) {
            match effect {
                Effect::SendDatagram { to, packet } => {
                    let bytes = encode_packet(&packet).expect("a packet fits a datagram");
                    want.send.push((number_at(to), bytes.into()));
                }
                Effect::Observe(Observation::Member { node, status: MemberStatus::Dead }) => {
                    want.deaths.push(number(node));
                }
                _ => {}
            }
        }
        self.swim.changes();
        if let Some(due) = self.swim.wake_at().map(|due| due.as_nanos().max(now))
            && due < self.queued
        {
            self.queued = due;
            want.timers.push((due - now, due));
        }
    }
}

impl Member for Ours {
    type Timer = u64;
    const NAME: &'static str = "tidegate";

    fn new(me: u32, members: u32, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let swim = machine(me, bytes, Vec::new());
        Self { swim, me, members, seed: bytes, out: Effects::new(), queued: u64::MAX }
    }

    fn start_knowing(&mut self, now: u64, want: &mut Wants<u64>) {
        // There is no other way to have heard somebody than to hear it. It will be told on; the caller lets it rest.
        self.swim.start(at(now), &mut self.out);
        for other in (0..self.members).filter(|n| *n != self.me) {
            self.swim.receive(
                at(now),
                addr(other),
                packet(other, 1, Body::Rumours, Vec::new()),
                &mut self.out,
            );
            self.out.clear();
        }
        self.perform(now, want);
    }

    fn start_at(&mut self, now: u64, seed: u32, want: &mut Wants<u64>) {
        let peer = Peer { node: id(seed), name: format!("n{seed}"), addr: addr(seed) };
        self.swim = machine(self.me, self.seed, vec![peer]);
        self.swim.start(at(now), &mut self.out);
        self.perform(now, want);
    }

    fn receive(&mut self, now: u64, from: u32, bytes: &[u8], want: &mut Wants<u64>) {
        let packet = decode_packet(bytes).expect("nobody sends anything else");
        self.swim.receive(at(now), addr(from), packet, &mut self.out);
        self.perform(now, want);
    }

    fn wake(&mut self, now: u64, queued: u64, want: &mut Wants<u64>) -> bool {
        if queued != self.queued {
            return false;
        }
        self.queued = u64::MAX;
        let due = self.swim.wake_at().is_some_and(|due| due.as_nanos() <= now);
        if due {
            self.swim.wake(at(now), &mut self.out);
        }
        self.perform(now, want);
        due
    }

    fn listed(&self) -> usize {
        self.swim.listed()
    }

    fn question(&self, from: u32, about: &[u32], life: u16) -> Vec<Box<[u8]>> {
        let incarnation = Incarnation::of_boot(BootNo(1 + u32::from(life)));
        let fact = |n: &u32| Fact {
            node: id(*n),
            incarnation,
            claim: Claim::Alive,
            role: Role::Gate,
            addr: addr(*n),
        };
        let body = Body::Ping { seq: 1, target: id(self.me) };
        let one = |about: &[u32]| packet(from, 1 + u32::from(life), body, about.iter().map(fact).collect());
        about.chunks(FACTS).map(|part| encode_packet(&one(part)).expect("it fits").into()).collect()
    }
}
