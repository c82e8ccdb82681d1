//! Whether a datacenter answers: four states, one deadline.
//!
//! Unknown and Reachable become Suspected when no manager has answered for [`MISSES`] pings, Suspected becomes
//! Unreachable after [`SUSPECTED_FOR`], and one answer makes it Reachable from anywhere. A leader change is no input: it
//! neither loses nor hides an answer.

use minicbor::{Decode, Encode};

use crate::link::Links;
use crate::time::{Duration, Instant};

/// Pings in a row that no manager of a datacenter has answered when it becomes suspected.
pub const MISSES: u64 = 5;
/// From there to unreachable. Long enough to see whether others fail with it.
pub const SUSPECTED_FOR: Duration = Duration::from_secs(30);
/// A deadline that is noticed this late was overslept: this gate stood still, and what it did not hear says nothing.
const OVERSLEPT: Duration = Links::PERIOD;

/// Whether a datacenter answers this gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Reach {
    /// It has not answered since this gate began.
    #[default]
    #[n(0)]
    Unknown,
    /// A manager has answered not long ago.
    #[n(1)]
    Reachable,
    /// None has for a while.
    #[n(2)]
    Suspected,
    /// None has for long.
    #[n(3)]
    Unreachable,
}

/// The watch over one datacenter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    reach: Reach,
    /// When it becomes worse by itself; never where it is unreachable.
    ends: Instant,
}

impl Watch {
    /// Begins to watch.
    pub fn new(now: Instant) -> Self {
        Self { reach: Reach::Unknown, ends: now + patience(Links::TIMEOUT_MAX) }
    }

    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// When [`Watch::pass`] does something.
    pub fn ends(&self) -> Option<Instant> {
        (self.reach != Reach::Unreachable).then_some(self.ends)
    }

    /// A manager answered, within the `timeout` that it was given.
    pub fn answered(&mut self, now: Instant, timeout: Duration) {
        self.reach = Reach::Reachable;
        self.ends = now + patience(timeout);
    }

    /// Time passes.
    pub fn pass(&mut self, now: Instant) {
        if now < self.ends || self.reach == Reach::Unreachable {
            return;
        }
        if now.since(self.ends) >= OVERSLEPT {
            let again =
                if self.reach == Reach::Suspected { SUSPECTED_FOR } else { patience(Links::TIMEOUT_MAX) };
            self.ends = now + again;
            return;
        }
        if self.reach == Reach::Suspected {
            self.reach = Reach::Unreachable;
        } else {
            self.reach = Reach::Suspected;
            self.ends = now + SUSPECTED_FOR;
        }
    }
}

/// Silence that is borne: pings leave at most 1.1 periods apart, and the last one has its time to be answered.
fn patience(timeout: Duration) -> Duration {
    Links::PERIOD.scale(11 * MISSES, 10) + timeout
}
