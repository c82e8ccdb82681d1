//! Transcripts of the gate: events in, effects out. One gate with its own log, a disk that answers when told to, and
//! managers that are played by the test.

mod commands;
mod dispatch;
mod lifecycle;
mod streams;
mod takeover;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::api::{Answer, ClientEvent, ClientEventKind, Identity, Request, Submitted};
use crate::bytes::Bytes;
use crate::config::{Datacenter, Limits, NodeConfig, Offer, Peer, Roster, Timing};
use crate::fault::FaultCode;
use crate::id::{BootNo, DcEpoch, DiskId, Term, WorkflowIx};
use crate::jobs::{
    DcReport, ExecutorKind, JobResult, JobSpec, JobStatus, Load, OnWorkerLoss, Placement, Totals,
    WorkflowReport, WorkflowSpec, WorkflowStatus,
};
use crate::store::StoreToken;
use crate::swim::Addr;
use crate::time::WallTime;
use crate::wire::{Capacity, DcLoad, DispatchAccepted};

pub(super) fn dc(name: &str) -> DcId {
    DcId::new(name).expect("a datacenter's name")
}

pub(super) fn manager(name: &str) -> NodeId {
    NodeId::derive("test", Role::Manager, name.split('-').next().expect("a datacenter"), name)
}

pub(super) fn gate_id(name: &str) -> NodeId {
    NodeId::derive("test", Role::Gate, "", name)
}

fn peer(node: NodeId, name: &str, port: u16) -> Peer {
    Peer { node, name: name.to_string(), addr: Addr { ip: [0; 16], port } }
}

/// A job of one `sleep` workflow of one instance, anywhere.
pub(super) fn sleep_job() -> JobSpec {
    JobSpec {
        name: "nap".to_string(),
        placement: Placement::Any,
        timeout_ms: 60_000,
        on_worker_loss: OnWorkerLoss::Replace,
        partial_results: false,
        retries: 10,
        workflow_retries: 3,
        thresholds: vec![],
        workflows: vec![WorkflowSpec {
            name: "sleep".to_string(),
            needs: vec![],
            executor: ExecutorKind::Sleep,
            load: Load { duration_ms: 1_000, instances: 1, ..Load::default() },
            cores: 1,
            payload: Bytes::default(),
        }],
    }
}

pub(super) fn report(workflow: u16, ok: u64) -> WorkflowReport {
    WorkflowReport {
        workflow: WorkflowIx(workflow),
        status: WorkflowStatus::Completed,
        requested: Load::default(),
        totals: Totals { ok, elapsed_ms: 1_000, ..Totals::default() },
        uncovered_vu_ms: 0,
        shards: 1,
        lost_attempts: 0,
        start_spread_us: 0,
        start_bound_us: 0,
        why: String::new(),
    }
}

pub(super) fn dc_report(name: &str, status: JobStatus, workflows: Vec<WorkflowReport>) -> DcReport {
    DcReport { dc: dc(name), status, workflows, cancelled: 0, killed: 0, elapsed_ms: 1_000 }
}

pub(super) fn operator() -> Identity {
    Identity { tenant: "ops".to_string(), operator: true }
}

pub(super) fn tenant(name: &str) -> Identity {
    Identity { tenant: name.to_string(), operator: false }
}

/// One gate, its disk and its clock.
pub(super) struct World {
    pub gate: Gate,
    pub now_ms: u64,
    pub wall_ms: u64,
    /// What the disk holds, as far as it has answered.
    disk: BTreeMap<Bytes, Bytes>,
    pending: Vec<(StoreToken, Vec<crate::store::Write>)>,
    next_call: u64,
    versions: u64,
    boot: Boot,
}

impl World {
    /// A lone gate with datacenters `eu` and `us` of two managers each, none connected. Its lease holds.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl Fn(&mut NodeConfig)) -> Self {
        let datacenter = |name: &str, port: u16| Datacenter {
            dc: dc(name),
            managers: (0..2u16)
                .map(|ix| {
                    let manager_name = alloc::format!("{name}-m{ix}");
                    peer(manager(&manager_name), &manager_name, port + ix)
                })
                .collect(),
            region: dc(name),
        };
        let mut config = NodeConfig {
            cluster: "test".to_string(),
            role: Role::Gate,
            dc: DcId::NONE,
            name: "g0".to_string(),
            node: gate_id("g0"),
            addr: Addr { ip: [0; 16], port: 1 },
            roster: Roster {
                gates: vec![peer(gate_id("g0"), "g0", 1)],
                datacenters: vec![datacenter("eu", 10), datacenter("us", 20)],
            },
            offer: Offer::default(),
            timing: Timing::for_role(Role::Gate),
            limits: Limits::default(),
            allow_two_voters: false,
            minor: crate::wire::MINOR,
        };
        change(&mut config);
        let boot = Boot { config, boot: BootNo(1), disk: DiskId([9; 16]), seed: [3; 32], rows: vec![] };
        Self::boot(boot, BTreeMap::new())
    }

    fn boot(boot: Boot, disk: BTreeMap<Bytes, Bytes>) -> Self {
        let gate = Gate::new(boot.clone()).expect("the rows are good");
        let mut world = Self {
            gate,
            now_ms: 0,
            wall_ms: 1_700_000_000_000,
            disk,
            pending: vec![],
            next_call: 0,
            versions: 0,
            boot,
        };
        let out = world.event(Event::Start);
        assert!(out.contains(&Effect::Observe(Observation::Active)), "a lone gate acts at once: {out:?}");
        world
    }

    /// The process ends and starts again with what the disk holds.
    pub fn restart(self) -> Self {
        let mut boot = self.boot;
        boot.boot = BootNo(boot.boot.0 + 1);
        boot.rows = self.disk.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Self::boot(boot, self.disk)
    }

    pub fn now(&self) -> Now {
        Now {
            mono: Instant::from_nanos(self.now_ms * 1_000_000),
            wall: WallTime(self.wall_ms + self.now_ms),
            waited: Duration::ZERO,
        }
    }

    /// One event; the disk does not answer, peers answer their pings at once.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Effects::new();
        self.gate.step_into(self.now(), event, &mut out);
        let mut rest = vec![];
        let mut pings = vec![];
        for effect in out {
            match effect {
                Effect::Store { token, writes } => self.pending.push((token, writes)),
                Effect::SendDatagram { .. } => {}
                Effect::Send { to, ref message } if matches!(**message, Message::Ping { .. }) => {
                    let Message::Ping { token } = **message else { unreachable!() };
                    pings.push((to, token));
                }
                other => rest.push(other),
            }
        }
        for (peer, token) in pings {
            let message = Box::new(Message::Pong { token, coordinate: None, condition: Default::default() });
            rest.extend(self.step(Event::Received { peer, message }));
        }
        rest
    }

    /// The disk answers everything that it was given, until nothing is left.
    pub fn sync(&mut self) -> Vec<Effect> {
        let mut out = vec![];
        while !self.pending.is_empty() {
            let batches = core::mem::take(&mut self.pending);
            let token = batches.last().expect("not empty").0;
            for write in batches.into_iter().flat_map(|(_, writes)| writes) {
                match write.value {
                    Some(value) => drop(self.disk.insert(write.key, value)),
                    None => drop(self.disk.remove(&write.key)),
                }
            }
            out.extend(self.step(Event::Stored { token }));
        }
        out
    }

    /// One event, and the disk answers.
    pub fn event(&mut self, event: Event) -> Vec<Effect> {
        let mut out = self.step(event);
        out.extend(self.sync());
        out
    }

    /// Time passes, with every wake where it is wanted.
    pub fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let (end, mut out) = (self.now_ms + ms, vec![]);
        loop {
            let due = self.gate.wake_at().map(|at| at.as_nanos().div_ceil(1_000_000));
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now_ms = due.max(self.now_ms);
            out.extend(self.event(Event::Wake));
        }
        self.now_ms = end;
        out
    }

    /// A message from a manager.
    pub fn hear(&mut self, from: &str, message: Message) -> Vec<Effect> {
        self.event(Event::Received { peer: manager(from), message: Box::new(message) })
    }

    /// A manager connects and says that it leads a datacenter with this many free cores of 100.
    pub fn up(&mut self, name: &str, free_cores: u32) -> Vec<Effect> {
        let mut out = self.event(Event::Connected {
            peer: manager(name),
            boot: BootNo(1),
            dialect: crate::wire::Dialect::OURS,
        });
        out.extend(self.heartbeat(name, free_cores, true));
        out
    }

    pub fn down(&mut self, name: &str) -> Vec<Effect> {
        self.event(Event::Disconnected { peer: manager(name) })
    }

    pub fn heartbeat(&mut self, name: &str, free_cores: u32, is_leader: bool) -> Vec<Effect> {
        self.versions += 1;
        let load = DcLoad {
            dc: dc(name.split('-').next().expect("a datacenter")),
            boot: BootNo(1),
            version: self.versions,
            is_leader,
            term: Term(u64::from(is_leader)),
            leader: is_leader.then(|| manager(name)),
            accepting: true,
            capacity: Capacity { total_cores: 100, free_cores, workers: 4 },
            queued_shards: 0,
            jobs: 0,
            known_workers: 0,
            conditions: [0; 4],
            extended: 0,
        };
        self.hear(name, Message::DcHeartbeat(load))
    }

    /// A call without waiting for the disk.
    pub fn begin(&mut self, identity: Identity, request: Request) -> (CallId, Vec<Effect>) {
        self.next_call += 1;
        let call = CallId(self.next_call);
        let out = self.step(Event::Api { call, identity, request: Box::new(request) });
        (call, out)
    }

    /// A call and its answer, with what else happened.
    pub fn call(&mut self, identity: Identity, request: Request) -> (Answer, Vec<Effect>) {
        let (call, mut out) = self.begin(identity, request);
        out.extend(self.sync());
        let answers = out.iter().filter_map(|effect| match effect {
            Effect::Answer { call: of, answer } if *of == call => Some((**answer).clone()),
            _ => None,
        });
        let answers: Vec<Answer> = answers.collect();
        assert_eq!(answers.len(), 1, "exactly one answer: {out:?}");
        (answers[0].clone(), out)
    }

    pub fn submit(&mut self, spec: JobSpec) -> (JobId, Vec<Effect>) {
        let (answer, out) = self.call(tenant("t"), Request::Submit { key: None, spec: Box::new(spec) });
        match answer {
            Answer::Submitted(Submitted { job, .. }) => (job, out),
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// A datacenter answers a dispatch.
    pub fn accept(&mut self, name: &str, job: JobId) -> Vec<Effect> {
        let gate_epoch = self.gate.ledger.state().jobs[&job].row.gate_epoch;
        let reply = Ok(DispatchAccepted { dc_epoch: DcEpoch(1), owner: manager(name) });
        self.hear(name, Message::DispatchReply { job, gate_epoch, reply })
    }

    /// A datacenter delivers its final of one completed workflow.
    pub fn finish(&mut self, name: &str, job: JobId) -> Vec<Effect> {
        let place = name.split('-').next().expect("a datacenter");
        let report = Box::new(dc_report(place, JobStatus::Completed, vec![report(0, 1)]));
        self.hear(name, Message::DcFinal { job, dc_epoch: DcEpoch(1), report })
    }

    pub fn status_of(&mut self, job: JobId) -> JobStatus {
        match self.call(operator(), Request::Status { job }).0 {
            Answer::Status(view) => view.status,
            other => panic!("no status: {other:?}"),
        }
    }

    pub fn result_of(&mut self, job: JobId) -> JobResult {
        match self.call(operator(), Request::Result { job }).0 {
            Answer::Result(result) => *result,
            other => panic!("no result: {other:?}"),
        }
    }

    /// A client that has read the final event says so.
    pub fn acknowledge(&mut self, job: JobId) {
        let kept = self.gate.ledger.state().jobs[&job].newest_kept();
        let after = Some(crate::api::EventPos { kept, ..Default::default() });
        assert_eq!(
            self.call(operator(), Request::Events { job, after, credit: 1 }).0,
            Answer::NothingFollows
        );
    }

    pub fn stream(
        &mut self,
        job: JobId,
        after: Option<crate::api::EventPos>,
        credit: u32,
    ) -> (CallId, Vec<Effect>) {
        let (call, mut out) = self.begin(tenant("t"), Request::Events { job, after, credit });
        out.extend(self.sync());
        (call, out)
    }
}

/// Messages to managers, in order.
pub(super) fn sent(out: &[Effect]) -> Vec<(NodeId, Message)> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Send { to, message } => Some((*to, (**message).clone())),
            _ => None,
        })
        .collect()
}

pub(super) fn observed(out: &[Effect]) -> Vec<Observation> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Observe(observation) => Some(*observation),
            _ => None,
        })
        .collect()
}

/// What a stream got; `None` is its end.
pub(super) fn pushed(out: &[Effect], call: CallId) -> Vec<Option<ClientEvent>> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Push { call: of, event } if *of == call => {
                Some(event.as_ref().map(|event| (**event).clone()))
            }
            _ => None,
        })
        .collect()
}

/// The kinds of what a stream got, in words.
pub(super) fn words(out: &[Effect], call: CallId) -> Vec<String> {
    let word = |event: Option<ClientEvent>| match event.map(|event| event.kind) {
        None => "end".to_string(),
        Some(ClientEventKind::Accepted { .. }) => "accepted".to_string(),
        Some(ClientEventKind::Status { status, .. }) => status.as_str().to_string(),
        Some(ClientEventKind::WorkflowResult { status, .. }) => {
            alloc::format!("workflow {}", status.as_str())
        }
        Some(ClientEventKind::Owner { gate_epoch, .. }) => alloc::format!("owner {gate_epoch}"),
        Some(ClientEventKind::DcOwner { dc, dc_epoch, .. }) => alloc::format!("{dc} owner {dc_epoch}"),
        Some(ClientEventKind::CancelDone { cancelled, killed }) => {
            alloc::format!("cancel done {cancelled}+{killed}")
        }
        Some(ClientEventKind::Final(result)) => alloc::format!("final {}", result.status.as_str()),
        Some(ClientEventKind::Progress { per_dc, .. }) => {
            let requests: u64 = per_dc.iter().map(|view| view.totals.requests()).sum();
            alloc::format!("progress {requests}")
        }
        Some(ClientEventKind::StatsWindow { window, revision, complete, .. }) => {
            alloc::format!(
                "window {} r{revision} {}{}",
                window.no,
                window.ok,
                if complete { "" } else { " part" }
            )
        }
        Some(ClientEventKind::Gap { missed }) => alloc::format!("gap {missed}"),
    };
    pushed(out, call).into_iter().map(word).collect()
}

pub(super) fn fault(answer: &Answer) -> FaultCode {
    match answer {
        Answer::Fault(fault) => fault.code,
        other => panic!("not refused: {other:?}"),
    }
}
