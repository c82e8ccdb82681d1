//! A small world of membership machines: virtual time, links that lose and cut, crash and restart.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::*;
use crate::wire::{decode_packet, encode_packet};

/// One machine and what it was built from.
struct Seat {
    config: SwimConfig,
    swim: Option<Swim>,
}

/// The world. Time is common; a node's clock is the world's.
pub struct World {
    seats: Vec<Seat>,
    queue: BTreeMap<(u64, u64), (usize, Addr, Packet)>,
    rng: NodeRng,
    sent: u64,
    now_ms: u64,
    pub loss_permille: u64,
    /// Directed links that carry nothing: (from, to).
    pub cut: BTreeSet<(usize, usize)>,
    /// Every change that any machine reported: (ms, observer, subject, status).
    pub history: Vec<(u64, usize, NodeId, MemberStatus)>,
    /// Whether nothing was said that no machine would say: then the laws of [`World::hold`] are held.
    pub honest: bool,
    /// The highest incarnation that each node ever made.
    made: BTreeMap<NodeId, Incarnation>,
    /// What each running machine knew of each member after its last step.
    known: BTreeMap<(usize, NodeId), (Incarnation, u8)>,
    digest: u64,
    /// Facts about others that were sent.
    pub facts: usize,
}

impl World {
    /// `gates` gates that know the first three of them.
    pub fn gates(seed: u64, gates: u8) -> Self {
        let seeds: Vec<u8> = (1..=gates.min(3)).collect();
        Self::new(seed, (1..=gates).map(|n| config(n, Role::Gate, &seeds)).collect())
    }

    /// Gates that know the first of them alone.
    pub fn behind_one(seed: u64, gates: u8) -> Self {
        Self::new(seed, (1..=gates).map(|n| config(n, Role::Gate, &[1])).collect())
    }

    /// Whether every running node lists every other that runs.
    pub fn listed(&self) -> bool {
        let up = self.seats.iter().filter(|seat| seat.swim.is_some()).count();
        self.seats.iter().filter_map(|seat| seat.swim.as_ref()).all(|swim| swim.listed() == up - 1)
    }

    /// A datacenter.
    pub fn datacenter(seed: u64, managers: u8, workers: u8) -> Self {
        let seeds: Vec<u8> = (1..=managers).collect();
        let role = |n| if n <= managers { Role::Manager } else { Role::Worker };
        Self::new(seed, (1..=managers + workers).map(|n| config(n, role(n), &seeds)).collect())
    }

    fn new(seed: u64, configs: Vec<SwimConfig>) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            seats: configs.into_iter().map(|config| Seat { config, swim: None }).collect(),
            queue: BTreeMap::new(),
            rng: NodeRng::new(bytes, 1),
            sent: 0,
            now_ms: 0,
            loss_permille: 0,
            cut: BTreeSet::new(),
            history: Vec::new(),
            honest: true,
            made: BTreeMap::new(),
            known: BTreeMap::new(),
            digest: 0,
            facts: 0,
        }
    }

    /// Starts everyone, at random times within `skew_ms`.
    pub fn start_all(&mut self, skew_ms: u64) {
        let mut starts: Vec<(u64, usize)> =
            (0..self.seats.len()).map(|seat| (self.rng.below(skew_ms + 1), seat)).collect();
        starts.sort_unstable();
        for (at_ms, seat) in starts {
            self.run_until(at_ms);
            self.start(seat);
        }
    }

    /// Starts a node that is down.
    pub fn start(&mut self, seat: usize) {
        let mut seed = [seat as u8; 32];
        seed[..8].copy_from_slice(&self.rng.u64().to_be_bytes());
        let mut swim = Swim::new(self.seats[seat].config.clone(), seed);
        let mut out = Effects::new();
        swim.start(at(self.now_ms), &mut out);
        self.made.insert(self.seats[seat].config.node, swim.incarnation());
        self.seats[seat].swim = Some(swim);
        self.perform(seat, out);
    }

    /// Ends a node's process without a word; its next one has a higher boot number.
    pub fn crash(&mut self, seat: usize) {
        self.seats[seat].swim = None;
        self.seats[seat].config.boot = self.seats[seat].config.boot.next();
        self.known.retain(|(observer, _), _| *observer != seat);
    }

    pub fn leave(&mut self, seat: usize) {
        let now = at(self.now_ms);
        self.step(seat, |swim, out| swim.leave(now, out));
    }

    /// Hands a packet to a node as if it came from that address.
    pub fn inject(&mut self, seat: usize, from: Addr, packet: Packet) {
        let now = at(self.now_ms);
        self.step(seat, |swim, out| swim.receive(now, from, packet, out));
    }

    /// Cuts every link between the two sides, both ways.
    pub fn partition(&mut self, side: &[usize]) {
        for a in 0..self.seats.len() {
            for b in 0..self.seats.len() {
                if side.contains(&a) != side.contains(&b) {
                    self.cut.insert((a, b));
                }
            }
        }
    }

    pub fn run_for(&mut self, millis: u64) {
        self.run_until(self.now_ms + millis);
    }

    fn run_until(&mut self, end_ms: u64) {
        loop {
            let wake = |seat: &Seat| seat.swim.as_ref().and_then(Swim::wake_at).map(to_ms);
            let timer = (0..self.seats.len()).filter_map(|n| Some((wake(&self.seats[n])?, n))).min();
            let datagram = self.queue.first_key_value().map(|((due, _), _)| *due);
            // Datagrams go before timers of the same moment.
            let next = datagram.into_iter().chain(timer.map(|(due, _)| due)).min();
            let Some(due) = next.filter(|due| *due <= end_ms) else { break };
            self.now_ms = self.now_ms.max(due);
            let now = at(self.now_ms);
            if datagram == Some(due) {
                let (_, (to, from, packet)) = self.queue.pop_first().expect("it was seen");
                self.step(to, |swim, out| swim.receive(now, from, packet, out));
            } else if let Some((_, seat)) = timer {
                self.step(seat, |swim, out| swim.wake(now, out));
            }
        }
        self.now_ms = end_ms;
    }

    fn step(&mut self, seat: usize, act: impl FnOnce(&mut Swim, &mut Effects)) {
        let mut out = Effects::new();
        let Some(swim) = self.seats[seat].swim.as_mut() else { return };
        act(swim, &mut out);
        swim.check();
        if self.honest {
            self.hold(seat);
        }
        self.perform(seat, out);
    }

    /// What a step may not do to what a machine knows of others.
    fn hold(&mut self, seat: usize) {
        let swim = self.seats[seat].swim.as_ref().expect("it has just made a step");
        let own = self.made.entry(self.seats[seat].config.node).or_default();
        assert!(swim.incarnation() >= *own, "a node never goes back");
        *own = swim.incarnation();
        for (_, member) in swim.members.iter() {
            let (node, now) = (member.fact.node, member.fact.key());
            let made = self.made.get(&node).copied().unwrap_or_default();
            assert!(now.0 <= made, "{node:?} is known at {:?} and has made {made:?}", now.0);
            let before = self.known.insert((seat, node), now).unwrap_or_default();
            assert!(now >= before, "a record goes back");
            let died = before.1 >= Claim::Dead.rank();
            assert!(!died || now.1 >= Claim::Dead.rank() || now.0 > before.0, "back without news of its own");
        }
    }

    fn perform(&mut self, seat: usize, out: Effects) {
        let now_ms = self.now_ms;
        if let Some(swim) = self.seats[seat].swim.as_mut() {
            let changes = swim.changes();
            self.history.extend(changes.into_iter().map(|(node, status)| (now_ms, seat, node, status)));
        }
        for effect in out {
            if let Effect::SendDatagram { to, packet } = effect {
                let bytes = encode_packet(&packet).expect("a packet fits a datagram");
                assert!(bytes.len() <= PACKET_BYTES_MAX, "{} bytes", bytes.len());
                self.facts += packet.facts.len();
                for byte in &bytes {
                    self.digest = self.digest.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte) ^ now_ms;
                }
                self.transmit(seat, to, decode_packet(&bytes).expect("it was just encoded"));
            }
        }
    }

    fn transmit(&mut self, from: usize, to: Addr, packet: Packet) {
        let lost = self.rng.below(1_000) < self.loss_permille;
        let latency = self.rng.range(1, 20);
        let Some(to) = self.seats.iter().position(|seat| seat.config.addr == to) else { return };
        if !lost && !self.cut.contains(&(from, to)) {
            self.sent += 1;
            let source = self.seats[from].config.addr;
            self.queue.insert((self.now_ms + latency, self.sent), (to, source, packet));
        }
    }

    pub fn is_up(&self, seat: usize) -> bool {
        self.seats[seat].swim.is_some()
    }

    pub fn swim(&self, seat: usize) -> &Swim {
        self.seats[seat].swim.as_ref().expect("it is up")
    }

    /// Pairs (observer, subject) of running nodes, with the observer's belief.
    pub fn beliefs(&self) -> impl Iterator<Item = (usize, usize, Option<MemberStatus>)> {
        let up = |seat: &usize| self.seats[*seat].swim.is_some();
        let all = 0..self.seats.len();
        all.clone().filter(up).flat_map(move |observer| {
            let subjects = (0..self.seats.len()).filter(move |subject| *subject != observer);
            subjects.map(move |subject| {
                (observer, subject, self.swim(observer).status(self.seats[subject].config.node))
            })
        })
    }

    /// Whether every running node holds every running node alive (workers: every running manager).
    pub fn converged(&self) -> bool {
        self.strays().is_empty()
    }

    /// The pairs that keep the world from having converged.
    pub fn strays(&self) -> Vec<(usize, usize, Option<MemberStatus>)> {
        let both_workers = |a: usize, b: usize| {
            self.seats[a].config.role == Role::Worker && self.seats[b].config.role == Role::Worker
        };
        self.beliefs()
            .filter(|(a, b, _)| self.seats[*b].swim.is_some() && !both_workers(*a, *b))
            .filter(|(_, _, status)| *status != Some(MemberStatus::Alive))
            .collect()
    }

    /// Changes to this status about a node.
    pub fn count(&self, subject: usize, status: MemberStatus) -> usize {
        let node = self.seats[subject].config.node;
        self.history.iter().filter(|change| change.2 == node && change.3 == status).count()
    }

    /// Changes to this status about anyone.
    pub fn count_all(&self, status: MemberStatus) -> usize {
        self.history.iter().filter(|change| change.3 == status).count()
    }

    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub fn len(&self) -> usize {
        self.seats.len()
    }
}

fn to_ms(at: Instant) -> u64 {
    at.as_nanos().div_ceil(1_000_000)
}
