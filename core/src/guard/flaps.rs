//! Nodes that are fit for work now and not then: whoever changes too often is held as degraded for a while.
//!
//! A flip is each time that a node stops being fit. After [`FLIPS`] within [`WINDOW`] it is held for [`HOLD_MIN`]; for
//! twice as long after as many more, up to [`HOLD_MAX`]; [`CALM`] without one forgets all of it. No timers: what holds
//! follows from the time of asking.

use smallvec::SmallVec;

use crate::time::{Duration, Instant};

/// Flips that make a node held, if they lie within [`WINDOW`].
pub const FLIPS: usize = 3;
/// See [`FLIPS`].
pub const WINDOW: Duration = Duration::from_secs(60);
/// The first hold.
pub const HOLD_MIN: Duration = Duration::from_secs(30);
/// The longest.
pub const HOLD_MAX: Duration = Duration::from_secs(300);
/// So long without a flip, and nothing is remembered.
pub const CALM: Duration = Duration::from_secs(300);

/// How often one node has flipped of late.
#[derive(Clone, Debug, Default)]
pub struct Flaps {
    /// The newest flips that no hold came of, oldest first.
    recent: SmallVec<[Instant; FLIPS]>,
    last: Option<Instant>,
    /// The last hold; zero where there was none.
    hold: Duration,
    until: Instant,
}

impl Flaps {
    /// The node stopped being fit. Tells for how long it is held, where that makes it so.
    pub fn flip(&mut self, now: Instant) -> Option<Duration> {
        if self.last.is_some_and(|last| now.since(last) >= CALM) {
            *self = Self::default();
        }
        self.last = Some(now);
        self.recent.retain(|at| now.since(*at) < WINDOW);
        self.recent.push(now);
        if self.recent.len() < FLIPS {
            return None;
        }
        self.recent.clear();
        self.hold = self.hold.scale(2, 1).clamp(HOLD_MIN, HOLD_MAX);
        self.until = self.until.max(now + self.hold);
        Some(self.hold)
    }

    /// Whether the node is held.
    pub fn holds(&self, now: Instant) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn at(s: u64) -> Instant {
        Instant::from_nanos(s * 1_000_000_000)
    }

    fn holds(flaps: &mut Flaps, seconds: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
        let held = |s| flaps.flip(at(s)).map(|hold| (s, hold.as_millis() / 1_000));
        seconds.into_iter().filter_map(held).collect()
    }

    #[test]
    fn the_hold_doubles_up_to_its_most_and_a_calm_time_forgets() {
        let mut flaps = Flaps::default();
        let all = holds(&mut flaps, (0..18).map(|n| n * 10));
        assert_eq!(all, [(20, 30), (50, 60), (80, 120), (110, 240), (140, 300), (170, 300)]);
        assert!(flaps.holds(at(469)) && !flaps.holds(at(470)));
        assert_eq!(holds(&mut flaps, [469, 470, 471]), [(471, 300)], "no calm yet");
        assert_eq!(holds(&mut flaps, [771, 772, 773]), [(773, 30)]);
    }

    #[test]
    fn three_that_lie_too_far_apart_are_none() {
        let mut flaps = Flaps::default();
        assert_eq!(holds(&mut flaps, [0, 30, 60, 90, 120]), []);
        assert_eq!(holds(&mut flaps, [121]), [(121, 30)]);
        assert!(flaps.holds(at(150)) && !flaps.holds(at(151)));
    }
}
