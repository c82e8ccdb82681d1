//! Simulated executors: they do nothing, and know exactly how much of it.
//!
//! The numbers of an execution are a function of its load and of how long it ran, so what was really done can be
//! compared with what reaches the client. An execution lives in its worker's process and dies with it.

use std::collections::BTreeMap;

use tidegate_core::event::Event;
use tidegate_core::id::RunId;
use tidegate_core::jobs::{
    ExecCommand, ExecEvent, ExecutorKind, Outcome, ShardRun, StopMode, Totals, Window,
};
use tidegate_core::stats::{Sketch, WindowSketch};
use tidegate_core::time::Duration;

use super::clock::Time;
use super::facts::{Fact, HostIx};
use super::fate::{About, Draw};
use super::{Item, Machine, World};
use crate::plan::{Behaviour, Ending, Plan};

const MS: Time = 1_000_000;
/// Windows in one report at most: what the protocol allows a worker to send on.
const WINDOWS_MAX: usize = 32;

/// One execution.
#[derive(Debug)]
pub(super) struct Execution {
    pub run: RunId,
    shard: ShardRun,
    behaviour: Behaviour,
    due_at: Time,
    begins_at: Time,
    began: bool,
    end: Option<(Time, Outcome)>,
    windows_told: u32,
    /// Ticks of an older plan are ignored.
    plan_no: u32,
}

/// What executions of a workflow do, by payload.
pub(super) fn behaviours(plan: &Plan) -> BTreeMap<Vec<u8>, Behaviour> {
    let jobs = plan.clients.iter().flat_map(|client| &client.jobs);
    let workflows = jobs.flat_map(|job| job.workflows.iter().map(move |workflow| (job, workflow)));
    workflows
        .map(|(job, workflow)| {
            (format!("{}/{}", job.name, workflow.name).into_bytes(), workflow.behaviour.clone())
        })
        .collect()
}

impl Execution {
    fn new(run: RunId, shard: ShardRun, behaviour: Behaviour, due_at: Time, draw: Draw) -> Self {
        let late = draw.below(u64::from(behaviour.start_late_ms) * MS + 1);
        let begins_at = due_at + late;
        let end = natural_end(&run, &shard, &behaviour).map(|(after, outcome)| (begins_at + after, outcome));
        Self { run, shard, behaviour, due_at, begins_at, began: false, end, windows_told: 0, plan_no: 0 }
    }

    fn ran_ms(&self, now: Time) -> u64 {
        let until = self.end.map_or(now, |(end, _)| end.min(now));
        until.saturating_sub(self.begins_at) / MS
    }

    fn is_silent(&self, now: Time) -> bool {
        let ms = self.ran_ms(now);
        let mut spans = self.behaviour.silent_ms.iter();
        is_concerned(&self.run, &self.behaviour)
            && spans.any(|&[from, until]| (from.into()..until.into()).contains(&ms))
    }

    /// What it has done by now; complete once `outcome` is known.
    fn totals(&self, now: Time, outcome: Option<Outcome>) -> Totals {
        let ms = self.ran_ms(now);
        let mut totals = Totals { elapsed_ms: ms as u32, ..Totals::default() };
        match (self.shard.executor, outcome) {
            (ExecutorKind::Http, _) => {
                let (ok, err) = self.requests(ms);
                (totals.ok, totals.err) = (ok, err);
                totals.vu_ms = u64::from(self.shard.load.vus) * ms;
                (totals.bytes_in, totals.bytes_out) = ((ok + err) * 100, (ok + err) * 10);
                (totals.latency, totals.service) = (latencies(ok + err), latencies(ok + err));
                if err > 0 {
                    totals.count_error("status 503", err);
                }
            }
            (_, Some(outcome @ (Outcome::Completed | Outcome::Failed))) => {
                (totals.latency, totals.service) = (Sketch::of(ms * 1_000, 1), Sketch::of(ms * 1_000, 1));
                if outcome == Outcome::Completed {
                    totals.ok = 1;
                } else {
                    totals.err = 1;
                    totals.count_error("exit 1", 1);
                }
            }
            _ => {}
        }
        totals
    }

    /// Requests that ended well and not, after so many milliseconds.
    fn requests(&self, ms: u64) -> (u64, u64) {
        let load = &self.shard.load;
        let all = if load.rate_milli > 0 {
            load.rate_milli * ms / 1_000_000
        } else {
            u64::from(load.vus) * u64::from(self.behaviour.requests_per_vu_s) * ms / 1_000
        };
        let err = all * u64::from(self.behaviour.error_permille) / 1_000;
        (all - err, err)
    }

    /// Seconds that were closed since the last report.
    fn windows(&mut self, now: Time) -> Vec<Window> {
        if self.shard.executor != ExecutorKind::Http {
            return Vec::new();
        }
        let closed = (self.ran_ms(now) / 1_000) as u32;
        let first = self.windows_told.max(closed.saturating_sub(WINDOWS_MAX as u32));
        self.windows_told = closed;
        let before = self.shard.elapsed_before_ms / 1_000;
        let window = |second: u32| {
            let [(ok, err), (ok_next, err_next)] =
                [second, second + 1].map(|s| self.requests(u64::from(s) * 1_000));
            let (ok, err) = (ok_next - ok, err_next - err);
            Window { no: before + second, count: 1, ok, err, latency: WindowSketch::of(1_000, ok + err) }
        };
        (first..closed).map(window).collect()
    }
}

/// Whether what is odd of a workflow's executions concerns this one.
fn is_concerned(run: &RunId, behaviour: &Behaviour) -> bool {
    (behaviour.attempts == 0 || run.attempt.0 <= behaviour.attempts)
        && (behaviour.shards.is_empty() || behaviour.shards.contains(&run.shard.shard))
}

/// When an execution that nobody stops ends, from its begin, and how.
fn natural_end(run: &RunId, shard: &ShardRun, behaviour: &Behaviour) -> Option<(Time, Outcome)> {
    let concerned = is_concerned(run, behaviour);
    // A command's duration is its limit: it needs half of it.
    let parts = if shard.executor == ExecutorKind::Command { 2 } else { 1 };
    let whole = u64::from(shard.load.duration_ms) * MS / parts;
    match behaviour.ending {
        Ending::FailAfterMs(ms) if concerned => Some((u64::from(ms) * MS, Outcome::Failed)),
        Ending::OverrunMs(ms) if concerned => Some((whole + u64::from(ms) * MS, Outcome::Completed)),
        Ending::Hang if concerned => None,
        _ => Some((whole, Outcome::Completed)),
    }
}

/// Latencies of so many requests: most take 2 ms, one in ten 8 ms, one in a hundred 60 ms. Buckets only grow.
fn latencies(requests: u64) -> Sketch {
    let (slow, slower) = (requests / 10, requests / 100);
    let mut sketch = Sketch::of(2_000, requests - slow - slower);
    sketch.merge(&Sketch::of(8_000, slow));
    sketch.merge(&Sketch::of(60_000, slower));
    sketch
}

impl<M: Machine> World<M> {
    /// A worker asks something of its executors.
    pub(super) fn exec_command(&mut self, host: HostIx, command: ExecCommand) {
        match command {
            ExecCommand::Start { run, shard, start_in } => self.exec_start(host, run, *shard, start_in),
            ExecCommand::Stop { run, mode } => self.exec_stop(host, run, mode),
        }
    }

    fn exec_start(&mut self, host: HostIx, run: RunId, shard: ShardRun, start_in: Duration) {
        self.tell(&Fact::RunAsked { host, run, shard: &shard });
        let behaviour = self.behaviours.get(&shard.payload.0).cloned().unwrap_or_default();
        let begun = self.hosts[host].executions_begun;
        self.hosts[host].executions_begun += 1;
        let number = u64::from(run.shard.shard) << 32 | u64::from(run.attempt.0);
        let draw = self.fate.of(self.hosts[host].key).decide(
            About::Execution,
            u64::from(run.shard.workflow.0),
            number,
        );
        let execution = Execution::new(run, shard, behaviour, self.now + start_in.as_nanos(), draw);
        let at = execution.begins_at;
        self.hosts[host].executions.insert(begun, execution);
        self.queue.push(
            at,
            Item::Exec { host: host as u32, boot: self.scene.boots[host], execution: begun, plan: 0 },
        );
    }

    fn exec_stop(&mut self, host: HostIx, run: RunId, mode: StopMode) {
        let now = self.now;
        let found = self.hosts[host].executions.iter_mut().find(|(_, execution)| execution.run == run);
        let Some((&id, execution)) = found else { return };
        let (takes, outcome) = match mode {
            StopMode::Graceful if execution.behaviour.ignores_stop => return,
            StopMode::Graceful if execution.began => {
                (u64::from(execution.behaviour.stop_takes_ms) * MS, Outcome::Cancelled)
            }
            StopMode::Graceful => (0, Outcome::Cancelled),
            StopMode::Kill => (u64::from(execution.behaviour.kill_takes_ms) * MS, Outcome::Killed),
        };
        let end = now + takes;
        if execution.end.is_some_and(|(natural, _)| natural <= end) {
            return;
        }
        execution.end = Some((end, outcome));
        execution.plan_no += 1;
        let plan = execution.plan_no;
        self.queue
            .push(end, Item::Exec { host: host as u32, boot: self.scene.boots[host], execution: id, plan });
    }

    /// The next thing happens to an execution: it begins, reports, or ends.
    pub(super) fn exec_tick(&mut self, host: HostIx, id: u32, plan: u32) {
        let now = self.now;
        let Some(execution) = self.hosts[host].executions.get_mut(&id).filter(|known| known.plan_no == plan)
        else {
            return;
        };
        let run = execution.run;
        if let Some((_, outcome)) = execution.end.filter(|(end, _)| *end <= now) {
            return self.exec_end(host, id, outcome);
        }
        if execution.began {
            if execution.is_silent(now) {
                return self.exec_next(host, id);
            }
            let (totals, windows) = (Box::new(execution.totals(now, None)), execution.windows(now));
            self.tell(&Fact::RunReported { host, run, totals: &totals });
            self.exec_next(host, id);
            self.deliver(host, Event::Exec(Box::new(ExecEvent::Progress { run, totals, windows })));
        } else {
            execution.began = true;
            let late = Duration::from_nanos(now - execution.due_at);
            self.scene.runs.insert(run, host);
            self.tell(&Fact::RunBegan { host, run });
            self.exec_next(host, id);
            self.deliver(host, Event::Exec(Box::new(ExecEvent::Started { run, late })));
        }
    }

    /// Arms the next report, or the end.
    fn exec_next(&mut self, host: HostIx, id: u32) {
        let sample = self.hosts[host]
            .config
            .as_ref()
            .map_or(250 * MS, |config| config.timing.progress_sample.as_nanos());
        let Some(execution) = self.hosts[host].executions.get(&id) else { return };
        let at = (self.now + sample).min(execution.end.map_or(Time::MAX, |(end, _)| end));
        let plan = execution.plan_no;
        self.queue
            .push(at, Item::Exec { host: host as u32, boot: self.scene.boots[host], execution: id, plan });
    }

    fn exec_end(&mut self, host: HostIx, id: u32, outcome: Outcome) {
        let Some(mut execution) = self.hosts[host].executions.remove(&id) else { return };
        let run = execution.run;
        let totals = Box::new(execution.totals(self.now, Some(outcome)));
        let windows = execution.windows(self.now);
        self.scene.runs.remove(&run);
        self.tell(&Fact::RunReported { host, run, totals: &totals });
        self.tell(&Fact::RunOver { host, run, outcome: Some(outcome), totals: &totals });
        let why = if outcome == Outcome::Failed { "failed as planned".to_string() } else { String::new() };
        self.deliver(host, Event::Exec(Box::new(ExecEvent::Finished { run, outcome, totals, windows, why })));
    }

    /// A worker's process is gone, and what ran in it.
    pub(super) fn exec_die(&mut self, host: HostIx) {
        for (_, execution) in std::mem::take(&mut self.hosts[host].executions) {
            let totals = execution.totals(self.now, None);
            self.scene.runs.remove(&execution.run);
            self.tell(&Fact::RunOver { host, run: execution.run, outcome: None, totals: &totals });
        }
    }
}
