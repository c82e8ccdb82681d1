//! Counts are conserved, and nothing is counted twice.
//!
//! The simulated executors know exactly what they did. Of a workflow in a datacenter, per source:
//!
//! - `http`: attempts add up. The result has at least what every attempt did that ended by itself as asked and was not
//!   given up before (its worker was lost: what it had reported is frozen), and at most what all attempts did together.
//!   Where no attempt was lost, stopped or failed, both are the same number.
//! - `sleep`, `command`: only finished attempts count: at most one for each shard, and exactly one for each where the
//!   workflow completed.
//!
//! The sum of the latency histogram is the number of requests: a sample that is merged twice, or lost, shows there.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::id::{DcId, JobId, RunId, ShardKey, WorkflowIx};
use tidegate_core::jobs::{ExecutorKind, JobResult, Outcome, Totals, WorkflowReport, WorkflowStatus};
use tidegate_core::observe::Observation;
use tidegate_core::wire::Message;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

/// What reached a manager this long before a loss is in the log is a part of it.
const DECIDING: Time = 5_000_000_000;

#[derive(Debug)]
struct Ran {
    executor: ExecutorKind,
    outcome: Option<Outcome>,
    over: bool,
    done: u64,
    /// A manager gave the attempt up: what it had reported by then is all that counts of it.
    given_up: bool,
    /// What reached a manager: when, how much, which one, and under which start of its process.
    reported: Vec<(Time, u64, HostIx, u32)>,
    /// Of a run that was given up by the manager to which it had reported: so much counts at least.
    frozen: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Counts {
    tested: u64,
    runs: BTreeMap<RunId, Ran>,
    /// Attempts that were given up before their worker began them: it slept with the reservation.
    given_up: BTreeSet<RunId>,
    judged: BTreeMap<JobId, JobResult>,
}

/// What the executions of a workflow in a datacenter really did.
#[derive(Default)]
struct Truth {
    least: u64,
    most: u64,
    completed_shards: BTreeSet<u16>,
    exact: bool,
    running: bool,
}

impl Counts {
    fn truth(&self, job: JobId, dc: DcId, workflow: WorkflowIx) -> Truth {
        let mut truth = Truth { exact: true, ..Truth::default() };
        let place =
            |run: &RunId| run.shard.job == job && run.shard.dc == dc && run.shard.workflow == workflow;
        for (run, ran) in self.runs.iter().filter(|(run, _)| place(run)) {
            let completed = ran.outcome == Some(Outcome::Completed) && !ran.given_up;
            truth.running |= !ran.over;
            truth.exact &= completed;
            truth.most += ran.done;
            truth.least += ran.frozen;
            if completed {
                truth.least += ran.done;
                truth.completed_shards.insert(run.shard.shard);
            }
        }
        truth
    }

    fn judge(&self, scene: &Scene, job: JobId, dc: DcId, report: &WorkflowReport) -> Result<(), String> {
        let totals = &report.totals;
        let here = format!("{} {} workflow {}", scene.job_name(job), dc, report.workflow);
        for (what, sketch) in [("latency", &totals.latency), ("service", &totals.service)] {
            if sketch.count() != totals.requests() {
                let (have, want) = (sketch.count(), totals.requests());
                return Err(format!("{here}: the {what} histogram has {have} samples for {want} requests"));
            }
        }
        let place = |run: &&RunId| {
            run.shard.job == job && run.shard.dc == dc && run.shard.workflow == report.workflow
        };
        let Some(executor) = self.runs.iter().find(|(run, _)| place(run)).map(|(_, ran)| ran.executor) else {
            return if totals.requests() == 0 {
                Ok(())
            } else {
                Err(format!("{here}: nothing ran, and it has {totals:?}"))
            };
        };
        let truth = self.truth(job, dc, report.workflow);
        let counted = totals.requests();
        if executor.attempts_add_up() {
            Self::judge_sum(&here, report, &truth, counted)
        } else {
            Self::judge_finished(&here, report, &truth, totals)
        }
    }

    fn judge_sum(here: &str, report: &WorkflowReport, truth: &Truth, counted: u64) -> Result<(), String> {
        if counted > truth.most && !truth.running {
            return Err(format!("{here}: {counted} requests are counted, {} were made", truth.most));
        }
        let completed = report.status == WorkflowStatus::Completed;
        if completed && counted < truth.least {
            return Err(format!(
                "{here}: {counted} requests are counted, {} were made by finished runs",
                truth.least
            ));
        }
        if completed && truth.exact && report.lost_attempts == 0 && counted != truth.most {
            return Err(format!(
                "{here}: {counted} requests are counted, {} were made, and nothing was lost",
                truth.most
            ));
        }
        Ok(())
    }

    fn judge_finished(
        here: &str,
        report: &WorkflowReport,
        truth: &Truth,
        totals: &Totals,
    ) -> Result<(), String> {
        let (ok, shards) = (totals.ok, u64::from(report.shards));
        if totals.requests() > shards {
            return Err(format!("{here}: {} executions are counted for {shards} shards", totals.requests()));
        }
        let completed = truth.completed_shards.len() as u64;
        if ok > completed {
            return Err(format!("{here}: {ok} executions are counted as completed, {completed} were"));
        }
        if report.status == WorkflowStatus::Completed && report.lost_attempts == 0 && ok != shards {
            return Err(format!("{here}: completed with {ok} of {shards} shards"));
        }
        Ok(())
    }
}

impl Spectator for Counts {
    fn name(&self) -> &'static str {
        "counts are conserved"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::RUNS.and(Interest::RESULTS).and(Interest::OBSERVATIONS).and(Interest::ARRIVALS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::RunAsked { run, shard, .. } => {
                self.runs.insert(
                    *run,
                    Ran {
                        executor: shard.executor,
                        outcome: None,
                        over: false,
                        done: 0,
                        given_up: self.given_up.contains(run),
                        reported: Vec::new(),
                        frozen: 0,
                    },
                );
            }
            Fact::Arrived { to, message: Message::ShardProgress { run, totals, .. }, .. } => {
                if let Some(ran) = self.runs.get_mut(run) {
                    ran.reported.push((scene.now, totals.requests(), *to, scene.boots[*to]));
                }
            }
            Fact::RunOver { run, outcome, totals, .. } => {
                if let Some(ran) = self.runs.get_mut(run) {
                    (ran.outcome, ran.over, ran.done) = (*outcome, true, totals.requests());
                }
            }
            Fact::Observed {
                host,
                observation: Observation::ShardLost { job, workflow, shard, attempt },
            } => {
                let shard =
                    ShardKey { job: *job, workflow: *workflow, dc: scene.hosts[*host].dc, shard: *shard };
                let run = RunId { shard, attempt: *attempt };
                if let Some(ran) = self.runs.get_mut(&run) {
                    if !ran.given_up && ran.outcome.is_none() && ran.executor.attempts_add_up() {
                        // Whoever decides it has what came to him before; what is on its way to the log may miss more.
                        let owner = scene.dc_owner(shard.job, shard.dc);
                        let known = |(at, _, to, boot): &&(Time, u64, HostIx, u32)| {
                            at + DECIDING < scene.now && Some(*to) == owner && scene.boots[*to] == *boot
                        };
                        ran.frozen =
                            ran.reported.iter().rfind(known).map_or(0, |(_, requests, ..)| *requests);
                    }
                    ran.given_up = true;
                    self.tested += 1;
                } else {
                    self.given_up.insert(run);
                }
            }
            Fact::ResultRead { result, .. } => {
                self.judged.entry(result.job).or_insert_with(|| (*result).clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Judged at the end, when nothing runs any more: what an execution did after its job's end counts as done, too.
    fn finish(&mut self, scene: &Scene) -> Result<(), String> {
        for (job, result) in &self.judged {
            for report in &result.per_dc {
                for workflow in &report.workflows {
                    self.judge(scene, *job, report.dc, workflow)?;
                }
            }
        }
        Ok(())
    }
}
