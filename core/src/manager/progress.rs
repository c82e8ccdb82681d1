//! Progress: from the workers' cumulative numbers to those of the datacenter.
//!
//! Volatile throughout. A slot belongs to one attempt and only grows; a lost message is made good by the next one.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::context::Context;
use super::job::DcJob;
use crate::id::RunId;
use crate::jobs::{Totals, Window, WorkflowStatus};
use crate::observe::{Observation, Stale};
use crate::wire::Message;

impl DcJob {
    /// Takes a worker's progress in. `Ok` is what to acknowledge: newest number, windows that have arrived.
    pub(super) fn take_progress(
        &mut self,
        run: RunId,
        seq: u64,
        totals: Box<Totals>,
        windows: Vec<Window>,
    ) -> Result<(u64, u32), Observation> {
        let ignored = |why| Err(Observation::Ignored(why));
        let Some(shard) = self.shard_mut(&run.shard) else { return ignored(Stale::Unknown) };
        if shard.facts.attempt != run.attempt {
            return ignored(Stale::Fence);
        }
        if !shard.facts.phase.is_live() {
            return ignored(Stale::State);
        }
        if seq <= shard.live.seq {
            return Ok((shard.live.seq, shard.live.windows_through));
        }
        if shard.live.totals.as_ref().is_some_and(|before| !totals.covers(before)) {
            return ignored(Stale::Invalid);
        }
        shard.live.seq = seq;
        shard.live.totals = Some(totals);
        shard.live.reserved = true;
        shard.live.started = true;
        let mut through = shard.live.windows_through;
        let mut fresh = Vec::new();
        for window in windows {
            if window.no >= through {
                through = window.no.saturating_add(u32::from(window.count));
                fresh.push(window);
            }
        }
        shard.live.windows_through = through;
        for window in fresh {
            self.live.add_window(run.shard.workflow, window);
        }
        Ok((seq, through))
    }

    /// Tells the job owner how the job stands: every period, and at once when a status changes.
    pub(super) fn send_progress(&mut self, cx: &mut Context<'_>) {
        if self.facts.ended.is_some() || !cx.links.is_connected(self.facts.gate) {
            return;
        }
        let period = cx.config.timing.dc_progress;
        let statuses: Vec<WorkflowStatus> = self.workflows.iter().map(|known| known.facts.status).collect();
        let due = self.live.progress_at.is_none_or(|sent| sent + period <= cx.now.mono);
        if due || statuses != self.live.progress_statuses {
            self.live.progress_no = self.live.progress_no.saturating_add(1);
            self.live.progress_at = Some(cx.now.mono);
            self.live.progress_statuses = statuses;
            let workflows = self.places().map(|workflow| {
                let known = &self.workflows[usize::from(workflow.0)];
                (known.facts.status, known.running_totals(self.spec(workflow).executor))
            });
            let message = Message::DcProgress {
                job: self.accepted.job,
                dc_epoch: self.facts.dc_epoch,
                // A restarted process goes on under the same fence: its numbers are above those of the one before.
                seq: u64::from(cx.boot.0) << 32 | u64::from(self.live.progress_no),
                status: self.status(),
                workflows: workflows.collect(),
                windows: self.live.windows.drain(..).collect(),
            };
            cx.send(self.facts.gate, message);
        }
        if let Some(sent) = self.live.progress_at {
            cx.wake_at(sent + period);
        }
    }
}
