//! Transcripts of the worker: what goes in, what comes out.
//!
//! The cast: managers M1 and M2 of datacenter `fra`, job A with workflow 0, a worker of 4 cores that may `sleep` and
//! `http`. Datagrams and pings are left out of the transcripts.

mod fences;
mod lifecycle;
mod managers;
mod orphans;
mod pleas;
mod results;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use expect_test::Expect;

use super::*;
use crate::bytes::Bytes;
use crate::config::{Datacenter, Limits, Offer, Peer, Roster, Timing};
use crate::id::{Attempt, DcEpoch, DcId, DiskId, Role, WorkflowIx};
use crate::jobs::{ExecCommand, ExecutorKind, Load, Outcome, ShardRun, StopMode, Totals, Window};
use crate::store::{RowKey, StoreToken};
use crate::swim::Addr;
use crate::wire::{HeldShard, ReserveShard, RunPhase};

const M1: NodeId = NodeId([0x51; 16]);
const M2: NodeId = NodeId([0x52; 16]);
const A: JobId = JobId([0xaa; 16]);
const B: JobId = JobId([0xbb; 16]);
const BOOT: BootNo = BootNo(3);

fn dc() -> DcId {
    DcId::new("fra").unwrap()
}

/// Attempt `attempt` of shard `shard` of workflow 0 of job A.
fn run(shard: u16, attempt: u32) -> RunId {
    run_of(A, shard, attempt)
}

fn run_of(job: JobId, shard: u16, attempt: u32) -> RunId {
    RunId { shard: ShardKey { job, workflow: WorkflowIx(0), dc: dc(), shard }, attempt: Attempt(attempt) }
}

fn totals(ok: u64) -> Box<Totals> {
    Box::new(Totals { ok, ..Totals::default() })
}

fn window(no: u32) -> Window {
    Window { no, count: 1, ok: 1, ..Window::default() }
}

/// A worker with its clock and its disk.
struct Stage {
    worker: Worker,
    now: Now,
    /// What the disk has, once `store` has said so.
    rows: BTreeMap<RowKey, Bytes>,
    unstored: Vec<(StoreToken, Vec<crate::store::Write>)>,
    lines: Vec<String>,
}

impl Stage {
    fn boot(rows: Vec<(RowKey, Bytes)>, boot: BootNo) -> Self {
        let peer = |node, name: &str| Peer { node, name: name.into(), addr: Addr { ip: [1; 16], port: 1 } };
        let config = NodeConfig {
            cluster: "c".into(),
            role: Role::Worker,
            dc: dc(),
            name: "w1".into(),
            node: NodeId([0x77; 16]),
            addr: Addr { ip: [9; 16], port: 9 },
            roster: Roster {
                gates: vec![],
                datacenters: vec![Datacenter {
                    dc: dc(),
                    managers: vec![peer(M1, "m1"), peer(M2, "m2")],
                    region: dc(),
                }],
            },
            offer: Offer { cores: 4, executors: vec![ExecutorKind::Sleep, ExecutorKind::Http] },
            timing: Timing::for_role(Role::Worker),
            limits: Limits::default(),
            allow_two_voters: false,
            minor: crate::wire::MINOR,
        };
        let boot = Boot { config, boot, disk: DiskId([1; 16]), seed: [7; 32], rows: rows.clone() };
        let worker = Worker::new(boot).unwrap();
        let rows = rows.into_iter().collect();
        let mut stage = Self { worker, now: Now::default(), rows, unstored: Vec::new(), lines: Vec::new() };
        stage.step(Event::Start);
        stage
    }

    /// Registered at both managers, nothing said yet.
    fn ready() -> Self {
        let mut stage = Self::boot(Vec::new(), BOOT);
        for manager in [M1, M2] {
            stage.connect(manager);
            stage.accept(manager);
        }
        stage.lines.clear();
        stage
    }

    /// With a run of shard 0 under way for M1, nothing said of it.
    fn running() -> Self {
        let mut stage = Self::ready();
        stage.reserve(M1, run(0, 1), 1);
        stage.start(M1, run(0, 1), 1);
        stage.exec(ExecEvent::Started { run: run(0, 1), late: Duration::ZERO });
        stage.at(150);
        stage.lines.clear();
        stage
    }

    fn step(&mut self, event: Event) {
        let mut out = Effects::new();
        self.worker.step_into(self.now, event, &mut out);
        for effect in out {
            if let Effect::Store { token, writes } = &effect {
                self.unstored.push((*token, writes.clone()));
            }
            self.lines.extend(show(&effect));
        }
        self.check();
    }

    /// What holds after every step.
    fn check(&self) {
        let worker = &self.worker;
        let active = worker.jobs.values().flat_map(|job| job.active());
        assert_eq!(active.map(|(_, run)| run.cores).sum::<u16>(), worker.used_cores);
        for timer in worker.timers.keys() {
            match timer {
                Timer::Hold(run) | Timer::Limit(run) | Timer::Kill(run) | Timer::Flush(run) => {
                    let shard = worker.shard(run.shard).expect("a timer of a shard that is gone");
                    assert_eq!(shard.active.as_ref().map(|run| run.attempt), Some(run.attempt), "{timer:?}");
                }
                Timer::Resend(job) | Timer::Orphan(job) | Timer::Plea(job) | Timer::Memory(job) => {
                    assert!(worker.jobs.contains_key(job), "a timer of a job that is gone");
                }
                Timer::Heartbeat | Timer::Isolation | Timer::Drain | Timer::Register(_) => {}
            }
        }
        for (job, record) in &worker.jobs {
            let forgotten_by_time = worker.timers.deadline(Timer::Memory(*job)).is_some();
            assert_eq!(
                record.is_idle(),
                forgotten_by_time,
                "an idle job ends by itself, a busy one does not"
            );
        }
    }

    /// Lets time pass until `ms` after the start, wake by wake.
    fn at(&mut self, ms: u64) {
        let until = Instant::ZERO + Duration::from_millis(ms);
        while let Some(due) = self.worker.wake_at().filter(|due| *due <= until) {
            self.now.mono = self.now.mono.max(due);
            self.step(Event::Wake);
        }
        self.now.mono = until;
    }

    /// Lets time pass while these managers are heard every second.
    fn at_with(&mut self, managers: &[NodeId], ms: u64) {
        let start = self.now.mono.as_nanos() / 1_000_000;
        for ms in (start..ms).step_by(1_000).skip(1).chain([ms]) {
            self.at(ms);
            managers.iter().for_each(|&manager| self.receive(manager, Message::Ping { token: 0 }));
        }
    }

    fn receive(&mut self, peer: NodeId, message: Message) {
        self.step(Event::Received { peer, message: Box::new(message) });
    }

    fn connect(&mut self, peer: NodeId) {
        self.step(Event::Connected { peer, boot: BootNo(1), dialect: crate::wire::Dialect::OURS });
    }

    fn accept(&mut self, peer: NodeId) {
        let boot = self.worker.boot;
        self.receive(peer, Message::RegisterWorkerReply { boot, accepted: Ok(()) });
    }

    fn reserve(&mut self, peer: NodeId, run: RunId, dc_epoch: u64) {
        self.reserve_with(peer, run, dc_epoch, |_| {});
    }

    fn reserve_with(&mut self, peer: NodeId, run: RunId, epoch: u64, change: impl Fn(&mut ReserveShard)) {
        let shard = ShardRun {
            executor: ExecutorKind::Http,
            payload: Bytes(vec![1]),
            load: Load { vus: 1, rate_milli: 0, duration_ms: 60_000, instances: 1 },
            first_vu: 0,
            elapsed_before_ms: 0,
            cores: 2,
            run_limit_ms: 90_000,
            workflow: WorkflowIx(0),
        };
        let mut reserve =
            ReserveShard { run, dc_epoch: DcEpoch(epoch), owner: peer, shard, boot: self.worker.boot };
        change(&mut reserve);
        self.receive(peer, Message::ReserveShard(Box::new(reserve)));
    }

    fn start(&mut self, peer: NodeId, run: RunId, dc_epoch: u64) {
        self.receive(peer, Message::StartShard { run, dc_epoch: DcEpoch(dc_epoch), start_in_us: 100_000 });
    }

    fn stop(&mut self, peer: NodeId, run: RunId, dc_epoch: u64, mode: StopMode) {
        self.receive(peer, Message::StopShard { run, dc_epoch: DcEpoch(dc_epoch), mode });
    }

    fn exec(&mut self, event: ExecEvent) {
        self.step(Event::Exec(Box::new(event)));
    }

    fn progress(&mut self, run: RunId, ok: u64, windows: &[u32]) {
        let windows = windows.iter().map(|no| window(*no)).collect();
        self.exec(ExecEvent::Progress { run, totals: totals(ok), windows });
    }

    fn finish(&mut self, run: RunId, outcome: Outcome) {
        self.exec(ExecEvent::Finished {
            run,
            outcome,
            totals: totals(9),
            windows: vec![],
            why: String::new(),
        });
    }

    fn ack(&mut self, peer: NodeId, run: RunId, stored: Result<(), Fault>) {
        self.receive(peer, Message::ShardResultAck { run, stored });
    }

    /// The disk has everything.
    fn stored(&mut self) {
        let Some(token) = self.unstored.last().map(|(token, _)| *token) else { return };
        for write in self.unstored.drain(..).flat_map(|(_, writes)| writes) {
            match write.value {
                Some(bytes) => self.rows.insert(write.key, bytes),
                None => self.rows.remove(&write.key),
            };
        }
        self.step(Event::Stored { token });
    }

    /// The process ends; the next one starts from what was durable.
    fn restart(self) -> Self {
        let boot = self.worker.boot.next();
        Self::boot(self.rows.into_iter().collect(), boot)
    }

    /// Compares everything since the last comparison.
    fn expect(&mut self, expected: Expect) {
        expected.assert_eq(&core::mem::take(&mut self.lines).join("\n"));
    }
}

fn name(node: NodeId) -> &'static str {
    match node {
        M1 => "M1",
        M2 => "M2",
        _ => "?",
    }
}

fn key(run: &RunId) -> String {
    let job = match run.shard.job {
        A => "A",
        B => "B",
        _ => "?",
    };
    format!("{job}/{}#{}", run.shard.shard, run.attempt)
}

fn held(list: &[HeldShard]) -> String {
    let one = |shard: &HeldShard| {
        let phase = match shard.phase {
            RunPhase::Reserved => "reserved",
            RunPhase::Running => "running",
            RunPhase::Stopping => "stopping",
            RunPhase::Ended => "ended",
        };
        format!("{} {phase}", key(&shard.run))
    };
    format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn answer<T: core::fmt::Debug>(answer: &Result<T, Fault>) -> String {
    match answer {
        Ok(value) => format!("ok {value:?}").replace(" ()", ""),
        Err(fault) => {
            format!(
                "{:?}{}",
                fault.code,
                fault.owner.map(|at| format!(" at {}", name(at))).unwrap_or_default()
            )
        }
    }
}

fn show_message(message: &Message) -> Option<String> {
    Some(match message {
        Message::Ping { .. } | Message::Pong { .. } => return None,
        Message::RegisterWorker { boot, cores, executors, held: list, .. } => {
            format!("register boot={boot} cores={cores} executors={} held={}", executors.len(), held(list))
        }
        Message::WorkerHeartbeat { version, free_cores, draining, held: list, .. } => {
            let draining = if *draining { " draining" } else { "" };
            format!("heartbeat v{version} free={free_cores}{draining} held={}", held(list))
        }
        Message::ReserveShardReply { run, reserved, .. } => {
            format!("reserved {} {}", key(run), answer(reserved))
        }
        Message::ShardStarted { run, started, .. } => format!("started {} {}", key(run), answer(started)),
        Message::StopShardReply { run, was, .. } => format!("stop {} {was:?}", key(run)),
        Message::ShardProgress { run, seq, totals, windows } => {
            let windows: Vec<_> =
                windows.iter().map(|window| format!("{}+{}", window.no, window.count)).collect();
            format!("progress {} seq={seq} ok={} windows=[{}]", key(run), totals.ok, windows.join(" "))
        }
        Message::ShardResult(report) => {
            let (run, ok) = (key(&report.run), report.totals.ok);
            format!(
                "result {run} {:?} ok={ok} late={}us {}",
                report.outcome, report.start_late_us, report.why
            )
            .trim_end()
            .into()
        }
        Message::OwnerChangedReply { held: Ok(list), .. } => format!("owner reply held={}", held(list)),
        Message::OwnerChangedReply { held: Err(fault), .. } => {
            format!("owner reply {}", answer(&Err::<(), _>(fault.clone())))
        }
        other => format!("{other:?}"),
    })
}

/// One line for an effect; none for pings and datagrams.
fn show(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::SendDatagram { .. } => return None,
        Effect::Send { to, message } => format!("-> {} {}", name(*to), show_message(message)?),
        Effect::Store { token, writes } => {
            let one = |write: &crate::store::Write| {
                let what = if write.value.is_some() { "put" } else { "delete" };
                let (shard, attempt) = (write.key[20], write.key[24]);
                format!("{what} {shard}#{attempt}")
            };
            format!("store {}: {}", token.0, writes.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Effect::Exec(command) => match &**command {
            ExecCommand::Start { run, start_in, .. } => {
                format!("exec start {} in {}ms", key(run), start_in.as_millis())
            }
            ExecCommand::Stop { run, mode } => format!("exec stop {} {mode:?}", key(run)),
        },
        Effect::Observe(observation) => {
            let run = |key: &crate::observe::RunKey| format!("{}#{}", key.shard, key.attempt);
            match observation {
                Observation::RunReserved(key) => format!("observe reserved {}", run(key)),
                Observation::RunStarted(key) => format!("observe started {}", run(key)),
                Observation::RunEnded { run: key, outcome } => {
                    format!("observe ended {} {outcome:?}", run(key))
                }
                Observation::ResultAcked(key) => format!("observe acked {}", run(key)),
                Observation::Orphaned(key) => format!("observe orphaned {}", run(key)),
                Observation::JobDropped(job) => {
                    format!("observe dropped {}", if *job == A { "A" } else { "B" })
                }
                Observation::Member { .. } | Observation::PingMissed(_) | Observation::Greeted { .. } => {
                    return None;
                }
                other => format!("observe {other:?}"),
            }
        }
        Effect::Halt(why) => format!("halt {why:?}"),
        other => format!("{other:?}"),
    })
    .map(|line| line.to_string())
}
