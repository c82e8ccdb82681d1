//! Reserve, start, stop: what managers ask of this worker's cores, and what executors say when they have begun.
//!
//! A request is judged by its fences before anything else, each on its own: the job's `DcEpoch`, then the shard's
//! `Attempt`. Repeats get the same answer; a refusal changes nothing but what the fences teach.

use alloc::boxed::Box;
use alloc::format;

use super::job::{Cause, Phase, Run, Shard, WorkerJob, place};
use super::plea::Course;
use super::progress::Progress;
use super::{RUNS_MAX, SHARDS_MAX, Timer, Worker, ignore, send};
use crate::effect::{Effect, Effects};
use crate::fault::{Fault, FaultCode};
use crate::id::{Attempt, DcEpoch, JobId, NodeId, RunId, ShardKey};
use crate::jobs::{ExecCommand, StopMode};
use crate::observe::{Observation, Stale};
use crate::time::{Duration, Now};
use crate::wire::{AbortedWas, Message, ReserveShard};

/// Where an attempt stands among those of its shard.
enum Turn {
    /// It is the active one.
    Active,
    /// It waits for the active one to end.
    Waiting,
    /// It is over, or a higher one is known.
    Over,
    /// It is higher than all that are known.
    New,
}

impl Worker {
    pub(super) fn reserve(&mut self, now: Now, peer: NodeId, reserve: Box<ReserveShard>, out: &mut Effects) {
        let (run, dc_epoch) = (reserve.run, reserve.dc_epoch);
        if reserve.owner != peer || !self.is_legal(run) {
            return ignore(Stale::Invalid, out);
        }
        if let Some(reserved) = self.judge(now, peer, reserve, out) {
            if let Err(fault) = &reserved {
                out.push(Effect::Observe(Observation::Refused(fault.code)));
            }
            out.push(send(peer, Message::ReserveShardReply { run, dc_epoch, reserved }));
        }
        self.tend(now, run.shard.job, out);
    }

    /// Takes or refuses a reservation; `None` where the answer comes when an older attempt has ended.
    fn judge(
        &mut self,
        now: Now,
        peer: NodeId,
        reserve: Box<ReserveShard>,
        out: &mut Effects,
    ) -> Option<Result<(), Fault>> {
        let run = reserve.run;
        if reserve.boot != self.boot {
            let why = format!("meant for start {} of this worker, which is at {}", reserve.boot, self.boot);
            return Some(Err(Fault::new(FaultCode::StaleEpoch, why)));
        }
        if let Err(fault) = self.accept_epoch(run.shard.job, reserve.dc_epoch, peer) {
            return Some(Err(fault));
        }
        if self.over.has(run.shard.job) {
            return Some(Err(Fault::new(FaultCode::Expired, "the managers have dropped this job")));
        }
        match self.turn(run) {
            Turn::Active => return Some(Ok(())),
            Turn::Waiting => return None,
            Turn::Over => {
                return Some(Err(Fault::new(FaultCode::StaleEpoch, "this attempt is over, or superseded")));
            }
            Turn::New => {}
        }
        if let Some(fault) = self.never_takes(&reserve) {
            return Some(Err(fault));
        }
        if self.supersede(run, out) {
            let shard = self.shard_mut(run.shard)?;
            shard.waiting = Some(reserve);
            return None;
        }
        Some(self.admit(now, *reserve, out))
    }

    fn turn(&self, run: RunId) -> Turn {
        let Some(shard) = self.shard(run.shard) else { return Turn::New };
        let active = shard.active.as_ref().map_or(Attempt(0), |run| run.attempt);
        let waiting = shard.waiting.as_ref().map_or(Attempt(0), |reserve| reserve.run.attempt);
        match run.attempt {
            attempt if attempt == active => Turn::Active,
            attempt if attempt == waiting => Turn::Waiting,
            attempt if attempt <= shard.spent || attempt < active.max(waiting) => Turn::Over,
            _ => Turn::New,
        }
    }

    /// The refusals that do not depend on what runs at the moment.
    fn never_takes(&self, reserve: &ReserveShard) -> Option<Fault> {
        let shard = &reserve.shard;
        if self.drain.is_some() {
            return Some(Fault::new(FaultCode::Draining, "this worker is being drained"));
        }
        if !self.active {
            return Some(Fault::new(FaultCode::NotReady, "this worker is not registered at the moment"));
        }
        if !self.config.offer.executors.contains(&shard.executor) {
            let why = format!("this worker's configuration does not list `{}`", shard.executor.as_str());
            return Some(Fault::new(FaultCode::Infeasible, why));
        }
        if shard.cores == 0 || shard.cores > self.config.offer.cores || shard.run_limit_ms == 0 {
            let why = format!("{} cores of {}", shard.cores, self.config.offer.cores);
            return Some(Fault::new(FaultCode::Invalid, why));
        }
        None
    }

    /// Ends every attempt below this one. True where one still runs, so that this one has to wait.
    fn supersede(&mut self, run: RunId, out: &mut Effects) -> bool {
        let Some(shard) = self.shard_mut(run.shard) else { return false };
        shard.spent = shard.spent.max(Attempt(run.attempt.0 - 1));
        shard.waiting = None;
        self.end_active(run.shard, StopMode::Kill, Cause::Asked, out);
        self.shard(run.shard).is_some_and(|shard| shard.active.is_some())
    }

    /// Keeps cores for a run whose turn it is: all of them, or none and a refusal.
    pub(super) fn admit(&mut self, now: Now, reserve: ReserveShard, out: &mut Effects) -> Result<(), Fault> {
        let ReserveShard { run, dc_epoch, owner, shard, .. } = reserve;
        if shard.cores > self.free_cores() {
            let why = format!("{} cores wanted, {} free", shard.cores, self.free_cores());
            return Err(Fault::new(FaultCode::NoCapacity, why));
        }
        let runs = self.jobs.values().map(|job| job.active().count()).sum::<usize>();
        let results = self.jobs.values().map(WorkerJob::results).sum::<usize>();
        // Every run has a place in the outbox from the beginning.
        let places = usize::from(self.config.limits.worker_outbox).min(RUNS_MAX);
        if runs >= RUNS_MAX || runs + results >= places {
            return Err(Fault::new(FaultCode::Overloaded, "too many runs, or results without receipt"));
        }
        let (cores, run_limit_ms) = (shard.cores, shard.run_limit_ms);
        let Some(place) = self.shard_or_new(run.shard, owner, dc_epoch, out) else {
            return Err(Fault::new(FaultCode::Overloaded, "this worker remembers too many shards"));
        };
        assert!(place.active.is_none(), "two attempts of a shard");
        place.active = Some(Run {
            attempt: run.attempt,
            cores,
            run_limit_ms,
            phase: Phase::Reserved(Box::new(shard)),
            late_us: None,
            overdue_us: 0,
            progress: Progress::default(),
            course: None,
        });
        self.used_cores += cores;
        assert!(self.used_cores <= self.config.offer.cores, "a core was promised twice");
        self.timers.arm(Timer::Hold(run), now.mono + self.config.timing.shard_hold);
        out.push(Effect::Observe(Observation::RunReserved(run.into())));
        Ok(())
    }

    /// The reservation was never used: it was never started, so the same attempt may still be reserved again.
    pub(super) fn hold_over(&mut self, now: Now, run: RunId, out: &mut Effects) {
        let shard = self.shard_mut(run.shard);
        let Some(active) =
            shard.and_then(|shard| shard.active.take_if(|active| active.attempt == run.attempt))
        else {
            return;
        };
        assert!(matches!(active.phase, Phase::Reserved(_)), "the hold ends with the start");
        self.used_cores -= active.cores;
        self.tend(now, run.shard.job, out);
    }

    pub(super) fn start(
        &mut self,
        now: Now,
        peer: NodeId,
        run: RunId,
        dc_epoch: DcEpoch,
        start_in: Duration,
        out: &mut Effects,
    ) {
        let started = match self.accept_epoch(run.shard.job, dc_epoch, peer) {
            Err(fault) => Some(Err(fault)),
            Ok(()) => self.start_reserved(now, run, start_in, out),
        };
        if let Some(started) = started {
            if let Err(fault) = &started {
                out.push(Effect::Observe(Observation::Refused(fault.code)));
            }
            out.push(send(peer, Message::ShardStarted { run, dc_epoch, started }));
        }
        self.tend(now, run.shard.job, out);
    }

    /// Hands a reserved run to its executor: the only place where one begins. `None` where the answer follows when it
    /// has begun.
    fn start_reserved(
        &mut self,
        now: Now,
        run: RunId,
        start_in: Duration,
        out: &mut Effects,
    ) -> Option<Result<u32, Fault>> {
        let unknown = || Some(Err(Fault::new(FaultCode::UnknownShard, "not reserved here, or no longer")));
        let Some(shard) = self.shard_mut(run.shard) else { return unknown() };
        if let Some(kept) = shard.results.get(&run.attempt) {
            return Some(Ok(kept.report.start_late_us));
        }
        let Some(active) = shard.run_mut(run.attempt) else { return unknown() };
        let phase = core::mem::replace(&mut active.phase, Phase::Started);
        let Phase::Reserved(what) = phase else {
            // A repeat. Where it has not begun yet, the executor's word is the answer.
            active.phase = phase;
            return active.late_us.map(Ok);
        };
        // The request was here `waited` ago, and was late already if that is longer than its notice.
        active.overdue_us = micros(now.waited.saturating_sub(start_in));
        let start_in = start_in.saturating_sub(now.waited);
        let limit = Duration::from_millis(active.run_limit_ms.into());
        active.course = Some(Course::new(&what, now.mono + start_in));
        assert!(shard.spent < run.attempt, "an attempt starts once");
        (shard.spent, shard.started) = (run.attempt, run.attempt);
        self.timers.disarm(Timer::Hold(run));
        self.timers.arm(Timer::Limit(run), now.mono + start_in + limit);
        self.begins_to_plead(run.shard.job, now.mono + start_in);
        out.push(Effect::Exec(Box::new(ExecCommand::Start { run, shard: what, start_in })));
        out.push(Effect::Observe(Observation::RunStarted(run.into())));
        None
    }

    /// The executor has begun.
    pub(super) fn has_started(&mut self, run: RunId, late: Duration, out: &mut Effects) {
        let Some(active) = self.shard_mut(run.shard).and_then(|shard| shard.run_mut(run.attempt)) else {
            return ignore(Stale::Unknown, out);
        };
        if matches!(active.phase, Phase::Reserved(_)) || active.late_us.is_some() {
            return ignore(Stale::State, out);
        }
        let late_us = micros(late).saturating_add(active.overdue_us);
        active.late_us = Some(late_us);
        if let Some(job) = self.jobs.get(&run.shard.job) {
            let message = Message::ShardStarted { run, dc_epoch: job.dc_epoch, started: Ok(late_us) };
            out.push(send(job.owner, message));
        }
    }

    pub(super) fn stop(
        &mut self,
        now: Now,
        peer: NodeId,
        run: RunId,
        dc_epoch: DcEpoch,
        mode: StopMode,
        out: &mut Effects,
    ) {
        if !self.is_legal(run) {
            return ignore(Stale::Invalid, out);
        }
        if self.accept_epoch(run.shard.job, dc_epoch, peer).is_err() {
            return ignore(Stale::Fence, out);
        }
        if self.over.has(run.shard.job) && self.shard(run.shard).is_none() {
            let was = AbortedWas::NeverSeen;
            return out.push(send(peer, Message::StopShardReply { run, dc_epoch, was }));
        }
        let Some(shard) = self.shard_or_new(run.shard, peer, dc_epoch, out) else {
            // No answer: it is repeated, and what it forbids would be refused for want of room as well.
            return out.push(Effect::Observe(Observation::Refused(FaultCode::Overloaded)));
        };
        shard.spent = shard.spent.max(run.attempt);
        let was = if shard.results.contains_key(&run.attempt) {
            AbortedWas::Ended
        } else if shard.run_mut(run.attempt).is_some() {
            self.end_active(run.shard, mode, Cause::Asked, out)
        } else if shard.waiting.take_if(|reserve| reserve.run.attempt <= run.attempt).is_some() {
            AbortedWas::Freed
        } else if shard.started == run.attempt {
            AbortedWas::Ended
        } else {
            AbortedWas::NeverSeen
        };
        if self
            .shard(run.shard)
            .and_then(|shard| shard.active.as_ref())
            .is_some_and(|active| active.attempt < run.attempt)
        {
            // That a higher attempt was assigned ends the lower ones, even if it is not to run itself.
            self.end_active(run.shard, StopMode::Kill, Cause::Asked, out);
        }
        out.push(send(peer, Message::StopShardReply { run, dc_epoch, was }));
        self.tend(now, run.shard.job, out);
    }

    /// Frees a shard's reservation, or asks its executor to end it (again, where it is more urgent now).
    pub(super) fn end_active(
        &mut self,
        key: ShardKey,
        mode: StopMode,
        cause: Cause,
        out: &mut Effects,
    ) -> AbortedWas {
        let Some(shard) = self.shard_mut(key) else { return AbortedWas::NeverSeen };
        let Some(active) = &mut shard.active else { return AbortedWas::NeverSeen };
        let run = RunId { shard: key, attempt: active.attempt };
        match active.phase {
            Phase::Reserved(_) => {
                let cores = active.cores;
                shard.spent = shard.spent.max(run.attempt);
                shard.active = None;
                self.used_cores -= cores;
                self.timers.disarm(Timer::Hold(run));
                return AbortedWas::Freed;
            }
            Phase::Stopping(before, _) if before == mode || before == StopMode::Kill => {
                return AbortedWas::Stopping;
            }
            Phase::Stopping(_, first) => active.phase = Phase::Stopping(mode, first),
            Phase::Started => active.phase = Phase::Stopping(mode, cause),
        }
        out.push(Effect::Exec(Box::new(ExecCommand::Stop { run, mode })));
        AbortedWas::Stopping
    }

    /// Ends a run politely, by this node's own decision, and arms the kill that follows.
    pub(super) fn stop_by_itself(&mut self, now: Now, key: ShardKey, cause: Cause, out: &mut Effects) {
        if self.end_active(key, StopMode::Graceful, cause, out) == AbortedWas::Stopping
            && let Some(run) = self.shard(key).and_then(|shard| shard.active.as_ref())
        {
            let run = RunId { shard: key, attempt: run.attempt };
            self.timers.arm(Timer::Kill(run), now.mono + self.config.timing.cancel_grace);
        }
    }

    pub(super) fn kill(&mut self, run: RunId, out: &mut Effects) {
        self.end_active(run.shard, StopMode::Kill, Cause::Asked, out);
    }

    pub(super) fn limit_over(&mut self, run: RunId, out: &mut Effects) {
        self.end_active(run.shard, StopMode::Kill, Cause::Limit, out);
    }

    /// Whether a run can be one of this worker's.
    fn is_legal(&self, run: RunId) -> bool {
        run.shard.dc == self.config.dc && run.attempt > Attempt(0)
    }

    /// The shard's attempts, where any are known.
    pub(super) fn shard(&self, key: ShardKey) -> Option<&Shard> {
        self.jobs.get(&key.job)?.shards.get(&place(key))
    }

    pub(super) fn shard_mut(&mut self, key: ShardKey) -> Option<&mut Shard> {
        self.jobs.get_mut(&key.job)?.shards.get_mut(&place(key))
    }

    /// The same, with a new entry where there is none; `None` where there is no room for one.
    fn shard_or_new(
        &mut self,
        key: ShardKey,
        owner: NodeId,
        dc_epoch: DcEpoch,
        out: &mut Effects,
    ) -> Option<&mut Shard> {
        if self.shard(key).is_none() && !self.make_room(key.job, out) {
            return None;
        }
        let job = self.jobs.entry(key.job).or_insert_with(|| WorkerJob::new(owner, dc_epoch));
        Some(job.shards.entry(place(key)).or_default())
    }

    /// Makes room for one more shard by forgetting the job that was idle for longest.
    pub(super) fn make_room(&mut self, keep: JobId, out: &mut Effects) -> bool {
        // A job without shards counts as one.
        let known: usize = self.jobs.values().map(|job| job.shards.len().max(1)).sum();
        if known < SHARDS_MAX {
            return true;
        }
        let idle = self.timers.keys().filter_map(|timer| match timer {
            Timer::Memory(job) if *job != keep => Some((self.timers.deadline(*timer), *job)),
            _ => None,
        });
        let Some((_, oldest)) = idle.min() else { return false };
        self.drop_job(oldest, out);
        true
    }
}

fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}
