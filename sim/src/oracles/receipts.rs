//! A receipt is given for what is kept, and a result is sent once it is kept.
//!
//! - A worker's result is on its disk before it is sent.
//! - A manager that takes a result has it in its log, or the attempt was given up, or its job is over there.
//! - A worker throws a result away only with a receipt, or with the whole job.
//! - The result of a workflow that a gate has taken, of a datacenter that it waits for, is in the job's result.
//! - A gate that takes a datacenter's final has it in the log, or does not wait for that datacenter any more, or the job
//!   is final.
//!
//! Only a receipt empties an outbox. One that comes too early, or from somebody who keeps nothing, is how results vanish.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::id::{Attempt, DcId, JobId, Role, RunId, ShardKey, WorkflowIx};
use tidegate_core::jobs::{DcReport, JobResult};
use tidegate_core::observe::Observation;
use tidegate_core::store::{Write, table};
use tidegate_core::wire::Message;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// The key of a result in an outbox.
fn row_key(run: RunId) -> Vec<u8> {
    let shard = run.shard;
    let mut key = vec![table::OUTBOX];
    key.extend(shard.job.0);
    key.extend(shard.workflow.0.to_be_bytes());
    key.extend(shard.shard.to_be_bytes());
    key.extend(run.attempt.0.to_be_bytes());
    key
}

/// See the module.
#[derive(Default)]
pub(super) struct Receipts {
    tested: u64,
    /// Jobs of which a worker ever had a result on its disk.
    outboxes: BTreeSet<(HostIx, JobId)>,
    /// Results that a worker was given a receipt for, by the keys of their rows; jobs that it may forget.
    receipts: BTreeSet<(HostIx, Vec<u8>)>,
    forgotten: BTreeSet<(HostIx, JobId)>,
    /// Results of workflows that a gate has taken.
    taken: BTreeSet<(JobId, DcId, WorkflowIx)>,
    /// The highest attempt that is done or given up.
    settled: BTreeMap<ShardKey, Attempt>,
    ended_in_dc: BTreeSet<(JobId, DcId)>,
    /// Datacenters that the gates wait for no more.
    closed: BTreeSet<(JobId, DcId)>,
    ended: BTreeSet<JobId>,
}

impl Receipts {
    fn arrived(&mut self, scene: &Scene, from: HostIx, to: HostIx, message: &Message) -> Result<(), String> {
        match message {
            Message::ShardResult(report) => {
                let job = report.run.shard.job;
                if self.outboxes.contains(&(from, job)) {
                    return Ok(());
                }
                let (name, job) = (scene.name(from), scene.job_name(job));
                Err(format!("{name} sends a result of {job} that is not on its disk"))
            }
            Message::ForgetAtWorker { jobs } => {
                self.forgotten.extend(jobs.iter().map(|job| (to, *job)));
                Ok(())
            }
            Message::WorkflowResultAck { job, workflow, stored: Ok(()), .. } => {
                let dc = scene.hosts[to].dc;
                if !self.closed.contains(&(*job, dc)) && !self.is_over(*job) {
                    self.taken.insert((*job, dc, *workflow));
                }
                Ok(())
            }
            Message::ShardResultAck { run, stored: Ok(()) } => {
                self.tested += 1;
                self.receipts.insert((to, row_key(*run)));
                self.tested += 1;
                let ShardKey { job, dc, .. } = run.shard;
                let settled = self.settled.get(&run.shard).is_some_and(|attempt| *attempt >= run.attempt);
                if settled || self.ended_in_dc.contains(&(job, dc)) || self.is_over(job) {
                    return Ok(());
                }
                let (name, job) = (scene.name(from), scene.job_name(job));
                Err(format!("{name} takes the result of {run:?} of {job}, which no log has"))
            }
            Message::DcFinalAck { job, stored: Ok(()), .. } => {
                let dc = scene.hosts[to].dc;
                if self.closed.contains(&(*job, dc)) || self.is_over(*job) {
                    return Ok(());
                }
                let (name, job) = (scene.name(from), scene.job_name(*job));
                Err(format!("{name} takes the final of {job} in {dc}, which the gates' log has not"))
            }
            _ => Ok(()),
        }
    }

    /// A row of a worker's outbox comes, or goes.
    fn outbox(&mut self, scene: &Scene, host: HostIx, write: &Write) -> Result<(), String> {
        let job = write.key.get(1..17).and_then(|bytes| bytes.try_into().ok()).map(JobId);
        let (Some(&table::OUTBOX), Some(job)) = (write.key.first(), job) else { return Ok(()) };
        if write.value.is_some() {
            self.outboxes.insert((host, job));
            return Ok(());
        }
        let receipt = self.receipts.contains(&(host, write.key.0.clone()));
        if receipt || self.forgotten.contains(&(host, job)) || scene.plan.has_puppets() {
            return Ok(());
        }
        Err(format!("{} throws a result of {} away without a receipt", scene.name(host), scene.job_name(job)))
    }

    /// A job's result has what was taken for it.
    fn read(&self, scene: &Scene, result: &JobResult) -> Result<(), String> {
        for (job, dc, workflow) in self.taken.iter().filter(|(job, ..)| *job == result.job) {
            let report = result.per_dc.iter().find(|report| report.dc == *dc);
            let has = |report: &DcReport| report.workflows.iter().any(|one| one.workflow == *workflow);
            if report.is_some_and(|report| !has(report)) {
                let job = scene.job_name(*job);
                return Err(format!(
                    "the result of {job} lacks workflow {workflow} in {dc}, which a gate had taken"
                ));
            }
        }
        Ok(())
    }

    fn is_over(&self, job: JobId) -> bool {
        self.ended.contains(&job)
    }

    fn settle(&mut self, dc: DcId, job: JobId, workflow: WorkflowIx, shard: u16, attempt: Attempt) {
        let known = self.settled.entry(ShardKey { job, workflow, dc, shard }).or_insert(attempt);
        *known = attempt.max(*known);
    }

    fn observed(&mut self, scene: &Scene, host: HostIx, observation: &Observation) {
        let info = &scene.hosts[host];
        match *observation {
            Observation::ShardDone { job, workflow, shard, attempt, .. }
            | Observation::ShardLost { job, workflow, shard, attempt } => {
                self.settle(info.dc, job, workflow, shard, attempt);
            }
            // Only what comes before it is settled: it is the next attempt that lives.
            Observation::ShardReserved { job, workflow, shard, attempt, .. } if attempt.0 > 1 => {
                self.settle(info.dc, job, workflow, shard, Attempt(attempt.0 - 1));
            }
            Observation::DcJobFinal { job, .. } => drop(self.ended_in_dc.insert((job, info.dc))),
            Observation::DcFinal { job, dc, .. }
            | Observation::TargetCleared { job, dc }
            | Observation::TargetReplaced { job, dc } => {
                self.closed.insert((job, dc));
            }
            Observation::JobFinal { job, .. } => drop(self.ended.insert(job)),
            Observation::JobDropped(job) if info.role == Some(Role::Gate) => drop(self.ended.insert(job)),
            Observation::JobDropped(job) => drop(self.ended_in_dc.insert((job, info.dc))),
            // A replica that jumped over entries says nothing of them.
            Observation::SnapshotInstalled(_) => {}
            _ => {}
        }
    }
}

impl Spectator for Receipts {
    fn name(&self) -> &'static str {
        "a receipt is for what is kept"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::ARRIVALS.and(Interest::OBSERVATIONS).and(Interest::WRITES).and(Interest::RESULTS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Arrived { from, to, message } if !scene.plan.has_puppets() => {
                self.arrived(scene, *from, *to, message)
            }
            Fact::Observed { host, observation } => {
                self.observed(scene, *host, observation);
                Ok(())
            }
            Fact::Durable { host, writes } if scene.hosts[*host].role == Some(Role::Worker) => {
                writes.iter().try_for_each(|write| self.outbox(scene, *host, write))
            }
            Fact::ResultRead { result, .. } => self.read(scene, result),
            _ => Ok(()),
        }
    }
}
