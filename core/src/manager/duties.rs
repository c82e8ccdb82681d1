//! What an owner owes a job, derived from its record: run after every change, restart, snapshot and takeover alike.
//!
//! Nothing here depends on having seen an entry being applied. Each duty looks at the facts and at what this process
//! has already done about them, does what is missing, and names the time of its next look.

use super::command::Command;
use super::context::Context;
use super::job::{DcJob, Duty, GateQuestion, JobLive, Outbox, ShardLive, Told, WorkflowLive};
use crate::effect::Effect;
use crate::fault::{Fault, FaultCode};
use crate::id::{DcEpoch, NodeId};
use crate::jobs::{JobStatus, WorkflowStatus};
use crate::observe::Observation;
use crate::suspicion::Status;
use crate::time::Duration;
use crate::wire::Message;

impl DcJob {
    /// Does what is due.
    pub(super) fn duties(&mut self, cx: &mut Context<'_>) {
        self.note_times(cx);
        self.answer_gate(cx);
        for (worker, run) in self.results_to_ack(cx.config.dc) {
            cx.send(worker, Message::ShardResultAck { run, stored: Ok(()) });
        }
        if self.facts.owner != cx.me() {
            return self.give_up_ownership();
        }
        if !cx.may_act {
            return;
        }
        if self.live.epoch != self.facts.dc_epoch {
            self.begin_epoch(cx);
        }
        self.judge_silence(cx);
        if self.facts.ended.is_none() {
            self.tell_workers(cx);
            for workflow in self.places() {
                self.workflow_duties(cx, workflow);
            }
            self.watch_limit(cx);
            if self.all_ended() {
                let (job, dc_epoch) = (self.accepted.job, self.facts.dc_epoch);
                let elapsed_ms = self.elapsed_ms(cx.now);
                self.propose(cx, Duty::End, Command::JobFinal { job, dc_epoch, elapsed_ms });
            }
        }
        self.send_progress(cx);
        self.send_outbox(cx);
        self.watch_retention(cx);
    }

    /// Starts the clocks of a record that this process has not seen before.
    fn note_times(&mut self, cx: &Context<'_>) {
        self.live.seen.get_or_insert((cx.now.mono, self.facts.elapsed_ms));
        if self.facts.ended.is_some() {
            self.live.ended_at.get_or_insert(cx.now.mono);
        }
        for known in &mut self.workflows {
            if known.facts.status == WorkflowStatus::Running {
                known.live.running_since.get_or_insert(cx.now.mono);
            }
        }
    }

    /// Another manager owns the record: what this process did for it is over, its clocks stay.
    fn give_up_ownership(&mut self) {
        if self.live.epoch == DcEpoch(0) {
            return;
        }
        self.live.epoch = DcEpoch(0);
        self.reset_live();
    }

    /// This process owns the record under a fence for which it has done nothing yet.
    fn begin_epoch(&mut self, cx: &Context<'_>) {
        self.reset_live();
        self.live.epoch = self.facts.dc_epoch;
        // The gate knows the first owner from the dispatch; where it may have ended the job since, it is asked.
        let is_doubtful = self.is_doubtful(cx.now.mono, cx.sure_at);
        self.live.owner_notice.acked = self.facts.dc_epoch == DcEpoch(1) && !is_doubtful;
        let holders = self.workflows.iter().flat_map(|known| known.plan());
        let holders = holders.filter(|(_, shard)| shard.facts.phase.is_live());
        self.live.told = holders.map(|(_, shard)| (shard.facts.worker, Told::default())).collect();
    }

    fn reset_live(&mut self) {
        let live = core::mem::take(&mut self.live);
        self.live = JobLive {
            seen: live.seen,
            ended_at: live.ended_at,
            gate_asked: live.gate_asked,
            stop_asked: live.stop_asked,
            proposed: live.proposed,
            forgotten: live.forgotten,
            wanted: live.wanted,
            progress_no: live.progress_no,
            ..JobLive::default()
        };
        for known in &mut self.workflows {
            let running_since = known.live.running_since;
            known.live = WorkflowLive { running_since, ..WorkflowLive::default() };
            for shard in known.shards.values_mut() {
                // What the worker said of this attempt stays true under any fence.
                let ShardLive { seq, totals, .. } = core::mem::take(&mut shard.live);
                shard.live = ShardLive { seq, totals, ..ShardLive::default() };
            }
        }
    }

    /// Answers gates whose question is settled by the log.
    fn answer_gate(&mut self, cx: &mut Context<'_>) {
        let job = self.accepted.job;
        let settled = self.facts.verdict.is_some() || self.facts.ended.is_some() || self.all_ended();
        let known = self.facts.gate_epoch;
        if let Some((gate, gate_epoch)) = self.live.stop_asked.take_if(|asked| settled && asked.1 <= known) {
            let recorded = match (self.facts.verdict, self.facts.ended) {
                (None, Some(status)) => Err(already(status)),
                (None, None) => Err(already(self.outcome())),
                (Some(_), _) => Ok(()),
            };
            if let Err(fault) = &recorded {
                cx.out.push(Effect::Observe(Observation::Refused(fault.code)));
            }
            cx.send(gate, Message::StopInDcReply { job, gate_epoch, recorded });
        }
        if let Some((gate, gate_epoch, question)) = self.live.gate_asked.take_if(|asked| asked.1 <= known) {
            let reply = Ok(self.at());
            cx.send(
                gate,
                match question {
                    GateQuestion::Dispatch => Message::DispatchReply { job, gate_epoch, reply },
                    GateQuestion::OwnerChanged => Message::GateOwnerChangedReply { job, gate_epoch, reply },
                },
            );
        }
    }

    /// Tells workers that may hold shards of the job who owns it now.
    fn tell_workers(&mut self, cx: &mut Context<'_>) {
        let (job, dc_epoch, owner) = (self.accepted.job, self.facts.dc_epoch, self.facts.owner);
        let timing = &cx.config.timing;
        for (worker, told) in self.live.told.iter_mut().filter(|(_, told)| !told.answered) {
            if cx.pool.is_gone(cx.now, timing, *worker) {
                told.answered = true;
                continue;
            }
            if let Some(at) = cx.pool.gone_at(timing, *worker) {
                cx.wake_at(at);
            }
            if cx.pool.is_reachable(*worker) {
                if told.ask.is_due(cx.now) {
                    told.ask.sent(cx.now, timing.request_timeout);
                    cx.send(*worker, Message::OwnerChanged { job, dc_epoch, owner });
                }
                cx.wake_for(&told.ask);
            }
        }
    }

    /// Whether a worker has still to say what it holds of the job.
    pub(super) fn is_unheard(&self, worker: NodeId) -> bool {
        self.live.told.get(&worker).is_some_and(|told| !told.answered)
    }

    /// The job's time is over and no gate has been heard for long: this tier decides itself.
    fn watch_limit(&mut self, cx: &mut Context<'_>) {
        if self.facts.verdict.is_some() || self.all_ended() {
            return;
        }
        let patience = cx.config.timing.no_gate_fallback;
        let remaining = self.remaining(cx.now);
        if remaining > Duration::ZERO {
            return cx.wake_in(remaining + patience);
        }
        let elapsed_ms = self.elapsed_ms(cx.now);
        let over = elapsed_ms.saturating_sub(self.accepted.remaining_ms);
        let over = Duration::from_millis(over.into()).min(cx.now.mono.since(cx.gate_heard));
        if over < patience {
            return cx.wake_in(patience.saturating_sub(over));
        }
        let (job, gate_epoch) = (self.accepted.job, self.facts.gate_epoch);
        let verdict = JobStatus::TimedOut;
        self.propose(cx, Duty::Stop, Command::StopRecorded { job, gate_epoch, verdict, elapsed_ms });
    }

    /// An ended job goes when the gates have forgotten it, or after its retention.
    fn watch_retention(&mut self, cx: &mut Context<'_>) {
        let (Some(status), Some(ended_at)) = (self.facts.ended, self.live.ended_at) else { return };
        let timing = &cx.config.timing;
        let keep = match (self.live.forgotten, self.live.final_notice.acked, status) {
            (true, ..) => Duration::ZERO,
            (_, false, _) => timing.retain_undelivered,
            (_, true, JobStatus::Completed) => timing.retain_completed,
            (_, true, _) => timing.retain_other,
        };
        if cx.now.mono.since(ended_at) >= keep {
            let jobs = alloc::vec![self.accepted.job];
            self.propose(cx, Duty::Reap, Command::JobsReaped { jobs });
        } else {
            cx.wake_at(ended_at + keep);
        }
    }

    /// A peer's connection is up: what was sent before may be lost, so what it has not answered is due at once.
    pub(super) fn hurry(&mut self, peer: NodeId, is_gate: bool) -> bool {
        if is_gate {
            let notices = self.workflows.iter_mut().map(|known| &mut known.live.notice);
            let own = [&mut self.live.owner_notice, &mut self.live.final_notice];
            notices.chain(own).for_each(|notice: &mut Outbox| notice.ask.hurry());
            return true;
        }
        let mut concerned = self.live.suspicions.status(peer) != Status::Trusted;
        if let Some(told) = self.live.told.get_mut(&peer) {
            told.ask.hurry();
            concerned = true;
        }
        for shard in self.workflows.iter_mut().flat_map(|known| known.shards.values_mut()) {
            if shard.facts.worker == peer && shard.facts.phase.is_live() {
                shard.live.reserve.hurry();
                shard.live.start.hurry();
                shard.live.stop.hurry();
                concerned = true;
            }
        }
        concerned
    }
}

/// The refusal that says how the job ended.
pub fn already(status: JobStatus) -> Fault {
    Fault::new(FaultCode::AlreadyTerminal(status), "the job has ended in this datacenter")
}
