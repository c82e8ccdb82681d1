//! Three managers and their log: takeover.

use std::collections::VecDeque;
use std::string::ToString;
use std::vec::Vec;

use super::bench::*;
use crate::config::{Datacenter, Peer};
use crate::effect::{Effect, Effects, HaltReason};
use crate::event::Event;
use crate::fault::{Fault, FaultCode};
use crate::guard::Condition;
use crate::id::{BootNo, DcEpoch, DiskId, GateEpoch, NodeId};
use crate::jobs::{ExecutorKind, JobStatus, OnWorkerLoss, Outcome};
use crate::manager::Manager;
use crate::observe::Observation;
use crate::time::{Instant, Now};
use crate::wire::{HeldShard, Message, RunPhase, ShardReport};

/// Managers that hear each other at once. Everything else is scripted.
struct Tier {
    managers: Vec<(NodeId, Manager)>,
    up: Vec<bool>,
    now_ms: u64,
    sent: Vec<(usize, NodeId, Message)>,
    seen: Vec<(usize, Observation)>,
    halted: Vec<Option<HaltReason>>,
}

fn member(no: usize) -> NodeId {
    NodeId([0xb1 + no as u8; 16])
}

impl Tier {
    fn new() -> Self {
        let peer = |no: usize| Peer { node: member(no), name: no.to_string(), addr: addr(member(no)) };
        let managers = [Datacenter { dc: dc(), managers: (0..3).map(peer).collect(), region: dc() }].to_vec();
        let manager = |no: usize| {
            let mut config = config();
            (config.node, config.addr) = (member(no), addr(member(no)));
            config.roster.datacenters = managers.clone();
            let boot = crate::Boot {
                config,
                boot: BootNo(1),
                disk: DiskId([no as u8; 16]),
                seed: [no as u8; 32],
                rows: Vec::new(),
            };
            (member(no), Manager::new(boot).expect("a good start"))
        };
        let managers: Vec<_> = (0..3).map(manager).collect();
        let mut tier = Self {
            managers,
            up: [true; 3].to_vec(),
            now_ms: 0,
            sent: Vec::new(),
            seen: Vec::new(),
            halted: [None; 3].to_vec(),
        };
        for no in 0..3 {
            tier.event(no, Event::Start);
        }
        for no in 0..3 {
            for peer in (0..3).filter(|peer| *peer != no).map(member).chain([GATE]) {
                tier.event(
                    no,
                    Event::Connected { peer, boot: BootNo(1), dialect: crate::wire::Dialect::OURS },
                );
            }
        }
        tier.until("a leader and three leases", |tier| {
            tier.leader().is_some() && (0..3).all(|no| tier.managers[no].1.active)
        });
        tier
    }

    fn now(&self) -> Now {
        Now { mono: Instant::from_nanos(self.now_ms * 1_000_000), ..Now::default() }
    }

    fn leader(&self) -> Option<usize> {
        (0..3).find(|no| self.up[*no] && self.managers[*no].1.ledger.is_leader())
    }

    /// One event, and everything that follows at once: the disk's answers and what managers say to each other.
    fn event(&mut self, no: usize, event: Event) {
        let mut queue = VecDeque::from([(no, event)]);
        while let Some((no, event)) = queue.pop_front() {
            if !self.up[no] {
                continue;
            }
            let mut out = Effects::new();
            let now = self.now();
            self.managers[no].1.step_into(now, event, &mut out);
            for effect in out {
                match effect {
                    Effect::Send { to, message } => match (0..3).find(|peer| member(*peer) == to) {
                        Some(peer) => queue.push_back((peer, Event::Received { peer: member(no), message })),
                        None => self.sent.push((no, to, *message)),
                    },
                    Effect::SendDatagram { to, packet } => {
                        let from = addr(member(no));
                        if let Some(peer) = (0..3).find(|peer| addr(member(*peer)) == to) {
                            queue.push_back((peer, Event::Datagram { from, packet }));
                        }
                    }
                    Effect::Store { token, .. } => queue.push_back((no, Event::Stored { token })),
                    Effect::Observe(seen) => self.seen.push((no, seen)),
                    Effect::Halt(reason) => {
                        self.halted[no] = Some(reason);
                        self.down(no);
                    }
                    other => panic!("not an effect of a manager: {other:?}"),
                }
            }
        }
    }

    fn from(&mut self, no: usize, peer: NodeId, message: Message) {
        self.event(no, Event::Received { peer, message: message.into() });
    }

    /// A process ends: the others lose their connections to it.
    fn down(&mut self, no: usize) {
        self.up[no] = false;
        for other in (0..3).filter(|other| self.up[*other]).collect::<Vec<_>>() {
            self.event(other, Event::Disconnected { peer: member(no) });
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let due = |no: &usize| self.managers[*no].1.wake_at().filter(|_| self.up[*no]);
            let next = (0..3).filter_map(|no| Some((due(&no)?, no))).min();
            let Some((at, no)) = next.filter(|(at, _)| at.as_nanos().div_ceil(1_000_000) <= end) else {
                break;
            };
            self.now_ms = self.now_ms.max(at.as_nanos().div_ceil(1_000_000));
            self.event(no, Event::Wake);
        }
        self.now_ms = end;
    }

    /// Time passes, at most two minutes, until something holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = self.now_ms + 120_000;
        while !holds(self) {
            assert!(self.now_ms < deadline, "not within two minutes: {what}");
            self.pass(100);
        }
    }

    fn sent(&mut self) -> Vec<(usize, NodeId, Message)> {
        let dull = |message: &Message| {
            matches!(message, Message::Ping { .. } | Message::DcHeartbeat(_) | Message::DcProgress { .. })
        };
        self.sent.drain(..).filter(|(_, _, message)| !dull(message)).collect()
    }

    /// A worker connects to every manager.
    fn register(&mut self, worker: NodeId) {
        for no in 0..3 {
            self.event(
                no,
                Event::Connected { peer: worker, boot: BootNo(1), dialect: crate::wire::Dialect::OURS },
            );
            let executors = [ExecutorKind::Sleep].to_vec();
            let message = Message::RegisterWorker {
                boot: BootNo(1),
                cores: 2,
                executors,
                held: Vec::new(),
                version: 1,
                manager: BootNo(1),
                disk: crate::id::DiskId([1; 16]),
            };
            self.from(no, worker, message);
        }
    }

    fn owner(&self, no: usize) -> (NodeId, DcEpoch) {
        let facts = &self.managers[no].1.ledger.state().jobs[&JOB].facts;
        (facts.owner, facts.dc_epoch)
    }
}

fn dispatch() -> Message {
    let spec = job([workflow("nap", ExecutorKind::Sleep, sleeps(1), &[])].to_vec(), OnWorkerLoss::Replace);
    Message::Dispatch {
        job: JOB,
        gate_epoch: GateEpoch(1),
        owner: GATE,
        spec: spec.into(),
        slot: 0,
        slots: 1,
        remaining_ms: 600_000,
        half_rtt_us: 0,
    }
}

/// A tier with one sleep running on W1: the tier, its leader (and the job's owner), another member.
fn running() -> (Tier, usize, usize) {
    let mut tier = Tier::new();
    tier.register(W1);
    let owner = tier.leader().expect("a leader");
    let other = (owner + 1) % 3;
    tier.sent();

    tier.from(other, GATE, dispatch());
    let sent = tier.sent();
    let [(_, GATE, Message::DispatchReply { reply: Err(refused), .. })] = &sent[..] else {
        panic!("{sent:?}")
    };
    let to_leader = Fault::new(FaultCode::NotLeader, "another manager leads the log").at(Some(member(owner)));
    assert_eq!(refused, &to_leader);

    tier.from(owner, GATE, dispatch());
    let reserved = Message::ReserveShardReply { run: run(0, 1), dc_epoch: EPOCH, reserved: Ok(()) };
    tier.from(owner, W1, reserved);
    let started = tier.sent().iter().any(|(_, to, message)| {
        *to == W1 && matches!(message, Message::StartShard { run: started, .. } if *started == run(0, 1))
    });
    assert!(started);
    tier.from(owner, W1, Message::ShardStarted { run: run(0, 1), dc_epoch: EPOCH, started: Ok(0) });
    (tier, owner, other)
}

fn held() -> Vec<HeldShard> {
    [HeldShard { run: run(0, 1), phase: RunPhase::Running }].to_vec()
}

fn result() -> Message {
    let totals = requests(1, 10_000);
    let report = ShardReport {
        run: run(0, 1),
        outcome: Outcome::Completed,
        totals,
        why: "".to_string(),
        start_late_us: 0,
    };
    Message::ShardResult(report.into())
}

#[test]
fn another_manager_takes_over_with_the_next_fence() {
    let (mut tier, owner, other) = running();
    // Any manager answers a known job from the log, and none but the owner takes a result.
    tier.from(other, GATE, dispatch());
    tier.from(other, W1, result());
    let sent = tier.sent();
    let [
        (_, GATE, Message::DispatchReply { reply: Ok(at), .. }),
        (_, W1, Message::ShardResultAck { stored: Err(refused), .. }),
    ] = &sent[..]
    else {
        panic!("{sent:?}")
    };
    assert_eq!((at.owner, at.dc_epoch), (member(owner), EPOCH));
    assert_eq!((refused.code, refused.owner), (FaultCode::NotOwner, Some(member(owner))));

    tier.down(owner);
    tier.until("another owner", |tier| tier.owner(other).1 == DcEpoch(2));
    let successor = (0..3).find(|no| member(*no) == tier.owner(other).0).expect("a member");
    assert_ne!(successor, owner);
    let sent = tier.sent();
    let told = Message::OwnerChanged { job: JOB, dc_epoch: DcEpoch(2), owner: member(successor) };
    let gate_told = Message::DcOwnerChanged { job: JOB, dc_epoch: DcEpoch(2), owner: member(successor) };
    assert!(sent.contains(&(successor, W1, told.clone())), "{sent:?}");
    assert!(sent.contains(&(successor, GATE, gate_told.clone())), "{sent:?}");

    // Both are repeated until answered.
    tier.pass(6_000);
    let sent = tier.sent();
    assert!(sent.contains(&(successor, W1, told)) && sent.contains(&(successor, GATE, gate_told)));
    let reply = Message::OwnerChangedReply { job: JOB, dc_epoch: DcEpoch(2), held: Ok(held()) };
    tier.from(successor, W1, reply);
    let ack = Message::DcOwnerChangedAck { job: JOB, dc_epoch: DcEpoch(2), stored: Ok(GateEpoch(1)) };
    tier.from(successor, GATE, ack);
    tier.pass(30_000);
    assert_eq!(tier.sent(), [], "the run goes on under the new owner");

    tier.from(successor, W1, result());
    let sent = tier.sent();
    let final_sent = sent.iter().any(|(_, to, message)| match message {
        Message::DcFinal { dc_epoch: DcEpoch(2), report, .. } => {
            *to == GATE && (report.status, report.workflows[0].totals.ok) == (JobStatus::Completed, 1)
        }
        _ => false,
    });
    assert!(final_sent, "{sent:?}");
}

#[test]
fn a_successor_replaces_what_no_worker_holds() {
    let (mut tier, owner, other) = running();
    tier.down(owner);
    tier.until("another owner", |tier| tier.owner(other).1 == DcEpoch(2));
    let successor = (0..3).find(|no| member(*no) == tier.owner(other).0).expect("a member");
    let reply = Message::OwnerChangedReply { job: JOB, dc_epoch: DcEpoch(2), held: Ok(Vec::new()) };
    tier.from(successor, W1, reply);
    let lost = |observation: &Observation| matches!(observation, Observation::ShardLost { .. });
    assert!(tier.seen.iter().any(|(no, seen)| *no == successor && lost(seen)));
    tier.sent();
    let beat = Message::WorkerHeartbeat {
        boot: BootNo(1),
        version: 2,
        free_cores: 2,
        draining: false,
        held: Vec::new(),
        condition: Condition::default(),
    };
    tier.from(successor, W1, beat);
    tier.pass(1_000);
    let reserves = |(_, _, message): &(usize, NodeId, Message)| matches!(message, Message::ReserveShard(_));
    assert!(!tier.sent().iter().any(reserves), "a young process waits for a gate's word");
    let ack = Message::DcOwnerChangedAck { job: JOB, dc_epoch: DcEpoch(2), stored: Ok(GateEpoch(1)) };
    tier.from(successor, GATE, ack);
    tier.pass(1_000);
    let sent = tier.sent();
    let again = sent.iter().find_map(|(_, _, message)| match message {
        Message::ReserveShard(reserve) => Some((reserve.run, reserve.dc_epoch)),
        _ => None,
    });
    assert_eq!(again, Some((run(0, 2), DcEpoch(2))), "{sent:?}");
}

#[test]
fn an_isolated_owner_decides_nothing() {
    let (mut tier, owner, _) = running();
    for other in (0..3).filter(|no| *no != owner).collect::<Vec<_>>() {
        tier.down(other);
    }
    tier.until("its lease to run out", |tier| !tier.managers[owner].1.active);
    assert!(tier.seen.contains(&(owner, Observation::Isolated)));
    tier.sent();
    tier.from(owner, W1, result());
    let stop = Message::StopInDc { job: JOB, gate_epoch: GateEpoch(1), verdict: JobStatus::Cancelled };
    tier.from(owner, GATE, stop);
    let sent = tier.sent();
    let [
        (_, W1, Message::ShardResultAck { stored: Err(first), .. }),
        (_, GATE, Message::StopInDcReply { recorded: Err(second), .. }),
    ] = &sent[..]
    else {
        panic!("{sent:?}")
    };
    assert_eq!((first.code, second.code), (FaultCode::NotReady, FaultCode::NotReady));
}

#[test]
fn a_leaving_manager_hands_its_jobs_over() {
    let (mut tier, owner, other) = running();
    tier.event(owner, Event::Drain);
    tier.until("the leaving one to end", |tier| tier.halted[owner].is_some());
    assert_eq!(tier.halted[owner], Some(HaltReason::Drained));
    let (successor, dc_epoch) = tier.owner(other);
    assert_ne!((successor, dc_epoch), (member(owner), EPOCH));
    let sent = tier.sent();
    let told = sent.iter().any(|(_, to, message)| {
        *to == W1 && matches!(message, Message::OwnerChanged { owner, .. } if *owner == successor)
    });
    assert!(told, "{sent:?}");
}
