//! Puppets: messages that were really sent, said once more by a fault.
//!
//! Only kinds that some fault of the plan wants are remembered, from their first on.

use std::collections::BTreeMap;

use tidegate_core::id::{DcEpoch, GateEpoch, JobId};
use tidegate_core::suspicion::extension::Plea;
use tidegate_core::wire::{Kind, Message};

use super::facts::HostIx;
use super::{Machine, World};
use crate::plan::{Alter, FaultKind, FaultPlan, SayPlan, Selector};

/// A job that nobody knows.
const NOBODYS: JobId = JobId([0x99; 16]);

/// What was said so far, by kind, with its sender.
pub(super) struct Said(BTreeMap<Kind, Vec<(HostIx, Box<Message>)>>);

impl Said {
    /// Nothing yet of the kinds that these faults want.
    pub fn new(faults: &[FaultPlan]) -> Self {
        let wanted = faults.iter().filter_map(|fault| match &fault.kind {
            FaultKind::Say(say) => Kind::ALL.iter().find(|kind| kind.as_str() == say.kind),
            _ => None,
        });
        Self(wanted.map(|kind| (*kind, Vec::new())).collect())
    }

    /// Remembers a message, if somebody may want it.
    #[inline]
    pub fn note(&mut self, from: HostIx, message: &Message) {
        if !self.0.is_empty()
            && let Some(said) = self.0.get_mut(&message.kind())
        {
            said.push((from, Box::new(message.clone())));
        }
    }
}

impl<M: Machine> World<M> {
    /// A puppet speaks to a host; false where there is nothing to say, or nobody hears it.
    pub(super) fn puppet_says(&mut self, to: HostIx, say: &SayPlan, observer: Option<HostIx>) -> bool {
        let one = |world: &Self, selector: &Selector| world.scene.select(selector, observer).first().copied();
        let Some(from) = one(self, &say.from) else { return false };
        let of = match &say.of {
            Some(of) => self.scene.select(of, observer),
            None => vec![from],
        };
        let job = say.job.as_deref().and_then(|name| self.scene.job(name));
        let said =
            self.said.0.iter().filter(|(kind, _)| kind.as_str() == say.kind).flat_map(|(_, said)| said);
        let mut fits = said.filter(|(sender, message)| {
            of.contains(sender) && (say.job.is_none() || (job.is_some() && job_of(message) == job))
        });
        let found = match say.nth {
            0 => fits.next_back(),
            nth => fits.nth(nth as usize - 1),
        };
        let Some(mut message) = found.map(|(_, message)| message.clone()) else { return false };
        if !alter(&mut message, &say.alter) {
            return false;
        }
        (0..say.times).fold(false, |heard, _| self.send_puppet(from, to, message.clone()) || heard)
    }
}

/// The parts of a message that a puppet looks at or alters.
struct Parts<'a> {
    job: Option<&'a mut JobId>,
    gate_epoch: Option<&'a mut GateEpoch>,
    dc_epoch: Option<&'a mut DcEpoch>,
    seq: Option<&'a mut u64>,
    plea: Option<&'a mut Plea>,
}

fn parts(message: &mut Message) -> Parts<'_> {
    let mut parts = Parts { job: None, gate_epoch: None, dc_epoch: None, seq: None, plea: None };
    match message {
        Message::DcHeartbeat(load) => parts.seq = Some(&mut load.version),
        Message::Dispatch { job, gate_epoch, .. }
        | Message::DispatchReply { job, gate_epoch, .. }
        | Message::StopInDc { job, gate_epoch, .. }
        | Message::StopInDcReply { job, gate_epoch, .. }
        | Message::GateOwnerChanged { job, gate_epoch, .. }
        | Message::GateOwnerChangedReply { job, gate_epoch, .. } => {
            (parts.job, parts.gate_epoch) = (Some(job), Some(gate_epoch));
        }
        Message::DcProgress { job, dc_epoch, seq, .. } => {
            (parts.job, parts.dc_epoch, parts.seq) = (Some(job), Some(dc_epoch), Some(seq));
        }
        Message::WorkflowResult { job, dc_epoch, .. }
        | Message::WorkflowResultAck { job, dc_epoch, .. }
        | Message::DcFinal { job, dc_epoch, .. }
        | Message::DcFinalAck { job, dc_epoch, .. }
        | Message::DcOwnerChanged { job, dc_epoch, .. }
        | Message::DcOwnerChangedAck { job, dc_epoch, .. }
        | Message::OwnerChanged { job, dc_epoch, .. } => {
            (parts.job, parts.dc_epoch) = (Some(job), Some(dc_epoch));
        }
        Message::ReserveShard(reserve) => {
            (parts.job, parts.dc_epoch) = (Some(&mut reserve.run.shard.job), Some(&mut reserve.dc_epoch));
        }
        Message::StartShard { run, dc_epoch, .. } | Message::StopShard { run, dc_epoch, .. } => {
            (parts.job, parts.dc_epoch) = (Some(&mut run.shard.job), Some(dc_epoch));
        }
        Message::WorkerHeartbeat { version, .. } => parts.seq = Some(version),
        Message::MoreTime { job, dc_epoch, plea } => {
            (parts.job, parts.dc_epoch, parts.plea) = (Some(job), Some(dc_epoch), Some(plea));
        }
        Message::ShardProgress { run, seq, .. } => {
            (parts.job, parts.seq) = (Some(&mut run.shard.job), Some(seq));
        }
        Message::ShardResult(report) => parts.job = Some(&mut report.run.shard.job),
        _ => {}
    }
    parts
}

fn job_of(message: &Message) -> Option<JobId> {
    parts(&mut message.clone()).job.copied()
}

/// False where the message has no such part.
fn alter(message: &mut Message, alter: &Alter) -> bool {
    let mut parts = parts(message);
    if let Some(fence) = alter.fence {
        match (parts.gate_epoch, parts.dc_epoch) {
            (Some(epoch), _) => epoch.0 = fence,
            (None, Some(epoch)) => epoch.0 = fence,
            (None, None) => return false,
        }
    }
    if let Some(number) = alter.seq {
        match (parts.seq, &mut parts.plea) {
            (Some(seq), _) => *seq = number,
            (None, Some(plea)) => plea.seq = number,
            (None, None) => return false,
        }
    }
    if alter.unknown_job {
        let Some(job) = parts.job else { return false };
        *job = NOBODYS;
    }
    if let Some([done, of]) = alter.done_of {
        let Some(plea) = parts.plea else { return false };
        (plea.done, plea.of) = (Some(done), Some(of));
    }
    alter.more_ok.is_none_or(|more| add_ok(message, more))
}

fn add_ok(message: &mut Message, more: u64) -> bool {
    let totals = match message {
        Message::DcFinal { report, .. } => report.workflows.first_mut().map(|report| &mut report.totals),
        Message::WorkflowResult { report, .. } => Some(&mut report.totals),
        Message::DcProgress { workflows, .. } => workflows.first_mut().map(|(_, totals)| totals),
        Message::ShardProgress { totals, .. } => Some(&mut **totals),
        Message::ShardResult(report) => Some(&mut report.totals),
        _ => None,
    };
    totals.map(|totals| totals.ok += more).is_some()
}
