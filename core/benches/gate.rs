//! A gate with many jobs, one core (DESIGN 11): how long its steps take, how many numbers it takes in, and how much
//! memory a job costs while nothing happens to it.

#[path = "../../benches/cpu.rs"]
mod cpu;

use std::time::Instant as Wall;

use tidegate_core::api::{Answer, Identity, Request};
use tidegate_core::bytes::Bytes;
use tidegate_core::config::{Boot, Datacenter, Limits, NodeConfig, Offer, Peer, Roster, Timing};
use tidegate_core::gate::Gate;
use tidegate_core::id::{
    BootNo, CallId, DcEpoch, DcId, DiskId, GateEpoch, JobId, NodeId, Role, Term, WorkflowIx,
};
use tidegate_core::jobs::{
    ExecutorKind, JobSpec, JobStatus, Load, OnWorkerLoss, Placement, Totals, Window, WorkflowSpec,
    WorkflowStatus,
};
use tidegate_core::stats::{Recorder, WindowSketch};
use tidegate_core::swim::Addr;
use tidegate_core::wire::{Capacity, DcLoad, DispatchAccepted, Message};
use tidegate_core::{Duration, Effect, Effects, Event, Instant, Now, WallTime};

/// Steps to measure for each row.
const STEPS: u64 = 200_000;

fn main() {
    // First, while the allocator has nothing to give again.
    memory();
    println!("\nsteps of a gate, wall time each");
    println!(
        "{:>7} {:<22} {:>9} {:>9} {:>9} {:>12}",
        "jobs", "step", "p50 us", "p99 us", "max us", "p99 of 20 us"
    );
    for jobs in [1_000, 10_000] {
        steps(jobs);
    }
    counters();
    windows();
}

/// A lone gate, its disk, and the managers that it talks to.
struct Bench {
    gate: Gate,
    now: u64,
    out: Effects,
    calls: u64,
    jobs: Vec<JobId>,
    /// How long each step took, by kind.
    took: Vec<(&'static str, Vec<u64>)>,
}

impl Bench {
    fn new(jobs: u32) -> Self {
        let peer =
            |node, name: &str, port| Peer { node, name: name.into(), addr: Addr { ip: [0; 16], port } };
        let node = NodeId::derive("bench", Role::Gate, "", "g0");
        let managers = vec![peer(manager(), "m0", 2)];
        let config = NodeConfig {
            cluster: "bench".into(),
            role: Role::Gate,
            dc: DcId::NONE,
            name: "g0".into(),
            node,
            addr: Addr { ip: [0; 16], port: 1 },
            roster: Roster {
                gates: vec![peer(node, "g0", 1)],
                datacenters: vec![Datacenter { dc: dc(), managers, region: dc() }],
            },
            offer: Offer::default(),
            timing: Timing::for_role(Role::Gate),
            limits: Limits { jobs, jobs_per_tenant: jobs, ..Limits::default() },
            allow_two_voters: false,
            minor: tidegate_core::wire::MINOR,
        };
        let boot = Boot { config, boot: BootNo(1), disk: DiskId([9; 16]), seed: [3; 32], rows: Vec::new() };
        let gate = Gate::new(boot).expect("an empty disk is good");
        let mut bench =
            Self { gate, now: 0, out: Effects::new(), calls: 0, jobs: Vec::new(), took: Vec::new() };
        bench.event("start", Event::Start);
        bench.event(
            "start",
            Event::Connected {
                peer: manager(),
                boot: BootNo(1),
                dialect: tidegate_core::wire::Dialect::OURS,
            },
        );
        bench.heartbeat(1);
        bench
    }

    /// One event, and at once the disk's and the manager's answers to what comes of it.
    fn event(&mut self, kind: &'static str, event: Event) {
        let mut next = vec![(kind, event)];
        while let Some((kind, event)) = next.pop() {
            let now = Now {
                mono: Instant::from_nanos(self.now),
                wall: WallTime(1_700_000_000_000 + self.now / 1_000_000),
                waited: Duration::ZERO,
            };
            let begin = Wall::now();
            self.gate.step_into(now, event, &mut self.out);
            self.note(kind, begin.elapsed().as_nanos() as u64);
            for effect in self.out.drain(..) {
                match effect {
                    Effect::Store { token, .. } => next.push(("stored", Event::Stored { token })),
                    Effect::Answer { answer, .. } => {
                        if let Answer::Submitted(submitted) = *answer {
                            self.jobs.push(submitted.job);
                        }
                    }
                    Effect::Send { message, .. } => {
                        if let Message::Dispatch { job, gate_epoch, .. } = *message {
                            next.push(("dispatch answered", accepted(job, gate_epoch)));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn note(&mut self, kind: &'static str, nanos: u64) {
        match self.took.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, took)) => took.push(nanos),
            None => self.took.push((kind, vec![nanos])),
        }
    }

    /// Time goes on, and the gate is woken whenever it wants to be.
    fn pass(&mut self, nanos: u64) {
        let end = self.now + nanos;
        while let Some(at) = self.gate.wake_at().map(|at| at.as_nanos()).filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.event("wake", Event::Wake);
        }
        self.now = end;
    }

    fn received(&mut self, kind: &'static str, message: Message) {
        self.event(kind, Event::Received { peer: manager(), message: Box::new(message) });
    }

    fn heartbeat(&mut self, version: u64) {
        let capacity = Capacity { total_cores: 1_000_000, free_cores: 1_000_000, workers: 1_000 };
        let load = DcLoad {
            dc: dc(),
            boot: BootNo(1),
            version,
            is_leader: true,
            term: Term(1),
            leader: Some(manager()),
            accepting: true,
            capacity,
            queued_shards: 0,
            jobs: 0,
            known_workers: 1_000,
            conditions: [1_000, 0, 0, 0],
            extended: 0,
        };
        self.received("heartbeat", Message::DcHeartbeat(load));
    }

    fn submit(&mut self) {
        self.call("submit", Request::Submit { key: None, spec: Box::new(spec()) });
    }

    fn call(&mut self, kind: &'static str, request: Request) {
        self.calls += 1;
        let identity = Identity { tenant: "bench".into(), operator: false };
        self.event(kind, Event::Api { call: CallId(self.calls), identity, request: Box::new(request) });
    }

    fn progress(&mut self, place: usize, seq: u64) {
        let totals = Totals { ok: seq, elapsed_ms: seq as u32, ..Totals::default() };
        let window = Window { no: seq as u32, count: 1, ok: 1, err: 0, latency: WindowSketch::of(900, 1) };
        let message = Message::DcProgress {
            job: self.jobs[place],
            dc_epoch: DcEpoch(1),
            seq,
            status: JobStatus::Running,
            workflows: vec![(WorkflowStatus::Running, totals)],
            windows: vec![(WorkflowIx(0), window)],
        };
        self.received("progress", message);
    }

    /// A gate that owns so many running jobs.
    fn filled(jobs: u32) -> Self {
        let mut bench = Self::new(jobs + 1_000);
        for job in 0..jobs {
            bench.submit();
            bench.pass(100_000);
            if job % 1_000 == 0 {
                bench.heartbeat(2 + u64::from(job));
            }
        }
        assert_eq!(bench.jobs.len(), jobs as usize, "every job is accepted");
        bench
    }
}

/// Each job reports every second; the rest is now and then.
fn steps(jobs: u32) {
    let mut bench = Bench::filled(jobs);
    bench.took.clear();
    let every = 1_000_000_000 / u64::from(jobs);
    for step in 0..STEPS {
        let place = (step % u64::from(jobs)) as usize;
        bench.progress(place, 1 + step / u64::from(jobs));
        if step % 50 == 0 {
            let job = bench.jobs[place];
            bench.call("status", Request::Status { job });
        }
        if step % 1_000 == 0 {
            bench.heartbeat(1_000_000 + step);
            bench.call("list", Request::List { after: None, limit: 20 });
        }
        if step % 500 == 0 && step / 500 < 400 {
            bench.submit();
        }
        bench.pass(every);
    }
    let mut all: Vec<u64> = bench.took.iter().flat_map(|(_, took)| took.iter().copied()).collect();
    for (kind, took) in &mut bench.took {
        row(jobs, kind, took);
    }
    row(jobs, "all", &mut all);
}

fn row(jobs: u32, kind: &str, took: &mut [u64]) {
    took.sort_unstable();
    let at = |permille: usize| took[(took.len() - 1) * permille / 1_000] as f64 / 1e3;
    println!(
        "{jobs:>7} {kind:<22} {:>9.2} {:>9.2} {:>9.1} {:>11.2}x",
        at(500),
        at(990),
        at(1_000),
        at(990) / 20.0
    );
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * 4_096)
}

/// What the process grows by for each of many jobs, all of it: records, indices, timers, what the log retains, and what
/// the allocator wastes.
fn memory() {
    const JOBS: u32 = 10_000;
    let empty = Bench::new(JOBS);
    let before = resident();
    let mut full = Bench::filled(JOBS);
    full.took = Vec::new();
    let each = (resident() - before) as f64 / f64::from(JOBS);
    println!(
        "a running job without reports on its gate, resident: {each:.0} bytes, {:.2}x of 8 KiB",
        each / 8_192.0
    );
    drop((empty, full));
}

/// Numbers taken in: a gate's steps, and counters alone.
fn counters() {
    const JOBS: u64 = 1_000;
    let mut bench = Bench::filled(JOBS as u32);
    let (seconds, ()) = cpu::seconds(|| {
        for step in 0..STEPS {
            bench.progress((step % JOBS) as usize, 1 + step / JOBS);
        }
    });
    rate("progress messages taken in by a gate", STEPS as f64 / seconds, 1e6);
    let part = Totals { ok: 3, err: 0, bytes_in: 900, elapsed_ms: 7, ..Totals::default() };
    let mut whole = Totals::default();
    let (seconds, ()) =
        cpu::seconds(|| (0..10_000_000).for_each(|_| whole.merge(std::hint::black_box(&part))));
    assert_eq!(whole.ok, 30_000_000);
    rate("counters merged", 1e7 / seconds, 1e6);
}

/// Windows of a thousand requests each, merged into one.
fn windows() {
    let mut windows: Vec<WindowSketch> = Vec::new();
    for source in 0..64u64 {
        let mut recorder = Recorder::default();
        (0..1_000u64).for_each(|request| recorder.record(200 + (request * request + source * 977) % 80_000));
        windows.push(recorder.sketch());
    }
    let mut merged = 0u64;
    let (seconds, ()) = cpu::seconds(|| {
        for _ in 0..1_000 {
            let mut whole = WindowSketch::default();
            windows.iter().for_each(|window| whole.merge(window));
            merged += std::hint::black_box(whole).count();
        }
    });
    assert_eq!(merged, 64_000_000);
    rate("windows merged", 64_000.0 / seconds, 5e4);
}

fn rate(what: &str, rate: f64, budget: f64) {
    println!("{what}: {rate:.0}/s, {:.2}x of {budget:.0}/s", rate / budget);
}

fn accepted(job: JobId, gate_epoch: GateEpoch) -> Event {
    let reply = Ok(DispatchAccepted { dc_epoch: DcEpoch(1), owner: manager() });
    Event::Received { peer: manager(), message: Box::new(Message::DispatchReply { job, gate_epoch, reply }) }
}

fn dc() -> DcId {
    DcId::new("eu").expect("a name")
}

fn manager() -> NodeId {
    NodeId::derive("bench", Role::Manager, "eu", "m0")
}

fn spec() -> JobSpec {
    JobSpec {
        name: "bench".into(),
        placement: Placement::Any,
        timeout_ms: 3_600_000,
        on_worker_loss: OnWorkerLoss::Replace,
        partial_results: true,
        retries: 3,
        workflow_retries: 3,
        thresholds: Vec::new(),
        workflows: vec![WorkflowSpec {
            name: "load".into(),
            needs: Vec::new(),
            executor: ExecutorKind::Http,
            load: Load { vus: 10, rate_milli: 0, duration_ms: 600_000, instances: 1 },
            cores: 1,
            payload: Bytes(vec![7; 256]),
        }],
    }
}
