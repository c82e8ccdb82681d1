//! What each command changes: the fold that turns the gates' log into records.
//!
//! [`GateState::apply_command`] sees the replicated part of a record and the command, and nothing else: every gate
//! computes the same rows, the same numbers of kept events and the same final results. A command whose fence is old, or
//! that comes after the end of its job, changes nothing. What the decision costs (sends, timers) is no business of this
//! file: [`super::duties`] derives it from the record.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::command::{
    Accept, ByOwner, DcAt, GateCommand, MAX_ASSIGNED, MAX_KEPT, MAX_PARTS, MAX_REPORT_BYTES,
};
use super::job::{DcEnd, GateJob, JobRow, Kept, Parts, Stop, Target, TargetState, Tombstone};
use super::state::{GateState, RowName};
use super::verdict;
use crate::api::ClientEventKind;
use crate::bytes::Bytes;
use crate::id::{DcId, GateEpoch, JobId, NodeId, WorkflowIx};
use crate::jobs::{JobStatus, WorkflowReport};
use crate::ledger::{Changes, Entry, ProposalId};
use crate::observe::Observation;
use crate::stats::Sketch;

impl GateState {
    /// Applies one committed command. See the module.
    pub(super) fn apply_command(&mut self, entry: &Entry<GateCommand>, changes: &mut Changes) {
        match &entry.command {
            GateCommand::JobAccepted(accept) => self.accept(accept, changes),
            GateCommand::OwnerAssigned { jobs } => self.assign(jobs, changes),
            GateCommand::StopRecorded { job, gate_epoch, verdict, reason, elapsed_ms } => {
                if let Some(mut edit) = self.edit(*job, *gate_epoch, changes) {
                    edit.mark(*elapsed_ms);
                    edit.stop(*verdict, reason, entry.proposal);
                }
            }
            GateCommand::ResultDelivered { job } => {
                if let Some(record) = self.jobs.get_mut(job).filter(|record| record.row.status.is_final()) {
                    record.row.delivered = true;
                    changes.jobs.insert(*job);
                    changes.rows.insert(RowName::Main(*job).key());
                }
            }
            GateCommand::Barrier => {}
            GateCommand::JobReaped { by, keep } => self.reap(*by, *keep, entry.index, changes),
            GateCommand::DcClear { by, dc, why } => self.clear(*by, *dc, why, changes),
            GateCommand::TargetsChosen { by, dc, clear, why, instead } => {
                if let Some(mut edit) = self.edit_by(*by, changes) {
                    edit.give_up(*dc, *clear, why, *instead);
                }
            }
            GateCommand::JobQueued { by, why } => {
                if let Some(mut edit) = self.edit_by(*by, changes) {
                    edit.queued(why);
                }
            }
            GateCommand::DcOwnerSeen { by, at } => {
                if let Some(mut edit) = self.edit_by(*by, changes) {
                    edit.owner_seen(*at);
                }
            }
            GateCommand::WorkflowDone { by, at, workflow, part, parts, bytes } => {
                if let Some(mut edit) = self.edit_by(*by, changes) {
                    edit.workflow_part(*at, *workflow, (*part, *parts), bytes);
                }
            }
            GateCommand::DcFinal { by, at, end } => {
                if let Some(mut edit) = self.edit_by(*by, changes) {
                    edit.dc_final(*at, *end);
                }
            }
            GateCommand::JobFinal { by, why } => {
                if let Some(mut edit) = self.edit_by(*by, changes) {
                    edit.close_without_the_rest(why);
                }
            }
        }
    }

    fn accept(&mut self, accept: &Accept, changes: &mut Changes) {
        let taken = accept.origin.key_of_tenant().is_some_and(|key| self.keys.contains_key(&key));
        if taken || self.jobs.contains_key(&accept.job) || self.tombstones.contains_key(&accept.job) {
            return;
        }
        let target = |(slot, dc): (usize, &DcId)| Target::planned(*dc, slot as u16);
        let row = JobRow {
            owner: accept.owner,
            gate_epoch: GateEpoch(1),
            status: JobStatus::Submitted,
            resolution: String::new(),
            slots: accept.targets.len() as u16,
            targets: accept.targets.iter().enumerate().map(target).collect(),
            fallbacks: accept.fallbacks.clone(),
            stop: None,
            elapsed_ms: 0,
            report_bytes: 0,
            delivered: false,
        };
        let mut record = GateJob::new(accept.origin.clone(), row);
        record.live.fresh = true;
        changes.rows.insert(RowName::Origin(accept.job).key());
        changes.observations.push(Observation::JobAccepted(accept.job));
        changes.observations.push(Observation::JobOwner {
            job: accept.job,
            gate_epoch: GateEpoch(1),
            owner: accept.owner,
        });
        self.insert(accept.job, record);
        if let Some(mut edit) = self.edit(accept.job, None, changes) {
            edit.keep(Kept::Event(ClientEventKind::Accepted { targets: accept.targets.clone() }));
        }
    }

    fn assign(&mut self, jobs: &[(JobId, GateEpoch, NodeId)], changes: &mut Changes) {
        for &(job, gate_epoch, owner) in jobs.iter().take(MAX_ASSIGNED) {
            let Some(record) = self.jobs.get_mut(&job) else { continue };
            if record.row.gate_epoch.next() != gate_epoch {
                continue;
            }
            let old = core::mem::replace(&mut record.row.owner, owner);
            record.row.gate_epoch = gate_epoch;
            record.live.fresh = false;
            self.reindex_owner(job, old, owner);
            changes.observations.push(Observation::JobOwner { job, gate_epoch, owner });
            if let Some(mut edit) = self.edit_any(job, changes) {
                edit.touch();
                if !edit.record.row.status.is_final() {
                    edit.keep(Kept::Event(ClientEventKind::Owner { owner, gate_epoch }));
                }
            }
        }
    }

    /// The one command that also concerns ended jobs: it settles what an abandoned datacenter is owed.
    fn clear(&mut self, by: ByOwner, dc: DcId, why: &str, changes: &mut Changes) {
        let Some(mut edit) = self.edit_any(by.job, changes) else { return };
        if edit.record.row.gate_epoch == by.gate_epoch {
            edit.dc_clear(dc, why);
        }
    }

    fn reap(&mut self, by: ByOwner, keep: u32, index: u64, changes: &mut Changes) {
        let ended = self
            .jobs
            .get(&by.job)
            .is_some_and(|record| record.row.status.is_final() && record.row.gate_epoch == by.gate_epoch);
        if !ended {
            return;
        }
        let Some(record) = self.remove(by.job) else { return };
        changes.rows.extend(record.row_names(by.job).map(|name| name.key()));
        changes.rows.insert(RowName::Tombstone(by.job).key());
        changes.jobs.insert(by.job);
        let tombstone = Tombstone {
            dropped_at: index,
            status: record.row.status,
            owner: record.row.owner,
            gate_epoch: record.row.gate_epoch,
            tenant: record.origin.tenant.clone(),
            key: record.origin.key.clone(),
            digest: record.origin.digest,
        };
        self.dropped.push((by.job, record));
        self.bury(by.job, tombstone);
        while self.tombstones.len() > keep as usize {
            let Some(oldest) = self.exhume_oldest() else { break };
            changes.rows.insert(RowName::Tombstone(oldest).key());
        }
    }

    /// A record that is not ended, for a command with this fence.
    fn edit<'a>(
        &'a mut self,
        job: JobId,
        gate_epoch: Option<GateEpoch>,
        changes: &'a mut Changes,
    ) -> Option<Edit<'a>> {
        let edit = self.edit_any(job, changes)?;
        let row = &edit.record.row;
        let fits = !row.status.is_final() && gate_epoch.is_none_or(|epoch| epoch == row.gate_epoch);
        fits.then_some(edit)
    }

    fn edit_by<'a>(&'a mut self, by: ByOwner, changes: &'a mut Changes) -> Option<Edit<'a>> {
        let mut edit = self.edit(by.job, Some(by.gate_epoch), changes)?;
        edit.mark(by.elapsed_ms);
        Some(edit)
    }

    fn edit_any<'a>(&'a mut self, job: JobId, changes: &'a mut Changes) -> Option<Edit<'a>> {
        let record = self.jobs.get_mut(&job)?;
        // Duties are looked at even where nothing changes: a proposal of this record is out of the way.
        changes.jobs.insert(job);
        Some(Edit { job, record, changes })
    }
}

/// A record under change, with the list of what changed.
struct Edit<'a> {
    job: JobId,
    record: &'a mut GateJob,
    changes: &'a mut Changes,
}

impl Edit<'_> {
    fn touch(&mut self) {
        self.changes.rows.insert(RowName::Main(self.job).key());
    }

    /// Remembers how much of the job's time is used up.
    fn mark(&mut self, elapsed_ms: u32) {
        if elapsed_ms > self.record.row.elapsed_ms {
            self.record.row.elapsed_ms = elapsed_ms;
            self.touch();
        }
    }

    /// Gives an event the next number. Beyond the bound only the final event has a place.
    fn keep(&mut self, event: Kept) {
        let len = self.record.events.len();
        let room = if event == Kept::Final { len < MAX_KEPT } else { len + 1 < MAX_KEPT };
        if room {
            self.record.events.push(event);
            self.changes.rows.insert(RowName::Event(self.job, len as u64 + 1).key());
        }
        self.touch();
    }

    fn set_status(&mut self, status: JobStatus, message: &str) {
        if self.record.row.status != status {
            self.record.row.status = status;
            message.clone_into(&mut self.record.row.resolution);
            let message = message.to_owned();
            self.keep(Kept::Event(ClientEventKind::Status { status, message }));
        }
    }

    /// The status that follows from the targets, while nobody has asked for the end.
    fn follow_targets(&mut self) {
        if self.record.row.stop.is_some() {
            return;
        }
        let planned = self.record.row.targets.iter().any(|target| target.state == TargetState::Planned);
        let status = if planned { JobStatus::Dispatching } else { JobStatus::Running };
        self.set_status(status, "");
    }

    fn queued(&mut self, why: &str) {
        let row = &self.record.row;
        if row.stop.is_none() && matches!(row.status, JobStatus::Submitted | JobStatus::Dispatching) {
            self.set_status(JobStatus::Queued, why);
        }
    }

    fn give_up(&mut self, dc: DcId, clear: bool, why: &str, instead: Option<DcId>) {
        let row = &mut self.record.row;
        if row.stop.is_some() || instead.is_some_and(|dc| row.target(dc).is_some()) {
            return;
        }
        let Some(target) = row.target_mut(dc).filter(|target| target.state == TargetState::Planned) else {
            return;
        };
        why.clone_into(&mut target.why);
        let slot = target.slot;
        target.state = match instead {
            Some(_) => TargetState::Replaced { clear },
            None => TargetState::Missing { clear },
        };
        if let Some(other) = instead {
            row.fallbacks.retain(|fallback| *fallback != other);
            row.targets.push(Target::planned(other, slot));
        }
        self.changes.observations.push(Observation::TargetReplaced { job: self.job, dc });
        self.touch();
        self.follow_targets();
        self.close_if_over();
    }

    /// A datacenter states its owner. Tells whether the statement is of the newest fence and the target still counts.
    fn owner_seen(&mut self, at: DcAt) -> bool {
        let Some(target) = self.record.row.target_mut(at.dc) else { return false };
        let counts = matches!(target.state, TargetState::Planned | TargetState::Accepted);
        if !counts || at.dc_epoch < target.dc_epoch {
            return false;
        }
        let (first, newer) = (target.state == TargetState::Planned, at.dc_epoch > target.dc_epoch);
        target.state = TargetState::Accepted;
        if newer {
            target.dc_epoch = at.dc_epoch;
            target.owner = Some(at.owner);
        }
        if first {
            self.changes.observations.push(Observation::DcAccepted {
                job: self.job,
                dc: at.dc,
                dc_epoch: at.dc_epoch,
            });
        }
        if newer {
            let DcAt { dc, dc_epoch, owner } = at;
            self.keep(Kept::Event(ClientEventKind::DcOwner { dc, owner, dc_epoch }));
        }
        self.touch();
        self.follow_targets();
        true
    }

    fn workflow_part(&mut self, at: DcAt, workflow: WorkflowIx, (part, parts): (u16, u16), bytes: &Bytes) {
        let place = (at.dc, workflow);
        let known = usize::from(workflow.0) < self.record.origin.spec.workflows.len();
        if !known || parts > MAX_PARTS || part >= parts || !self.owner_seen(at) {
            return;
        }
        if self.record.reports.contains_key(&place) {
            return;
        }
        let staged = self.record.parts.entry(place).or_default();
        if (staged.dc_epoch, staged.parts) != (at.dc_epoch, parts) {
            let old = core::mem::replace(staged, Parts { dc_epoch: at.dc_epoch, parts, ..Parts::default() });
            let names = old.have.keys().map(|part| RowName::Part(self.job, place, *part).key());
            self.changes.rows.extend(names);
        }
        staged.have.insert(part, bytes.clone());
        self.changes.rows.insert(RowName::Part(self.job, place, part).key());
        if staged.have.len() == usize::from(parts) {
            self.assemble(place);
        }
    }

    /// All parts of a report are here: it becomes part of the result.
    fn assemble(&mut self, place: (DcId, WorkflowIx)) {
        let Some(staged) = self.record.parts.remove(&place) else { return };
        self.changes.rows.extend(staged.have.keys().map(|part| RowName::Part(self.job, place, *part).key()));
        let bytes = staged.have.values().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
        let Ok(mut report) = minicbor::decode::<WorkflowReport>(&bytes) else { return };
        if report.workflow != place.1 || !report.status.is_final() {
            return;
        }
        let total = self.record.row.report_bytes.saturating_add(bytes.len() as u32);
        if total > MAX_REPORT_BYTES {
            report.totals.latency = Sketch::default();
            report.totals.service = Sketch::default();
            report.why =
                verdict::cut(format!("its histograms are not kept: too many results. {}", report.why));
        } else {
            self.record.row.report_bytes = total;
        }
        let event = ClientEventKind::WorkflowResult {
            workflow: place.1,
            dc: place.0,
            status: report.status,
            why: report.why.clone(),
        };
        self.record.reports.insert(place, Box::new(report));
        self.changes.rows.insert(RowName::Report(self.job, place).key());
        self.keep(Kept::Event(event));
    }

    fn dc_final(&mut self, at: DcAt, end: DcEnd) {
        if !end.status.is_final() || !self.owner_seen(at) {
            return;
        }
        if let Some(target) = self.record.row.target_mut(at.dc) {
            target.state = TargetState::Ended(end);
        }
        self.changes.observations.push(Observation::DcFinal { job: self.job, dc: at.dc, status: end.status });
        self.touch();
        self.close_if_over();
    }

    fn dc_clear(&mut self, dc: DcId, why: &str) {
        let Some(target) = self.record.row.target_mut(dc) else { return };
        target.state = match target.state {
            TargetState::Replaced { .. } => TargetState::Replaced { clear: true },
            TargetState::Missing { .. } => TargetState::Missing { clear: true },
            TargetState::Planned | TargetState::Accepted => {
                why.clone_into(&mut target.why);
                TargetState::Missing { clear: true }
            }
            TargetState::Ended(_) => return,
        };
        self.changes.observations.push(Observation::TargetCleared { job: self.job, dc });
        self.touch();
        if !self.record.row.status.is_final() {
            self.close_if_over();
        }
    }

    fn stop(&mut self, verdict: JobStatus, reason: &str, proposal: ProposalId) {
        let cancel = verdict == JobStatus::Cancelled;
        // A client was told that its cancel is recorded: it goes over a deadline or a failure that came first.
        let earlier = self.record.row.stop.as_ref();
        if earlier.is_some_and(|earlier| earlier.verdict == JobStatus::Cancelled || !cancel) {
            return;
        }
        self.record.row.stop = Some(Stop { verdict, reason: reason.to_owned(), proposal });
        if cancel {
            self.changes.observations.push(Observation::CancelRecorded(self.job));
        }
        self.touch();
        self.set_status(if cancel { JobStatus::Cancelling } else { JobStatus::Completing }, reason);
        self.close_if_over();
    }

    fn close_without_the_rest(&mut self, why: &str) {
        for target in &mut self.record.row.targets {
            if matches!(target.state, TargetState::Planned | TargetState::Accepted) {
                target.state = TargetState::Missing { clear: false };
                why.clone_into(&mut target.why);
            }
        }
        self.close_if_over();
    }

    /// Ends the job once no target can add anything. Nothing changes its result afterwards.
    fn close_if_over(&mut self) {
        if self.record.row.targets.iter().any(|target| target.is_open()) {
            return;
        }
        if self.record.row.stop.as_ref().is_some_and(|stop| stop.verdict == JobStatus::Cancelled) {
            let ends = self.record.row.targets.iter().filter_map(|target| target.end());
            let (cancelled, killed) = ends.fold((0u32, 0u32), |(cancelled, killed), end| {
                (cancelled.saturating_add(end.cancelled), killed.saturating_add(end.killed))
            });
            self.keep(Kept::Event(ClientEventKind::CancelDone { cancelled, killed }));
        }
        let (status, resolution) = verdict::final_status(self.record);
        self.record.row.status = status;
        self.record.row.resolution = resolution;
        self.record.row.fallbacks.clear();
        let parts = core::mem::take(&mut self.record.parts);
        for (place, staged) in parts {
            let names = staged.have.keys().map(|part| RowName::Part(self.job, place, *part).key());
            self.changes.rows.extend(names);
        }
        self.keep(Kept::Final);
        self.changes.observations.push(Observation::JobFinal { job: self.job, status });
    }
}
