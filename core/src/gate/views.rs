//! Reads: what clients are shown of jobs, datacenters and gates. Any gate answers from its replica.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Bound;

use super::Gate;
use super::job::{GateJob, Topic};
use super::streams::Stream;
use super::verdict;
use crate::api::{Answer, EventPos, Identity, JobView, MemberView};
use crate::effect::Effects;
use crate::fault::{Fault, FaultCode};
use crate::id::{CallId, JobId, Tenant};
use crate::swim::MemberStatus;
use crate::time::{Instant, Now};

/// Most jobs in one answer.
const MAX_LISTED: u16 = 200;

impl Gate {
    /// The record of a job, if this caller may know of it.
    pub(super) fn visible(&self, identity: &Identity, job: JobId) -> Result<&GateJob, Fault> {
        let state = self.ledger.state();
        let may_see = |tenant: &Tenant| identity.operator || *tenant == identity.tenant;
        match (state.jobs.get(&job), state.tombstones.get(&job)) {
            (Some(record), _) if may_see(&record.origin.tenant) => Ok(record),
            (None, Some(tombstone)) if may_see(&tombstone.tenant) => Err(self.unknown(job)),
            _ => Err(Fault::new(FaultCode::UnknownJob, format!("no job {job}"))),
        }
    }

    /// Why a job has no record here.
    pub(super) fn unknown(&self, job: JobId) -> Fault {
        match self.ledger.state().tombstones.get(&job) {
            Some(tombstone) => {
                let why =
                    format!("the job {job} was {}; its result is no longer kept", tombstone.status.as_str());
                Fault::new(FaultCode::Expired, why)
            }
            None => Fault::new(FaultCode::UnknownJob, format!("no job {job}")),
        }
    }

    pub(super) fn status(&mut self, now: Now, identity: &Identity, job: JobId) -> Result<Answer, Fault> {
        self.visible(identity, job)?;
        let record = self.ledger.state_mut().jobs.get_mut(&job).ok_or_else(missing)?;
        Ok(Answer::Status(view(now.mono, job, record)))
    }

    pub(super) fn list(&mut self, now: Now, identity: &Identity, after: Option<JobId>, limit: u16) -> Answer {
        let limit = usize::from(limit.clamp(1, MAX_LISTED));
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let own = |record: &GateJob| identity.operator || record.origin.tenant == identity.tenant;
        let all = self.ledger.state_mut().jobs.range_mut((start, Bound::Unbounded));
        let mut found = all.filter(|(_, record)| own(record));
        let jobs: Vec<JobView> =
            found.by_ref().take(limit).map(|(job, record)| view(now.mono, *job, record)).collect();
        let more = found.next().is_some();
        let next = jobs.last().map(|view| view.job).filter(|_| more);
        Answer::Jobs { jobs, next }
    }

    pub(super) fn result(&self, identity: &Identity, job: JobId) -> Result<Answer, Fault> {
        let record = self.visible(identity, job)?;
        if !record.row.status.is_final() {
            let why = format!("the job is {}; follow its events", record.row.status.as_str());
            return Err(Fault::new(FaultCode::NotReady, why));
        }
        Ok(Answer::Result(alloc::boxed::Box::new(verdict::result(job, record))))
    }

    /// Opens a stream of a job's events. The owner serves a job that runs, every gate one that has ended.
    pub(super) fn events(
        &mut self,
        call: CallId,
        identity: &Identity,
        job: JobId,
        after: Option<EventPos>,
        credit: u32,
    ) -> Result<Answer, Fault> {
        let record = self.visible(identity, job)?;
        let (row, me) = (&record.row, self.me());
        if !row.status.is_final() && row.owner != me {
            return Err(Fault::new(FaultCode::NotOwner, "another gate serves this job").at(Some(row.owner)));
        }
        let cursor = after.unwrap_or_default();
        if cursor.kept > record.newest_kept() {
            return Err(Fault::new(FaultCode::Invalid, "the job has no such event yet"));
        }
        if row.status.is_final() && cursor.kept == record.newest_kept() {
            return Ok(Answer::NothingFollows);
        }
        let bound = usize::from(self.boot.config.limits.streams_per_job);
        if record.live.streams.len() >= bound {
            return Err(Fault::new(FaultCode::Overloaded, format!("{bound} streams of this job are open")));
        }
        let here = EventPos { epoch: row.gate_epoch, vol: 0, ..cursor };
        let gap_at = Some(here).filter(|_| cursor.vol > 0 && cursor.epoch < row.gate_epoch);
        let stream = Stream { credit, cursor, missed: 0, gap_at, ending: false };
        self.streams.insert(call, job);
        self.touched.insert(job);
        if let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) {
            record.live.streams.insert(call, stream);
        }
        Ok(Answer::Stream)
    }

    /// A caller asked for what follows the final event. What was sent may never arrive, so nothing else proves that the
    /// result was read.
    pub(super) fn result_read(&mut self, now: Now, job: JobId, out: &mut Effects) {
        if self.ledger.state().jobs.get(&job).is_some_and(|record| !record.row.delivered) {
            let command = super::command::GateCommand::ResultDelivered { job };
            self.propose_for(now, job, Some((Topic::Delivered, command)), out);
        }
    }

    pub(super) fn members(&self, now: Now) -> Answer {
        let state = self.ledger.state();
        let holders: Vec<_> = self.ledger.holders().collect();
        let view = |peer: &crate::config::Peer| {
            let own = peer.node == self.me();
            let (ready, reaches) = self.federation.readiness(peer.node, &self.links);
            let heard = self.swim.status(peer.node).unwrap_or(MemberStatus::Unconfirmed);
            MemberView {
                node: peer.node,
                name: peer.name.clone(),
                status: if own { MemberStatus::Alive } else { heard },
                leader: self.ledger.leader() == Some(peer.node),
                jobs: state.by_owner.get(&peer.node).map_or(0, |jobs| jobs.len() as u32),
                active: if own { self.ledger.lease_holds(now) } else { holders.contains(&peer.node) },
                ready: ready && (own || heard == MemberStatus::Alive),
                reaches,
            }
        };
        Answer::Members(self.boot.config.roster.gates.iter().map(view).collect())
    }
}

fn view(now: Instant, job: JobId, record: &mut GateJob) -> JobView {
    JobView {
        job,
        name: record.origin.spec.name.clone(),
        tenant: record.origin.tenant.clone(),
        status: record.row.status,
        resolution: record.row.resolution.clone(),
        owner: record.row.owner,
        gate_epoch: record.row.gate_epoch,
        elapsed_ms: record.elapsed_ms(now),
        per_dc: record.progress_views(now),
    }
}

fn missing() -> Fault {
    Fault::new(FaultCode::Internal, "a visible job has no record")
}
