//! More time for a worker of which its manager hears nothing and which says so itself: a halving number of grants, each
//! for progress since the last.
//!
//! Grant `n` (from 0) is the base (the silence that is allowed to everybody) through `2^(n+1)`, at least [`GRANT_MIN`]:
//! of 30 s it is 15, 7.5, 3.75, 1.875 and 1 s, together 29.125 s and never more. A grant never moves a deadline closer. A
//! repeated plea gets the same answer and nothing new. Neither the reason nor the estimate of a plea makes a grant longer.

use minicbor::{Decode, Encode};

use crate::time::{Duration, Instant};

/// No grant is shorter.
pub const GRANT_MIN: Duration = Duration::from_secs(1);
/// Most grants of one credit.
pub const GRANTS_MAX: u8 = 5;
/// Denials in a row after which there is no grant any more.
pub const DENIALS_MAX: u8 = 3;
/// After the last of all grants, what runs may still end by itself for this long from the next plea on.
pub const GRACE: Duration = Duration::from_secs(10);

/// Why a worker needs more time. It is told to people and changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Need {
    /// It does not say; or its runs report to it, and only its manager does not hear.
    #[default]
    #[n(0)]
    Unspecified,
    /// Its executors have said nothing of these runs for as long: they are busy with something long.
    #[n(1)]
    LongRun,
    /// Its machine is loaded.
    #[n(2)]
    Contention,
}

/// A worker asks for more time for its runs of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Plea {
    /// Grows with each plea of a job at a worker.
    #[n(0)]
    pub seq: u64,
    /// Why.
    #[n(1)]
    pub need: Need,
    /// Runs of the job that are under way there.
    #[n(2)]
    pub active: u16,
    /// Those that will end after the deadline.
    #[n(3)]
    pub overdue: u16,
    /// Items that are done, where they are counted. They decide, not the share: one more is progress, however large the
    /// whole.
    #[n(4)]
    pub done: Option<u64>,
    /// Items in all, where the worker knows; it may grow.
    #[n(5)]
    pub of: Option<u64>,
    /// How much of the runs' time is over, in thousandths.
    #[n(6)]
    pub permille: u16,
    /// How much time the worker expects to need beyond the deadline, in milliseconds: for people.
    #[n(7)]
    pub wants_ms: u32,
}

/// A worker gets more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Grant {
    /// How much, in milliseconds.
    #[n(0)]
    pub time_ms: u32,
    /// How many more it can get.
    #[n(1)]
    pub left: u8,
    /// At most one is left.
    #[n(2)]
    pub warning: bool,
}

/// Why there is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Denial {
    /// The manager has heard of the runs lately: it holds nothing against the worker.
    #[n(0)]
    NotNeeded,
    /// The worker is suspected, or dead for the job. Only progress helps.
    #[n(1)]
    TooLate,
    /// An older plea than the last.
    #[n(2)]
    Old,
    /// More is done than there is, or there is nothing to do, or more than the whole time is over.
    #[n(3)]
    BadProgress,
    /// Nothing was done since the last grant.
    #[n(4)]
    NoProgress,
    /// It has had all grants.
    #[n(5)]
    AllGranted,
    /// It was denied too often in a row.
    #[n(6)]
    DeniedTooOften,
    /// So many workers have more time already.
    #[n(7)]
    Full,
}

/// No more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Denied {
    /// Why.
    #[n(0)]
    pub denial: Denial,
    /// What was done at the last grant: items, or thousandths of the time.
    #[n(1)]
    pub before: u64,
    /// What is done now.
    #[n(2)]
    pub now: u64,
}

/// What a worker was granted since it was heard of last.
#[derive(Clone, Debug, Default)]
pub struct Extension {
    grants: u8,
    total: Duration,
    /// The plea of the last grant.
    granted: Option<Plea>,
    /// Denials since then.
    denials: u8,
    /// All was granted, and it asked for more at this time.
    exhausted: Option<Instant>,
    last: Option<(u64, Result<Grant, Denied>)>,
}

impl Denied {
    /// For a reason that has nothing to do with progress.
    pub const fn plain(denial: Denial) -> Self {
        Self { denial, before: 0, now: 0 }
    }
}

impl Plea {
    fn is_bad(&self) -> bool {
        let is_impossible = |of: u64| of == 0 || self.done.is_some_and(|done| done > of);
        self.of.is_some_and(is_impossible) || self.permille > 1_000
    }

    /// What was done at an earlier plea and at this one, in the finest unit that both have.
    fn progress_since(&self, earlier: &Self) -> (u64, u64) {
        match (earlier.done, self.done) {
            (Some(before), Some(now)) => (before, now),
            _ => (earlier.permille.into(), self.permille.into()),
        }
    }
}

impl Extension {
    /// Whether it has any grant.
    pub const fn is_granted(&self) -> bool {
        self.grants > 0
    }

    /// When a deadline ends that would end at `at` without grants.
    pub fn moved(&self, at: Instant) -> Instant {
        let later = at + self.total;
        self.exhausted.map_or(later, |since| later.max(since + GRACE))
    }

    /// Judges a plea; `base` is twice the first grant.
    ///
    /// # Errors
    ///
    /// Why there is no grant.
    pub fn plead(&mut self, now: Instant, base: Duration, plea: Plea) -> Result<Grant, Denied> {
        if let Some((seq, answer)) = self.last {
            if plea.seq == seq {
                return answer;
            }
            if plea.seq < seq {
                return Err(Denied::plain(Denial::Old));
            }
        }
        let answer = match self.judge(plea) {
            None => Ok(self.grant(base, plea)),
            Some(denied) => {
                self.denials = self.denials.saturating_add(1);
                if denied.denial == Denial::AllGranted {
                    self.exhausted.get_or_insert(now);
                }
                Err(denied)
            }
        };
        self.last = Some((plea.seq, answer));
        answer
    }

    fn judge(&self, plea: Plea) -> Option<Denied> {
        let (before, now) = self.granted.map_or((0, 0), |granted| plea.progress_since(&granted));
        let denial = if self.denials >= DENIALS_MAX && self.exhausted.is_none() {
            Denial::DeniedTooOften
        } else if plea.is_bad() {
            Denial::BadProgress
        } else if self.grants == GRANTS_MAX {
            Denial::AllGranted
        } else if self.granted.is_some() && now <= before {
            Denial::NoProgress
        } else {
            return None;
        };
        Some(Denied { denial, before, now })
    }

    fn grant(&mut self, base: Duration, plea: Plea) -> Grant {
        let time = base.scale(1, 2 << self.grants).max(GRANT_MIN);
        self.grants += 1;
        self.total = self.total + time;
        self.granted = Some(plea);
        self.denials = 0;
        let left = GRANTS_MAX - self.grants;
        Grant { time_ms: time.as_wire_millis(), left, warning: left <= 1 }
    }
}
