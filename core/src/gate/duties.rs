//! What a record obliges its owner to do.
//!
//! [`GateJob::duties`] reads the record and does what is due: it is the same function after an applied entry, a message,
//! a timer, a restart, a snapshot and a takeover, so a replica that jumped over entries forgets nothing. It sends, and
//! returns what is to be proposed and when it wants to be called again; it changes only the volatile part.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::command::{ByOwner, DcAt, GateCommand, MAX_PARTS, PART_BYTES};
use super::job::{Ack, DcEnd, GateJob, Target, Topic};
use super::state::parts_of;
use crate::config::{Limits, Timing};
use crate::effect::{Effect, Effects};
use crate::fault::{Fault, FaultCode};
use crate::federation::Federation;
use crate::guard::Breakers;
use crate::id::{DcEpoch, DcId, GateEpoch, JobId, NodeId, WorkflowIx};
use crate::jobs::JobStatus;
use crate::link::Links;
use crate::observe::Observation;
use crate::time::{Duration, Instant, Now};
use crate::wire::Message;

/// Volatile parts of a job are kept for its readers this long after its end (`nodes-and-protocol` 4.1).
const LINGER: Duration = Duration::from_secs(60);
/// How often an ended job whose result nobody acknowledged asks whether its place is needed.
const CROWD_LOOK: Duration = Duration::from_secs(60);

/// What a gate knows, for the duties of one record.
pub(super) struct Context<'a> {
    pub now: Now,
    pub me: NodeId,
    pub timing: &'a Timing,
    pub limits: &'a Limits,
    pub links: &'a Links,
    pub federation: &'a Federation,
    pub breakers: &'a Breakers,
    /// The minor version whose commands the log may hold.
    pub minor: u16,
    /// Whether this gate's lease holds: whether it may act as an owner.
    pub active: bool,
    /// Whether this record's place may soon be needed: see [`GateState::is_crowded`].
    pub crowded: bool,
}

/// What duties ask of the gate.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// To be proposed, unless the topic's last proposal is undecided.
    pub commands: Vec<(Topic, GateCommand)>,
    /// When to look again.
    pub next: Option<Instant>,
    /// Managers that were asked to run the job now.
    pub asked: Vec<NodeId>,
    /// Managers that did not answer such a request in time.
    pub silent: Vec<NodeId>,
}

impl Plan {
    pub fn look_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    pub fn decide(&mut self, topic: Topic, command: GateCommand) {
        self.commands.push((topic, command));
    }
}

impl GateJob {
    /// Does what is due now. See the module.
    pub(super) fn duties(&mut self, job: JobId, context: &Context<'_>, out: &mut Effects) -> Plan {
        let mut plan = Plan::default();
        self.see(context.now.mono);
        if self.row.owner != context.me {
            self.lay_down(job, out);
            return plan;
        }
        if !context.active {
            return plan;
        }
        if self.live.testified != Some(self.row.status) {
            self.live.testified = Some(self.row.status);
            out.push(Effect::Observe(Observation::JobStatus { job, status: self.row.status }));
        }
        self.acknowledge(job, out);
        if self.row.status.is_final() {
            self.retain(job, context, &mut plan);
        } else {
            self.watch_time(job, context, &mut plan);
            self.log_results(job, context, &mut plan);
        }
        self.send_couriers(job, context, &mut plan, out);
        if !self.row.status.is_final() {
            self.place(job, context, &mut plan);
        }
        plan
    }

    /// What an owner says with its decisions.
    pub(super) fn by(&self, job: JobId, now: Instant) -> ByOwner {
        ByOwner { job, gate_epoch: self.row.gate_epoch, elapsed_ms: self.elapsed_ms(now) }
    }

    /// Another gate is the owner: nothing of the owner's volatile part is of use, and who waits here is sent there.
    fn lay_down(&mut self, job: JobId, out: &mut Effects) {
        let owner = self.row.owner;
        for (peer, dc, dc_epoch, what) in core::mem::take(&mut self.live.acks) {
            let other = || Fault::new(FaultCode::NotOwner, "another gate owns the job").at(Some(owner));
            let fault = self.over_at(dc).filter(|_| what == Ack::Owner).map_or_else(other, already);
            send_ack(peer, job, dc_epoch, what, Err(fault), out);
        }
        let live = &mut self.live;
        live.couriers.clear();
        live.reports.clear();
        live.finals.clear();
        live.progress.clear();
        live.windows = super::progress::Windows::default();
        live.ring.clear();
        (live.progress_changed, live.pushed) = (false, None);
        (live.unplaced, live.stopping, live.ended, live.testified) = (None, None, None, None);
        if !self.row.status.is_final() {
            live.streams.values_mut().for_each(|stream| stream.ending = true);
        }
    }

    /// Acknowledges what the log has, or what no longer matters to it.
    fn acknowledge(&mut self, job: JobId, out: &mut Effects) {
        let mut waiting = core::mem::take(&mut self.live.acks);
        waiting.retain(|&(peer, dc, dc_epoch, what)| {
            let target = self.row.target(dc);
            let known = target.map_or(DcEpoch(0), |target| target.dc_epoch);
            let over = self.row.status.is_final() || !target.is_some_and(Target::is_open);
            let stored = match what {
                Ack::Workflow(workflow) => over || self.reports.contains_key(&(dc, workflow)),
                Ack::Final => over,
                Ack::Owner => over || known >= dc_epoch,
            };
            let ended = self.over_at(dc).filter(|_| stored && what == Ack::Owner);
            let answer = if let Some(status) = ended {
                Err(already(status))
            } else if stored {
                Ok(self.row.gate_epoch)
            } else if dc_epoch < known {
                Err(Fault::new(FaultCode::StaleEpoch, "another manager owns the job in this datacenter"))
            } else {
                return true;
            };
            send_ack(peer, job, dc_epoch, what, answer, out);
            false
        });
        self.live.acks = waiting;
    }

    /// The job's time, and the time that its end may take.
    fn watch_time(&mut self, job: JobId, context: &Context<'_>, plan: &mut Plan) {
        let now = context.now.mono;
        let timeout = self.when_elapsed(self.origin.spec.timeout_ms, now);
        let Some(verdict) = self.row.stop_verdict() else {
            self.live.stopping = None;
            if now >= timeout {
                let reason = "its time was over".to_string();
                self.decide_stop(job, JobStatus::TimedOut, reason, context, plan);
            }
            plan.look_at(timeout);
            return;
        };
        let since = *self.live.stopping.get_or_insert(now);
        let mut deadline = since + context.timing.cancel_deadline;
        if verdict == JobStatus::Cancelled {
            // A deadline does not change the verdict of a cancel, but ends the wait for its confirmations.
            deadline = deadline.min(timeout.max(since));
        }
        if now >= deadline {
            let why = "it did not confirm the stop in time".to_string();
            plan.decide(Topic::Final, GateCommand::JobFinal { by: self.by(job, now), why });
        }
        plan.look_at(deadline);
    }

    /// Records that the job is to end.
    pub(super) fn decide_stop(
        &self,
        job: JobId,
        verdict: JobStatus,
        reason: String,
        context: &Context<'_>,
        plan: &mut Plan,
    ) {
        let elapsed_ms = self.elapsed_ms(context.now.mono);
        let gate_epoch = Some(self.row.gate_epoch);
        plan.decide(Topic::Stop, GateCommand::StopRecorded { job, gate_epoch, verdict, reason, elapsed_ms });
    }

    /// Records that a datacenter does not run the job.
    pub(super) fn decide_clear(
        &self,
        job: JobId,
        dc: DcId,
        why: &str,
        context: &Context<'_>,
        plan: &mut Plan,
    ) {
        let by = self.by(job, context.now.mono);
        plan.decide(Topic::Clear(dc), GateCommand::DcClear { by, dc, why: why.to_string() });
    }

    /// Brings reports and finals into the log: a final once all its workflows are there.
    fn log_results(&mut self, job: JobId, context: &Context<'_>, plan: &mut Plan) {
        let by = self.by(job, context.now.mono);
        for (&dc, (dc_epoch, from, report)) in &self.live.finals {
            for workflow in &report.workflows {
                let place = (dc, workflow.workflow);
                if !self.reports.contains_key(&place) {
                    let waiting = || (*dc_epoch, *from, Box::new(workflow.clone()));
                    self.live.reports.entry(place).or_insert_with(waiting);
                }
            }
        }
        let of_use = |dc: DcId, dc_epoch: DcEpoch| {
            self.row.target(dc).is_some_and(|target| target.is_open() && target.dc_epoch <= dc_epoch)
        };
        self.live
            .reports
            .retain(|place, (dc_epoch, ..)| of_use(place.0, *dc_epoch) && !self.reports.contains_key(place));
        self.live.finals.retain(|dc, (dc_epoch, ..)| of_use(*dc, *dc_epoch));
        for (&(dc, workflow), (dc_epoch, owner, report)) in &self.live.reports {
            let at = DcAt { dc, dc_epoch: *dc_epoch, owner: *owner };
            let topic = |part| Topic::Workflow(dc, workflow, part);
            if self.live.proposed.contains_key(&topic(0)) {
                continue;
            }
            let cut = parts_of(report, PART_BYTES);
            let parts = cut.len() as u16;
            for (part, bytes) in (0..parts).zip(cut) {
                let command = GateCommand::WorkflowDone { by, at, workflow, part, parts, bytes };
                plan.decide(topic(part), command);
            }
        }
        for (&dc, (dc_epoch, owner, report)) in &self.live.finals {
            if self.live.reports.keys().all(|place| place.0 != dc) {
                let at = DcAt { dc, dc_epoch: *dc_epoch, owner: *owner };
                let end = DcEnd {
                    status: report.status,
                    cancelled: report.cancelled,
                    killed: report.killed,
                    elapsed_ms: report.elapsed_ms,
                };
                plan.decide(Topic::DcFinal(dc), GateCommand::DcFinal { by, at, end });
            }
        }
    }

    /// Keeps an ended job for its readers, then lets it go.
    fn retain(&mut self, job: JobId, context: &Context<'_>, plan: &mut Plan) {
        let (now, timing) = (context.now.mono, context.timing);
        let live = &mut self.live;
        live.reports.clear();
        live.finals.clear();
        let ended = *live.ended.get_or_insert(now);
        if now >= ended + LINGER {
            live.ring.clear();
            live.progress.clear();
            live.windows = super::progress::Windows::default();
        } else {
            plan.look_at(ended + LINGER);
        }
        let plain = match self.row.status {
            JobStatus::Completed => timing.retain_completed,
            _ => timing.retain_other,
        };
        let owed = self.row.targets.iter().any(Target::is_owed_a_stop);
        let plain = ended + if owed { plain.max(timing.retain_other) } else { plain };
        let (until, look) = match (self.row.delivered, context.crowded) {
            (true, _) | (false, true) => (plain, plain),
            (false, false) => {
                let last = plain.max(ended + timing.retain_undelivered);
                (last, last.min(plain.max(now + CROWD_LOOK)))
            }
        };
        if now >= until {
            let command = GateCommand::JobReaped { by: self.by(job, now), keep: context.limits.tombstones };
            plan.decide(Topic::Reap, command);
        } else {
            plan.look_at(look);
        }
    }
}

/// Whether a report can go into the log at all.
pub(super) fn fits_the_log(report: &crate::jobs::WorkflowReport) -> bool {
    parts_of(report, PART_BYTES).len() <= usize::from(MAX_PARTS)
}

/// The answer to a manager that asks to own what the gates have ended.
pub(super) fn already(status: JobStatus) -> Fault {
    Fault::new(FaultCode::AlreadyTerminal(status), "the job is over")
}

/// Answers a manager that waits for the log.
pub(super) fn send_ack(
    peer: NodeId,
    job: JobId,
    dc_epoch: DcEpoch,
    what: Ack,
    answer: Result<GateEpoch, Fault>,
    out: &mut Effects,
) {
    if let Err(fault) = &answer {
        out.push(Effect::Observe(Observation::Refused(fault.code)));
    }
    let message = match what {
        Ack::Workflow(workflow) => ack_workflow(job, workflow, dc_epoch, answer.map(|_| ())),
        Ack::Final => Message::DcFinalAck { job, dc_epoch, stored: answer.map(|_| ()) },
        Ack::Owner => Message::DcOwnerChangedAck { job, dc_epoch, stored: answer },
    };
    out.push(Effect::Send { to: peer, message: Box::new(message) });
}

fn ack_workflow(job: JobId, workflow: WorkflowIx, dc_epoch: DcEpoch, stored: Result<(), Fault>) -> Message {
    Message::WorkflowResultAck { job, workflow, dc_epoch, stored }
}
