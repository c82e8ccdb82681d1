//! What follows from a decision without another one: workflows become ready, end, or are skipped; lost attempts are
//! replaced, given up, or fail their workflow. Part of apply: facts in, facts out.

use alloc::format;
use alloc::string::String;

use super::job::{DcJob, ShardPhase, Workflow};
use crate::fault::Fault;
use crate::id::WorkflowIx;
use crate::jobs::{ExecutorKind, JobStatus, Load, OnWorkerLoss, Outcome, WorkflowStatus};
use crate::ledger::Changes;

impl Workflow {
    /// It cannot complete any more; the first reason stands.
    pub(super) fn fail(&mut self, why: &str, otherwise: &str) {
        self.facts.failing = true;
        if self.facts.why.is_empty() {
            self.facts.why = cut(if why.is_empty() { otherwise } else { why });
        }
    }

    /// How it ended, now that no shard of it is held by a worker any more.
    fn end(&self, verdict: Option<JobStatus>) -> WorkflowStatus {
        let count = |wanted: ShardPhase| self.plan().filter(|(_, shard)| shard.facts.phase == wanted).count();
        let completed = count(ShardPhase::Done(Outcome::Completed));
        if self.facts.planned > 0 && completed == usize::from(self.facts.planned) {
            return WorkflowStatus::Completed;
        }
        if self.facts.failing {
            return WorkflowStatus::Failed;
        }
        match verdict {
            Some(JobStatus::TimedOut) => WorkflowStatus::TimedOut,
            Some(_) => WorkflowStatus::Cancelled,
            None if count(ShardPhase::Done(Outcome::TimedOut)) > 0 => WorkflowStatus::TimedOut,
            None if completed > 0 || self.totals.requests() > 0 => WorkflowStatus::Completed,
            None => WorkflowStatus::Failed,
        }
    }
}

/// A reason for a person, cut to what a report may hold.
fn cut(why: &str) -> String {
    let end = (0..=why.len().min(Fault::MAX_DETAIL)).rev().find(|&at| why.is_char_boundary(at));
    String::from(&why[..end.unwrap_or(0)])
}

/// Whether this part of a workflow's load is nothing to run.
pub fn is_nothing(kind: ExecutorKind, whole: Load, part: Load) -> bool {
    match kind {
        ExecutorKind::Http => part.vus == 0 || (whole.rate_milli > 0 && part.rate_milli == 0),
        ExecutorKind::Sleep | ExecutorKind::Command => part.instances == 0,
    }
}

impl DcJob {
    /// Moves every workflow as far as the facts allow.
    pub(super) fn advance(&mut self, changes: &mut Changes) {
        while self.places().any(|workflow| self.advance_one(workflow, changes)) {}
    }

    /// Moves one workflow; tells whether it did.
    fn advance_one(&mut self, workflow: WorkflowIx, changes: &mut Changes) -> bool {
        let known = &self.workflows[usize::from(workflow.0)];
        let before = known.facts.status;
        let stopping = self.facts.verdict.is_some() || known.facts.failing;
        let next = match before {
            WorkflowStatus::Blocked => self.unblocked(workflow),
            WorkflowStatus::Ready | WorkflowStatus::RetryWait => self.waiting(workflow),
            WorkflowStatus::Dispatching if known.has_live_shards() && stopping => WorkflowStatus::Cancelling,
            WorkflowStatus::Dispatching if known.has_live_shards() => before,
            WorkflowStatus::Dispatching if stopping => known.end(self.facts.verdict),
            WorkflowStatus::Dispatching => WorkflowStatus::RetryWait,
            WorkflowStatus::Running | WorkflowStatus::Cancelling if stopping => match known.has_live_shards()
            {
                true => WorkflowStatus::Cancelling,
                false => known.end(self.facts.verdict),
            },
            WorkflowStatus::Running if known.is_over() => known.end(None),
            _ => before,
        };
        if next == WorkflowStatus::RetryWait && before == WorkflowStatus::Dispatching {
            self.workflows[usize::from(workflow.0)].facts.planned = 0;
        }
        if next == WorkflowStatus::Failed {
            self.workflows[usize::from(workflow.0)].fail("", "every worker that ran it was lost");
        }
        self.set_status(workflow, next, changes);
        next != before
    }

    /// Where a blocked workflow goes.
    fn unblocked(&self, workflow: WorkflowIx) -> WorkflowStatus {
        if let Some(verdict) = self.facts.verdict {
            return stopped_as(verdict);
        }
        let needs =
            || self.spec(workflow).needs.iter().map(|need| self.workflows[usize::from(need.0)].facts.status);
        if needs().all(|status| status == WorkflowStatus::Completed) {
            WorkflowStatus::Ready
        } else if needs().any(|status| status.is_final() && status != WorkflowStatus::Completed) {
            WorkflowStatus::Skipped
        } else {
            WorkflowStatus::Blocked
        }
    }

    /// Where a workflow goes that has no reservations.
    fn waiting(&self, workflow: WorkflowIx) -> WorkflowStatus {
        let (spec, known) = (self.spec(workflow), &self.workflows[usize::from(workflow.0)]);
        match self.facts.verdict {
            _ if known.facts.failing => WorkflowStatus::Failed,
            Some(verdict) => stopped_as(verdict),
            None if is_nothing(spec.executor, spec.load, self.load(workflow)) => WorkflowStatus::Completed,
            None => known.facts.status,
        }
    }

    /// The job's policy for an attempt that was lost.
    pub(super) fn follow_policy(
        &mut self,
        workflow: WorkflowIx,
        no: u16,
        paid: bool,
        had_begun: bool,
        why: &str,
    ) {
        let stopping = self.facts.verdict.is_some();
        let policy = self.accepted.spec.on_worker_loss;
        let known = &mut self.workflows[usize::from(workflow.0)];
        if stopping || known.facts.failing {
            if let Some(shard) = known.shards.get_mut(&no) {
                shard.facts.phase = ShardPhase::Done(Outcome::Killed);
            }
            return;
        }
        match policy {
            OnWorkerLoss::Degrade if had_begun => self.give_up(workflow, no),
            OnWorkerLoss::Fail if had_begun => known.fail(why, "its worker was lost"),
            _ if paid => self.pay_retry(workflow, why),
            _ => {}
        }
    }

    /// Takes a retry from both budgets, or fails the workflow where one is used up.
    fn pay_retry(&mut self, workflow: WorkflowIx, why: &str) {
        let (job_limit, limit) = (self.accepted.spec.retries, self.accepted.spec.workflow_retries);
        let known = &mut self.workflows[usize::from(workflow.0)];
        if self.facts.retries_used >= job_limit || known.facts.retries_used >= limit {
            let budget = format!(
                "no retries left (job {} of {job_limit}, workflow {} of {limit}): {why}",
                self.facts.retries_used, known.facts.retries_used
            );
            return known.fail(&budget, "");
        }
        self.facts.retries_used += 1;
        known.facts.retries_used += 1;
    }

    /// A lost shard is not replaced: what it did not cover is named.
    pub(super) fn give_up(&mut self, workflow: WorkflowIx, no: u16) {
        let whole_ms = self.spec(workflow).load.duration_ms;
        let known = &mut self.workflows[usize::from(workflow.0)];
        if let Some(shard) = known.shards.get_mut(&no) {
            shard.facts.phase = ShardPhase::GivenUp;
            let gap = whole_ms.saturating_sub(shard.facts.covered_ms);
            known.facts.uncovered_vu_ms += u64::from(gap) * u64::from(shard.facts.load.vus);
        }
    }

    /// The status with which a job ends whose workflows have all ended.
    pub(super) fn outcome(&self) -> JobStatus {
        let any = |wanted| self.workflows.iter().any(|workflow| workflow.facts.status == wanted);
        match self.facts.verdict {
            Some(verdict) => verdict,
            None if self.workflows.iter().all(|known| known.facts.status == WorkflowStatus::Completed) => {
                JobStatus::Completed
            }
            None if any(WorkflowStatus::Completed) && self.accepted.spec.partial_results => {
                JobStatus::Partial
            }
            None if any(WorkflowStatus::TimedOut) && !any(WorkflowStatus::Failed) => JobStatus::TimedOut,
            None => JobStatus::Failed,
        }
    }
}

impl Workflow {
    /// Whether every shard of the plan has ended for good.
    fn is_over(&self) -> bool {
        self.plan().all(|(_, shard)| matches!(shard.facts.phase, ShardPhase::Done(_) | ShardPhase::GivenUp))
    }
}

/// How a workflow ends that a stop finds without reservations.
const fn stopped_as(verdict: JobStatus) -> WorkflowStatus {
    match verdict {
        JobStatus::TimedOut => WorkflowStatus::TimedOut,
        _ => WorkflowStatus::Cancelled,
    }
}
