//! The end of a run, and the outbox: a result is durable before it is sent, and sent until it is acknowledged.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{boxed::Box, format};
use minicbor::{Decode, Encode};

use super::job::{Cause, Kept, Phase, Run, WorkerJob, place};
use super::{Timer, Worker, ignore, send};
use crate::bytes::Bytes;
use crate::effect::{Effect, Effects, HaltReason};
use crate::fault::{Fault, FaultCode};
use crate::id::{DcEpoch, JobId, NodeId, RunId};
use crate::jobs::{Outcome, Totals, Window};
use crate::observe::{Observation, Stale};
use crate::store::{RowKey, StoreToken, table};
use crate::time::Now;
use crate::wire::{MAX_WHY, Message, ReserveShard, ShardReport, decode_row, encode_row};

/// Format of the outbox's rows.
const FORMAT: u8 = 1;
/// Most redirects that a result follows before it waits for its next turn.
const HOPS_MAX: u8 = 3;

/// A result as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct OutboxRow {
    /// Whom it was for.
    #[n(0)]
    owner: NodeId,
    /// The fence of the job at that time.
    #[n(1)]
    dc_epoch: DcEpoch,
    /// The result.
    #[n(2)]
    report: ShardReport,
}

/// The key of a result's row: the table, then job, workflow, shard and attempt. The datacenter is the node's own.
pub(super) fn row_key(run: RunId) -> RowKey {
    let shard = run.shard;
    let mut key = alloc::vec![table::OUTBOX];
    key.extend(shard.job.0);
    key.extend(shard.workflow.0.to_be_bytes());
    key.extend(shard.shard.to_be_bytes());
    key.extend(run.attempt.0.to_be_bytes());
    Bytes(key)
}

/// The records of the jobs whose results were not acknowledged when the former process ended. Its runs are gone with
/// it: managers learn that by the higher boot.
pub(super) fn restore(rows: &[(RowKey, Bytes)]) -> Result<BTreeMap<JobId, WorkerJob>, HaltReason> {
    let mut jobs: BTreeMap<JobId, WorkerJob> = BTreeMap::new();
    for (key, bytes) in rows {
        let row: OutboxRow = decode_row(FORMAT, bytes).map_err(|_| HaltReason::BadRows)?;
        let run = row.report.run;
        if *key != row_key(run) {
            return Err(HaltReason::BadRows);
        }
        let job = jobs.entry(run.shard.job).or_insert_with(|| WorkerJob::new(row.owner, row.dc_epoch));
        if row.dc_epoch > job.dc_epoch {
            (job.owner, job.dc_epoch) = (row.owner, row.dc_epoch);
        }
        let shard = job.shards.entry(place(run.shard)).or_default();
        shard.spent = shard.spent.max(run.attempt);
        shard.started = shard.spent;
        let kept = Kept { token: StoreToken::default(), report: row.report };
        shard.results.insert(run.attempt, kept);
    }
    Ok(jobs)
}

impl Worker {
    /// A run has ended: its cores are free, its result goes to the outbox, and a higher attempt has its turn.
    pub(super) fn finished(
        &mut self,
        now: Now,
        run: RunId,
        outcome: Outcome,
        (totals, windows): (Totals, Vec<Window>),
        why: String,
        out: &mut Effects,
    ) {
        let started =
            |active: &mut Run| active.attempt == run.attempt && !matches!(active.phase, Phase::Reserved(_));
        let Some(mut ended) = self.shard_mut(run.shard).and_then(|shard| shard.active.take_if(started))
        else {
            return ignore(Stale::Unknown, out);
        };
        self.used_cores -= ended.cores;
        for timer in [Timer::Limit(run), Timer::Kill(run), Timer::Flush(run)] {
            self.timers.disarm(timer);
        }
        if !ended.progress.update(totals, windows) {
            ignore(Stale::Invalid, out);
        }
        self.send_last_windows(run, &mut ended, out);
        let report = report(run, outcome, ended, why);
        out.push(Effect::Observe(Observation::RunEnded { run: run.into(), outcome: report.outcome }));
        self.keep_result(report, out);
        self.next_attempt(now, run, out);
        self.tend(now, run.shard.job, out);
    }

    /// Puts a result into the outbox; it is sent when it is durable.
    fn keep_result(&mut self, report: ShardReport, out: &mut Effects) {
        let run = report.run;
        let Some(job) = self.jobs.get_mut(&run.shard.job) else { return };
        if job.forgotten {
            return;
        }
        let row = OutboxRow { owner: job.owner, dc_epoch: job.dc_epoch, report };
        self.store.put(row_key(run), encode_row(FORMAT, &row));
        let message = Message::ShardResult(Box::new(row.report.clone()));
        self.store.after_stored(send(job.owner, message), out);
        let kept = Kept { token: self.store.barrier(), report: row.report };
        job.shards.entry(place(run.shard)).or_default().results.insert(run.attempt, kept);
    }

    /// A higher attempt that waited for the end of this one is taken or refused now.
    fn next_attempt(&mut self, now: Now, run: RunId, out: &mut Effects) {
        let Some(reserve) = self.shard_mut(run.shard).and_then(|shard| shard.waiting.take()) else { return };
        let ReserveShard { run, dc_epoch, owner, .. } = *reserve;
        let reserved = if self.drain.is_some() {
            Err(Fault::new(FaultCode::Draining, "this worker is being drained"))
        } else {
            self.admit(now, *reserve, out)
        };
        if let Err(fault) = &reserved {
            out.push(Effect::Observe(Observation::Refused(fault.code)));
        }
        out.push(send(owner, Message::ReserveShardReply { run, dc_epoch, reserved }));
    }

    pub(super) fn result_acked(
        &mut self,
        now: Now,
        run: RunId,
        stored: Result<(), Fault>,
        out: &mut Effects,
    ) {
        let Some(job) = self.jobs.get_mut(&run.shard.job) else { return ignore(Stale::Unknown, out) };
        let Some(shard) = job.shards.get_mut(&place(run.shard)) else { return ignore(Stale::Unknown, out) };
        let Some(kept) = shard.results.get(&run.attempt) else { return ignore(Stale::Duplicate, out) };
        match stored {
            Ok(()) => {
                shard.results.remove(&run.attempt);
                self.store.delete(row_key(run));
                out.push(Effect::Observe(Observation::ResultAcked(run.into())));
                self.tend(now, run.shard.job, out);
            }
            Err(Fault { code: FaultCode::NotOwner, owner: Some(owner), .. })
                if job.hops < HOPS_MAX && self.links.is_connected(owner) && owner != job.owner =>
            {
                job.hops += 1;
                job.owner = owner;
                out.push(send(owner, Message::ShardResult(Box::new(kept.report.clone()))));
            }
            // It stays, and goes out again in its turn.
            Err(fault) => out.push(Effect::Observe(Observation::Refused(fault.code))),
        }
    }

    /// Sends every result of a job that waits, to the owner, or, where that is not connected, to another manager,
    /// which may know the new one.
    pub(super) fn resend_results(&mut self, now: Now, job: JobId, out: &mut Effects) {
        let Some(record) = self.jobs.get_mut(&job) else { return };
        record.hops = 0;
        if record.results() == 0 {
            return;
        }
        self.timers.arm(Timer::Resend(job), now.mono + self.config.timing.request_timeout);
        let to = if self.links.is_connected(record.owner) {
            Some(record.owner)
        } else {
            self.links.peers().next()
        };
        let Some(to) = to else { return };
        let reports = record.shards.values().flat_map(|shard| shard.results.values());
        // What is not durable yet goes out when it is.
        let durable = reports.filter(|kept| self.store.is_stored(kept.token));
        out.extend(durable.map(|kept| send(to, Message::ShardResult(Box::new(kept.report.clone())))));
    }

    /// Throws a job's results away.
    pub(super) fn discard_results(&mut self, job: JobId) {
        let Some(record) = self.jobs.get_mut(&job) else { return };
        for kept in
            record.shards.values_mut().flat_map(|shard| core::mem::take(&mut shard.results).into_values())
        {
            self.store.delete(row_key(kept.report.run));
        }
    }

    // ---- progress ----

    pub(super) fn progressed(
        &mut self,
        now: Now,
        run: RunId,
        totals: Totals,
        windows: Vec<Window>,
        out: &mut Effects,
    ) {
        let Some(active) = self.shard_mut(run.shard).and_then(|shard| shard.run_mut(run.attempt)) else {
            return ignore(Stale::Unknown, out);
        };
        if matches!(active.phase, Phase::Reserved(_)) || !active.progress.update(totals, windows) {
            return ignore(Stale::Invalid, out);
        }
        if let Some(course) = &mut active.course {
            course.reported(now);
        }
        super::arm_while(
            &mut self.timers,
            Timer::Flush(run),
            true,
            now.mono + self.config.timing.progress_flush,
        );
    }

    /// Sends the newest numbers, and again while windows have no receipt.
    pub(super) fn flush_progress(&mut self, now: Now, run: RunId, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&run.shard.job) else { return };
        let owner = job.owner;
        let Some(active) = job.shards.get_mut(&place(run.shard)).and_then(|shard| shard.run_mut(run.attempt))
        else {
            return;
        };
        if !active.progress.is_due() {
            return;
        }
        self.timers.arm(Timer::Flush(run), now.mono + self.config.timing.progress_flush);
        if self.links.is_connected(owner) {
            let (seq, windows) = active.progress.next_message();
            let totals = Box::new(active.progress.totals.clone());
            out.push(send(owner, Message::ShardProgress { run, seq, totals, windows }));
            self.told(now, owner);
        }
    }

    /// The windows that have no receipt when a run ends go out once more; its numbers are in its result.
    fn send_last_windows(&self, run: RunId, ended: &mut Run, out: &mut Effects) {
        let Some(job) = self.jobs.get(&run.shard.job) else { return };
        let (seq, windows) = ended.progress.next_message();
        if !windows.is_empty() && !job.forgotten && self.links.is_connected(job.owner) {
            let totals = Box::new(ended.progress.totals.clone());
            out.push(send(job.owner, Message::ShardProgress { run, seq, totals, windows }));
        }
    }

    pub(super) fn progress_acked(
        &mut self,
        now: Now,
        peer: NodeId,
        run: RunId,
        through: u32,
        out: &mut Effects,
    ) {
        let Some(job) = self.jobs.get_mut(&run.shard.job) else { return ignore(Stale::Unknown, out) };
        if job.owner != peer {
            return ignore(Stale::Sender, out);
        }
        let active = job.shards.get_mut(&place(run.shard)).and_then(|shard| shard.run_mut(run.attempt));
        let Some(active) = active else { return ignore(Stale::Unknown, out) };
        active.progress.acknowledge(through);
        job.pleading.heard(now.mono, &self.config.timing);
    }
}

/// The report of an ended run. Who made it end decides what a stop was.
fn report(run: RunId, outcome: Outcome, ended: Run, why: String) -> ShardReport {
    let stopped = matches!(outcome, Outcome::Cancelled | Outcome::Killed);
    let (outcome, reason) = match ended.phase {
        Phase::Stopping(_, Cause::Limit) if stopped => {
            (Outcome::TimedOut, format!("killed after its limit of {} ms", ended.run_limit_ms))
        }
        Phase::Stopping(_, Cause::Orphaned) if stopped => {
            (outcome, "orphaned: its manager was gone".to_string())
        }
        Phase::Stopping(_, Cause::Drained) if stopped => (outcome, "its worker was drained".to_string()),
        _ => (outcome, String::new()),
    };
    let mut why = if why.is_empty() { reason } else { why };
    if why.len() > MAX_WHY {
        let cut = (0..=MAX_WHY).rev().find(|&at| why.is_char_boundary(at)).unwrap_or(0);
        why.truncate(cut);
    }
    let start_late_us = ended.late_us.unwrap_or(0);
    ShardReport { run, outcome, totals: ended.progress.totals, why, start_late_us }
}
