//! A small world of voters with bad links, bad disks and clocks that run up to 20 % apart, by seed.
//!
//! Safety is checked all the time: no index with two entries, no proposal at two indexes, equal digests at equal
//! indexes, no lease ended while its holder, by its own clock, still acts on it, nothing acknowledged lost. After the
//! faults everything must be decided and every lease held.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use std::{env, println};

use super::state::{Add, Numbers, boot, voter};
use crate::bytes::Bytes;
use crate::effect::{Effect, Effects};
use crate::id::{BootNo, NodeId};
use crate::ledger::{Ledger, LogMessage, ProposalId};
use crate::observe::Observation;
use crate::rng::NodeRng;
use crate::store::{Store, StoreToken, Write};
use crate::time::{Duration, Instant, Now, WallTime};
use crate::wire::Message;

pub const MS: u64 = 1_000_000;
/// How long faults happen, and how long everything may take after them.
const FAULTY: u64 = 15_000 * MS;
const HEALING: u64 = 15_000 * MS;

#[derive(Debug)]
pub enum Happening {
    Message { from: usize, to: usize, message: Box<LogMessage> },
    Wake { node: usize, boot: u32 },
    Stored { node: usize, boot: u32 },
    Propose,
    Fault,
    Start(usize),
}

pub struct Process {
    pub ledger: Ledger<Numbers>,
    pub store: Store,
    started: u64,
    /// The clock's rate, in percent.
    rate: u64,
    wake_at: u64,
    released: bool,
}

#[derive(Default)]
pub struct Machine {
    pub process: Option<Process>,
    boots: u32,
    durable: BTreeMap<Bytes, Bytes>,
    writing: VecDeque<(StoreToken, Vec<Write>)>,
    pub disk_free_at: u64,
}

/// How often each thing happened: a world in which one never does proves nothing about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    pub crashes: u64,
    pub images: u64,
    pub elections: u64,
    pub lease_ends: u64,
    pub acknowledged: u64,
    pub digests: u64,
}

pub struct World {
    pub now: u64,
    rng: NodeRng,
    pub queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub machines: Vec<Machine>,
    pub cut: BTreeSet<(usize, usize)>,
    loss: u64,
    pub delay: u64,
    entries: BTreeMap<u64, (ProposalId, u64)>,
    places: BTreeMap<ProposalId, u64>,
    digests: BTreeMap<u64, u64>,
    ended: BTreeSet<(NodeId, BootNo, u64)>,
    proposed: BTreeMap<ProposalId, u64>,
    acknowledged: BTreeSet<u64>,
    numbers: u64,
    pub reached: Reached,
    voters: Vec<NodeId>,
    /// The longest pause between two proposals.
    pub pause: u64,
    seed: u64,
}

impl World {
    pub fn new(seed: u64, voters: usize) -> Self {
        let mut seeds = [7; 32];
        seeds[..8].copy_from_slice(&seed.to_le_bytes());
        let mut world = Self {
            now: 0,
            rng: NodeRng::new(seeds, voters as u64),
            queue: BTreeMap::new(),
            sequence: 0,
            machines: (0..voters).map(|_| Machine::default()).collect(),
            cut: BTreeSet::new(),
            loss: 0,
            delay: 20,
            entries: BTreeMap::new(),
            places: BTreeMap::new(),
            digests: BTreeMap::new(),
            ended: BTreeSet::new(),
            proposed: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            numbers: 0,
            reached: Reached::default(),
            voters: (0..voters).map(voter).collect(),
            pause: 120 * MS,
            seed,
        };
        (0..voters).for_each(|node| world.at(0, Happening::Start(node)));
        world.at(MS, Happening::Propose);
        world.at(500 * MS, Happening::Fault);
        world
    }

    /// A world in which nothing goes wrong by itself.
    pub fn calm(seed: u64, voters: usize) -> Self {
        let mut world = Self::new(seed, voters);
        world.queue.retain(|_, what| !matches!(what, Happening::Fault));
        world
    }

    /// Who leads, if exactly one does.
    pub fn leader(&self) -> Option<usize> {
        let leads = |node: &usize| {
            self.machines[*node].process.as_ref().is_some_and(|process| process.ledger.is_leader())
        };
        let mut leaders = (0..self.machines.len()).filter(leads);
        leaders.next().filter(|_| leaders.next().is_none())
    }

    /// The ledger of a voter that runs.
    pub fn ledger(&self, node: usize) -> &Ledger<Numbers> {
        &self.machines[node].process.as_ref().expect("it runs").ledger
    }

    /// Cuts a voter off, in both directions.
    pub fn isolate(&mut self, node: usize) {
        for other in 0..self.machines.len() {
            self.cut.insert((node, other));
            self.cut.insert((other, node));
        }
    }

    fn at(&mut self, after: u64, what: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), what);
    }

    pub fn run(&mut self, until: u64) {
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= until
        {
            self.now = entry.key().0;
            let what = entry.remove();
            self.happen(what);
        }
        self.now = until;
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Message { from, to, message } => self.step(to, |process, now, out| {
                process.ledger.receive(now, voter(from), *message, &mut process.store, out);
            }),
            Happening::Wake { node, boot } => {
                if self.machines[node].boots == boot
                    && let Some(process) = &mut self.machines[node].process
                {
                    if process.wake_at > self.now {
                        return;
                    }
                    process.wake_at = u64::MAX;
                    self.step(node, |process, now, out| process.ledger.wake(now, &mut process.store, out));
                }
            }
            Happening::Stored { node, boot } => self.disk_done(node, boot),
            Happening::Propose => {
                let node = self.rng.below(self.machines.len() as u64) as usize;
                self.propose(node);
                let pause = self.rng.range(MS, self.pause);
                self.at(pause, Happening::Propose);
            }
            Happening::Fault => {
                self.fault();
                let pause = self.rng.range(50 * MS, 900 * MS);
                self.at(pause, Happening::Fault);
            }
            Happening::Start(node) => self.start(node),
        }
    }

    pub fn start(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if machine.process.is_some() {
            return;
        }
        machine.boots += 1;
        let mut boot = boot(node, machine.boots, self.seed);
        boot.rows = machine.durable.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let ledger = Ledger::new(&boot, self.voters.clone(), Numbers::default()).expect("the rows are good");
        let rate = [80, 90, 100, 110, 120][self.rng.below(5) as usize];
        let process = Process {
            ledger,
            store: Store::default(),
            started: self.now,
            rate,
            wake_at: u64::MAX,
            released: false,
        };
        machine.process = Some(process);
        self.step(node, |process, now, out| process.ledger.start(now, &mut process.store, out));
    }

    /// One step of a node, and everything that follows from it.
    pub fn step(&mut self, node: usize, act: impl FnOnce(&mut Process, Now, &mut Effects)) {
        let now = self.now;
        let Some(process) = &mut self.machines[node].process else { return };
        let clock = process.clock(now);
        let mut out = Effects::new();
        act(process, clock, &mut out);
        let applied = process.ledger.settle(&mut process.store, &mut out);
        process.store.flush(&mut out);
        assert_eq!(applied.halt, None, "seed {}", self.seed);
        let journal = core::mem::take(&mut process.ledger.state_mut().journal);
        let boot = process.ledger.boot;
        if let Some(at) = process.ledger.wake_at() {
            let at = (process.started + at.as_nanos().saturating_mul(100) / process.rate + 1).max(now);
            if at < process.wake_at {
                process.wake_at = at;
                self.at(at - now, Happening::Wake { node, boot: boot.0 });
            }
        }
        for (n, _) in applied.decided {
            let id = ProposalId { node: voter(node), boot, n };
            self.acknowledged.insert(self.proposed[&id]);
            self.reached.acknowledged += 1;
        }
        for (index, id, number) in journal {
            let known = *self.entries.entry(index).or_insert((id, number));
            assert_eq!(known, (id, number), "two entries at {index}, seed {}", self.seed);
            assert_eq!(*self.places.entry(id).or_insert(index), index, "applied twice, seed {}", self.seed);
        }
        if applied.leases {
            self.check_leases(node);
        }
        out.into_iter().for_each(|effect| self.perform(node, effect));
    }

    /// No lease is over by log entry while its holder acts on it. A holder that has applied as much as this node knows
    /// of the end, and acts by a later renewal.
    fn check_leases(&mut self, node: usize) {
        let Some(process) = &self.machines[node].process else { return };
        let applied = process.ledger.applied();
        let ended = process.ledger.leases.0.iter().filter(|(_, lease)| lease.ended);
        let ended: Vec<_> = ended.map(|(id, lease)| (*id, lease.boot, lease.renew_no)).collect();
        for key in ended {
            if !self.ended.insert(key) {
                continue;
            }
            self.reached.lease_ends += 1;
            let holder = self.voters.iter().position(|id| *id == key.0).expect("a voter");
            let Some(process) = &self.machines[holder].process else { continue };
            let by_this = process.ledger.boot == key.1 && process.ledger.applied() < applied;
            let acts = process.ledger.lease_holds(process.clock(self.now));
            assert!(!(by_this && acts), "{key:?} is ended while its holder acts, seed {}", self.seed);
        }
    }

    fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send { to, message } => {
                let Message::Log(message) = *message else { panic!("a message of another kind") };
                let to = self.voters.iter().position(|id| *id == to).expect("a voter");
                self.transmit(node, to, message);
            }
            Effect::Store { token, writes } => {
                let machine = &mut self.machines[node];
                let boot = machine.boots;
                machine.writing.push_back((token, writes));
                // Writes become durable in order: whichever is done first, the oldest is what is confirmed.
                let done = machine.disk_free_at.max(self.now) + self.rng.range(MS / 10, 8 * MS);
                self.at(done - self.now, Happening::Stored { node, boot });
            }
            Effect::Observe(observation) => self.observe(observation),
            other => panic!("{other:?}"),
        }
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::StateDigest { index, digest } => {
                self.reached.digests += 1;
                let known = *self.digests.entry(index).or_insert(digest);
                assert_eq!(known, digest, "states differ at {index}, seed {}", self.seed);
            }
            Observation::StateDiverged(index) => panic!("diverged at {index}, seed {}", self.seed),
            Observation::SnapshotInstalled(_) => self.reached.images += 1,
            Observation::BecameLeader(_) => self.reached.elections += 1,
            _ => {}
        }
    }

    fn transmit(&mut self, from: usize, to: usize, message: Box<LogMessage>) {
        if self.cut.contains(&(from, to)) || self.rng.below(100) < self.loss {
            return;
        }
        let delay = self.rng.range(MS / 2, self.delay * MS);
        if self.loss > 0 && self.rng.one_in(10) {
            let again = self.rng.range(MS / 2, 10 * self.delay * MS);
            self.at(again, Happening::Message { from, to, message: message.clone() });
        }
        self.at(delay, Happening::Message { from, to, message });
    }

    fn disk_done(&mut self, node: usize, boot: u32) {
        let machine = &mut self.machines[node];
        if machine.boots != boot || machine.process.is_none() {
            return;
        }
        if machine.disk_free_at > self.now + 10 * MS && self.rng.one_in(2) {
            // The disk hangs: whatever was about to be done waits.
            let later = machine.disk_free_at - self.now;
            return self.at(later, Happening::Stored { node, boot });
        }
        let Some((token, writes)) = machine.writing.pop_front() else { return };
        machine.make_durable(writes);
        self.step(node, |process, now, out| {
            process.store.stored(token, out);
            process.ledger.stored(now, &mut process.store, out);
        });
    }

    pub fn propose(&mut self, node: usize) {
        self.numbers += 1;
        let number = self.numbers;
        let mut proposal = None;
        self.step(node, |process, now, out| {
            if let Ok(n) = process.ledger.propose(now, Add(number), &mut process.store, out) {
                proposal = Some(ProposalId { node: voter(node), boot: process.ledger.boot, n });
            }
        });
        if let Some(id) = proposal {
            self.proposed.insert(id, number);
        }
    }

    fn fault(&mut self) {
        let nodes = self.machines.len() as u64;
        let node = self.rng.below(nodes) as usize;
        let other = self.rng.below(nodes) as usize;
        match self.rng.below(9) {
            0 | 1 => self.crash(node),
            2 => self.cut.extend([(node, other)]),
            3 => self.cut.extend((0..self.machines.len()).map(|other| (node, other))),
            4 => {
                let hang = self.rng.range(10 * MS, 3_000 * MS);
                self.machines[node].disk_free_at = self.machines[node].disk_free_at.max(self.now) + hang;
            }
            5 => (self.loss, self.delay) = (self.rng.below(30), self.rng.range(2, 200)),
            6 => self.step(node, |process, _, _| process.ledger.peer_alive(voter(other), false)),
            7 if self.rng.one_in(3) => self.step(node, |process, now, out| {
                process.released = true;
                process.ledger.release_lease(now, &mut process.store, out);
            }),
            _ => {
                self.cut.clear();
                (self.loss, self.delay) = (0, 20);
            }
        }
    }

    /// The process ends; of what was being written, a random beginning is on disk.
    pub fn crash(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if machine.process.take().is_none() {
            return;
        }
        self.reached.crashes += 1;
        let done = self.rng.below(machine.writing.len() as u64 + 1);
        for _ in 0..done {
            let (_, writes) = machine.writing.pop_front().expect("counted");
            machine.make_durable(writes);
        }
        machine.writing.clear();
        machine.disk_free_at = self.now;
        let pause = self.rng.range(MS, 3_000 * MS);
        self.at(pause, Happening::Start(node));
    }

    fn heal(&mut self) {
        self.cut.clear();
        (self.loss, self.delay) = (0, 20);
        self.queue.retain(|_, what| !matches!(what, Happening::Fault));
        for node in 0..self.machines.len() {
            if self.machines[node].process.as_ref().is_some_and(|process| process.released) {
                self.crash(node);
            }
            self.machines[node].disk_free_at = self.now;
            self.at(MS, Happening::Start(node));
        }
    }

    /// Whether every voter has applied the same and waits for nothing.
    fn is_quiet(&self) -> bool {
        let ledger = |machine: &Machine| {
            let ledger = &machine.process.as_ref()?.ledger;
            (ledger.undecided() == 0).then_some(ledger.applied())
        };
        let first = ledger(&self.machines[0]);
        first.is_some() && self.machines.iter().all(|machine| ledger(machine) == first)
    }

    /// Everything is decided everywhere, and every lease is held.
    fn check_live(&mut self) {
        let seed = self.seed;
        let processes: Vec<_> = self.machines.iter().filter_map(|machine| machine.process.as_ref()).collect();
        assert_eq!(processes.len(), self.machines.len());
        let leaders = processes.iter().filter(|process| process.ledger.is_leader()).count();
        assert_eq!(leaders, 1, "leaders, seed {seed}");
        let first = &processes[0].ledger;
        for process in &processes {
            let ledger = &process.ledger;
            assert_eq!(ledger.undecided(), 0, "undecided at {:?}, seed {seed}", ledger.me);
            assert_eq!(ledger.applied, first.applied, "seed {seed}");
            assert_eq!(ledger.image.sum(), first.image.sum(), "seed {seed}");
            assert_eq!(ledger.state.all(), first.state.all(), "seed {seed}");
            assert!(ledger.lease_holds(process.clock(self.now)), "no lease at {:?}, seed {seed}", ledger.me);
            assert_eq!(ledger.holders().count(), processes.len(), "seed {seed}");
        }
        let kept = first.state.all();
        let lost: Vec<_> = self.acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}, seed {seed}");
    }
}

impl Process {
    pub fn clock(&self, now: u64) -> Now {
        let mono = Instant::from_nanos((now - self.started) * self.rate / 100);
        Now { mono, wall: WallTime(0), waited: Duration::ZERO }
    }
}

impl Machine {
    fn make_durable(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write.value {
                Some(value) => drop(self.durable.insert(write.key, value)),
                None => drop(self.durable.remove(&write.key)),
            }
        }
    }
}

/// Runs one seed; panics where something is wrong.
pub fn run(seed: u64, voters: usize) -> Reached {
    let mut world = World::new(seed, voters);
    world.run(FAULTY);
    world.heal();
    world.run(FAULTY + HEALING);
    world.queue.retain(|_, what| !matches!(what, Happening::Propose));
    world.run(FAULTY + HEALING + 2_000 * MS);
    // Renewals go on for ever: wait for a moment at which none is on its way.
    world.delay = 2;
    for _ in 0..1_000 {
        if world.is_quiet() {
            break;
        }
        world.run(world.now + 5 * MS);
    }
    world.check_live();
    world.reached
}

/// Runs seeds; `LEDGER_SEEDS=first..last` asks for others than the usual ones.
fn run_many(voters: usize, usual: core::ops::Range<u64>) -> Reached {
    let asked = env::var("LEDGER_SEEDS").ok().and_then(|text| {
        let (first, last) = text.split_once("..")?;
        Some(first.parse().ok()?..last.parse().ok()?)
    });
    let mut sum = Reached::default();
    for seed in asked.unwrap_or(usual) {
        let reached = run(seed, voters);
        sum.crashes += reached.crashes;
        sum.images += reached.images;
        sum.elections += reached.elections;
        sum.lease_ends += reached.lease_ends;
        sum.acknowledged += reached.acknowledged;
        sum.digests += reached.digests;
    }
    println!("{voters} voters: {sum:?}");
    sum
}

#[test]
fn one_voter_survives_its_disk() {
    let reached = run_many(1, 0..30);
    assert!(reached.crashes > 0 && reached.acknowledged > 0 && reached.digests > 0);
}

#[test]
fn three_voters_survive_everything() {
    let reached = run_many(3, 0..40);
    assert!(reached.images > 0 && reached.lease_ends > 0 && reached.acknowledged > 0 && reached.digests > 0);
}

#[test]
fn five_voters_survive_everything() {
    let reached = run_many(5, 0..30);
    assert!(reached.images > 0 && reached.lease_ends > 0 && reached.acknowledged > 0 && reached.digests > 0);
}

#[test]
fn the_same_seed_gives_the_same_world() {
    assert_eq!(run(11, 3), run(11, 3));
}
