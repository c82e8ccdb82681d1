//! Progress and windows of a job at its owner. Volatile: a new owner gets them from the datacenters.
//!
//! One slot per datacenter holds its newest cumulative numbers; a slot is replaced, never added to, and never goes back.
//! Windows are deltas for graphs; one row per (workflow, window, datacenter) is replaced by a later copy. Memory is the
//! same whether somebody listens or not.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::job::{GateJob, TargetState};
use crate::api::{ClientEventKind, DcProgressView};
use crate::id::{DcEpoch, DcId, WorkflowIx};
use crate::jobs::{JobStatus, Totals, Window, WorkflowStatus};
use crate::observe::Stale;
use crate::time::{Duration, Instant};

/// A window that not every datacenter has delivered is shown after this; what comes later is a new revision
/// (`jobs-routing-stats` 27: twice the span of 1 s).
const WINDOW_PATIENCE: Duration = Duration::from_secs(2);

/// A datacenter's newest numbers.
#[derive(Clone, Debug)]
pub struct DcSlot {
    dc_epoch: DcEpoch,
    seq: u64,
    status: JobStatus,
    workflows: Vec<(WorkflowStatus, Totals)>,
    at: Instant,
    /// Made of the final reports: nothing newer can come.
    ended: bool,
}

/// A progress message, without its job and sender.
#[derive(Clone, Debug)]
pub struct DcNumbers {
    /// The sender's fence.
    pub dc_epoch: DcEpoch,
    /// From 1 in each fence.
    pub seq: u64,
    /// How the job stands there.
    pub status: JobStatus,
    /// Cumulative, by workflow.
    pub workflows: Vec<(WorkflowStatus, Totals)>,
    /// Newly closed windows.
    pub windows: Vec<(WorkflowIx, Window)>,
}

/// Windows of a job, by workflow and number.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    rings: BTreeMap<WorkflowIx, BTreeMap<u32, WindowCell>>,
}

/// One window, with a row for each datacenter.
#[derive(Clone, Debug)]
struct WindowCell {
    rows: BTreeMap<DcId, Window>,
    since: Instant,
    revision: u32,
    shown: bool,
}

impl Windows {
    /// Takes a datacenter's window. At the bound the oldest number goes; what is older than that comes too late.
    fn take(&mut self, now: Instant, dc: DcId, workflow: WorkflowIx, window: Window, bound: usize) -> bool {
        let ring = self.rings.entry(workflow).or_default();
        let full = ring.len() >= bound.max(1) && !ring.contains_key(&window.no);
        if full {
            if ring.first_key_value().is_some_and(|(oldest, _)| *oldest > window.no) {
                return false;
            }
            ring.pop_first();
        }
        let cell = ring.entry(window.no).or_insert_with(|| WindowCell {
            rows: BTreeMap::new(),
            since: now,
            revision: 0,
            shown: false,
        });
        let changed = cell.rows.get(&dc) != Some(&window);
        cell.shown &= !changed;
        cell.rows.insert(dc, window);
        changed
    }

    /// The windows to show now, in order, and when the next one is to be shown without its missing parts.
    fn due(&mut self, now: Instant, running: &[DcId]) -> (Vec<ClientEventKind>, Option<Instant>) {
        let (mut events, mut next) = (Vec::new(), None::<Instant>);
        for (workflow, ring) in &mut self.rings {
            for cell in ring.values_mut().filter(|cell| !cell.shown) {
                let complete = running.iter().all(|dc| cell.rows.contains_key(dc));
                let patience_ends = cell.since + WINDOW_PATIENCE;
                if !complete && now < patience_ends {
                    next = Some(next.map_or(patience_ends, |at| at.min(patience_ends)));
                    continue;
                }
                cell.shown = true;
                cell.revision += 1;
                let window = cell.merged();
                events.push(ClientEventKind::StatsWindow {
                    workflow: *workflow,
                    window,
                    revision: cell.revision,
                    complete,
                });
            }
        }
        (events, next)
    }

    /// How many windows are kept.
    pub fn len(&self) -> usize {
        self.rings.values().map(BTreeMap::len).sum()
    }
}

impl WindowCell {
    fn merged(&self) -> Window {
        let mut sum = Window::default();
        for row in self.rows.values() {
            sum.no = row.no;
            sum.count = sum.count.max(row.count);
            sum.ok = sum.ok.saturating_add(row.ok);
            sum.err = sum.err.saturating_add(row.err);
            sum.latency.merge(&row.latency);
        }
        sum
    }
}

impl GateJob {
    /// Takes a datacenter's numbers, if they are newer than what is known. Returns its requests so far.
    pub(super) fn take_progress(
        &mut self,
        now: Instant,
        dc: DcId,
        numbers: DcNumbers,
        window_ring: usize,
    ) -> Result<u64, Stale> {
        let target = self.row.target(dc).ok_or(Stale::Unknown)?;
        if numbers.dc_epoch < target.dc_epoch {
            return Err(Stale::Fence);
        }
        // Numbers of a datacenter that may still be replaced would have to be taken back.
        if target.state != TargetState::Accepted || numbers.dc_epoch > target.dc_epoch {
            return Err(Stale::State);
        }
        if numbers.workflows.len() != self.origin.spec.workflows.len() {
            return Err(Stale::Invalid);
        }
        let place = (numbers.dc_epoch, numbers.seq);
        let old = self.live.progress.get_mut(&dc);
        if old.as_ref().is_some_and(|old| place <= (old.dc_epoch, old.seq)) {
            return Err(Stale::Sequence);
        }
        let mut slot = DcSlot {
            dc_epoch: numbers.dc_epoch,
            seq: numbers.seq,
            status: numbers.status,
            workflows: numbers.workflows,
            at: now,
            ended: false,
        };
        if let Some(old) = old {
            slot.keep_at_least(old);
        }
        let requests = slot.totals().requests();
        self.live.progress.insert(dc, slot);
        let last_no = self.origin.spec.timeout_ms / 1_000 + 1;
        for (workflow, window) in numbers.windows {
            let known = usize::from(workflow.0) < self.origin.spec.workflows.len();
            if known && window.no <= last_no {
                self.live.windows.take(now, dc, workflow, window, window_ring);
            }
        }
        self.live.progress_changed = true;
        Ok(requests)
    }

    /// Adds what is to be shown now to the ring. Returns when there will be more without another message.
    pub(super) fn show_progress(&mut self, now: Instant, ring: usize) -> Option<Instant> {
        let running: Vec<DcId> = self.row.targets.iter().filter(|it| it.is_open()).map(|it| it.dc).collect();
        let (mut events, next) = self.live.windows.due(now, &running);
        if core::mem::take(&mut self.live.progress_changed) && self.knows_all_progress() {
            let (elapsed_ms, per_dc) = (self.elapsed_ms(now), self.progress_views(now));
            events.push(ClientEventKind::Progress { elapsed_ms, per_dc });
        }
        let (kept, epoch) = (self.newest_kept(), self.row.gate_epoch);
        for event in events {
            self.live.ring.push(kept, epoch, event, ring, &mut self.live.streams);
        }
        self.live.pushed = Some(now);
        next
    }

    /// A new owner shows nothing before every running datacenter has reported to it: the sum must not go back.
    fn knows_all_progress(&self) -> bool {
        let accepted = self.row.targets.iter().filter(|target| target.state == TargetState::Accepted);
        self.live.fresh || accepted.into_iter().all(|target| self.live.progress.contains_key(&target.dc))
    }

    /// How the job stands in each datacenter that counts.
    pub(super) fn progress_views(&mut self, now: Instant) -> Vec<DcProgressView> {
        self.freeze_ended(now);
        let view = |target: &super::job::Target| {
            let slot = self.live.progress.get(&target.dc);
            let status = match (target.end(), slot) {
                (Some(end), _) => end.status,
                (None, Some(slot)) => slot.status,
                (None, None) if target.state == TargetState::Accepted => JobStatus::Running,
                (None, None) => JobStatus::Submitted,
            };
            DcProgressView {
                dc: target.dc,
                status,
                totals: slot.map(DcSlot::totals).unwrap_or_default(),
                age_ms: slot.map_or(self.elapsed_ms(now), |slot| now.since(slot.at).as_wire_millis()),
                workflows: slot
                    .map(|slot| slot.workflows.iter().map(|(status, _)| *status).collect())
                    .unwrap_or_default(),
            }
        };
        self.row.targets.iter().filter(|target| target.counts()).map(view).collect()
    }

    /// The numbers of a datacenter that ended are those of its reports.
    fn freeze_ended(&mut self, now: Instant) {
        for target in self.row.targets.iter().filter(|target| target.end().is_some()) {
            if self.live.progress.get(&target.dc).is_some_and(|slot| slot.ended) {
                continue;
            }
            let status = target.end().map_or(JobStatus::Failed, |end| end.status);
            let mut workflows =
                alloc::vec![(WorkflowStatus::Skipped, Totals::default()); self.origin.spec.workflows.len()];
            let (first, last) = ((target.dc, WorkflowIx(0)), (target.dc, WorkflowIx(u16::MAX)));
            for ((_, workflow), report) in self.reports.range(first..=last) {
                if let Some(place) = workflows.get_mut(usize::from(workflow.0)) {
                    *place = (report.status, report.totals.clone());
                }
            }
            let mut slot =
                DcSlot { dc_epoch: target.dc_epoch, seq: u64::MAX, status, workflows, at: now, ended: true };
            if let Some(old) = self.live.progress.get(&target.dc) {
                slot.keep_at_least(old);
            }
            self.live.progress.insert(target.dc, slot);
        }
    }
}

impl DcSlot {
    /// Numbers that fall behind what was shown (a new owner in the datacenter that has not heard every worker yet)
    /// stand still until they have caught up.
    fn keep_at_least(&mut self, old: &Self) {
        for ((_, new), (_, old)) in self.workflows.iter_mut().zip(&old.workflows) {
            if !new.covers(old) {
                new.clone_from(old);
            }
        }
    }

    fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for (_, totals) in &self.workflows {
            sum.merge(totals);
        }
        sum
    }
}
