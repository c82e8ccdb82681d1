//! What gates say.

use alloc::vec::Vec;

use super::command::Command;
use super::dispatch::Dispatch;
use super::duties::already;
use super::job::{Accepted, DcJob, Duty, GateQuestion};
use super::results::{Notice, over};
use super::{Asked, Manager};
use crate::effect::Effects;
use crate::fault::{Fault, FaultCode};
use crate::id::{DcEpoch, GateEpoch, JobId, NodeId};
use crate::jobs::JobStatus;
use crate::observe::{Observation, Stale};
use crate::time::Now;
use crate::wire::{DispatchAccepted, Message, Reconciled};

impl Manager {
    pub(super) fn hear_gate(&mut self, now: Now, gate: NodeId, message: Message, out: &mut Effects) {
        match message {
            Message::Dispatch { job, gate_epoch, owner, spec, slot, slots, remaining_ms, half_rtt_us } => {
                let accepted = Accepted { job, spec, slot, slots, remaining_ms, half_rtt_us };
                self.dispatch(now, Dispatch { from: gate, gate_epoch, owner, accepted }, out)
            }
            Message::StopInDc { job, gate_epoch, verdict } => {
                self.stop_in_dc(now, gate, job, gate_epoch, verdict, out)
            }
            Message::GateOwnerChanged { job, gate_epoch, owner } => {
                self.gate_owner_changed(now, gate, job, gate_epoch, owner, out)
            }
            Message::Reconcile { jobs } => self.reconcile(now, gate, &jobs, out),
            Message::Forget { jobs } => self.forget_jobs(now, &jobs, out),
            Message::WorkflowResultAck { job, workflow, dc_epoch, stored } => {
                self.notice_answered(now, job, Notice::Workflow(workflow), (dc_epoch, stored), out)
            }
            Message::DcFinalAck { job, dc_epoch, stored } => {
                self.notice_answered(now, job, Notice::Final, (dc_epoch, stored), out)
            }
            Message::DcOwnerChangedAck { job, dc_epoch, stored } => {
                self.notice_answered(now, job, Notice::Owner, (dc_epoch, stored.map(|_| ())), out)
            }
            _ => self.observe(Observation::Ignored(Stale::Sender), out),
        }
    }

    /// The record, if this manager may act for it; else what to answer.
    fn owned(&mut self, now: Now, job: JobId) -> Result<&mut DcJob, Fault> {
        let (me, may_act) = (self.config.node, self.may_act(now));
        if let Some(status) = self.ledger.state().dropped.get(&job) {
            return Err(already(*status));
        }
        // Only a manager that is certain to have seen what the tier decided may say that a job is unknown.
        let is_current = may_act && self.ledger.is_leader();
        let leader = self.ledger.leader();
        let takes_in = |asked: &Asked| matches!(asked, Asked::Dispatch { job: of, .. } if *of == job);
        let is_coming = !self.ledger.state().jobs.contains_key(&job) && self.asked.values().any(takes_in);
        match self.ledger.state_mut().jobs.get_mut(&job) {
            Some(record) if record.facts.owner != me => {
                let owner = Some(record.facts.owner);
                Err(Fault::new(FaultCode::NotOwner, "another manager owns the job").at(owner))
            }
            Some(record) if may_act => Ok(record),
            // A gate takes the word that it is unknown for its end here.
            None if is_coming => Err(Fault::new(FaultCode::NotReady, "the job is being taken in")),
            None if is_current => Err(Fault::new(FaultCode::UnknownJob, "no such job in this datacenter")),
            None if leader.is_some_and(|leader| leader != me) => {
                Err(Fault::new(FaultCode::NotLeader, "the leader knows").at(leader))
            }
            _ => Err(Fault::new(FaultCode::NotReady, "the manager has no valid lease")),
        }
    }

    fn stop_in_dc(
        &mut self,
        now: Now,
        gate: NodeId,
        job: JobId,
        gate_epoch: GateEpoch,
        verdict: JobStatus,
        out: &mut Effects,
    ) {
        let checked = match self.owned(now, job) {
            Ok(record) if gate_epoch < record.facts.gate_epoch => {
                Err(Fault::new(FaultCode::StaleEpoch, "another gate owns the job now"))
            }
            Ok(record) => {
                record.live.stop_asked = Some((gate, gate_epoch));
                let settled = record.facts.verdict.is_some() || record.all_ended();
                if settled {
                    record.live.final_notice.ask.hurry();
                }
                let elapsed_ms = record.elapsed_ms(now);
                Ok((settled, record.facts.gate_epoch, elapsed_ms))
            }
            Err(fault) => Err(fault),
        };
        let proposed = checked.and_then(|(settled, known, elapsed_ms)| {
            // The word of a new owner: its fence is kept, whatever there is left to stop.
            if gate_epoch > known {
                let command = Command::GateOwnerSeen { job, gate_epoch, gate };
                self.propose_duty(now, job, Duty::GateOwner, command, out)?;
            }
            if settled {
                return Ok(());
            }
            let command = Command::StopRecorded { job, gate_epoch, verdict, elapsed_ms };
            self.propose_duty(now, job, Duty::Stop, command, out)
        });
        match proposed {
            // Answered from the record, now or when it is applied.
            Ok(()) => drop(self.dirty.insert(job)),
            Err(fault) => {
                let recorded = Err(fault);
                self.observe_refusal(&recorded, out);
                self.send(gate, Message::StopInDcReply { job, gate_epoch, recorded }, out);
            }
        }
    }

    fn gate_owner_changed(
        &mut self,
        now: Now,
        gate: NodeId,
        job: JobId,
        gate_epoch: GateEpoch,
        owner: NodeId,
        out: &mut Effects,
    ) {
        let known = self.owned(now, job).map(|record| (record.facts.gate_epoch, record.at()));
        let reply: Result<Option<DispatchAccepted>, Fault> = match known {
            Ok((known, _)) if gate_epoch < known => {
                Err(Fault::new(FaultCode::StaleEpoch, "another gate owns the job now"))
            }
            Ok((known, at)) if gate_epoch == known => Ok(Some(at)),
            Ok(_) => {
                let asked = (gate, gate_epoch, GateQuestion::OwnerChanged);
                self.adopt_gate(now, job, owner, asked, out).map(|()| None)
            }
            Err(fault) => Err(fault),
        };
        if reply.is_ok() {
            self.note_wanted(job);
        }
        if let Some(reply) = reply.transpose() {
            self.observe_refusal(&reply, out);
            self.send(gate, Message::GateOwnerChangedReply { job, gate_epoch, reply }, out);
        }
    }

    /// Answers from the log. A job that is not in it is named as unknown by a leader with a lease only: others may lag.
    fn reconcile(&mut self, now: Now, gate: NodeId, asked: &[(JobId, GateEpoch)], out: &mut Effects) {
        let is_current = self.may_act(now) && self.ledger.is_leader();
        let mut jobs = Vec::with_capacity(asked.len());
        let (mut adopt, mut ended) = (Vec::new(), Vec::new());
        for &(job, gate_epoch) in asked {
            let state = self.ledger.state();
            let known = match (state.jobs.get(&job), state.dropped.get(&job)) {
                (Some(record), _) => {
                    if record.facts.gate_epoch < gate_epoch {
                        adopt.push((job, gate_epoch));
                    }
                    if record.facts.ended.is_some() {
                        ended.push(job);
                    }
                    Some(Reconciled::Known { at: record.at(), status: record.status() })
                }
                (None, Some(status)) => Some(Reconciled::Dropped { status: *status }),
                (None, None) => is_current.then_some(Reconciled::Unknown),
            };
            jobs.extend(known.map(|known| (job, known)));
        }
        for (job, gate_epoch) in adopt {
            let command = Command::GateOwnerSeen { job, gate_epoch, gate };
            // What cannot be proposed now comes up again in the next reconciliation.
            let _ = self.propose_duty(now, job, Duty::GateOwner, command, out);
        }
        for job in ended {
            // A gate that asks has not heard the end: it is not left waiting for the next repeat.
            if let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) {
                record.live.final_notice.ask.hurry();
                self.dirty.insert(job);
            }
        }
        self.send(gate, Message::ReconcileReply { jobs }, out);
    }

    /// The gates have no use for these jobs: ended ones go, others are stopped first.
    fn forget_jobs(&mut self, now: Now, jobs: &[JobId], out: &mut Effects) {
        for &job in jobs {
            let Ok(record) = self.owned(now, job) else {
                self.observe(Observation::Ignored(Stale::State), out);
                continue;
            };
            record.live.forgotten = true;
            self.end_unwanted(now, job, JobStatus::Cancelled, out);
            self.dirty.insert(job);
        }
    }

    fn notice_answered(
        &mut self,
        now: Now,
        job: JobId,
        which: Notice,
        (dc_epoch, stored): (DcEpoch, Result<(), Fault>),
        out: &mut Effects,
    ) {
        let over = stored.as_ref().err().and_then(over).filter(|_| which == Notice::Owner);
        let answered = match self.ledger.state_mut().jobs.get_mut(&job) {
            Some(record) => record.notice_answered(which, dc_epoch, stored),
            None => Err(Observation::Ignored(Stale::Unknown)),
        };
        match answered {
            Ok(()) => {
                self.dirty.insert(job);
                if let Some(status) = over {
                    self.end_unwanted(now, job, status, out);
                }
            }
            Err(observation) => self.observe(observation, out),
        }
    }
}
