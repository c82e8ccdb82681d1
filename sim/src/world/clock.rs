//! The clocks of one node: a wall clock that jumps and drifts, and a monotonic clock with a rate of its own.

use tidegate_core::time::{Instant, WallTime};

/// Nanoseconds of the world, from 0.
pub type Time = u64;

/// The wall clock of a world without faults shows this at time 0 (2026-01-01T00:00:00Z), in ms.
const EPOCH_WALL_MS: i64 = 1_767_225_600_000;
const MILLION: i128 = 1_000_000;

/// What a node reads. Both rates are in parts per million of the world's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Since when the rates hold.
    base: Time,
    mono_ns: u64,
    mono_ppm: i32,
    /// The rate of the monotonic clock where no fault is on.
    own_ppm: i32,
    wall_ns: i128,
    wall_ppm: i32,
}

impl Default for Clock {
    fn default() -> Self {
        Self::with_rate(0)
    }
}

impl Clock {
    /// A clock whose monotonic part is off by so many parts per million, for ever.
    pub const fn with_rate(own_ppm: i32) -> Self {
        Self {
            base: 0,
            mono_ns: 0,
            mono_ppm: own_ppm,
            own_ppm,
            wall_ns: EPOCH_WALL_MS as i128 * MILLION,
            wall_ppm: 0,
        }
    }

    /// A process starts: its monotonic clock begins at zero. Rates stay: they belong to the machine.
    pub fn restart(&mut self, now: Time) {
        self.rebase(now);
        self.mono_ns = 0;
    }

    /// The monotonic clock.
    #[inline]
    pub fn mono(&self, now: Time) -> Instant {
        let passed = now - self.base;
        if self.mono_ppm == 0 {
            return Instant::from_nanos(self.mono_ns + passed);
        }
        let extra = i128::from(passed) * i128::from(self.mono_ppm) / MILLION;
        Instant::from_nanos((i128::from(self.mono_ns + passed) + extra) as u64)
    }

    /// The wall clock.
    #[inline]
    pub fn wall(&self, now: Time) -> WallTime {
        let passed = i128::from(now - self.base);
        let extra = if self.wall_ppm == 0 { 0 } else { passed * i128::from(self.wall_ppm) / MILLION };
        let wall_ns = self.wall_ns + passed + extra;
        match u64::try_from(wall_ns) {
            // A division of 128 bits costs more than the rest of a small step.
            Ok(wall_ns) => WallTime(wall_ns / 1_000_000),
            Err(_) => WallTime(u64::try_from(wall_ns / MILLION).unwrap_or(0)),
        }
    }

    /// The first time of the world at which the monotonic clock shows at least `deadline`.
    #[inline]
    pub fn when(&self, deadline: Instant, now: Time) -> Time {
        let ahead = deadline.as_nanos().saturating_sub(self.mono(now).as_nanos());
        if self.mono_ppm == 0 {
            return now.saturating_add(ahead);
        }
        let mut at = now.saturating_add(
            u64::try_from(i128::from(ahead) * MILLION / (MILLION + i128::from(self.mono_ppm)))
                .unwrap_or(u64::MAX),
        );
        while at < u64::MAX && self.mono(at) < deadline {
            at += 1;
        }
        at
    }

    /// From now on the monotonic clock runs at this rate, beside its own.
    pub fn set_mono_rate(&mut self, now: Time, ppm: i32) {
        self.rebase(now);
        self.mono_ppm = self.own_ppm + ppm;
    }

    /// From now on the wall clock runs at this rate.
    pub fn set_wall_rate(&mut self, now: Time, ppm: i32) {
        self.rebase(now);
        self.wall_ppm = ppm;
    }

    /// The wall clock jumps.
    pub fn jump_wall(&mut self, now: Time, ms: i64) {
        self.rebase(now);
        self.wall_ns += i128::from(ms) * MILLION;
    }

    /// The wall clock is set right and runs at the world's rate; the monotonic one runs at its own.
    pub fn repair(&mut self, now: Time) {
        self.rebase(now);
        self.mono_ppm = self.own_ppm;
        self.wall_ppm = 0;
        self.wall_ns = i128::from(EPOCH_WALL_MS) * MILLION + i128::from(now);
    }

    fn rebase(&mut self, now: Time) {
        self.mono_ns = self.mono(now).as_nanos();
        let passed = i128::from(now - self.base);
        self.wall_ns += passed + passed * i128::from(self.wall_ppm) / MILLION;
        self.base = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_jumps_add_up() {
        const S: u64 = 1_000_000_000;
        let mut clock = Clock::default();
        clock.restart(3 * S);
        assert_eq!(clock.mono(4 * S).as_nanos(), S);
        clock.set_mono_rate(4 * S, 100_000);
        assert_eq!(clock.mono(14 * S).as_nanos(), S + 11 * S);
        clock.set_wall_rate(14 * S, -500_000);
        clock.jump_wall(24 * S, -1_000);
        assert_eq!(clock.wall(24 * S).0, EPOCH_WALL_MS as u64 + 14_000 + 5_000 - 1_000);
        clock.repair(30 * S);
        assert_eq!(clock.wall(31 * S).0, EPOCH_WALL_MS as u64 + 31_000);
    }

    #[test]
    fn a_clock_keeps_its_own_rate_when_faults_are_over() {
        const S: u64 = 1_000_000_000;
        let mut clock = Clock::with_rate(500);
        clock.restart(0);
        clock.set_mono_rate(S, 50_000);
        clock.repair(2 * S);
        assert_eq!(clock.mono(3 * S).as_nanos(), 3 * S + 500_000 + 50_500_000 + 500_000);
    }

    #[test]
    fn a_deadline_is_never_early_and_never_late() {
        for ppm in [-200_000, -37, 0, 1, 500, 200_000] {
            let mut clock = Clock::default();
            clock.set_mono_rate(1_000, ppm);
            for ahead in [0, 1, 2, 999, 1_000_003, 77_777_777_777] {
                let deadline = clock.mono(5_000) + tidegate_core::Duration::from_nanos(ahead);
                let at = clock.when(deadline, 5_000);
                assert!(clock.mono(at) >= deadline, "{ppm} {ahead}");
                assert!(at == 5_000 || clock.mono(at - 1) < deadline, "{ppm} {ahead}");
            }
        }
    }
}
