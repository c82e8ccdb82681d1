//! Taking a job in: who may, when, and what is refused.

use alloc::format;

use super::command::Command;
use super::duties::already;
use super::graph::is_nothing;
use super::job::{Accepted, Duty, GateQuestion};
use super::place::fits_empty;
use super::{Asked, Manager};
use crate::effect::Effects;
use crate::fault::{Fault, FaultCode};
use crate::federation::SETTLED;
use crate::id::{GateEpoch, JobId, NodeId};
use crate::jobs::JobSpec;
use crate::observe::{Observation, Stale};
use crate::time::Now;
use crate::wire::{DispatchAccepted, Message};

/// A gate's request to run a job.
pub struct Dispatch {
    /// The gate that asks.
    pub from: NodeId,
    /// The job owner's fence.
    pub gate_epoch: GateEpoch,
    /// The job owner.
    pub owner: NodeId,
    /// What to run.
    pub accepted: Accepted,
}

impl Manager {
    /// Answers from the log where the job is known; otherwise proposes it, and answers when it is applied.
    pub(super) fn dispatch(&mut self, now: Now, dispatch: Dispatch, out: &mut Effects) {
        let (job, from, gate_epoch) = (dispatch.accepted.job, dispatch.from, dispatch.gate_epoch);
        let settled = match self.known_dispatch(now, &dispatch, out) {
            Some(reply) => reply,
            None => self.admit(now, &dispatch).map(|()| None),
        };
        match settled {
            Ok(Some(accepted)) => self.reply_dispatch(from, job, gate_epoch, Ok(accepted), out),
            Err(fault) => self.reply_dispatch(from, job, gate_epoch, Err(fault), out),
            Ok(None) if self.ledger.state().jobs.contains_key(&job) => {}
            Ok(None) => {
                let owner = self.config.node;
                let Dispatch { accepted, owner: gate, .. } = dispatch;
                let command = Command::JobAccepted { accepted, gate_epoch, gate, owner };
                if let Err(fault) = self.propose(now, Asked::Dispatch { job, from, gate_epoch }, command, out)
                {
                    self.reply_dispatch(from, job, gate_epoch, Err(fault), out);
                }
            }
        }
    }

    /// What the log says to a dispatch: `None` where the job is not in it.
    fn known_dispatch(
        &mut self,
        now: Now,
        dispatch: &Dispatch,
        out: &mut Effects,
    ) -> Option<Result<Option<DispatchAccepted>, Fault>> {
        let job = dispatch.accepted.job;
        if let Some(status) = self.ledger.state().dropped.get(&job) {
            return Some(Err(already(*status)));
        }
        let record = self.ledger.state().jobs.get(&job)?;
        if dispatch.gate_epoch < record.facts.gate_epoch {
            return Some(Err(Fault::new(FaultCode::StaleEpoch, "another gate owns the job now")));
        }
        let (known, at) = (record.facts.gate_epoch, record.at());
        self.note_wanted(job);
        if dispatch.gate_epoch == known {
            return Some(Ok(Some(at)));
        }
        let asked = (dispatch.from, dispatch.gate_epoch, GateQuestion::Dispatch);
        Some(self.adopt_gate(now, job, dispatch.owner, asked, out).map(|()| None))
    }

    /// Proposes another gate owner; who asked is answered when it is applied.
    pub(super) fn adopt_gate(
        &mut self,
        now: Now,
        job: JobId,
        gate: NodeId,
        asked: (NodeId, GateEpoch, GateQuestion),
        out: &mut Effects,
    ) -> Result<(), Fault> {
        let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) else {
            return Err(Fault::new(FaultCode::UnknownJob, "no such job in this datacenter"));
        };
        record.live.gate_asked = Some(asked);
        let gate_epoch = asked.1;
        self.propose_duty(now, job, Duty::GateOwner, Command::GateOwnerSeen { job, gate_epoch, gate }, out)
    }

    /// Whether a job that is not in the log may be taken in.
    fn admit(&self, now: Now, dispatch: &Dispatch) -> Result<(), Fault> {
        let refuse = |code, why: &str| Err(Fault::new(code, why));
        if self.draining.is_some() {
            let other = self.other_holders().next();
            return Err(Fault::new(FaultCode::Draining, "this manager is shutting down").at(other));
        }
        if !self.ledger.is_leader() {
            let leader = self.ledger.leader();
            return Err(Fault::new(FaultCode::NotLeader, "another manager leads the log").at(leader));
        }
        if !self.ledger.lease_holds(now) {
            return refuse(FaultCode::NotReady, "the manager has no valid lease yet");
        }
        if self.ledger.state().jobs.len() >= self.config.limits.jobs as usize {
            return refuse(FaultCode::Overloaded, "the datacenter keeps as many jobs as it may");
        }
        let Accepted { spec, slot, slots, .. } = &dispatch.accepted;
        if slot >= slots {
            return refuse(FaultCode::Invalid, "a slot beyond the slots");
        }
        spec.validate().map_err(|why| Fault::new(FaultCode::Invalid, why.0))?;
        self.check_capacity(now, spec, *slot, *slots)
    }

    /// Whether the workers that are here could run the job's part. It is infeasible only where no worker is missing that
    /// could: none that is known and away, and none that has yet to come back to a manager that just started.
    fn check_capacity(&self, now: Now, spec: &JobSpec, slot: u16, slots: u16) -> Result<(), Fault> {
        let here = self.empty_seats(now, true);
        let (mut known, settled) =
            (self.empty_seats(now, false), self.config.timing.dc_heartbeat.scale(SETTLED, 1));
        known.extend_from_slice(&here);
        for workflow in &spec.workflows {
            let load = workflow.load.part(slot, slots);
            if is_nothing(workflow.executor, workflow.load, load) {
                continue;
            }
            let (kind, cores, name) = (workflow.executor, workflow.cores, &workflow.name);
            if fits_empty(&here, kind, cores, load) {
                continue;
            }
            if here.is_empty() {
                return Err(Fault::new(FaultCode::NoCapacity, "no worker is registered now"));
            }
            let one = crate::jobs::Load { instances: 1, ..load };
            if fits_empty(&here, kind, cores, one) {
                let why = format!("workflow {name:?} is larger than all workers together");
                return Err(Fault::new(FaultCode::NoCapacity, why));
            }
            let never = !fits_empty(&known, kind, cores, one) && self.pool.settled_for(now) >= settled;
            let code = if never { FaultCode::Infeasible } else { FaultCode::NoCapacity };
            let kind = kind.as_str();
            let why = format!("no worker here runs {kind} with {cores} cores, as workflow {name:?} asks");
            return Err(Fault::new(code, why));
        }
        Ok(())
    }

    pub(super) fn reply_dispatch(
        &mut self,
        to: NodeId,
        job: JobId,
        gate_epoch: GateEpoch,
        reply: Result<DispatchAccepted, Fault>,
        out: &mut Effects,
    ) {
        self.observe_refusal(&reply, out);
        self.send(to, Message::DispatchReply { job, gate_epoch, reply }, out);
    }

    /// A proposed job is decided: answers who asked.
    pub(super) fn dispatch_decided(
        &mut self,
        job: JobId,
        from: NodeId,
        gate_epoch: GateEpoch,
        out: &mut Effects,
    ) {
        self.note_wanted(job);
        let state = self.ledger.state();
        let reply = match (state.jobs.get(&job), state.dropped.get(&job)) {
            (Some(record), _) if record.facts.gate_epoch > gate_epoch => {
                Err(Fault::new(FaultCode::StaleEpoch, "another gate owns the job now"))
            }
            (Some(record), _) => Ok(record.at()),
            (None, Some(status)) => Err(already(*status)),
            // It was decided and dropped, and even that is forgotten.
            (None, None) => return self.observe(Observation::Ignored(Stale::Unknown), out),
        };
        self.reply_dispatch(from, job, gate_epoch, reply, out);
    }
}
