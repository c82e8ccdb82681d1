//! A manager that begins does not know how long it was away: what its log has as running may have ended long ago.
//!
//! What it finds running runs on, and what is lost is given up; but no cores are given to such a job before a gate has
//! said, to this process, that it is still wanted: load that nobody waits for is not begun. The gates are asked with
//! `DcOwnerChanged`; one whose log says that the job is over says so, and the job is ended here. A job that a gate hands
//! over itself, or speaks of as its owner, is wanted.
//!
//! The wait is bounded, since a datacenter goes on when its links fail: `reconcile` after the first gate was there (by
//! then the gates have compared their log with this one's), and `no_gate_fallback` after the start where none is. There is
//! none where a majority of the managers is still in the life that this one's disk knows of: the tier was never away.

use alloc::collections::BTreeMap;

use super::Manager;
use super::command::Command;
use super::context::Context;
use super::job::{DcJob, Duty};
use crate::effect::Effects;
use crate::id::{BootNo, JobId, NodeId};
use crate::jobs::JobStatus;
use crate::time::{Instant, Now};

/// Since when this process looks, and whom it met.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt {
    started: Instant,
    gate_met: Option<Instant>,
    /// The managers in the life that its disk knew of when it began, and whether it has met them in it.
    boots: BTreeMap<NodeId, (BootNo, bool)>,
}

impl Doubt {
    /// A process begins, and its log knows these lives.
    pub fn new(now: Instant, boots: impl Iterator<Item = (NodeId, BootNo)>) -> Self {
        Self {
            started: now,
            gate_met: None,
            boots: boots.map(|(node, boot)| (node, (boot, false))).collect(),
        }
    }

    /// A gate is connected.
    pub fn meet_gate(&mut self, now: Instant) {
        self.gate_met.get_or_insert(now);
    }

    /// A manager is connected. Whether it is one that went on.
    pub fn meet(&mut self, manager: NodeId, boot: BootNo) -> bool {
        match self.boots.get_mut(&manager).filter(|(known, _)| *known == boot) {
            Some((_, met)) => !core::mem::replace(met, true),
            None => false,
        }
    }

    fn others_went_on(&self, voters: usize) -> bool {
        self.boots.values().filter(|(_, met)| *met).count() > voters / 2
    }
}

impl Manager {
    /// From when on this process trusts its log alone.
    pub(super) fn sure_at(&self) -> Instant {
        let (timing, doubt) = (&self.config.timing, &self.doubt);
        if doubt.others_went_on(self.config.roster.managers(self.config.dc).len()) {
            return doubt.started;
        }
        let alone = doubt.started + timing.no_gate_fallback;
        doubt.gate_met.map_or(alone, |met| alone.min(met + timing.reconcile))
    }

    /// Notes that a gate wants the job.
    pub(super) fn note_wanted(&mut self, job: JobId) {
        if let Some(record) = self.ledger.state_mut().jobs.get_mut(&job).filter(|record| !record.live.wanted)
        {
            record.live.wanted = true;
            self.dirty.insert(job);
        }
    }

    /// The gates have no use for the job, since it is over like that: it is ended, unless it has.
    pub(super) fn end_unwanted(&mut self, now: Now, job: JobId, over: JobStatus, out: &mut Effects) {
        let Some(record) = self.ledger.state().jobs.get(&job) else { return };
        if record.facts.verdict.is_none() && !record.all_ended() {
            let (gate_epoch, elapsed_ms) = (record.facts.gate_epoch, record.elapsed_ms(now));
            // It did not complete here.
            let verdict = match over {
                JobStatus::Completed | JobStatus::Partial => JobStatus::Cancelled,
                other => other,
            };
            let command = Command::StopRecorded { job, gate_epoch, verdict, elapsed_ms };
            // What cannot be proposed now is asked about again.
            let _ = self.propose_duty(now, job, Duty::Stop, command, out);
        }
    }
}

impl DcJob {
    /// Whether nothing of the job may begin yet.
    pub(super) fn is_doubtful(&self, now: Instant, sure_at: Instant) -> bool {
        !self.live.wanted && now < sure_at
    }

    /// The same, for duties; looks again when it ends by itself.
    pub(super) fn waits_for_a_gate(&self, cx: &mut Context<'_>) -> bool {
        let waits = self.is_doubtful(cx.now.mono, cx.sure_at);
        if waits {
            cx.wake_at(cx.sure_at);
        }
        waits
    }
}
