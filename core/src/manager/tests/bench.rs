//! A manager on a bench: a fake gate, fake workers, a disk that writes at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::string::ToString;
use std::vec::Vec;

use crate::bytes::Bytes;
use crate::config::{Datacenter, Limits, NodeConfig, Offer, Peer, Roster, Timing};
use crate::effect::{Effect, Effects, HaltReason};
use crate::event::Event;
use crate::guard::Condition;
use crate::id::{
    Attempt, BootNo, DcEpoch, DcId, DiskId, GateEpoch, JobId, NodeId, Role, RunId, ShardKey, WorkflowIx,
};
use crate::jobs::{ExecutorKind, JobSpec, Load, OnWorkerLoss, Outcome, Placement, Totals, WorkflowSpec};
use crate::manager::Manager;
use crate::observe::Observation;
use crate::store::RowKey;
use crate::swim::{Addr, Body, Claim, Fact, Incarnation, Packet};
use crate::time::{Instant, Now, WallTime};
use crate::wire::{HeldShard, Message, ReserveShard, ShardReport};

pub const GATE: NodeId = NodeId([0xa1; 16]);
pub const GATE2: NodeId = NodeId([0xa2; 16]);
pub const ME: NodeId = NodeId([0xb1; 16]);
pub const W1: NodeId = NodeId([0xc1; 16]);
pub const W2: NodeId = NodeId([0xc2; 16]);
pub const W3: NodeId = NodeId([0xc3; 16]);
pub const JOB: JobId = JobId([0x0a; 16]);
pub const FIRST: WorkflowIx = WorkflowIx(0);

pub fn dc() -> DcId {
    DcId::new("east").expect("a good name")
}

pub fn addr(node: NodeId) -> Addr {
    Addr { ip: node.0, port: 7_000 }
}

pub fn config() -> NodeConfig {
    let peer = |node, name: &str| Peer { node, name: name.to_string(), addr: addr(node) };
    NodeConfig {
        cluster: "bench".to_string(),
        role: Role::Manager,
        dc: dc(),
        name: "m1".to_string(),
        node: ME,
        addr: addr(ME),
        roster: Roster {
            gates: [peer(GATE, "g1"), peer(GATE2, "g2")].to_vec(),
            datacenters: [Datacenter { dc: dc(), managers: [peer(ME, "m1")].to_vec(), region: dc() }]
                .to_vec(),
        },
        offer: Offer::default(),
        timing: Timing::for_role(Role::Manager),
        limits: Limits::default(),
        allow_two_voters: false,
        minor: crate::wire::MINOR,
    }
}

/// A manager, what it has stored, and what it has done since that was last taken.
pub struct Bench {
    pub manager: Manager,
    pub now_ms: u64,
    boot: u32,
    rows: BTreeMap<RowKey, Bytes>,
    sent: Vec<(NodeId, Message)>,
    pub seen: Vec<Observation>,
    pub halted: Option<HaltReason>,
    versions: u64,
    dead: BTreeSet<NodeId>,
}

impl Bench {
    /// A manager that has just become active, with its gate connected.
    pub fn new() -> Self {
        Self::boot(1, BTreeMap::new(), 0)
    }

    fn boot(boot: u32, rows: BTreeMap<RowKey, Bytes>, now_ms: u64) -> Self {
        let start = crate::Boot {
            config: config(),
            boot: BootNo(boot),
            disk: DiskId([9; 16]),
            seed: [boot as u8; 32],
            rows: rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        };
        let manager = Manager::new(start).expect("good rows");
        let (sent, seen) = (Vec::new(), Vec::new());
        let mut bench = Self {
            manager,
            now_ms,
            boot,
            rows,
            sent,
            seen,
            halted: None,
            versions: 0,
            dead: BTreeSet::new(),
        };
        bench.event(Event::Start);
        assert!(bench.saw(Observation::Active), "one voter is active at once");
        bench.event(Event::Connected { peer: GATE, boot: BootNo(1), dialect: crate::wire::Dialect::OURS });
        bench.sent.clear();
        bench
    }

    /// The process ends and starts again from what is stored.
    pub fn restart(self) -> Self {
        Self::boot(self.boot + 1, self.rows, 0)
    }

    pub fn now(&self) -> Now {
        Now {
            mono: Instant::from_nanos(self.now_ms * 1_000_000),
            wall: WallTime(1_700_000_000_000 + self.now_ms),
            ..Now::default()
        }
    }

    /// One event, and the disk's answers to what it stores.
    pub fn event(&mut self, event: Event) {
        let mut next = VecDeque::from([event]);
        while let Some(event) = next.pop_front() {
            let mut out = Effects::new();
            self.manager.step_into(self.now(), event, &mut out);
            for effect in out {
                match effect {
                    Effect::Send { to, message } => {
                        message.validate().expect("a manager keeps the bounds of messages");
                        self.sent.push((to, *message))
                    }
                    Effect::Store { token, writes } => {
                        for write in writes {
                            match write.value {
                                Some(value) => drop(self.rows.insert(write.key, value)),
                                None => drop(self.rows.remove(&write.key)),
                            }
                        }
                        next.push_back(Event::Stored { token });
                    }
                    Effect::Observe(seen) => self.seen.push(seen),
                    Effect::Halt(reason) => self.halted = Some(reason),
                    Effect::SendDatagram { packet, .. } => next.extend(self.answer(&packet)),
                    other => panic!("not an effect of a manager: {other:?}"),
                }
            }
        }
    }

    pub fn from(&mut self, peer: NodeId, message: Message) {
        self.event(Event::Received { peer, message: message.into() });
    }

    /// Time passes; the driver wakes the node when it asks for it. Registered workers go on with their heartbeats as
    /// long as they are told to, by the test.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(at) = self.manager.wake_at().filter(|_| self.halted.is_none()) {
            let at_ms = at.as_nanos().div_ceil(1_000_000);
            if at_ms > end {
                break;
            }
            self.now_ms = self.now_ms.max(at_ms);
            let before = self.manager.wake_at();
            self.event(Event::Wake);
            assert!(self.manager.wake_at() != before || at_ms > self.now_ms, "a wake must do something");
        }
        self.now_ms = end;
    }

    /// Everything sent since the last call, without pings and heartbeats.
    pub fn sent(&mut self) -> Vec<(NodeId, Message)> {
        let dull = |message: &Message| {
            matches!(message, Message::Ping { .. } | Message::DcHeartbeat(_) | Message::DcProgress { .. })
        };
        self.sent.drain(..).filter(|(_, message)| !dull(message)).collect()
    }

    /// Everything sent since the last call.
    pub fn all_sent(&mut self) -> Vec<(NodeId, Message)> {
        core::mem::take(&mut self.sent)
    }

    pub fn saw(&self, wanted: Observation) -> bool {
        self.seen.contains(&wanted)
    }

    // ---- fake workers ----

    pub fn register(&mut self, worker: NodeId, cores: u16) {
        self.register_boot(worker, cores, 1, &[]);
    }

    pub fn register_boot(&mut self, worker: NodeId, cores: u16, boot: u32, held: &[HeldShard]) {
        let executors = [ExecutorKind::Sleep, ExecutorKind::Http, ExecutorKind::Command].to_vec();
        self.event(Event::Connected {
            peer: worker,
            boot: BootNo(boot),
            dialect: crate::wire::Dialect::OURS,
        });
        let held = held.to_vec();
        self.versions += 1;
        let message = Message::RegisterWorker {
            boot: BootNo(boot),
            cores,
            executors,
            held,
            version: self.versions,
            manager: BootNo(self.boot),
            disk: crate::id::DiskId([1; 16]),
        };
        self.from(worker, message);
        let answered = self.sent.iter().any(|(to, message)| {
            *to == worker && matches!(message, Message::RegisterWorkerReply { accepted: Ok(()), .. })
        });
        assert!(answered);
        self.sent.retain(|(_, message)| !matches!(message, Message::RegisterWorkerReply { .. }));
    }

    pub fn heartbeat(&mut self, worker: NodeId, free_cores: u16, held: &[HeldShard]) {
        self.beat(worker, free_cores, held, Condition::Healthy);
    }

    /// A heartbeat that says how loaded the worker is.
    pub fn loaded(&mut self, worker: NodeId, free_cores: u16, condition: Condition) {
        self.beat(worker, free_cores, &[], condition);
    }

    fn beat(&mut self, worker: NodeId, free_cores: u16, held: &[HeldShard], condition: Condition) {
        self.versions += 1;
        let (boot, version, held) = (BootNo(1), self.versions, held.to_vec());
        let draining = false;
        self.from(worker, Message::WorkerHeartbeat { boot, version, free_cores, draining, held, condition });
    }

    /// What a living worker answers to a datagram.
    fn answer(&self, asked: &Packet) -> Option<Event> {
        match asked.body {
            Body::Ping { seq, target } if !self.dead.contains(&target) => {
                Some(Event::Datagram { from: addr(target), packet: packet(target, Body::Ack { seq }).into() })
            }
            _ => None,
        }
    }

    /// A worker is heard by SWIM, and then two others say that it is dead.
    pub fn die(&mut self, worker: NodeId, witness: NodeId) {
        let incarnation = Incarnation::of_boot(BootNo(1));
        let packet = |from, facts| Packet { facts, ..packet(from, Body::Rumours) };
        self.dead.insert(worker);
        let fact =
            Fact { node: worker, incarnation, claim: Claim::Dead, role: Role::Worker, addr: addr(worker) };
        let other = NodeId([0xee; 16]);
        for packet in
            [packet(worker, Vec::new()), packet(witness, [fact].to_vec()), packet(other, [fact].to_vec())]
        {
            self.event(Event::Datagram { from: packet.addr, packet: packet.into() });
        }
        assert!(self.saw(Observation::WorkerLost(worker)));
    }

    /// Keeps cores for every reservation that was sent; answers with what was reserved.
    pub fn reserve_all(&mut self) -> Vec<(NodeId, ReserveShard)> {
        let mut reserved = Vec::new();
        for (to, message) in self.sent() {
            if let Message::ReserveShard(reserve) = message {
                self.reserved(to, &reserve);
                reserved.push((to, *reserve));
            }
        }
        reserved
    }

    pub fn reserved(&mut self, worker: NodeId, reserve: &ReserveShard) {
        let (run, dc_epoch) = (reserve.run, reserve.dc_epoch);
        self.from(worker, Message::ReserveShardReply { run, dc_epoch, reserved: Ok(()) });
    }

    /// Confirms every start that was sent; answers with (worker, run, start_in_us).
    pub fn start_all(&mut self) -> Vec<(NodeId, RunId, u32)> {
        let mut started = Vec::new();
        for (to, message) in self.sent() {
            if let Message::StartShard { run, dc_epoch, start_in_us } = message {
                self.from(to, Message::ShardStarted { run, dc_epoch, started: Ok(0) });
                started.push((to, run, start_in_us));
            }
        }
        started
    }

    pub fn result(&mut self, worker: NodeId, run: RunId, outcome: Outcome, totals: Totals) {
        let report = ShardReport { run, outcome, totals, why: "".to_string(), start_late_us: 7 };
        self.from(worker, Message::ShardResult(report.into()));
    }

    // ---- fake gate ----

    pub fn dispatch(&mut self, spec: &JobSpec, slot: u16, slots: u16) {
        self.from(GATE, Self::dispatch_message(spec, slot, slots));
    }

    pub fn dispatch_message(spec: &JobSpec, slot: u16, slots: u16) -> Message {
        Message::Dispatch {
            job: JOB,
            gate_epoch: GateEpoch(1),
            owner: GATE,
            spec: spec.clone().into(),
            slot,
            slots,
            remaining_ms: spec.timeout_ms,
            half_rtt_us: 0,
        }
    }

    /// Acknowledges everything that the manager sends to the gate, until it has nothing more to say.
    pub fn ack_all(&mut self) -> Vec<Message> {
        let mut told = Vec::new();
        for (to, message) in self.sent() {
            let ack = match &message {
                Message::WorkflowResult { job, dc_epoch, report } => Message::WorkflowResultAck {
                    job: *job,
                    workflow: report.workflow,
                    dc_epoch: *dc_epoch,
                    stored: Ok(()),
                },
                Message::DcFinal { job, dc_epoch, .. } => {
                    Message::DcFinalAck { job: *job, dc_epoch: *dc_epoch, stored: Ok(()) }
                }
                Message::DcOwnerChanged { job, dc_epoch, .. } => {
                    Message::DcOwnerChangedAck { job: *job, dc_epoch: *dc_epoch, stored: Ok(GateEpoch(1)) }
                }
                _ => continue,
            };
            told.push(message);
            self.from(to, ack);
        }
        told
    }
}

fn packet(from: NodeId, body: Body) -> Packet {
    Packet {
        from,
        incarnation: Incarnation::of_boot(BootNo(1)),
        role: Role::Worker,
        addr: addr(from),
        body,
        facts: Vec::new(),
        digest: None,
    }
}

pub fn run(no: u16, attempt: u32) -> RunId {
    run_of(FIRST, no, attempt)
}

pub fn run_of(workflow: WorkflowIx, no: u16, attempt: u32) -> RunId {
    RunId { shard: ShardKey { job: JOB, workflow, dc: dc(), shard: no }, attempt: Attempt(attempt) }
}

pub const EPOCH: DcEpoch = DcEpoch(1);

pub fn workflow(name: &str, executor: ExecutorKind, load: Load, needs: &[u16]) -> WorkflowSpec {
    WorkflowSpec {
        name: name.to_string(),
        needs: needs.iter().copied().map(WorkflowIx).collect(),
        executor,
        load,
        cores: 1,
        payload: Bytes::default(),
    }
}

pub fn job(workflows: Vec<WorkflowSpec>, on_worker_loss: OnWorkerLoss) -> JobSpec {
    let spec = JobSpec {
        name: "bench".to_string(),
        placement: Placement::Any,
        timeout_ms: 600_000,
        on_worker_loss,
        partial_results: false,
        retries: 10,
        workflow_retries: 3,
        thresholds: Vec::new(),
        workflows,
    };
    spec.validate().expect("a good specification");
    spec
}

pub fn sleeps(instances: u16) -> Load {
    Load { vus: 0, rate_milli: 0, duration_ms: 10_000, instances }
}

pub fn users(vus: u32) -> Load {
    Load { vus, rate_milli: 0, duration_ms: 60_000, instances: 0 }
}

pub fn requests(ok: u64, elapsed_ms: u32) -> Totals {
    Totals { ok, vu_ms: ok * 10, elapsed_ms, ..Totals::default() }
}
