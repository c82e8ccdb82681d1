//! More time: what a worker does when its manager acknowledges nothing of a job any more.
//!
//! A manager gives up a worker that says nothing of a job's runs for `run_silence`. Whoever has had no receipt for most of
//! that knows it beforehand: its executors are busy with something long, or its word does not arrive. It asks for more
//! time, once, and says how far it is; a sixth of the silence before that ends, or when half of what is left is over, it
//! asks again. A receipt ends all of it.

use super::job::{Phase, Run};
use super::{Timer, Worker, ignore, send};
use crate::config::Timing;
use crate::effect::{Effect, Effects};
use crate::guard::Condition;
use crate::id::{DcEpoch, JobId, NodeId};
use crate::jobs::{Load, ShardRun};
use crate::observe::{Observation, Stale};
use crate::suspicion::extension::{Denial, Denied, Grant, Need, Plea};
use crate::time::{Duration, Instant, Now};
use crate::wire::{Feature, Message};

/// So long before the end is asked, as a part of `run_silence`.
const MARGIN: u64 = 6;
/// Nobody asks more often.
const GAP: Duration = Duration::from_secs(1);

/// What a job's owner was asked, and when it is asked again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pleading {
    /// Number of the newest request.
    seq: u64,
    /// It has no answer.
    open: bool,
    /// When to ask, or to repeat it.
    due: Instant,
    /// When the owner takes its silence for an end, as far as is known here.
    deadline: Instant,
}

/// What is known of a run that was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    load: Load,
    /// Its numbers count items.
    counts: bool,
    /// When it is to end.
    ends_at: Instant,
    /// When its executor reported last.
    reported: Instant,
}

impl Course {
    /// Of a run that begins at this time.
    pub fn new(shard: &ShardRun, begins_at: Instant) -> Self {
        let load = shard.load;
        let ends_at = begins_at + Duration::from_millis(load.duration_ms.into());
        Self { load, counts: shard.executor.attempts_add_up(), ends_at, reported: begins_at }
    }

    /// Its executor has reported.
    pub fn reported(&mut self, now: Now) {
        self.reported = now.mono;
    }
}

impl Pleading {
    /// The owner was heard about the job's runs, or the first of them begins: nothing is held against them.
    pub fn heard(&mut self, at: Instant, timing: &Timing) {
        self.open = false;
        self.deadline = at + timing.run_silence;
        self.due = self.deadline - timing.run_silence.scale(1, MARGIN);
    }

    /// When to ask.
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// The owner has answered that the silence counts after `ends_in`.
    fn answered(&mut self, now: Now, timing: &Timing, ends_in: Duration) {
        self.open = false;
        self.deadline = now.mono + ends_in;
        let margin = timing.run_silence.scale(1, MARGIN);
        self.due = now.mono + ends_in.saturating_sub(margin).max(ends_in.scale(1, 2)).max(GAP);
    }
}

/// What the runs of a job have done, added up.
#[derive(Default)]
struct Sum {
    plea: Plea,
    elapsed_ms: u64,
    duration_ms: u64,
    ends_at: Instant,
    is_silent: bool,
}

impl Sum {
    fn add(&mut self, run: &Run, course: &Course, deadline: Instant, silent_since: Instant) {
        let Course { load, counts, ends_at, reported } = *course;
        let (totals, plea) = (&run.progress.totals, &mut self.plea);
        plea.active += 1;
        plea.overdue += u16::from(ends_at > deadline);
        self.elapsed_ms += u64::from(totals.elapsed_ms.min(load.duration_ms));
        self.duration_ms += u64::from(load.duration_ms);
        self.ends_at = self.ends_at.max(ends_at);
        self.is_silent |= reported <= silent_since;
        if counts {
            let done = totals.requests();
            plea.done = Some(plea.done.unwrap_or(0).saturating_add(done));
            // Only the open model knows the whole beforehand, and more may come of it.
            let of = load.rate_milli.saturating_mul(load.duration_ms.into()) / 1_000_000;
            let known = plea.active == 1 || plea.of.is_some();
            plea.of = (known && of > 0).then(|| plea.of.unwrap_or(0).saturating_add(of.max(done)));
        }
    }
}

impl Worker {
    /// A run of a job begins. While others are under way nothing changes.
    pub(super) fn begins_to_plead(&mut self, job: JobId, at: Instant) {
        if let Some(record) = self.jobs.get_mut(&job)
            && self.timers.deadline(Timer::Plea(job)).is_none()
        {
            record.pleading.heard(at, &self.config.timing);
        }
    }

    /// Asks the owner of a job for more time, where it has acknowledged nothing for long.
    pub(super) fn plead(&mut self, now: Now, job: JobId, out: &mut Effects) {
        let timing = &self.config.timing;
        let Some(record) = self.jobs.get_mut(&job) else { return };
        if record.pleading.due <= now.mono {
            if !self.links.may_use(record.owner, Feature::MoreTime) {
                // Who is not connected is not silent about the job alone.
                record.pleading.heard(now.mono, timing);
            } else {
                let condition = self.links.condition();
                let silent_for = timing.run_silence.scale(1, 2);
                let mut plea = sum(record.runs(), now, record.pleading.deadline, silent_for, condition);
                let pleading = &mut record.pleading;
                pleading.seq += u64::from(!pleading.open);
                plea.seq = pleading.seq;
                pleading.due = now.mono + timing.run_silence.scale(1, 2 * MARGIN).max(GAP);
                if !pleading.open {
                    pleading.open = true;
                    let Plea { seq, need, active, overdue, permille, wants_ms, .. } = plea;
                    out.push(Effect::Observe(Observation::MoreTimeAsked {
                        job,
                        seq,
                        need,
                        active,
                        overdue,
                        permille,
                        wants_ms,
                    }));
                }
                let dc_epoch = record.dc_epoch;
                out.push(send(record.owner, Message::MoreTime { job, dc_epoch, plea }));
            }
        }
        self.timers.arm(Timer::Plea(job), record.pleading.due);
    }

    /// The owner of a job answers.
    pub(super) fn plea_answered(
        &mut self,
        now: Now,
        peer: NodeId,
        (job, dc_epoch, seq): (JobId, DcEpoch, u64),
        ends_in: Duration,
        granted: Result<Grant, Denied>,
        out: &mut Effects,
    ) {
        let Some(record) = self.jobs.get_mut(&job) else { return ignore(Stale::Unknown, out) };
        let Pleading { seq: asked, open, .. } = record.pleading;
        if record.owner != peer || record.dc_epoch != dc_epoch || seq != asked || !open {
            return ignore(Stale::Fence, out);
        }
        match granted {
            // It would say the same for a while.
            Err(Denied { denial: Denial::TooLate | Denial::Full, .. }) => {
                record.pleading.heard(now.mono, &self.config.timing);
            }
            _ => record.pleading.answered(now, &self.config.timing, ends_in),
        }
        self.timers.disarm(Timer::Plea(job));
        self.tend(now, job, out);
    }
}

/// What a job's runs have to say for themselves.
fn sum<'r>(
    runs: impl Iterator<Item = &'r Run>,
    now: Now,
    deadline: Instant,
    silent_for: Duration,
    condition: Condition,
) -> Plea {
    let mut sum = Sum::default();
    let started = runs.filter(|run| matches!(run.phase, Phase::Started));
    for (run, course) in started.filter_map(|run| run.course.as_ref().map(|course| (run, course))) {
        sum.add(run, course, deadline, now.mono - silent_for);
    }
    let need = match condition {
        Condition::Healthy if sum.is_silent => Need::LongRun,
        Condition::Healthy => Need::Unspecified,
        _ => Need::Contention,
    };
    let permille = (sum.elapsed_ms * 1_000).checked_div(sum.duration_ms).unwrap_or(0) as u16;
    let wants_ms = sum.ends_at.since(deadline).as_wire_millis();
    Plea { need, permille, wants_ms, ..sum.plea }
}
