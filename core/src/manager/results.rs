//! What a job's owner owes to the gates: who owns the job here, workflow results, the final.
//!
//! The outbox is not a list: it is derived from the record, so a successor sends the very same. Only a positive
//! acknowledgement ends the sending.

use super::context::Context;
use super::job::{DcJob, Outbox};
use crate::fault::{Fault, FaultCode};
use crate::id::{DcEpoch, NodeId, WorkflowIx};
use crate::jobs::JobStatus;
use crate::observe::{Observation, Stale};
use crate::wire::Message;

/// Which message of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `DcOwnerChanged`.
    Owner,
    /// `WorkflowResult`.
    Workflow(WorkflowIx),
    /// `DcFinal`.
    Final,
}

/// How the job is over, where a gate says so.
pub fn over(fault: &Fault) -> Option<JobStatus> {
    if let FaultCode::AlreadyTerminal(status) = fault.code { Some(status) } else { None }
}

impl DcJob {
    /// Sends what is due.
    pub(super) fn send_outbox(&mut self, cx: &mut Context<'_>) {
        self.send_notice(cx, Notice::Owner);
        if self.live.final_notice.acked {
            return;
        }
        for workflow in self.places() {
            if self.workflows[usize::from(workflow.0)].facts.status.is_final() {
                self.send_notice(cx, Notice::Workflow(workflow));
            }
        }
        if self.facts.ended.is_some() {
            self.send_notice(cx, Notice::Final);
        }
    }

    fn notice(&mut self, which: Notice) -> Option<&mut Outbox> {
        match which {
            Notice::Owner => Some(&mut self.live.owner_notice),
            Notice::Workflow(workflow) => self.workflow_mut(workflow).map(|known| &mut known.live.notice),
            Notice::Final => Some(&mut self.live.final_notice),
        }
    }

    fn send_notice(&mut self, cx: &mut Context<'_>, which: Notice) {
        let now = cx.now;
        let Some(notice) = self.notice(which).copied().filter(|notice| !notice.acked) else { return };
        if notice.ask.is_due(now) {
            // Where no gate is connected, the next connection makes it due again.
            let Some(gate) = self.gate_for(cx, notice.ask.tries) else { return };
            let message = self.message(cx, which);
            cx.send(gate, message);
            if let Some(notice) = self.notice(which) {
                notice.ask.sent_from_outbox(now, cx.rng);
            }
        }
        if let Some(notice) = self.notice(which) {
            cx.wake_for(&notice.ask);
        }
    }

    fn message(&self, cx: &Context<'_>, which: Notice) -> Message {
        let (job, dc_epoch) = (self.accepted.job, self.facts.dc_epoch);
        match which {
            Notice::Owner => Message::DcOwnerChanged { job, dc_epoch, owner: self.facts.owner },
            Notice::Workflow(workflow) => {
                Message::WorkflowResult { job, dc_epoch, report: self.workflow_report(workflow).into() }
            }
            Notice::Final => {
                let status = self.facts.ended.expect("a final is sent once the job has ended");
                Message::DcFinal { job, dc_epoch, report: self.report(cx.config.dc, status).into() }
            }
        }
    }

    /// The gate to ask: one that was named as the owner, the owner of the log, or any that is connected.
    fn gate_for(&self, cx: &Context<'_>, tries: u32) -> Option<NodeId> {
        let known = self.live.gate_hint.into_iter().chain([self.facts.gate]);
        let connected = |gate: &NodeId| cx.links.is_connected(*gate);
        known.into_iter().find(connected).or_else(|| {
            let gates = || cx.config.roster.gates.iter().map(|gate| gate.node).filter(connected);
            gates().nth(tries as usize % gates().count().max(1))
        })
    }

    /// Takes a gate's answer to a message of the outbox.
    pub(super) fn notice_answered(
        &mut self,
        which: Notice,
        dc_epoch: DcEpoch,
        stored: Result<(), Fault>,
    ) -> Result<(), Observation> {
        if dc_epoch != self.facts.dc_epoch || self.live.epoch != dc_epoch {
            return Err(Observation::Ignored(Stale::Fence));
        }
        let notice = self.notice(which).ok_or(Observation::Ignored(Stale::Unknown))?;
        if notice.acked {
            return Err(Observation::Ignored(Stale::Duplicate));
        }
        match stored {
            Ok(()) => {
                notice.acked = true;
                self.live.wanted |= which == Notice::Owner;
            }
            Err(fault) if over(&fault).is_some() && which == Notice::Owner => notice.acked = true,
            Err(fault) if fault.code == FaultCode::NotOwner && fault.owner.is_some() => {
                // A gate that says so of an owner change has looked whether the job is over.
                self.live.wanted |= which == Notice::Owner;
                // The named gate is asked at once, but a circle of redirects is not followed faster than repeats.
                if self.live.gate_hint != fault.owner {
                    self.live.gate_hint = fault.owner;
                    if let Some(notice) = self.notice(which) {
                        notice.ask.hurry();
                    }
                }
            }
            Err(_) => self.live.gate_hint = None,
        }
        Ok(())
    }
}
