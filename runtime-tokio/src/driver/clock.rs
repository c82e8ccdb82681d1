//! The two clocks of a node.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tidegate_core::{Instant, WallTime};

/// On Linux the monotonic clock stands still while the machine sleeps; this one does not.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
/// Elsewhere the monotonic clock is the one that counts sleep.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Nanoseconds on the machine's clock, suspend included.
fn machine_nanos() -> u64 {
    let now = clock_gettime(CLOCK);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// A node's clocks: monotonic time since it started, and the wall.
#[derive(Clone, Copy, Debug)]
pub struct NodeClock {
    origin: u64,
}

impl NodeClock {
    /// Starts now.
    pub fn start() -> Self {
        Self { origin: machine_nanos() }
    }

    /// Time since the start; never goes back.
    pub fn mono(&self) -> Instant {
        Instant::from_nanos(machine_nanos().saturating_sub(self.origin))
    }

    /// The wall clock; may jump.
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
