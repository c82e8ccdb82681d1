//! What workers say.

use alloc::vec::Vec;

use super::Manager;
use super::command::Command;
use super::job::{Abort, DcJob, Duty, ShardPhase};
use super::numbers;
use super::workers::{Heartbeat, Registered};
use crate::effect::Effects;
use crate::fault::{Fault, FaultCode};
use crate::guard::Condition;
use crate::id::{BootNo, DcEpoch, DcId, DiskId, JobId, NodeId, RunId, ShardKey, WorkflowIx};
use crate::jobs::{ExecutorKind, StopMode, Totals};
use crate::observe::{Observation, Stale};
use crate::time::Now;
use crate::wire::{HeldShard, Message, RunPhase, ShardReport};

impl Manager {
    pub(super) fn hear_worker(&mut self, now: Now, worker: NodeId, message: Message, out: &mut Effects) {
        self.pool.heard(now, worker);
        match message {
            Message::RegisterWorker { manager, .. } if manager != self.boot => {
                self.observe(Observation::Ignored(Stale::Fence), out)
            }
            Message::RegisterWorker { boot, cores, executors, held, version, disk, .. } => {
                self.register(now, worker, (disk, boot, version), (cores, executors), &held, out)
            }
            Message::WorkerHeartbeat { boot, version, free_cores, draining, held, condition } => {
                let heartbeat = Heartbeat { boot, version, free_cores, draining, condition };
                match self.pool.heartbeat(now, worker, heartbeat) {
                    Some(before) => {
                        self.capacity_changed();
                        self.compare_held(now, worker, &held, out);
                        if before < Condition::Overloaded && condition == Condition::Overloaded {
                            self.worker_flips(now, worker, out);
                        }
                        if before != condition {
                            self.observe(Observation::PeerCondition { node: worker, condition }, out);
                            self.look_at_crowds(now, out);
                        }
                    }
                    None => self.observe(Observation::Ignored(Stale::Sequence), out),
                }
            }
            Message::ReserveShardReply { run, dc_epoch, reserved } => {
                self.worker_answered(worker, out);
                if let Err(fault) = &reserved {
                    self.observe(Observation::Refused(fault.code), out);
                }
                self.answered(worker, run, dc_epoch, out, |job| {
                    job.reservation_answered(run.shard.workflow, run.shard.shard, reserved)
                })
            }
            Message::ShardStarted { run, dc_epoch, started } => {
                if let Err(fault) = &started {
                    self.observe(Observation::Refused(fault.code), out);
                }
                self.answered(worker, run, dc_epoch, out, |job| job.start_answered(&run, started))
            }
            Message::StopShardReply { run, dc_epoch, was } => {
                self.answered(worker, run, dc_epoch, out, |job| {
                    job.stop_answered(run.shard.workflow, run.shard.shard, was)
                })
            }
            Message::ShardProgress { run, seq, totals, windows } => {
                let record = self.ledger.state_mut().jobs.get_mut(&run.shard.job);
                let taken = match record.filter(|record| record.facts.owner == self.config.node) {
                    Some(record) => {
                        let before = record.shard(&run.shard).map(|shard| shard.live.seq);
                        let taken = record.take_progress(run, seq, totals, windows);
                        if taken.is_ok_and(|(newest, _)| before.is_some_and(|before| newest > before)) {
                            record.heard_of(now, &run, worker, out);
                        }
                        taken
                    }
                    None => Err(Observation::Ignored(Stale::Unknown)),
                };
                match taken {
                    Ok((seq, windows_through)) => {
                        self.send(worker, Message::ShardProgressAck { run, seq, windows_through }, out)
                    }
                    Err(observation) => self.observe(observation, out),
                }
            }
            Message::ShardResult(report) => self.shard_result(now, worker, *report, out),
            Message::MoreTime { job, dc_epoch, plea } => {
                self.hear_plea(now, worker, (job, dc_epoch), plea, out)
            }
            Message::OwnerChangedReply { job, dc_epoch, held } => {
                self.owner_change_answered(worker, job, dc_epoch, held, out)
            }
            _ => self.observe(Observation::Ignored(Stale::Sender), out),
        }
    }

    pub(super) fn capacity_changed(&mut self) {
        self.cores_wanted = true;
        self.capacity_news = true;
    }

    fn register(
        &mut self,
        now: Now,
        worker: NodeId,
        (disk, boot, version): (DiskId, BootNo, u64),
        (cores, executors): (u16, Vec<ExecutorKind>),
        held: &[HeldShard],
        out: &mut Effects,
    ) {
        let known = self.pool.register(now, worker, (disk, boot, version), cores, executors);
        let accepted = match known {
            Some(Registered::Again | Registered::New | Registered::NewDisk) => Ok(()),
            Some(Registered::Old) => return self.observe(Observation::Ignored(Stale::Sequence), out),
            Some(Registered::Stale) => {
                Err(Fault::new(FaultCode::StaleEpoch, "a later start of this worker is registered"))
            }
            None => Err(Fault::new(FaultCode::Overloaded, "the datacenter has as many workers as it may")),
        };
        self.observe_refusal(&accepted, out);
        if accepted.is_ok() {
            self.observe(Observation::WorkerRegistered(worker), out);
            self.capacity_changed();
            self.hurry(worker);
            match known {
                Some(Registered::New) => self.lose_unheld(worker, Some(boot), held),
                Some(Registered::NewDisk) => self.lose_unheld(worker, None, held),
                _ => {}
            }
            self.compare_held(now, worker, held, out);
        }
        self.send(worker, Message::RegisterWorkerReply { boot, accepted }, out);
    }

    /// Another process of the worker: what was given to those before this start, and it does not hold, is lost. Where this
    /// process is new to a manager that started after it, an old word of it may say less than it holds. With another disk
    /// (`None`) everything was given to another process.
    fn lose_unheld(&mut self, worker: NodeId, before: Option<BootNo>, held: &[HeldShard]) {
        let dc = self.config.dc;
        let me = self.config.node;
        for (job, record) in &mut self.ledger.state_mut().jobs {
            if record.facts.owner == me
                && record.lose_unheld(dc, worker, held, |shard, _| {
                    before.is_none_or(|boot| shard.facts.boot < boot)
                })
            {
                self.dirty.insert(*job);
            }
        }
    }

    /// Compares what a worker holds with the log: ends strays, and notes what is missing.
    fn compare_held(&mut self, now: Now, worker: NodeId, held: &[HeldShard], out: &mut Effects) {
        if !self.may_act(now) {
            return;
        }
        let (dc, me) = (self.config.dc, self.config.node);
        for (job, record) in &mut self.ledger.state_mut().jobs {
            let known = |shard: &super::job::Shard, heard: bool| shard.live.reserved && heard;
            if record.facts.owner == me
                && record.facts.ended.is_none()
                && record.lose_unheld(dc, worker, held, known)
            {
                self.dirty.insert(*job);
            }
        }
        for held in held {
            self.end_stray(worker, held, out);
        }
    }

    /// Ends a run that the log does not want (any more).
    fn end_stray(&mut self, worker: NodeId, held: &HeldShard, out: &mut Effects) {
        let (run, is_leader) = (held.run, self.ledger.is_leader());
        let dc_epoch = match self.ledger.state().jobs.get(&run.shard.job) {
            Some(record) => {
                let wanted = record.shard(&run.shard).is_some_and(|shard| {
                    shard.facts.attempt == run.attempt
                        && shard.facts.worker == worker
                        && shard.facts.phase.is_live()
                });
                let mine = record.facts.owner == self.config.node;
                (mine && !wanted).then_some(record.facts.dc_epoch)
            }
            None => is_leader.then_some(DcEpoch(0)),
        };
        let Some(dc_epoch) = dc_epoch else { return };
        if held.phase != RunPhase::Ended {
            self.send(worker, Message::StopShard { run, dc_epoch, mode: StopMode::Kill }, out);
        }
        if dc_epoch == DcEpoch(0) {
            self.send(worker, Message::ForgetAtWorker { jobs: alloc::vec![run.shard.job] }, out);
        }
    }

    /// Takes a worker's answer to a request about a run, if it answers the newest request.
    fn answered(
        &mut self,
        worker: NodeId,
        run: RunId,
        dc_epoch: DcEpoch,
        out: &mut Effects,
        take: impl FnOnce(&mut DcJob),
    ) {
        let me = self.config.node;
        let job = run.shard.job;
        let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) else {
            return self.observe(Observation::Ignored(Stale::Unknown), out);
        };
        let current = record.shard(&run.shard).is_some_and(|shard| {
            shard.facts.attempt == run.attempt && shard.facts.worker == worker && shard.facts.phase.is_live()
        });
        if record.facts.owner != me || record.facts.dc_epoch != dc_epoch || !current {
            return self.observe(Observation::Ignored(Stale::Fence), out);
        }
        take(record);
        self.dirty.insert(job);
    }

    /// A run has ended: its result goes into the log, and only then is it acknowledged.
    fn shard_result(&mut self, now: Now, worker: NodeId, mut report: ShardReport, out: &mut Effects) {
        let run = report.run;
        let (me, may_act, is_leader) = (self.config.node, self.may_act(now), self.ledger.is_leader());
        let key = run.shard;
        let state = self.ledger.state_mut();
        let stored = match state.jobs.get_mut(&key.job) {
            None if state.dropped.contains_key(&key.job) => Some(Ok(())),
            None if may_act && is_leader => {
                Some(Err(Fault::new(FaultCode::UnknownJob, "no such job in this datacenter")))
            }
            None => Some(Err(Fault::new(FaultCode::NotReady, "this manager may lag behind the log"))),
            Some(record) if record.facts.owner != me => {
                let owner = Some(record.facts.owner);
                Some(Err(Fault::new(FaultCode::NotOwner, "another manager owns the job").at(owner)))
            }
            Some(_) if !may_act => {
                Some(Err(Fault::new(FaultCode::NotReady, "the manager has no valid lease")))
            }
            Some(record) => match record.shard_mut(&key) {
                None => Some(Err(Fault::new(FaultCode::UnknownShard, "no such shard"))),
                Some(shard) if run.attempt > shard.facts.attempt => {
                    Some(Err(Fault::new(FaultCode::UnknownShard, "no such attempt")))
                }
                // Stored, superseded, or given up: of no more use.
                Some(shard) if run.attempt < shard.facts.attempt || !shard.facts.phase.is_live() => {
                    Some(Ok(()))
                }
                Some(shard) => {
                    shard.live.result_from = Some(worker);
                    report.start_late_us = report.start_late_us.saturating_add(shard.live.start_extra_us);
                    None
                }
            },
        };
        if let Some(stored) = stored {
            self.observe_refusal(&stored, out);
            return self.send(worker, Message::ShardResultAck { run, stored }, out);
        }
        if let Some(record) = self.ledger.state_mut().jobs.get_mut(&key.job) {
            record.heard_an_end(now, worker, out);
        }
        // What cannot be proposed now, or is decided before its parts are there, is sent again by its worker.
        let mut numbers = None;
        if let Some((whole, parts)) = numbers::cut(&report.totals) {
            report.totals = Totals::default();
            numbers = Some(whole);
            for (duty, command) in numbers::commands(run, whole, parts) {
                let _ = self.propose_duty(now, key.job, duty, command, out);
            }
        }
        let duty = Duty::Done(key.workflow, key.shard);
        let command = Command::ShardDone { report: report.into(), numbers };
        let _ = self.propose_duty(now, key.job, duty, command, out);
    }

    fn owner_change_answered(
        &mut self,
        worker: NodeId,
        job: JobId,
        dc_epoch: DcEpoch,
        held: Result<Vec<HeldShard>, Fault>,
        out: &mut Effects,
    ) {
        let dc = self.config.dc;
        let Some(record) = self.ledger.state_mut().jobs.get_mut(&job) else {
            return self.observe(Observation::Ignored(Stale::Unknown), out);
        };
        let asked = record.live.told.get_mut(&worker).filter(|told| !told.answered);
        let (Some(told), true) = (asked, record.facts.dc_epoch == dc_epoch) else {
            return self.observe(Observation::Ignored(Stale::Fence), out);
        };
        let Ok(held) = held else {
            return self.observe(Observation::Ignored(Stale::Fence), out);
        };
        told.answered = true;
        record.take_held(worker, &held);
        // A reservation that the worker does not hold is asked for (again); what ran there and is not held is lost.
        record.lose_unheld(dc, worker, &held, |shard, _| shard.facts.phase == ShardPhase::Running);
        self.dirty.insert(job);
        for held in &held {
            self.end_stray(worker, held, out);
        }
    }
}

impl DcJob {
    /// Notes the shards of a worker that it should hold (as `should` says of a shard, and whether the worker has
    /// answered this owner) and does not. Tells whether there are any.
    fn lose_unheld(
        &mut self,
        dc: DcId,
        worker: NodeId,
        held: &[HeldShard],
        should: impl Fn(&super::job::Shard, bool) -> bool,
    ) -> bool {
        let job = self.accepted.job;
        let heard = !self.is_unheard(worker);
        let mut any = false;
        for (workflow, known) in (0u16..).map(WorkflowIx).zip(&mut self.workflows) {
            let planned = known.facts.planned;
            for (no, shard) in known.shards.range_mut(..planned) {
                let shard_key = ShardKey { job, workflow, dc, shard: *no };
                let run = RunId { shard: shard_key, attempt: shard.facts.attempt };
                let missing = shard.facts.worker == worker
                    && shard.facts.phase.is_live()
                    && !shard.live.absent
                    && should(shard, heard)
                    && !held.iter().any(|held| held.run == run);
                if missing {
                    shard.live.absent = true;
                    // A reservation that freed itself has executed nothing.
                    let paid = shard.live.started || shard.facts.phase == ShardPhase::Running;
                    shard.live.aborting.get_or_insert(if paid { Abort::Paid } else { Abort::Refused });
                    any = true;
                }
            }
        }
        any
    }

    /// Takes over what a worker holds.
    fn take_held(&mut self, worker: NodeId, held: &[HeldShard]) {
        for held in held {
            let Some(shard) = self.shard_mut(&held.run.shard) else { continue };
            if shard.facts.attempt == held.run.attempt && shard.facts.worker == worker {
                shard.live.reserved = true;
                shard.live.started = held.phase != RunPhase::Reserved;
            }
        }
    }

    /// Takes a worker's answer to a start.
    fn start_answered(&mut self, run: &RunId, started: Result<u32, Fault>) {
        if let Some(shard) = self.shard_mut(&run.shard) {
            match started {
                Ok(_) => shard.live.started = true,
                Err(_) => {
                    shard.live.absent = true;
                    shard.live.aborting = Some(Abort::Refused);
                }
            }
        }
    }

    /// Whether a result that is in the log has to be acknowledged, and to whom.
    pub(super) fn results_to_ack(&mut self, dc: DcId) -> Vec<(NodeId, RunId)> {
        let job = self.accepted.job;
        let mut acks = Vec::new();
        for (workflow, known) in (0u16..).map(WorkflowIx).zip(&mut self.workflows) {
            for (no, shard) in &mut known.shards {
                if !shard.facts.phase.is_live()
                    && let Some(worker) = shard.live.result_from.take()
                {
                    let shard_key = ShardKey { job, workflow, dc, shard: *no };
                    acks.push((worker, RunId { shard: shard_key, attempt: shard.facts.attempt }));
                }
            }
        }
        acks
    }
}
