//! The workflows that wait for cores, in order: jobs by age, then workflows by place.
//!
//! There is no list: the queue is what the records say. A workflow that does not fit, but would if nothing ran, holds
//! back what comes after it, so that a large one is not overtaken for ever.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Manager;
use super::command::{Command, Reservation};
use super::job::{DcJob, Duty, ShardPhase, Told};
use super::place::{Plan, Seat};
use crate::effect::Effects;
use crate::id::{JobId, NodeId, WorkflowIx};
use crate::jobs::WorkflowStatus;
use crate::time::Now;

/// What a record has planned: which workflow, how many shards its plan has (0: replacements), the shards.
type Planned = (WorkflowIx, u16, Vec<Reservation>);

impl Manager {
    /// Cores that the log, or an undecided plan of this manager, gives away on each worker.
    pub(super) fn promised(&self) -> BTreeMap<NodeId, u32> {
        let mut promised: BTreeMap<NodeId, u32> = BTreeMap::new();
        for record in self.ledger.state().jobs.values().filter(|record| record.facts.ended.is_none()) {
            for (workflow, known) in record.places().zip(&record.workflows) {
                let cores = u32::from(record.spec(workflow).cores);
                for (_, shard) in known.plan().filter(|(_, shard)| shard.facts.phase.is_live()) {
                    *promised.entry(shard.facts.worker).or_default() += cores;
                }
                for (worker, cores) in &known.live.planning {
                    *promised.entry(*worker).or_default() += u32::from(*cores);
                }
            }
        }
        promised
    }

    /// The available workers with their free cores.
    fn seats(&self, now: Now) -> Vec<Seat> {
        let (promised, timing) = (self.promised(), &self.config.timing);
        let available = self.pool.iter().filter(|(node, _)| self.pool.is_available(now, timing, *node));
        let free = |node| self.pool.free_cores(node, promised.get(&node).copied().unwrap_or(0));
        available.map(|(node, worker)| self.pool.seat(now, node, worker, free(node))).collect()
    }

    /// The workers as if nothing ran on them: those that are `available`, or those that are away without a goodbye.
    pub(super) fn empty_seats(&self, now: Now, available: bool) -> Vec<Seat> {
        let timing = &self.config.timing;
        let wanted = self.pool.iter().filter(|(node, _)| {
            self.pool.is_available(now, timing, *node) == available && !self.pool.has_left(*node)
        });
        wanted.map(|(node, worker)| self.pool.seat(now, node, worker, worker.cores)).collect()
    }

    /// Plans what waits for cores, oldest first.
    pub(super) fn place_waiting(&mut self, now: Now, out: &mut Effects) {
        if !core::mem::take(&mut self.cores_wanted) || !self.may_act(now) || self.draining.is_some() {
            return;
        }
        let mut seats = self.seats(now);
        let (me, sure_at) = (self.config.node, self.sure_at());
        let may_begin = |record: &DcJob| record.facts.owner == me && !record.is_doubtful(now.mono, sure_at);
        let jobs: Vec<JobId> = self.waiting(may_begin).collect();
        for job in jobs {
            let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) else { continue };
            let (planned, held_back) = record.plan_waiting(now, &mut seats);
            for plan in planned {
                for shard in &plan.2 {
                    if self.pool.given(now, shard.worker)
                        && let Some(seat) = seats.iter_mut().find(|seat| seat.worker == shard.worker)
                    {
                        seat.free = 0;
                    }
                }
                self.propose_plan(now, job, plan, out);
            }
            if held_back {
                // It is looked at again when a worker has news or a shard ends.
                return;
            }
        }
    }

    /// Jobs of which something waits for cores.
    fn waiting(&self, which: impl Fn(&DcJob) -> bool) -> impl Iterator<Item = JobId> {
        let waits = move |record: &&DcJob| which(record) && record.waits_for_cores();
        self.ledger.state().jobs.values().filter(waits).map(|record| record.accepted.job)
    }

    /// How many shards of the jobs that this manager owns wait for cores.
    pub(super) fn queued_shards(&self) -> u32 {
        let me = self.config.node;
        let records = self.ledger.state().jobs.values().filter(|record| record.facts.owner == me);
        records.map(DcJob::queued_shards).sum()
    }

    fn propose_plan(&mut self, now: Now, job: JobId, plan: Planned, out: &mut Effects) {
        let (workflow, planned, shards) = plan;
        let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) else { return };
        let cores = record.spec(workflow).cores;
        let at = super::command::At {
            job,
            dc_epoch: record.facts.dc_epoch,
            workflow,
            elapsed_ms: record.elapsed_ms(now),
        };
        for shard in &shards {
            // Whoever gets a shard from this owner knows the owner by it.
            record.live.told.entry(shard.worker).or_insert(Told { answered: true, ..Told::default() });
        }
        record.workflows[usize::from(workflow.0)]
            .live
            .planning
            .extend(shards.iter().map(|shard| (shard.worker, cores)));
        for part in shards.chunks(Command::MAX_SHARDS) {
            let duty = Duty::Plan(workflow, part[0].no);
            let command = Command::ShardsReserved { at, planned, shards: part.to_vec() };
            if self.propose_duty(now, job, duty, command, out).is_err() {
                return;
            }
        }
    }
}

impl DcJob {
    fn waits_for_cores(&self) -> bool {
        self.facts.ended.is_none()
            && self.facts.verdict.is_none()
            && self.workflows.iter().any(|known| match known.facts.status {
                WorkflowStatus::Ready | WorkflowStatus::RetryWait => true,
                WorkflowStatus::Running => {
                    known.plan().any(|(_, shard)| shard.facts.phase == ShardPhase::Lost)
                }
                _ => false,
            })
    }

    fn queued_shards(&self) -> u32 {
        let waiting = |workflow: WorkflowIx| match self.known(workflow).facts.status {
            WorkflowStatus::Ready | WorkflowStatus::RetryWait => {
                u32::from(self.load(workflow).instances.max(1))
            }
            _ => 0,
        };
        self.places().map(waiting).sum()
    }

    /// Plans what of this record waits and is due. True where something has to wait for room.
    fn plan_waiting(&mut self, now: Now, seats: &mut [Seat]) -> (Vec<Planned>, bool) {
        let mut planned = Vec::new();
        let mut held_back = false;
        for workflow in self.places() {
            if held_back || self.is_planning(workflow) {
                continue;
            }
            let known = self.known(workflow);
            let due = known.live.retry_at.is_none_or(|at| at <= now.mono);
            match known.facts.status {
                WorkflowStatus::Ready | WorkflowStatus::RetryWait if due && !known.facts.failing => {
                    match self.plan_all(workflow, seats) {
                        Plan::Whole(shards) => {
                            let live = &mut self.workflows[usize::from(workflow.0)].live;
                            live.tries = live.tries.saturating_add(1);
                            planned.push((workflow, shards.len() as u16, shards));
                        }
                        Plan::Wait => held_back = true,
                        Plan::TooLarge => {}
                    }
                }
                WorkflowStatus::Running if !known.facts.failing => {
                    let shards = self.plan_lost(now, workflow, seats);
                    if !shards.is_empty() {
                        planned.push((workflow, 0, shards));
                    }
                }
                _ => {}
            }
        }
        (planned, held_back)
    }

    fn plan_lost(&self, now: Now, workflow: WorkflowIx, seats: &mut [Seat]) -> Vec<Reservation> {
        let known = self.known(workflow);
        let elapsed_ms = known.elapsed_ms(now);
        let is_over = |no: u16| self.is_proposed(Duty::Lose(workflow, Some(no)));
        let due = known.plan().filter(|(no, shard)| {
            shard.facts.phase == ShardPhase::Lost
                && shard.live.retry_at.is_some_and(|at| at <= now.mono)
                && !is_over(*no)
        });
        due.filter_map(|(no, _)| self.plan_one(workflow, no, elapsed_ms, seats)).collect()
    }
}
