//! Whole nodes over real sockets on loopback: a job from its client to its result, and the replay of every node's life.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidegate_core::api::{Answer, ClientEventKind, EventPos, Identity, Request};
use tidegate_core::bytes::Bytes;
use tidegate_core::config::{Limits, Offer, Timing};
use tidegate_core::effect::HaltReason;
use tidegate_core::id::{DcId, JobId, Role};
use tidegate_core::jobs::{
    ExecCommand, ExecEvent, ExecutorKind, JobResult, JobSpec, JobStatus, Load, OnWorkerLoss, Outcome,
    Placement, Totals, WorkflowSpec,
};
use tidegate_core::wire::Features;
use tidegate_core::{Observation, WallTime};

use super::*;
use crate::config::{Member, NamedDatacenter, NamedRoster};
use crate::driver::{ApiHandle, ExecEvents, Executors, Exit, Reply};
use crate::init::ThrowAway;
use crate::net::{Bound, Claims};
use crate::record::replay;

const CLUSTER: &str = "test";

/// Executors that wait as long as they are told and count one success.
struct Sleepers {
    events: ExecEvents,
    threads: Vec<JoinHandle<()>>,
}

impl Executors for Sleepers {
    fn perform(&mut self, command: ExecCommand) {
        let ExecCommand::Start { run, shard, start_in } = command else { return };
        let events = self.events.clone();
        self.threads.push(thread::spawn(move || {
            thread::sleep(Duration::from_nanos(start_in.as_nanos()));
            events.send(ExecEvent::Started { run, late: tidegate_core::Duration::ZERO });
            thread::sleep(Duration::from_millis(shard.load.duration_ms.into()));
            let totals = Box::new(Totals { ok: 1, elapsed_ms: shard.load.duration_ms, ..Totals::default() });
            let (outcome, windows, why) = (Outcome::Completed, Vec::new(), String::new());
            events.send(ExecEvent::Finished { run, outcome, totals, windows, why });
        }));
    }

    fn shutdown(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// One gate, one datacenter with a manager and two workers; every node recorded.
struct Cluster {
    dir: tempfile::TempDir,
    keys: ThrowAway,
    roster: NamedRoster,
    bound: HashMap<String, Bound>,
    nodes: Vec<(String, RunningNode)>,
    taps: HashMap<String, Receiver<(WallTime, Observation)>>,
}

fn loopback() -> Bound {
    Bound::new("127.0.0.1:0".parse().unwrap()).unwrap()
}

impl Cluster {
    async fn start() -> Self {
        let dc = DcId::new("dc-1").unwrap();
        let (gate, manager) = (loopback(), loopback());
        let member =
            |name: &str, bound: &Bound| Member { name: name.into(), address: bound.addr.to_string() };
        let roster = NamedRoster {
            gates: vec![member("gate", &gate)],
            datacenters: vec![NamedDatacenter {
                dc,
                region: dc,
                managers: vec![member("manager", &manager)],
            }],
        };
        let mut cluster = Self {
            dir: tempfile::tempdir().unwrap(),
            keys: ThrowAway::new(CLUSTER).unwrap(),
            roster,
            bound: HashMap::from([("gate".into(), gate), ("manager".into(), manager)]),
            nodes: Vec::new(),
            taps: HashMap::new(),
        };
        cluster.add(Role::Gate, DcId::NONE, "gate").await;
        cluster.add(Role::Manager, dc, "manager").await;
        cluster.add(Role::Worker, dc, "worker-1").await;
        cluster.add(Role::Worker, dc, "worker-2").await;
        cluster
    }

    async fn add(&mut self, role: Role, dc: DcId, name: &str) {
        let claims = Claims { cluster: CLUSTER.into(), role, dc, name: name.into() };
        let bound = self.bound.remove(name).unwrap_or_else(loopback);
        let mut roster = self.roster.clone();
        let mut offer = Offer::default();
        let mut executors: Option<crate::driver::ExecutorsFactory> = None;
        if role == Role::Worker {
            roster.gates.clear();
            offer = Offer { cores: 4, executors: vec![ExecutorKind::Sleep] };
            executors = Some(Box::new(|events| Box::new(Sleepers { events, threads: Vec::new() })));
        }
        let (tap, heard) = channel();
        self.taps.insert(name.into(), heard);
        let setup = NodeSetup {
            tls: self.keys.tls(&claims).unwrap(),
            gossip: self.keys.gossip(),
            advertise: bound.addr.to_string(),
            bound,
            roster,
            data_dir: self.dir.path().join(name),
            offer,
            timing: Timing::for_role(role),
            limits: Limits::default(),
            allow_two_voters: false,
            without: Features::NONE,
            executors,
            record: Some(recording(self.dir.path(), name)),
            tap: Some(tap),
        };
        self.nodes.push((name.into(), setup.start().await.unwrap_or_else(|error| panic!("{error}"))));
    }

    fn api(&self) -> ApiHandle {
        self.nodes[0].1.api()
    }

    /// Drains every node, workers first, and gives how each one ended.
    async fn drain(&mut self) -> Vec<(String, Exit)> {
        let mut exits = Vec::new();
        while let Some((name, node)) = self.nodes.pop() {
            node.drain();
            exits.push((name, node.wait().await));
        }
        exits
    }
}

fn recording(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.record"))
}

fn operator() -> Identity {
    Identity { tenant: "default".into(), operator: true }
}

fn sleep_job() -> JobSpec {
    let workflow = WorkflowSpec {
        name: "nap".into(),
        needs: vec![],
        executor: ExecutorKind::Sleep,
        load: Load { duration_ms: 300, instances: 2, ..Load::default() },
        cores: 1,
        payload: Bytes::default(),
    };
    JobSpec {
        name: "naps".into(),
        placement: Placement::Any,
        timeout_ms: 60_000,
        on_worker_loss: OnWorkerLoss::Replace,
        partial_results: false,
        retries: 10,
        workflow_retries: 3,
        thresholds: vec![],
        workflows: vec![workflow],
    }
}

async fn answer(api: &ApiHandle, request: Request) -> Answer {
    match api.call(operator(), request).await.unwrap() {
        Reply::Answer(answer) => answer,
        Reply::Stream(_) => panic!("a stream was not asked for"),
    }
}

/// Submits, again where the gate says so: it may not be active yet.
async fn submit(api: &ApiHandle) -> JobId {
    loop {
        let request = Request::Submit { key: Some("once".into()), spec: Box::new(sleep_job()) };
        match answer(api, request).await {
            Answer::Submitted(submitted) => return submitted.job,
            Answer::Fault(fault) if fault.is_retryable() => {
                tokio::time::sleep(Duration::from_millis(fault.retry_after_ms.into())).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Follows a job's events to its result, with little credit, so that credit is given again on the way.
async fn follow(api: &ApiHandle, job: JobId) -> (Vec<EventPos>, JobResult) {
    let request = Request::Events { job, after: None, credit: 2 };
    let Reply::Stream(mut stream) = api.call(operator(), request).await.unwrap() else { panic!("no stream") };
    let (mut positions, mut result) = (Vec::new(), None);
    while let Some(event) = stream.next().await {
        positions.push(event.pos);
        if let ClientEventKind::Final(found) = event.kind {
            result = Some(*found);
            break;
        }
    }
    (positions, result.expect("the stream ends with the result"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_over_real_sockets_and_every_life_replays() {
    let mut cluster = Cluster::start().await;
    let api = cluster.api();
    let job = submit(&api).await;
    let (positions, result) = tokio::time::timeout(Duration::from_secs(60), follow(&api, job)).await.unwrap();
    assert!(positions.is_sorted(), "{positions:?}");
    assert_eq!(result.status, JobStatus::Completed, "{result:?}");
    assert_eq!(answer(&api, Request::Result { job }).await, Answer::Result(Box::new(result)));

    let metrics = cluster.nodes[0].1.metrics().encode();
    assert!(metrics.contains("tidegate_steps_total") && metrics.contains("kind=\"JobFinal\""), "{metrics}");

    for (name, exit) in cluster.drain().await {
        assert_eq!(exit, Exit::Halted(HaltReason::Drained), "{name}");
        let replayed = replay(&recording(cluster.dir.path(), &name), |_, _, _| {});
        let replayed = replayed.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(replayed.steps > 2, "{name}: {replayed:?}");
        let heard: Vec<_> = cluster.taps[&name].try_iter().collect();
        let suspected = heard.iter().any(|(_, seen)| matches!(seen, Observation::Malformed(_)));
        assert!(!suspected, "{name}: {heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_node_that_has_ended_says_so() {
    let mut cluster = Cluster::start().await;
    let api = cluster.api();
    for (_, node) in cluster.nodes.drain(..) {
        node.stop();
        assert_eq!(node.wait().await, Exit::Stopped);
    }
    assert_eq!(api.call(operator(), Request::Members).await.unwrap_err(), crate::driver::NodeGone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_busy_with_load_suspects_nobody() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tidegate_core::swim::MemberStatus;

    let mut cluster = Cluster::start().await;
    let api = cluster.api();
    submit(&api).await;
    // Twice as many busy threads as cores, for many probe rounds.
    let busy = Arc::new(AtomicBool::new(true));
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    let load: Vec<_> = (0..threads)
        .map(|_| {
            let busy = Arc::clone(&busy);
            thread::spawn(move || while busy.load(Ordering::Relaxed) {})
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(8)).await;
    busy.store(false, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().unwrap());
    for (name, tap) in &cluster.taps {
        let heard: Vec<_> = tap.try_iter().map(|(_, observation)| observation).collect();
        assert!(heard.contains(&Observation::Active), "{name}: {heard:?}");
        let doubts = heard.iter().filter(|seen| {
            let status = match seen {
                Observation::Member { status, .. } => Some(status),
                _ => None,
            };
            matches!(status, Some(MemberStatus::Suspect | MemberStatus::Dead))
        });
        assert_eq!(doubts.count(), 0, "{name}: {heard:?}");
    }
    for (_, node) in cluster.nodes.drain(..) {
        node.stop();
        node.wait().await;
    }
}
