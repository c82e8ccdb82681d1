//! Workers that live and do nothing for a job.
//!
//! A worker says every half second how its runs stand. One that lives and is connected, and says nothing of a run for
//! `run_silence`, is suspected for that job alone ([`crate::suspicion`]); when nothing refutes that in time, its runs of the
//! job are ended. A worker that knows may ask for more time before ([`crate::suspicion::extension`]): each grant moves the
//! moment at which its silence counts. What its worker reports of such an end is a loss like any other that nobody asked
//! for, with its numbers, and only then the run is replaced: no silence lets two attempts run. What the worker does for
//! other jobs goes on.

use alloc::collections::BTreeSet;

use super::Manager;
use super::context::Context;
use super::job::{DcJob, Workflow};
use crate::config::Timing;
use crate::effect::{Effect, Effects};
use crate::id::{DcEpoch, JobId, NodeId, RunId, WorkflowIx};
use crate::jobs::StopMode;
use crate::observe::{Observation, Stale};
use crate::suspicion::extension::{Denial, Denied, Grant, Plea};
use crate::suspicion::{Accused, Status, Window};
use crate::time::{Duration, Instant, Now};
use crate::wire::Message;

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
        let silent_at = self.live.suspicions.silent_at(worker, silent_at);
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

    /// When the silence of a worker will count: of the run that was not heard of for longest. `None` where none is
    /// watched.
    fn silent_at(&self, timing: &Timing, worker: NodeId) -> Option<Instant> {
        let shards = self.workflows.iter().flat_map(Workflow::plan).map(|(_, shard)| shard);
        let watched = shards.filter(|shard| shard.facts.worker == worker && shard.facts.phase.is_live());
        let heard = watched.filter_map(|shard| shard.live.heard).min()?;
        Some(self.live.suspicions.silent_at(worker, heard + timing.run_silence))
    }

    /// A worker of which nothing is heard asks for more time.
    fn plead(&mut self, now: Now, timing: &Timing, worker: NodeId, plea: Plea) -> Result<Grant, Denied> {
        match self.silent_at(timing, worker) {
            Some(at) if at.since(now.mono) <= timing.run_silence.scale(1, 2) => {
                self.live.suspicions.plead(now.mono, timing.run_silence, worker, plea)
            }
            _ => Err(Denied::plain(Denial::NotNeeded)),
        }
    }

    /// A run of a worker has ended: a word on the job as any other, of which the others live too.
    pub(super) fn heard_an_end(&mut self, now: Now, worker: NodeId, out: &mut Effects) {
        let shards = self.workflows.iter_mut().flat_map(|known| known.shards.values_mut());
        for shard in shards.filter(|shard| shard.facts.worker == worker) {
            shard.live.heard = shard.live.heard.map(|_| now.mono);
        }
        self.refuted(worker, out);
    }

    /// A worker made progress with a run: whatever is held against it for this job is refuted.
    pub(super) fn heard_of(&mut self, now: Now, run: &RunId, worker: NodeId, out: &mut Effects) {
        if let Some(shard) = self.shard_mut(&run.shard) {
            shard.live.heard = Some(now.mono);
        }
        self.refuted(worker, out);
    }

    fn refuted(&mut self, worker: NodeId, out: &mut Effects) {
        if self.live.suspicions.heard(worker).is_some() {
            let job = self.accepted.job;
            out.push(Effect::Observe(Observation::WorkerBackForJob { job, worker }));
        }
    }
}

impl Manager {
    /// A worker asks for more time for its runs of a job.
    pub(super) fn hear_plea(
        &mut self,
        now: Now,
        worker: NodeId,
        (job, dc_epoch): (JobId, DcEpoch),
        plea: Plea,
        out: &mut Effects,
    ) {
        let (me, timing) = (self.config.node, &self.config.timing);
        let fits = |record: &&mut DcJob| record.facts.owner == me && record.facts.dc_epoch == dc_epoch;
        let Some(record) = self.ledger.state_mut().jobs.get_mut(&job).filter(fits) else {
            return self.observe(Observation::Ignored(Stale::Fence), out);
        };
        let granted = record.plead(now, timing, worker, plea);
        let ends_in = record.silent_at(timing, worker).map_or(timing.run_silence, |at| at.since(now.mono));
        let need = plea.need;
        let said = match granted {
            Ok(Grant { time_ms, left, warning }) => {
                let wants_ms = plea.wants_ms;
                Observation::MoreTimeGranted { job, worker, need, wants_ms, time_ms, left, warning }
            }
            Err(Denied { denial, before, now }) => {
                Observation::MoreTimeDenied { job, worker, need, denial, before, now }
            }
        };
        self.observe(said, out);
        self.dirty.insert(job);
        let (seq, ends_in_ms) = (plea.seq, ends_in.as_wire_millis());
        self.send(worker, Message::MoreTimeReply { job, dc_epoch, seq, ends_in_ms, granted }, out);
    }

    /// How many workers live on more time that this manager has granted.
    pub(super) fn extended(&self) -> u32 {
        let records = self.ledger.state().jobs.values();
        let workers: BTreeSet<NodeId> =
            records.flat_map(|record| record.live.suspicions.extended()).collect();
        workers.len() as u32
    }
}
