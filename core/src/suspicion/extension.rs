//! More time for a node that is slow and says so: a halving number of grants, each for progress since the last.
//!
//! Grant `n` (from 0) is `BASE / 2^(n+1)`, at least [`GRANT_MIN`]: 15, 7.5, 3.75, 1.875 and 1 s, together 29.125 s and
//! never more. A grant never moves a deadline closer. A repeated plea gets the same answer and nothing new.

use crate::time::{Duration, Instant};

/// Twice the first grant.
pub const BASE: Duration = Duration::from_secs(30);
/// No grant is shorter.
pub const GRANT_MIN: Duration = Duration::from_secs(1);
/// Most grants of one suspicion.
pub const GRANTS_MAX: u32 = 5;
/// Denials in a row that exhaust a node's credit.
pub const DENIALS_MAX: u32 = 3;
/// From the exhaustion on, what runs may still end by itself for this long.
pub const GRACE: Duration = Duration::from_secs(10);

/// A node asks for more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plea {
    /// Grows with each plea of a node.
    pub seq: u64,
    /// Items that are done. A count decides, not a fraction: one more is progress, however large the whole.
    pub done: u64,
    /// Items in all, where the node knows; it may grow.
    pub of: Option<u64>,
}

/// A node gets more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How much.
    pub time: Duration,
    /// How many more it can get.
    pub left: u32,
    /// At most one is left.
    pub warning: bool,
}

/// A node gets no more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It is not suspected: there is nothing to extend.
    NotSuspected,
    /// An older plea than the last.
    Old,
    /// More is done than there is.
    BadProgress,
    /// Nothing was done since the last grant.
    NoProgress {
        /// What was done then.
        before: u64,
    },
    /// It has had all grants, or was denied too often. Until this moment what runs may still end.
    Exhausted {
        /// When the grace ends.
        grace_ends: Instant,
    },
}

/// The credit of one suspicion.
#[derive(Clone, Debug, Default)]
pub struct Extension {
    grants: u32,
    total: Duration,
    /// What was done at the last grant.
    done: Option<u64>,
    /// Denials since then.
    denials: u32,
    exhausted: Option<Instant>,
    last: Option<(u64, Result<Grant, Denial>)>,
}

impl Extension {
    /// All grants together.
    pub const fn total(&self) -> Duration {
        self.total
    }

    /// Judges a plea.
    ///
    /// # Errors
    ///
    /// Why there is no grant.
    pub fn plead(&mut self, now: Instant, plea: Plea) -> Result<Grant, Denial> {
        if let Some((seq, answer)) = self.last {
            if plea.seq == seq {
                return answer;
            }
            if plea.seq < seq {
                return Err(Denial::Old);
            }
        }
        let answer = self.judge(now, plea);
        self.last = Some((plea.seq, answer));
        answer
    }

    fn judge(&mut self, now: Instant, plea: Plea) -> Result<Grant, Denial> {
        if let Some(since) = self.exhausted {
            return Err(Denial::Exhausted { grace_ends: since + GRACE });
        }
        let denial = match self.done {
            _ if plea.of.is_some_and(|of| plea.done > of) => Some(Denial::BadProgress),
            Some(before) if plea.done <= before => Some(Denial::NoProgress { before }),
            _ if self.grants == GRANTS_MAX => Some(Denial::Exhausted { grace_ends: now + GRACE }),
            _ => None,
        };
        if let Some(denial) = denial {
            self.denials += 1;
            if self.denials == DENIALS_MAX || matches!(denial, Denial::Exhausted { .. }) {
                self.exhausted = Some(now);
            }
            return Err(denial);
        }
        let time = BASE.scale(1, 2 << self.grants).max(GRANT_MIN);
        self.grants += 1;
        self.total = self.total + time;
        self.done = Some(plea.done);
        self.denials = 0;
        let left = GRANTS_MAX - self.grants;
        Ok(Grant { time, left, warning: left <= 1 })
    }
}
