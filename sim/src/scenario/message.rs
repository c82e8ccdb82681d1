//! The fields of messages: keys, fences and outcomes, by the names that the messages use.
//!
//! A reply has `ok`, and `code` and `owner` where it refuses. Messages about a run have `job`, `workflow`, `dc`, `shard`
//! and `attempt`. Reports have `status` and `requests`. Payloads have no fields.

use tidegate_core::fault::Fault;
use tidegate_core::id::{DcEpoch, GateEpoch, JobId};
use tidegate_core::jobs::WorkflowReport;
use tidegate_core::wire::{DispatchAccepted, Message};

use super::sight::Fields;
use crate::world::{Scene, name_of};

impl Fields {
    /// See the module.
    pub(super) fn message(&mut self, scene: &Scene, message: &Message) {
        match message {
            Message::DcHeartbeat(load) => {
                self.text("dc", load.dc.as_str());
                self.number("version", load.version);
                self.number("term", load.term.0);
                self.yes("is_leader", load.is_leader);
                self.yes("accepting", load.accepting);
                self.number("free_cores", u64::from(load.capacity.free_cores));
                self.number("workers", u64::from(load.capacity.workers));
                for (name, count) in ["healthy", "busy", "stressed", "overloaded"].iter().zip(load.conditions)
                {
                    self.number(name, u64::from(count));
                }
                self.number("extended", u64::from(load.extended));
            }
            Message::Dispatch { job, gate_epoch, owner, slot, slots, remaining_ms, .. } => {
                self.of_gate(scene, *job, *gate_epoch);
                self.text("owner", &scene.node_name(*owner));
                self.number("slot", u64::from(*slot));
                self.number("slots", u64::from(*slots));
                self.number("remaining_ms", u64::from(*remaining_ms));
            }
            Message::DispatchReply { job, gate_epoch, reply }
            | Message::GateOwnerChangedReply { job, gate_epoch, reply } => {
                self.of_gate(scene, *job, *gate_epoch);
                self.accepted(scene, reply);
            }
            Message::GateOwnerChanged { job, gate_epoch, owner } => {
                self.of_gate(scene, *job, *gate_epoch);
                self.text("owner", &scene.node_name(*owner));
            }
            Message::StopInDc { job, gate_epoch, verdict } => {
                self.of_gate(scene, *job, *gate_epoch);
                self.text("verdict", &format!("{verdict:?}"));
            }
            Message::StopInDcReply { job, gate_epoch, recorded } => {
                self.of_gate(scene, *job, *gate_epoch);
                self.outcome(scene, recorded);
            }
            Message::GateView(view) => {
                self.text("condition", name_of(&view.condition).as_str());
                for (dc, reach) in &view.reaches {
                    self.text(dc.as_str(), name_of(reach).as_str());
                }
            }
            Message::Pong { coordinate, .. } => self.yes("coordinate", coordinate.is_some()),
            Message::Forget { jobs } => self.number("jobs", jobs.len() as u64),
            _ => self.of_datacenter(scene, message),
        }
    }

    fn of_datacenter(&mut self, scene: &Scene, message: &Message) {
        match message {
            Message::DcProgress { job, dc_epoch, seq, status, workflows, windows } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.number("seq", *seq);
                self.text("status", &format!("{status:?}"));
                self.number("requests", workflows.iter().map(|(_, totals)| totals.requests()).sum());
                self.number("windows", windows.len() as u64);
            }
            Message::WorkflowResult { job, dc_epoch, report } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.report(report);
            }
            Message::DcFinal { job, dc_epoch, report } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.text("dc", report.dc.as_str());
                self.text("status", &format!("{:?}", report.status));
                let requests = report.workflows.iter().map(|report| report.totals.requests());
                self.number("requests", requests.sum());
            }
            Message::DcFinalAck { job, dc_epoch, stored } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.outcome(scene, stored);
            }
            Message::WorkflowResultAck { job, workflow, dc_epoch, stored } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.number("workflow", u64::from(workflow.0));
                self.outcome(scene, stored);
            }
            Message::DcOwnerChanged { job, dc_epoch, owner }
            | Message::OwnerChanged { job, dc_epoch, owner } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.text("owner", &scene.node_name(*owner));
            }
            Message::DcOwnerChangedAck { job, dc_epoch, stored } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.outcome(scene, stored);
            }
            Message::OwnerChangedReply { job, dc_epoch, held } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.outcome(scene, held);
            }
            _ => self.of_worker(scene, message),
        }
    }

    fn of_worker(&mut self, scene: &Scene, message: &Message) {
        match message {
            Message::RegisterWorker { boot, cores, held, version, manager, .. } => {
                self.number("boot", u64::from(boot.0));
                self.number("version", *version);
                self.number("manager", u64::from(manager.0));
                self.number("cores", u64::from(*cores));
                self.number("held", held.len() as u64);
            }
            Message::RegisterWorkerReply { boot, accepted } => {
                self.number("boot", u64::from(boot.0));
                self.outcome(scene, accepted);
            }
            Message::WorkerHeartbeat { boot, version, free_cores, draining, held, condition } => {
                self.number("boot", u64::from(boot.0));
                self.number("version", *version);
                self.number("free_cores", u64::from(*free_cores));
                self.yes("draining", *draining);
                self.number("held", held.len() as u64);
                self.text("condition", &format!("{condition:?}"));
            }
            Message::ReserveShard(reserve) => {
                self.run(scene, reserve.run);
                self.number("dc_epoch", reserve.dc_epoch.0);
            }
            Message::ReserveShardReply { run, dc_epoch, reserved } => {
                self.run(scene, *run);
                self.number("dc_epoch", dc_epoch.0);
                self.outcome(scene, reserved);
            }
            Message::StartShard { run, dc_epoch, .. } => {
                self.run(scene, *run);
                self.number("dc_epoch", dc_epoch.0);
            }
            Message::ShardStarted { run, dc_epoch, started } => {
                self.run(scene, *run);
                self.number("dc_epoch", dc_epoch.0);
                self.outcome(scene, started);
            }
            Message::StopShard { run, dc_epoch, mode } => {
                self.run(scene, *run);
                self.number("dc_epoch", dc_epoch.0);
                self.text("mode", name_of(mode).as_str());
            }
            Message::StopShardReply { run, dc_epoch, was } => {
                self.run(scene, *run);
                self.number("dc_epoch", dc_epoch.0);
                self.text("was", name_of(was).as_str());
            }
            Message::ShardProgress { run, seq, totals, windows } => {
                self.run(scene, *run);
                self.number("seq", *seq);
                self.number("requests", totals.requests());
                self.number("windows", windows.len() as u64);
            }
            Message::ShardProgressAck { run, seq, .. } => {
                self.run(scene, *run);
                self.number("seq", *seq);
            }
            Message::ShardResult(report) => {
                self.run(scene, report.run);
                self.text("outcome", &format!("{:?}", report.outcome));
                self.number("requests", report.totals.requests());
            }
            Message::MoreTime { job, dc_epoch, plea } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.number("seq", plea.seq);
                self.text("need", name_of(&plea.need).as_str());
                self.number("active", u64::from(plea.active));
                self.number("overdue", u64::from(plea.overdue));
                self.number("permille", u64::from(plea.permille));
                if let Some(done) = plea.done {
                    self.number("done", done);
                }
                if let Some(of) = plea.of {
                    self.number("of", of);
                }
            }
            Message::MoreTimeReply { job, dc_epoch, seq, ends_in_ms, granted } => {
                self.of_dc(scene, *job, *dc_epoch);
                self.number("seq", *seq);
                self.number("ends_in_ms", u64::from(*ends_in_ms));
                self.yes("ok", granted.is_ok());
            }
            Message::ShardResultAck { run, stored } => {
                self.run(scene, *run);
                self.outcome(scene, stored);
            }
            _ => {}
        }
    }

    fn of_gate(&mut self, scene: &Scene, job: JobId, epoch: GateEpoch) {
        self.text("job", &scene.job_name(job));
        self.number("gate_epoch", epoch.0);
    }

    fn of_dc(&mut self, scene: &Scene, job: JobId, epoch: DcEpoch) {
        self.text("job", &scene.job_name(job));
        self.number("dc_epoch", epoch.0);
    }

    fn report(&mut self, report: &WorkflowReport) {
        self.number("workflow", u64::from(report.workflow.0));
        self.text("status", &format!("{:?}", report.status));
        self.number("requests", report.totals.requests());
    }

    fn accepted(&mut self, scene: &Scene, reply: &Result<DispatchAccepted, Fault>) {
        self.outcome(scene, reply);
        if let Ok(at) = reply {
            self.number("dc_epoch", at.dc_epoch.0);
            self.text("owner", &scene.node_name(at.owner));
        }
    }

    fn outcome<T>(&mut self, scene: &Scene, outcome: &Result<T, Fault>) {
        self.yes("ok", outcome.is_ok());
        if let Err(fault) = outcome {
            self.text("code", name_of(&fault.code).as_str());
            if let Some(owner) = fault.owner {
                self.text("owner", &scene.node_name(owner));
            }
        }
    }
}
