//! What each command changes.
//!
//! A function of the replicated facts and the command alone. A command that no longer fits (an old fence, an old
//! attempt, an ended job) changes nothing. What follows from a change without a new decision (a workflow that ends,
//! others that become ready or are skipped) is derived in [`super::graph`].

use alloc::vec::Vec;

use super::command::{At, Command, Loss, LossKind, Reservation};
use super::job::{Accepted, DcJob, JobFacts, JobLive, Shard, ShardFacts, ShardLive, ShardPhase, Workflow};
use super::numbers::{InParts, MAX_PARTS, Parts};
use super::state::{ManagerState, RowName};
use crate::bytes::Bytes;
use crate::id::{Attempt, DcEpoch, GateEpoch, JobId, NodeId, RunId, WorkflowIx};
use crate::jobs::{JobStatus, Outcome, Totals, WorkflowStatus};
use crate::ledger::Changes;
use crate::observe::Observation;
use crate::wire::ShardReport;

impl ManagerState {
    pub(super) fn apply_command(&mut self, command: &Command, changes: &mut Changes) {
        match command {
            Command::JobAccepted { accepted, gate_epoch, gate, owner } => {
                self.job_accepted(accepted, *gate_epoch, *gate, *owner, changes)
            }
            Command::GateOwnerSeen { job, gate_epoch, gate } => {
                self.gate_owner_seen(*job, *gate_epoch, *gate, changes)
            }
            Command::OwnerAssigned { jobs, owner } => self.owner_assigned(jobs, *owner, changes),
            Command::ShardsReserved { at, planned, shards } => {
                self.with_workflow(*at, changes, |job, changes| job.reserve(*at, *planned, shards, changes))
            }
            Command::ShardsStarted { at, shards, start_bound_us } => {
                self.with_workflow(*at, changes, |job, changes| {
                    job.start(*at, shards, *start_bound_us, changes)
                })
            }
            Command::ShardsLost { at, shards, why } => {
                self.with_workflow(*at, changes, |job, changes| job.take_losses(*at, shards, why, changes))
            }
            Command::ShardDone { report, numbers } => self.shard_done(report, *numbers, changes),
            Command::StopRecorded { job, gate_epoch, verdict, elapsed_ms } => {
                self.stop_recorded(*job, *gate_epoch, *verdict, *elapsed_ms, changes)
            }
            Command::JobFinal { job, dc_epoch, elapsed_ms } => {
                self.job_final(*job, *dc_epoch, *elapsed_ms, changes)
            }
            Command::JobsReaped { jobs } => self.jobs_reaped(jobs, changes),
            Command::Part { run, digest, part, bytes } => self.take_part(run, *digest, *part, bytes, changes),
        }
    }

    fn job_accepted(
        &mut self,
        accepted: &Accepted,
        gate_epoch: GateEpoch,
        gate: NodeId,
        owner: NodeId,
        changes: &mut Changes,
    ) {
        let job = accepted.job;
        if self.jobs.contains_key(&job) {
            return self.gate_owner_seen(job, gate_epoch, gate, changes);
        }
        if self.dropped.contains_key(&job) {
            return;
        }
        let facts = JobFacts {
            gate_epoch,
            gate,
            dc_epoch: DcEpoch(1),
            owner,
            verdict: None,
            ended: None,
            elapsed_ms: 0,
            retries_used: 0,
        };
        let workflows: Vec<_> = accepted.spec.workflows.iter().map(|_| Workflow::new()).collect();
        let mut record = DcJob { accepted: accepted.clone(), facts, workflows, live: JobLive::default() };
        changes.rows.insert(RowName::Accepted(job).key());
        changes.rows.insert(RowName::Facts(job).key());
        changes.observations.push(Observation::DcJobAccepted(job));
        changes.observations.push(Observation::DcOwner { job, dc_epoch: DcEpoch(1), owner });
        record.advance(changes);
        self.jobs.insert(job, record);
        changes.jobs.insert(job);
    }

    fn gate_owner_seen(&mut self, job: JobId, gate_epoch: GateEpoch, gate: NodeId, changes: &mut Changes) {
        let Some(record) = self.jobs.get_mut(&job).filter(|record| record.facts.gate_epoch < gate_epoch)
        else {
            return;
        };
        record.facts.gate_epoch = gate_epoch;
        record.facts.gate = gate;
        record.touch(changes);
    }

    fn owner_assigned(&mut self, jobs: &[(JobId, DcEpoch)], owner: NodeId, changes: &mut Changes) {
        for &(job, dc_epoch) in jobs {
            let Some(record) =
                self.jobs.get_mut(&job).filter(|record| record.facts.dc_epoch.next() == dc_epoch)
            else {
                continue;
            };
            record.facts.dc_epoch = dc_epoch;
            record.facts.owner = owner;
            record.touch(changes);
            changes.observations.push(Observation::DcOwner { job, dc_epoch, owner });
        }
    }

    /// Runs a change of a job that has not ended, if the command comes from its owner and names one of its workflows.
    fn with_workflow(
        &mut self,
        at: At,
        changes: &mut Changes,
        change: impl FnOnce(&mut DcJob, &mut Changes),
    ) {
        let fits = |record: &&mut DcJob| {
            record.facts.dc_epoch == at.dc_epoch
                && record.facts.ended.is_none()
                && record.workflow(at.workflow).is_some()
        };
        if let Some(record) = self.jobs.get_mut(&at.job).filter(fits) {
            record.facts.elapsed_ms = record.facts.elapsed_ms.max(at.elapsed_ms);
            record.touch(changes);
            change(record, changes);
            record.advance(changes);
        }
    }

    fn shard_done(&mut self, report: &ShardReport, numbers: Option<InParts>, changes: &mut Changes) {
        let job = report.run.shard.job;
        if let Some(record) = self.jobs.get_mut(&job).filter(|record| record.facts.ended.is_none()) {
            record.finish(report, numbers, changes);
            record.advance(changes);
        }
    }

    fn take_part(&mut self, run: &RunId, digest: u64, part: u16, bytes: &Bytes, changes: &mut Changes) {
        let key = run.shard;
        let Some(shard) = self.jobs.get_mut(&key.job).and_then(|record| record.shard_mut(&key)) else {
            return;
        };
        if shard.facts.attempt == run.attempt && shard.facts.phase.is_live() && part < MAX_PARTS {
            let stale = if shard.parts.digest == digest { 0 } else { MAX_PARTS };
            for old in shard.parts.bytes.keys().filter(|old| **old < stale) {
                changes.rows.insert(RowName::Part(key.job, key.workflow, key.shard, *old).key());
            }
            shard.parts.add(digest, part, bytes.clone());
            changes.rows.insert(RowName::Part(key.job, key.workflow, key.shard, part).key());
        }
    }

    fn stop_recorded(
        &mut self,
        job: JobId,
        gate_epoch: GateEpoch,
        verdict: JobStatus,
        elapsed_ms: u32,
        changes: &mut Changes,
    ) {
        let fits = |record: &&mut DcJob| {
            gate_epoch >= record.facts.gate_epoch
                && record.facts.verdict.is_none()
                && record.facts.ended.is_none()
                && !record.all_ended()
                && verdict.is_final()
        };
        if let Some(record) = self.jobs.get_mut(&job).filter(fits) {
            record.facts.verdict = Some(verdict);
            record.facts.elapsed_ms = record.facts.elapsed_ms.max(elapsed_ms);
            record.touch(changes);
            record.advance(changes);
        }
    }

    fn job_final(&mut self, job: JobId, dc_epoch: DcEpoch, elapsed_ms: u32, changes: &mut Changes) {
        let fits = |record: &&mut DcJob| {
            record.facts.dc_epoch == dc_epoch && record.facts.ended.is_none() && record.all_ended()
        };
        if let Some(record) = self.jobs.get_mut(&job).filter(fits) {
            let status = record.outcome();
            record.facts.ended = Some(status);
            record.facts.elapsed_ms = record.facts.elapsed_ms.max(elapsed_ms);
            record.touch(changes);
            changes.observations.push(Observation::DcJobFinal { job, status });
        }
    }

    fn jobs_reaped(&mut self, jobs: &[JobId], changes: &mut Changes) {
        for &job in jobs {
            let Some(status) = self.jobs.get(&job).and_then(|record| record.facts.ended) else {
                continue;
            };
            for row in self.rows_of(job) {
                changes.rows.insert(row.key());
            }
            self.jobs.remove(&job);
            changes.rows.insert(RowName::Dropped(job).key());
            if let Some(oldest) = self.remember_dropped(job, status) {
                changes.rows.insert(RowName::Dropped(oldest).key());
            }
            changes.jobs.insert(job);
            changes.observations.push(Observation::JobDropped(job));
        }
    }
}

impl DcJob {
    /// Names the record's facts as changed.
    fn touch(&self, changes: &mut Changes) {
        changes.rows.insert(RowName::Facts(self.accepted.job).key());
        changes.jobs.insert(self.accepted.job);
    }

    fn touch_totals(&self, workflow: WorkflowIx, changes: &mut Changes) {
        changes.rows.insert(RowName::Totals(self.accepted.job, workflow).key());
    }

    fn touch_shard(&self, workflow: WorkflowIx, no: u16, changes: &mut Changes) {
        changes.rows.insert(RowName::of_shard(self.accepted.job, workflow, no).key());
        self.touch(changes);
    }

    /// Takes a plan, or the replacement of lost shards.
    fn reserve(&mut self, at: At, planned: u16, shards: &[Reservation], changes: &mut Changes) {
        let whole = planned > 0;
        let stopping = self.facts.verdict.is_some();
        let known = &mut self.workflows[usize::from(at.workflow.0)];
        let fits = match known.facts.status {
            WorkflowStatus::Ready | WorkflowStatus::RetryWait => whole,
            WorkflowStatus::Dispatching => whole && known.facts.planned == planned,
            WorkflowStatus::Running => !whole,
            _ => false,
        };
        if !fits || stopping || known.facts.failing {
            return;
        }
        if whole {
            known.facts.planned = planned;
        }
        let fits = |reservation: &&Reservation| {
            let before = known.shards.get(&reservation.no);
            let next = before.map_or(Attempt(1), |shard| shard.facts.attempt.next());
            let free = before.is_none_or(|shard| shard.facts.phase == ShardPhase::Lost);
            reservation.no < known.facts.planned && reservation.attempt == next && free
        };
        let accepted: Vec<&Reservation> = shards.iter().filter(fits).collect();
        if whole {
            self.set_status(at.workflow, WorkflowStatus::Dispatching, changes);
        }
        for reservation in accepted {
            self.place(at, reservation, changes);
        }
        self.touch(changes);
    }

    fn place(&mut self, at: At, reservation: &Reservation, changes: &mut Changes) {
        let job = self.accepted.job;
        let known = &mut self.workflows[usize::from(at.workflow.0)];
        if let Some(before) = known.shards.get(&reservation.no).filter(|_| reservation.elapsed_before_ms > 0)
        {
            let gap = reservation.elapsed_before_ms.saturating_sub(before.facts.covered_ms);
            known.facts.uncovered_vu_ms += u64::from(gap) * u64::from(reservation.load.vus);
        }
        let facts = ShardFacts {
            attempt: reservation.attempt,
            worker: reservation.worker,
            load: reservation.load,
            first_vu: reservation.first_vu,
            elapsed_before_ms: reservation.elapsed_before_ms,
            boot: reservation.boot,
            phase: ShardPhase::Reserved,
            covered_ms: reservation.elapsed_before_ms,
            start_late_us: None,
        };
        let shard = Shard { facts, parts: Parts::default(), live: ShardLive::default() };
        known.shards.insert(reservation.no, shard);
        self.touch_shard(at.workflow, reservation.no, changes);
        changes.observations.push(Observation::ShardReserved {
            job,
            workflow: at.workflow,
            shard: reservation.no,
            attempt: reservation.attempt,
            worker: reservation.worker,
        });
    }

    /// All reservations of a plan hold, or those of replaced shards.
    fn start(&mut self, at: At, shards: &[(u16, Attempt)], bound_us: u32, changes: &mut Changes) {
        let stopping = self.facts.verdict.is_some();
        let known = &mut self.workflows[usize::from(at.workflow.0)];
        let whole = known.facts.status == WorkflowStatus::Dispatching;
        let all = known.plan_is_whole() && shards.len() == usize::from(known.facts.planned);
        let fits = (whole && all || known.facts.status == WorkflowStatus::Running) && !known.facts.failing;
        if !fits || stopping {
            return;
        }
        let mut begun = Vec::new();
        for &(no, attempt) in shards {
            let reserved = known
                .shards
                .get_mut(&no)
                .filter(|shard| shard.facts.attempt == attempt && shard.facts.phase == ShardPhase::Reserved);
            if let Some(shard) = reserved {
                shard.facts.phase = ShardPhase::Running;
                begun.push(no);
            }
        }
        if whole {
            known.facts.start_bound_us = bound_us;
            self.set_status(at.workflow, WorkflowStatus::Running, changes);
        }
        for no in begun {
            self.touch_shard(at.workflow, no, changes);
        }
    }

    /// Attempts are over without a result.
    fn take_losses(&mut self, at: At, shards: &[Loss], why: &str, changes: &mut Changes) {
        for loss in shards {
            let known = &mut self.workflows[usize::from(at.workflow.0)];
            let planned = known.facts.planned;
            let fits = |shard: &&mut Shard| {
                let waits = shard.facts.phase == ShardPhase::Lost && loss.kind == LossKind::GiveUp;
                shard.facts.attempt == loss.attempt && (shard.facts.phase.is_live() || waits)
            };
            let Some(shard) = known.shards.get_mut(&loss.no).filter(fits).filter(|_| loss.no < planned)
            else {
                continue;
            };
            let totals = match loss.numbers {
                None => loss.totals.as_deref().cloned(),
                Some(numbers) => match shard.parts.read(numbers) {
                    None => continue,
                    whole => whole,
                },
            };
            self.lose_one(at.workflow, loss.no, loss.kind, totals.as_ref(), why, changes);
        }
    }

    /// The attempt of a shard is over: freezes its numbers, then does what the kind of loss or the job's policy says.
    pub(super) fn lose_one(
        &mut self,
        workflow: WorkflowIx,
        no: u16,
        kind: LossKind,
        totals: Option<&Totals>,
        why: &str,
        changes: &mut Changes,
    ) {
        let executor = self.spec(workflow).executor;
        let known = &mut self.workflows[usize::from(workflow.0)];
        let Some(shard) = known.shards.get_mut(&no) else { return };
        let had_begun = shard.facts.phase == ShardPhase::Running;
        if let Some(totals) = totals.filter(|_| executor.attempts_add_up()) {
            let counted = shard.facts.counted(executor, totals);
            shard.facts.covered_ms = shard.facts.covered_ms.max(counted.elapsed_ms);
            known.totals.merge(&counted);
        }
        if shard.facts.phase.is_live() {
            known.facts.lost_attempts = known.facts.lost_attempts.saturating_add(u16::from(had_begun));
            changes.observations.push(Observation::ShardLost {
                job: self.accepted.job,
                workflow,
                shard: no,
                attempt: shard.facts.attempt,
            });
        }
        shard.facts.phase = ShardPhase::Lost;
        shard.live = ShardLive::default();
        self.drop_parts(workflow, no, changes);
        let known = &mut self.workflows[usize::from(workflow.0)];
        let Some(shard) = known.shards.get_mut(&no) else { return };
        match kind {
            LossKind::Stopped(outcome) => shard.facts.phase = ShardPhase::Done(outcome),
            LossKind::GiveUp => self.give_up(workflow, no),
            LossKind::Policy { paid } => self.follow_policy(workflow, no, paid, had_begun, why),
        }
        self.touch_totals(workflow, changes);
        self.touch_shard(workflow, no, changes);
    }

    /// A run ended.
    fn finish(&mut self, report: &ShardReport, numbers: Option<InParts>, changes: &mut Changes) {
        let key = report.run.shard;
        let Some(known) = self.workflow(key.workflow) else { return };
        let stopping = self.facts.verdict.is_some() || known.facts.failing;
        let fits = known.shards.get(&key.shard).filter(|shard| {
            key.shard < known.facts.planned
                && shard.facts.attempt == report.run.attempt
                && shard.facts.phase.is_live()
        });
        let Some(shard) = fits else { return };
        let whole = numbers.map_or_else(|| Some(report.totals.clone()), |parts| shard.parts.read(parts));
        let Some(totals) = whole else { return };
        let unasked = matches!(report.outcome, Outcome::Cancelled | Outcome::Killed) && !stopping;
        if unasked {
            // The worker ended it by itself (drained, or orphaned for too long): lost, with its numbers.
            let paid = LossKind::Policy { paid: true };
            let why = if report.why.is_empty() { "its worker ended it" } else { report.why.as_str() };
            return self.lose_one(key.workflow, key.shard, paid, Some(&totals), why, changes);
        }
        let executor = self.spec(key.workflow).executor;
        let known = &mut self.workflows[usize::from(key.workflow.0)];
        let Some(shard) = known.shards.get_mut(&key.shard) else { return };
        let counted = shard.facts.counted(executor, &totals);
        shard.facts.phase = ShardPhase::Done(report.outcome);
        shard.facts.covered_ms = shard.facts.covered_ms.max(counted.elapsed_ms);
        shard.facts.start_late_us = Some(report.start_late_us);
        shard.live = ShardLive { result_from: shard.live.result_from, ..ShardLive::default() };
        known.totals.merge(&counted);
        if report.outcome == Outcome::Failed {
            known.fail(&report.why, "a shard failed");
        }
        self.drop_parts(key.workflow, key.shard, changes);
        self.touch_totals(key.workflow, changes);
        self.touch_shard(key.workflow, key.shard, changes);
        changes.observations.push(Observation::ShardDone {
            job: key.job,
            workflow: key.workflow,
            shard: key.shard,
            attempt: report.run.attempt,
            outcome: report.outcome,
        });
    }

    /// The parts of large numbers have been used, or are of no more use.
    fn drop_parts(&mut self, workflow: WorkflowIx, no: u16, changes: &mut Changes) {
        let job = self.accepted.job;
        let known = &mut self.workflows[usize::from(workflow.0)];
        let Some(shard) = known.shards.get_mut(&no) else { return };
        let parts = core::mem::take(&mut shard.parts);
        let rows = parts.bytes.keys().map(|part| RowName::Part(job, workflow, no, *part).key());
        changes.rows.extend(rows);
    }

    /// Changes a workflow's status, with testimony.
    pub(super) fn set_status(&mut self, workflow: WorkflowIx, status: WorkflowStatus, changes: &mut Changes) {
        let job = self.accepted.job;
        let known = &mut self.workflows[usize::from(workflow.0)];
        if known.facts.status != status {
            debug_assert!(!known.facts.status.is_final(), "a final status never changes");
            known.facts.status = status;
            changes.observations.push(Observation::Workflow { job, workflow, status });
            self.touch(changes);
        }
    }
}
