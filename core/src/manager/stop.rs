//! Stopping shards: politely, then by force; and what is assumed of a worker that does not answer.

use super::command::LossKind;
use super::context::Context;
use super::job::{DcJob, ShardPhase};
use crate::id::WorkflowIx;
use crate::jobs::{Outcome, StopMode};
use crate::wire::{AbortedWas, Message};

impl DcJob {
    /// A stop is recorded, or the workflow cannot complete: ends all of its shards, in parallel.
    pub(super) fn stop_shards(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx) {
        let (now, timing) = (cx.now.mono, &cx.config.timing);
        let (grace, deadline) = (timing.cancel_grace, timing.cancel_deadline);
        let live = &mut self.workflows[usize::from(workflow.0)].live;
        let since = *live.stopping_since.get_or_insert(now);
        let mode = if now.since(since) >= grace { StopMode::Kill } else { StopMode::Graceful };
        for no in self.live_shards(workflow) {
            let shard = &self.known(workflow).shards[&no];
            let gone = cx.pool.is_gone(cx.now, timing, shard.facts.worker);
            let freed = shard.live.absent && shard.facts.phase == ShardPhase::Reserved;
            if freed {
                self.lose(cx, workflow, no, LossKind::Stopped(Outcome::Cancelled), "stopped");
            } else if gone || shard.live.absent || now.since(since) >= deadline {
                self.lose(cx, workflow, no, LossKind::Stopped(Outcome::Killed), "its worker did not answer");
            } else {
                self.ask_to_stop(cx, workflow, no, mode);
                cx.wake_at(if mode == StopMode::Graceful { since + grace } else { since + deadline });
            }
        }
    }

    /// Asks a worker to end a run or to free its reservation; again when unanswered, and at once when it gets stricter.
    pub(super) fn ask_to_stop(
        &mut self,
        cx: &mut Context<'_>,
        workflow: WorkflowIx,
        no: u16,
        mode: StopMode,
    ) {
        let attempt = self.known(workflow).shards[&no].facts.attempt;
        let run = self.run_id(cx.config.dc, workflow, no, attempt);
        let dc_epoch = self.facts.dc_epoch;
        let Some(shard) = self.workflows[usize::from(workflow.0)].shards.get_mut(&no) else { return };
        // A connection that comes up makes it due again.
        if !cx.pool.is_reachable(shard.facts.worker) {
            return;
        }
        if shard.live.stop_mode != Some(mode) || shard.live.stop.is_due(cx.now) {
            shard.live.stop_mode = Some(mode);
            shard.live.stop.sent(cx.now, cx.config.timing.request_timeout);
            cx.send(shard.facts.worker, Message::StopShard { run, dc_epoch, mode });
        }
        cx.wake_for(&shard.live.stop);
    }

    /// Takes a worker's answer to a stop. Where a run is ending or has ended, its result follows.
    pub(super) fn stop_answered(&mut self, workflow: WorkflowIx, no: u16, was: AbortedWas) {
        if let Some(shard) = self.workflows[usize::from(workflow.0)].shards.get_mut(&no) {
            shard.live.absent |= matches!(was, AbortedWas::NeverSeen | AbortedWas::Freed);
        }
    }
}
