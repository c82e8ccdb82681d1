//! What datacenters report to a job's owner: progress, results of workflows, finals, changes of owner.
//!
//! A report is acknowledged once the log has it and never before: its sender keeps it until then. Only the owner with a
//! lease that holds takes it; everybody else says who that is. Reports of a job that is over are acknowledged, since
//! nothing can come of them; who asks to own one is told so, and ends it.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use super::command::DcAt;
use super::duties::{already, fits_the_log, send_ack};
use super::job::{Ack, GateJob};
use super::progress::DcNumbers;
use super::{Gate, Timer};
use crate::effect::{Effect, Effects};
use crate::fault::{Fault, FaultCode};
use crate::id::{DcEpoch, DcId, GateEpoch, JobId, NodeId};
use crate::jobs::{DcReport, JobSpec, WorkflowReport};
use crate::observe::{Observation, Stale};
use crate::time::Now;
use crate::wire::Message;

impl Gate {
    /// A datacenter's numbers so far.
    pub(super) fn receive_progress(
        &mut self,
        now: Now,
        from: NodeId,
        job: JobId,
        numbers: DcNumbers,
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let dc = self.federation.home(from).ok_or(Stale::Sender)?;
        let (window_ring, pause) =
            (usize::from(self.boot.config.limits.window_ring), self.boot.config.timing.push_progress);
        let record = self.owned(now, job).ok_or(Stale::Unknown)?;
        let dc_epoch = numbers.dc_epoch;
        let taken = record.take_progress(now.mono, dc, numbers, window_ring);
        let push_at = record.live.pushed.map_or(now.mono, |at| (at + pause).max(now.mono));
        if taken == Err(Stale::State) {
            // The datacenter runs the job, or has a new owner, and the answer that said so was lost.
            let at = DcAt { dc, dc_epoch, owner: from };
            let news = record.seen_at(job, at, now.mono);
            self.propose_for(now, job, news, out);
        }
        let requests = taken?;
        if self.wheel.deadline(Timer::Push(job)).is_none_or(|at| at > push_at) {
            self.wheel.arm(Timer::Push(job), push_at);
        }
        out.push(Effect::Observe(Observation::DcProgress { job, dc, requests }));
        Ok(())
    }

    /// A workflow ended in a datacenter.
    pub(super) fn receive_workflow_result(
        &mut self,
        now: Now,
        from: NodeId,
        job: JobId,
        dc_epoch: DcEpoch,
        report: Box<WorkflowReport>,
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let dc = self.federation.home(from).ok_or(Stale::Sender)?;
        let what = Ack::Workflow(report.workflow);
        match self.takes(now, job, dc, dc_epoch, |record| check_report(&record.origin.spec, &report)) {
            Err(answer) => send_ack(from, job, dc_epoch, what, answer, out),
            Ok(record) => {
                let place = (dc, report.workflow);
                record.live.reports.insert(place, (dc_epoch, from, report));
                record.live.acks.insert((from, dc, dc_epoch, what));
                self.touched.insert(job);
            }
        }
        Ok(())
    }

    /// The job ended in a datacenter.
    pub(super) fn receive_dc_final(
        &mut self,
        now: Now,
        from: NodeId,
        job: JobId,
        dc_epoch: DcEpoch,
        report: Box<DcReport>,
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let dc = self.federation.home(from).ok_or(Stale::Sender)?;
        match self.takes(now, job, dc, dc_epoch, |record| check_final(&record.origin.spec, dc, &report)) {
            Err(answer) => {
                send_ack(from, job, dc_epoch, Ack::Final, answer, out);
                self.clear_if_owed(now, job, dc, out);
            }
            Ok(record) => {
                record.live.finals.insert(dc, (dc_epoch, from, report));
                record.live.acks.insert((from, dc, dc_epoch, Ack::Final));
                self.touched.insert(job);
            }
        }
        Ok(())
    }

    /// Another manager owns the job in a datacenter.
    pub(super) fn receive_dc_owner(
        &mut self,
        now: Now,
        from: NodeId,
        job: JobId,
        at: (DcEpoch, NodeId),
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let dc = self.federation.home(from).ok_or(Stale::Sender)?;
        let (dc_epoch, owner) = at;
        if self.federation.home(owner) != Some(dc) {
            return Err(Stale::Invalid);
        }
        // It asks whether the job is still wanted: what has ended stays so, whoever owns it and whatever lease holds.
        let state = self.ledger.state();
        let over = match state.jobs.get(&job) {
            Some(record) => record.over_at(dc),
            None => state.tombstones.get(&job).map(|tombstone| tombstone.status),
        };
        if over.is_none() && !self.ledger.lease_holds(now) {
            let fault = Fault::new(FaultCode::NoQuorum, "this gate's lease does not hold");
            send_ack(from, job, dc_epoch, Ack::Owner, Err(fault), out);
            return Ok(());
        }
        match self.takes(now, job, dc, dc_epoch, |_| Ok(())) {
            Err(answer) => {
                let answer = over.map_or(answer, |status| Err(already(status)));
                send_ack(from, job, dc_epoch, Ack::Owner, answer, out);
            }
            Ok(record) => {
                record.live.acks.insert((from, dc, dc_epoch, Ack::Owner));
                let news = record.seen_at(job, DcAt { dc, dc_epoch, owner }, now.mono);
                self.propose_for(now, job, news, out);
                self.touched.insert(job);
            }
        }
        Ok(())
    }

    /// The record, if this gate takes such a report now; else the answer that its sender gets at once.
    fn takes(
        &mut self,
        now: Now,
        job: JobId,
        dc: DcId,
        dc_epoch: DcEpoch,
        check: impl Fn(&GateJob) -> Result<(), Fault>,
    ) -> Result<&mut GateJob, Result<GateEpoch, Fault>> {
        let active = self.ledger.lease_holds(now);
        let me = self.me();
        let state = self.ledger.state_mut();
        if let Some(tombstone) = state.tombstones.get(&job) {
            return Err(Ok(tombstone.gate_epoch));
        }
        let refuse = |code, why| Err(Err(Fault::new(code, why)));
        let Some(record) = state.jobs.get_mut(&job) else {
            return refuse(FaultCode::UnknownJob, "no such job");
        };
        if record.row.owner != me {
            let owner = Some(record.row.owner);
            return Err(Err(Fault::new(FaultCode::NotOwner, "another gate owns the job").at(owner)));
        }
        if !active {
            return refuse(FaultCode::NoQuorum, "this gate's lease does not hold");
        }
        let Some(target) = record.row.target(dc) else {
            return refuse(FaultCode::Invalid, "the job was never given to this datacenter");
        };
        if !target.is_open() || record.row.status.is_final() {
            return Err(Ok(record.row.gate_epoch));
        }
        if dc_epoch < target.dc_epoch {
            return refuse(FaultCode::StaleEpoch, "another manager owns the job in this datacenter");
        }
        check(record).map_err(Err)?;
        Ok(record)
    }

    /// A datacenter that was owed a stop has ended the job: nothing is owed to it any more.
    fn clear_if_owed(&mut self, now: Now, job: JobId, dc: DcId, out: &mut Effects) {
        let Some(record) = self.owned(now, job) else { return };
        if record.row.target(dc).is_some_and(super::job::Target::is_owed_a_stop) {
            let command = super::command::GateCommand::DcClear {
                by: record.by(job, now.mono),
                dc,
                why: "it ended the job".into(),
            };
            self.propose_for(now, job, Some((super::job::Topic::Clear(dc), command)), out);
        }
    }

    /// Shows progress that came in since the last time.
    pub(super) fn push_progress(&mut self, now: Now, job: JobId) {
        let ring = usize::from(self.boot.config.limits.event_ring);
        let pause = self.boot.config.timing.push_progress;
        let Some(record) = self.owned(now, job) else { return };
        if record.row.status.is_final() {
            return;
        }
        let next = record.show_progress(now.mono, ring);
        if let Some(next) = next {
            self.wheel.arm(Timer::Push(job), next.max(now.mono + pause));
        }
        self.touched.insert(job);
    }

    /// Tells the managers that a job is dropped. May be lost.
    pub(super) fn forget(&self, now: Now, job: JobId, record: &GateJob, out: &mut Effects) {
        for target in &record.row.targets {
            for manager in self.federation.managers(now.mono, target.dc, &self.links) {
                let message = Message::Forget { jobs: alloc::vec![job] };
                out.push(Effect::Send { to: manager, message: Box::new(message) });
            }
        }
    }
}

fn check_report(spec: &JobSpec, report: &WorkflowReport) -> Result<(), Fault> {
    let known = usize::from(report.workflow.0) < spec.workflows.len();
    if !known || !report.status.is_final() || report.why.len() > Fault::MAX_DETAIL {
        return Err(Fault::new(FaultCode::Invalid, "no final report of a workflow of this job"));
    }
    if !fits_the_log(report) {
        return Err(Fault::new(FaultCode::TooLarge, "the report is over 1.5 MiB"));
    }
    Ok(())
}

fn check_final(spec: &JobSpec, dc: DcId, report: &DcReport) -> Result<(), Fault> {
    let places: BTreeSet<_> = report.workflows.iter().map(|workflow| workflow.workflow).collect();
    if report.dc != dc || !report.status.is_final() || places.len() != report.workflows.len() {
        return Err(Fault::new(FaultCode::Invalid, "no final report of this datacenter"));
    }
    report.workflows.iter().try_for_each(|workflow| check_report(spec, workflow))
}
