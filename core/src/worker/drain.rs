//! The way out: finish, then stop, then leave.
//!
//! Reservations are refused from the first moment. What runs may end by itself for `drain_timeout`, then it is asked
//! to, then it is killed. The node leaves when nothing runs and every result is acknowledged; at the very end it leaves
//! all the same, since results are durable and go out after the next start.

use alloc::vec::Vec;

use super::job::Cause;
use super::{Timer, Worker, ignore};
use crate::effect::{Effect, Effects, HaltReason};
use crate::id::ShardKey;
use crate::observe::{Observation, Stale};
use crate::time::Now;

/// How far the draining is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// What runs may end by itself.
    Finishing,
    /// What runs was asked to end; kills follow.
    Stopping,
    /// No more time, even for receipts.
    Over,
}

impl Worker {
    pub(super) fn begin_drain(&mut self, now: Now, out: &mut Effects) {
        if self.drain.is_some() {
            return ignore(Stale::Duplicate, out);
        }
        self.drain = Some(Drain::Finishing);
        self.timers.arm(Timer::Drain, now.mono + self.config.timing.drain_timeout);
        out.push(Effect::Observe(Observation::Draining));
    }

    pub(super) fn drain_further(&mut self, now: Now, out: &mut Effects) {
        if self.drain != Some(Drain::Finishing) {
            self.drain = Some(Drain::Over);
            return;
        }
        self.drain = Some(Drain::Stopping);
        let timing = &self.config.timing;
        self.timers.arm(Timer::Drain, now.mono + timing.cancel_grace + timing.cancel_deadline);
        let running: Vec<ShardKey> = self
            .jobs
            .iter()
            .flat_map(|(job, record)| record.active().map(|(place, _)| self.shard_key(*job, place)))
            .collect();
        for key in running {
            self.stop_by_itself(now, key, Cause::Drained, out);
            self.tend(now, key.job, out);
        }
    }

    /// At the end of a step, after everything else: leaves and halts when nothing is left to do.
    pub(super) fn end_if_drained(&mut self, now: Now, out: &mut Effects) {
        let done = match self.drain {
            None => false,
            Some(Drain::Over) => true,
            Some(_) => self.used_cores == 0 && self.jobs.values().all(|job| job.results() == 0),
        };
        if done && !self.halted {
            self.halted = true;
            self.swim.leave(now, out);
            out.push(Effect::Halt(HaltReason::Drained));
        }
    }
}
