//! Workers that live and do nothing for a job.
//!
//! A worker says every half second how its runs stand. One that lives and is connected, and says nothing of a run for
//! `run_silence`, is suspected for that job alone ([`crate::suspicion`]); when nothing refutes that in time, its runs of the
//! job are ended. What its worker reports of such an end is a loss like any other that nobody asked for, with its numbers,
//! and only then the run is replaced: no silence lets two attempts run. What the worker does for other jobs goes on.

use super::context::Context;
use super::job::DcJob;
use crate::effect::{Effect, Effects};
use crate::id::{NodeId, RunId, WorkflowIx};
use crate::jobs::StopMode;
use crate::observe::Observation;
use crate::suspicion::{Accused, Status, Window};
use crate::time::{Duration, Now};

/// The shortest suspicion, and the one where nobody else can accuse: only the owner hears of the job's runs.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest.
const LONGEST: Duration = Duration::from_secs(15);
/// Who could accuse: the owner. The suspect never counts.
const GROUP: usize = 2;

impl DcJob {
    /// Closes what the death of machines and the end of the job have settled, then takes the verdicts that are due.
    pub(super) fn judge_silence(&mut self, cx: &mut Context<'_>) {
        let (pool, now, timing) = (cx.pool, cx.now, &cx.config.timing);
        let over = self.facts.ended.is_some();
        // Of one that cannot be reached the silence has another reason, which membership judges.
        self.live.suspicions.retain(|worker, status| {
            !over
                && !pool.is_gone(now, timing, worker)
                && (status == Status::Dead || pool.is_reachable(worker))
        });
        while let Some(worker) = self.live.suspicions.expire(now.mono) {
            for known in &mut self.workflows {
                if !known.live.refused_by.contains(&worker) {
                    known.live.refused_by.push(worker);
                }
                let watched = known.shards.values_mut().filter(|shard| shard.facts.worker == worker);
                watched.for_each(|shard| shard.live.deserted |= shard.live.heard.is_some());
            }
            let job = self.accepted.job;
            cx.out.push(Effect::Observe(Observation::WorkerDeadForJob { job, worker }));
        }
        if let Some(next) = self.live.suspicions.next() {
            cx.wake_at(next);
        }
    }

    /// Watches a run that has begun on a living worker.
    pub(super) fn watch_run(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx, no: u16) {
        let Some(shard) = self.workflows[usize::from(workflow.0)].shards.get_mut(&no) else { return };
        let worker = shard.facts.worker;
        if !cx.pool.is_reachable(worker) {
            // Silence has another reason, which membership judges.
            shard.live.heard = None;
            return;
        }
        if shard.live.deserted {
            return self.ask_to_stop(cx, workflow, no, StopMode::Kill);
        }
        if shard.live.heard.is_none() && self.live.suspicions.status(worker) == Status::Dead {
            // There was no better one, and it was given work again: it is judged anew.
            self.live.suspicions.forget(worker);
        }
        let silent_at = *shard.live.heard.get_or_insert(cx.now.mono) + cx.config.timing.run_silence;
        if cx.now.mono < silent_at {
            return cx.wake_at(silent_at);
        }
        let window = Window::new(SHORTEST, LONGEST, GROUP);
        // A full table refuses: the run then has its limit, as without suspicion.
        if self.live.suspicions.accuse(cx.now.mono, window, worker, cx.config.node) == Ok(Accused::Opened) {
            let job = self.accepted.job;
            cx.out.push(Effect::Observe(Observation::WorkerSuspected { job, worker }));
        }
        if let Some(next) = self.live.suspicions.next() {
            cx.wake_at(next);
        }
    }

    /// A worker made progress with a run: whatever is held against it for this job is refuted.
    pub(super) fn heard_of(&mut self, now: Now, run: &RunId, worker: NodeId, out: &mut Effects) {
        if let Some(shard) = self.shard_mut(&run.shard) {
            shard.live.heard = Some(now.mono);
        }
        if self.live.suspicions.heard(worker).is_some() {
            let job = self.accepted.job;
            out.push(Effect::Observe(Observation::WorkerBackForJob { job, worker }));
        }
    }
}
