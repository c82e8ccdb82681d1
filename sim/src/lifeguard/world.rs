//! A light world for membership machines alone: nodes by number, one queue, no codec. It exists to run thousands of
//! groups of a hundred members, and groups of thousands, in little time.
//!
//! In: [`World::new`], how to start, and what happens to whom. Out: [`World::deaths`], counts, and the machines to look
//! at. It knows no role but one, no disk and no wall clock; what it draws comes from its own seed.

use std::collections::VecDeque;

use tidegate_core::config::Peer;
use tidegate_core::id::{BootNo, NodeId, Role};
use tidegate_core::swim::{Addr, Body, Chore, Incarnation, MemberStatus, Packet, Rules, Swim, SwimConfig};
use tidegate_core::{Duration, Effect, Effects, Instant, Now, Observation};

use super::queue::{Entry, Queue};

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// One way, least and most, uniform: a local network.
const LATENCY: (u64, u64) = (200_000, 1_000_000);
/// Packets that the socket of a blocked member keeps; more are lost.
const SOCKET_PACKETS: usize = 256;
/// After a release one held packet is taken off the socket in this time.
const SERVICE: u64 = 50_000;

/// What a blocked member does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Anomaly {
    /// As the paper's injection: each periodic activity stands still from its first send on, nothing is received,
    /// deadlines run.
    Loops,
    /// The whole process stands still.
    Frozen,
    /// Only the network is held: what is sent waits, nothing is received, everything else runs.
    Io,
}

/// A death that a member believes in.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// When.
    pub at: u64,
    /// Who believes it.
    pub observer: u32,
    /// Who is said to be dead.
    pub subject: u32,
}

/// One member and what is held back of it.
#[derive(Clone)]
struct Seat {
    swim: Swim,
    /// Its clock began here.
    born: u64,
    boot: u32,
    down: bool,
    /// Until when it is blocked.
    blocked: Option<u64>,
    /// Activities that stand still, by [`Chore`].
    stuck: u8,
    held_in: VecDeque<(u32, Box<Packet>)>,
    held_out: Vec<(u32, Box<Packet>)>,
    /// The wake that is queued.
    wake: u64,
}

/// An entry of the queue is a packet's slot, or with this a seat.
const WAKE: u32 = 1 << 31;

/// The world.
#[derive(Clone)]
pub struct World {
    rules: Rules,
    anomaly: Anomaly,
    seeds: Vec<Peer>,
    seats: Vec<Seat>,
    queue: Queue,
    slots: Vec<Option<(u32, u32, Box<Packet>)>>,
    free: Vec<u32>,
    now: u64,
    rng: u64,
    /// Whether a link from the first to the second carries nothing.
    pub cut: fn(u32, u32) -> bool,
    /// In thousandths.
    pub loss_permille: u64,
    /// Every death that anyone believed in.
    pub deaths: Vec<Death>,
    /// How often anyone took a dead member back.
    pub returns: u64,
    /// Datagrams sent.
    pub messages: u64,
    /// Bytes of them, where they are counted.
    pub bytes: u64,
    /// Whether bytes are counted, which takes encoding every packet.
    pub weigh: bool,
    /// Packets and timers handled.
    pub steps: u64,
}

impl World {
    /// A group of `members` that are down. The first `seeds` of them are configured everywhere.
    pub fn new(rules: Rules, members: u32, seeds: u32, seed: u64, anomaly: Anomaly) -> Self {
        let peer = |n| Peer { node: node_id(n), name: format!("n{n}"), addr: address(n) };
        let mut world = Self {
            rules,
            anomaly,
            seeds: (0..seeds).map(peer).collect(),
            seats: Vec::new(),
            queue: Queue::default(),
            slots: Vec::new(),
            free: Vec::new(),
            now: 0,
            rng: mix(seed ^ 0x5eed),
            cut: |_, _| false,
            loss_permille: 0,
            deaths: Vec::new(),
            returns: 0,
            messages: 0,
            bytes: 0,
            weigh: false,
            steps: 0,
        };
        for n in 0..members {
            let swim = world.machine(n, 1);
            world.seats.push(Seat {
                swim,
                born: 0,
                boot: 1,
                down: true,
                blocked: None,
                stuck: 0,
                held_in: VecDeque::new(),
                held_out: Vec::new(),
                wake: u64::MAX,
            });
        }
        world
    }

    /// A group in which everyone has heard everyone, and is done with joining.
    pub fn acquainted(rules: Rules, members: u32, seed: u64, anomaly: Anomaly) -> Self {
        Self::met(rules, members, 3, seed, anomaly)
    }

    /// A group in which everyone has heard everyone just now and none was joining: all tell all of all, so every packet
    /// is full. Nobody is configured.
    pub fn crowded(rules: Rules, members: u32, seed: u64, anomaly: Anomaly) -> Self {
        Self::met(rules, members, 0, seed, anomaly)
    }

    fn met(rules: Rules, members: u32, seeds: u32, seed: u64, anomaly: Anomaly) -> Self {
        let mut world = Self::new(rules, members, seeds, seed, anomaly);
        let mut out = Effects::new();
        for to in 0..members {
            world.start(to);
            let now = world.time_of(to, 0);
            for from in (0..members).filter(|from| *from != to) {
                world.seats[to as usize].swim.receive(now, address(from), introduction(from), &mut out);
                out.clear();
            }
            world.seats[to as usize].swim.changes();
            world.after(to);
        }
        world.run_for(20 * SECOND);
        world.deaths.clear();
        (world.messages, world.bytes, world.steps) = (0, 0, 0);
        world
    }

    /// Goes on with other draws.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = mix(seed);
    }

    /// Members, up or down.
    pub fn members(&self) -> u32 {
        self.seats.len() as u32
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// A member's machine.
    pub fn swim(&self, n: u32) -> &Swim {
        &self.seats[n as usize].swim
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix(self.rng)) * u128::from(bound)) >> 64) as u64
    }

    /// `count` different members.
    pub fn choose(&mut self, count: usize) -> Vec<u32> {
        let mut all: Vec<u32> = (0..self.members()).collect();
        for place in 0..count {
            let other = place + self.below((all.len() - place) as u64) as usize;
            all.swap(place, other);
        }
        all.truncate(count);
        all
    }

    /// Starts a member that is down.
    pub fn start(&mut self, n: u32) {
        let boot = self.seats[n as usize].boot;
        let swim = self.machine(n, boot);
        let seat = &mut self.seats[n as usize];
        (seat.swim, seat.born, seat.down, seat.wake) = (swim, self.now, false, u64::MAX);
        let (now, mut out) = (self.time_of(n, 0), Effects::new());
        self.seats[n as usize].swim.start(now, &mut out);
        self.perform(n, None, &mut out);
        self.after(n);
    }

    /// Ends a member without a word; its next start is a new life.
    pub fn crash(&mut self, n: u32) {
        let seat = &mut self.seats[n as usize];
        (seat.down, seat.boot) = (true, seat.boot + 1);
    }

    /// Blocks members until `until`.
    pub fn block(&mut self, members: &[u32], until: u64) {
        for n in members {
            let seat = &mut self.seats[*n as usize];
            (seat.blocked, seat.stuck) = (Some(until), 0);
        }
    }

    /// Lets them go on: what they had to say goes out first, then their timers, then what lay in their sockets.
    pub fn release(&mut self, members: &[u32]) {
        for &n in members {
            let seat = &mut self.seats[n as usize];
            (seat.blocked, seat.stuck) = (None, 0);
            let (out, held) = (std::mem::take(&mut seat.held_out), std::mem::take(&mut seat.held_in));
            for (to, packet) in out {
                self.transmit(n, to, packet);
            }
            self.after(n);
            for (place, (from, packet)) in held.into_iter().enumerate() {
                self.queue_packet(self.now + (place as u64 + 1) * SERVICE, from, n, packet);
            }
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: u64) {
        self.run_until(self.now + span);
    }

    /// Lets time pass until then.
    pub fn run_until(&mut self, end: u64) {
        while let Some(Entry { at, what, .. }) = self.queue.pop_until(end) {
            self.now = at;
            match what & WAKE {
                0 => self.arrive(what),
                _ => self.wake(what & !WAKE, at),
            }
        }
        self.now = end;
    }

    /// How many members are up.
    pub fn up(&self) -> usize {
        self.seats.iter().filter(|seat| !seat.down).count()
    }

    /// How many members that are up list all others that are up, and nobody else.
    pub fn full_views(&self) -> usize {
        let up: Vec<u32> = (0..self.members()).filter(|n| !self.seats[*n as usize].down).collect();
        let full = |n: &&u32| {
            let swim = self.swim(**n);
            swim.listed() == up.len() - 1
                && swim
                    .members()
                    .all(|member| !member.listed || !self.seats[number(member.node) as usize].down)
        };
        up.iter().filter(full).count()
    }

    fn machine(&mut self, n: u32, boot: u32) -> Swim {
        let mut seed = [0; 32];
        for word in seed.chunks_mut(8) {
            word.copy_from_slice(&self.below(u64::MAX).to_le_bytes());
        }
        let config = SwimConfig {
            node: node_id(n),
            addr: address(n),
            role: Role::Gate,
            boot: BootNo(boot),
            rules: self.rules,
            seeds: self.seeds.clone(),
        };
        Swim::new(config, seed)
    }

    fn time_of(&self, n: u32, waited: u64) -> Now {
        let mono = Instant::from_nanos(self.now - self.seats[n as usize].born);
        Now { mono, waited: Duration::from_nanos(waited), ..Now::default() }
    }

    fn arrive(&mut self, slot: u32) {
        let Some((from, to, packet)) = self.slots[slot as usize].take() else { return };
        self.free.push(slot);
        let seat = &mut self.seats[to as usize];
        if seat.down {
            return;
        }
        if seat.blocked.is_some() {
            if seat.held_in.len() < SOCKET_PACKETS {
                seat.held_in.push_back((from, packet));
            }
            return;
        }
        self.steps += 1;
        let (now, mut out) = (self.time_of(to, 0), Effects::new());
        self.seats[to as usize].swim.receive(now, address(from), &*packet, &mut out);
        self.perform(to, None, &mut out);
        self.after(to);
    }

    fn wake(&mut self, n: u32, at: u64) {
        let seat = &mut self.seats[n as usize];
        if seat.down || seat.wake != at {
            return;
        }
        seat.wake = u64::MAX;
        let now = self.time_of(n, 0);
        // What the wake was queued for may have been called off: looking up is no step.
        if self.seats[n as usize].swim.wake_at().is_none_or(|due| due > now.mono) {
            return self.after(n);
        }
        self.steps += 1;
        match (self.seats[n as usize].blocked, self.anomaly) {
            // What falls due with the release waits for it.
            (Some(until), _) if until <= self.now => return,
            (Some(_), Anomaly::Frozen) => return,
            (Some(until), Anomaly::Loops) => self.wake_loops(n, now, until),
            _ => {
                let mut out = Effects::new();
                self.seats[n as usize].swim.wake(now, &mut out);
                self.perform(n, None, &mut out);
            }
        }
        self.after(n);
    }

    /// A blocked member's timers: an activity that has tried to send stands still until the release.
    fn wake_loops(&mut self, n: u32, now: Now, until: u64) {
        let seat = n as usize;
        let until = Instant::from_nanos(until - self.seats[seat].born);
        while let Some((_, chore)) = self.seats[seat].swim.due().filter(|(due, _)| *due <= now.mono) {
            let lane = 1 << chore as u8;
            if chore != Chore::Quiet && self.seats[seat].stuck & lane != 0 {
                self.seats[seat].swim.postpone(until);
            } else {
                let mut out = Effects::new();
                self.seats[seat].swim.wake_next(now, &mut out);
                self.perform(n, Some(lane), &mut out);
            }
        }
    }

    /// Queues the wake that the member wants now.
    fn after(&mut self, n: u32) {
        let seat = &mut self.seats[n as usize];
        let Some(due) = seat.swim.wake_at() else { return };
        let at = (seat.born + due.as_nanos()).max(self.now);
        if at < seat.wake {
            seat.wake = at;
            self.queue.push(at, n | WAKE);
        }
    }

    fn perform(&mut self, n: u32, lane: Option<u8>, out: &mut Effects) {
        for effect in out.drain(..) {
            match effect {
                Effect::SendDatagram { to, packet } => {
                    let seat = &mut self.seats[n as usize];
                    if seat.blocked.is_some() {
                        seat.stuck |= lane.unwrap_or(0);
                        seat.held_out.push((number_at(to), packet));
                    } else {
                        self.transmit(n, number_at(to), packet);
                    }
                }
                Effect::Observe(Observation::Member { node, status }) => self.note(n, node, status),
                _ => {}
            }
        }
    }

    fn note(&mut self, observer: u32, node: NodeId, status: MemberStatus) {
        let changes = self.seats[observer as usize].swim.changes();
        match status {
            MemberStatus::Dead => {
                self.deaths.push(Death { at: self.now, observer, subject: number(node) });
            }
            MemberStatus::Alive => self.returns += u64::from(!changes.is_empty()),
            _ => {}
        }
    }

    fn transmit(&mut self, from: u32, to: u32, packet: Box<Packet>) {
        self.messages += 1;
        if self.weigh {
            self.bytes += tidegate_core::wire::encode_packet(&packet).map_or(0, |bytes| bytes.len() as u64);
        }
        let latency = LATENCY.0 + self.below(LATENCY.1 - LATENCY.0);
        let lost = self.loss_permille > 0 && self.below(1_000) < self.loss_permille;
        if !lost && to < self.members() && !(self.cut)(from, to) {
            self.queue_packet(self.now + latency, from, to, packet);
        }
    }

    fn queue_packet(&mut self, at: u64, from: u32, to: u32, packet: Box<Packet>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some((from, to, packet));
        self.queue.push(at, slot);
    }
}

/// A member's id: well spread, in the realm of all others, and its number can be read from it.
pub fn node_id(n: u32) -> NodeId {
    let mut name = mix(u64::from(n) + 1).to_be_bytes();
    name[4..].copy_from_slice(&n.to_be_bytes());
    NodeId::of_halves(name, [0xcd; 8])
}

fn number(node: NodeId) -> u32 {
    u32::from_be_bytes([node.0[4], node.0[5], node.0[6], node.0[7]])
}

fn address(n: u32) -> Addr {
    let mut ip = [0; 16];
    ip[10..12].copy_from_slice(&[0xff, 0xff]);
    ip[12..].copy_from_slice(&(0x0a00_0000 + n).to_be_bytes());
    Addr { ip, port: 7_946 }
}

fn number_at(addr: Addr) -> u32 {
    u32::from_be_bytes([0, addr.ip[13], addr.ip[14], addr.ip[15]])
}

/// The first word of a member's first life.
fn introduction(from: u32) -> Packet {
    Packet {
        from: node_id(from),
        incarnation: Incarnation::of_boot(BootNo(1)),
        role: Role::Gate,
        addr: address(from),
        body: Body::Rumours,
        facts: Vec::new(),
        digest: None,
    }
}

/// SplitMix64's finish: every seed and every number gives another, well spread.
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
