//! Whose the jobs are: the fence of the owner, its change, and its absence.

use alloc::vec::Vec;

use super::job::{Cause, Phase, ShardPlace, WorkerJob};
use super::{Timer, Worker, ignore, send};
use crate::effect::{Effect, Effects};
use crate::fault::{Fault, FaultCode};
use crate::id::{DcEpoch, JobId, NodeId, RunId, ShardKey};
use crate::jobs::StopMode;
use crate::observe::{Observation, Stale};
use crate::time::Now;
use crate::wire::Message;

impl Worker {
    /// Judges an owner's message by its fence: a lower one is refused, an equal or higher one names the owner. A job
    /// that is not known has no fence.
    pub(super) fn accept_epoch(&mut self, job: JobId, dc_epoch: DcEpoch, owner: NodeId) -> Result<(), Fault> {
        let Some(record) = self.jobs.get_mut(&job) else { return Ok(()) };
        if dc_epoch < record.dc_epoch {
            let fault = Fault::new(FaultCode::StaleEpoch, "another manager owns the job by now");
            return Err(fault.at(Some(record.owner)));
        }
        (record.dc_epoch, record.owner) = (dc_epoch, owner);
        Ok(())
    }

    pub(super) fn owner_changed(
        &mut self,
        now: Now,
        peer: NodeId,
        job: JobId,
        dc_epoch: DcEpoch,
        owner: NodeId,
        out: &mut Effects,
    ) {
        if owner != peer {
            return ignore(Stale::Sender, out);
        }
        if let Err(fault) = self.accept_epoch(job, dc_epoch, owner) {
            out.push(Effect::Observe(Observation::Refused(fault.code)));
            return out.push(send(peer, Message::OwnerChangedReply { job, dc_epoch, held: Err(fault) }));
        }
        if !self.jobs.contains_key(&job) && !self.over.has(job) && self.make_room(job, out) {
            // The reservation of its first shard may still be on its way, from this owner or the one before.
            self.jobs.insert(job, WorkerJob::new(owner, dc_epoch));
        }
        let held = self.jobs.get(&job).map(|record| record.held(|place| self.shard_key(job, place)));
        let held = Ok(held.unwrap_or_default());
        out.push(send(peer, Message::OwnerChangedReply { job, dc_epoch, held }));
        self.resend_results(now, job, out);
        self.tend(now, job, out);
    }

    /// The owner of running shards may be gone. Whoever speaks is not: the deadline counts from its last word.
    pub(super) fn check_orphan(&mut self, now: Now, job: JobId, out: &mut Effects) {
        let Some(record) = self.jobs.get(&job) else { return };
        let deadline = self.last_heard(record.owner) + self.config.timing.orphan_grace;
        if deadline > now.mono {
            return self.timers.arm(Timer::Orphan(job), deadline);
        }
        let orphans: Vec<RunId> = record
            .active()
            .filter(|(_, run)| !matches!(run.phase, Phase::Stopping(..)))
            .map(|(place, run)| RunId { shard: self.shard_key(job, place), attempt: run.attempt })
            .collect();
        for run in orphans {
            out.push(Effect::Observe(Observation::Orphaned(run.into())));
            self.stop_by_itself(now, run.shard, Cause::Orphaned, out);
        }
        self.tend(now, job, out);
    }

    /// The managers have dropped a job: what still runs of it is killed, then nothing mentions it any more.
    pub(super) fn forget(&mut self, now: Now, job: JobId, out: &mut Effects) {
        self.over.add(job);
        let Some(record) = self.jobs.get_mut(&job) else { return };
        record.forgotten = true;
        let places: Vec<ShardPlace> = record.shards.keys().copied().collect();
        for place in places {
            let key: ShardKey = self.shard_key(job, place);
            if let Some(shard) = self.shard_mut(key) {
                shard.waiting = None;
            }
            self.end_active(key, StopMode::Kill, Cause::Asked, out);
        }
        self.discard_results(job);
        self.tend(now, job, out);
    }
}
