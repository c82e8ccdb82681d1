//! How loaded a node is, from what its driver samples once a second (`membership-and-health` 23).
//!
//! The worst of these signs: how long the sample itself lay in the driver's queue, against what is usual there and
//! against fixed bounds; how much of the machine's memory is in use, and of its processors by others. What a worker's
//! own runs use is not counted: cores are promised, and a machine that does what it was asked for is not overloaded.
//! Only signs that tell of an end of the machine make it overloaded, for then it refuses work: long waits and memory.
//! Unusual waits and busy processors make others better, no more.
//!
//! Worse is believed at once. Better takes [`HYSTERESIS`] samples for each level, so that a load which swings about a
//! bound does not make the node swing with it.

use minicbor::{Decode, Encode};

use crate::time::{Duration, Instant, Now};

/// How loaded a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cbor(index_only)]
pub enum Condition {
    /// It has room.
    #[default]
    #[n(0)]
    Healthy,
    /// Others are better; new work goes there first.
    #[n(1)]
    Busy,
    /// New work goes here last; a gate answers no questions about everything.
    #[n(2)]
    Stressed,
    /// It takes no new work. What it has goes on.
    #[n(3)]
    Overloaded,
}

impl Condition {
    /// All of them, from the best on.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Busy, Self::Stressed, Self::Overloaded];

    const fn better(self) -> Self {
        match self {
            Self::Healthy | Self::Busy => Self::Healthy,
            Self::Stressed => Self::Busy,
            Self::Overloaded => Self::Stressed,
        }
    }
}

/// What the driver samples once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Usage {
    /// Processor time of the machine that others than this process use, in thousandths of all.
    #[n(0)]
    pub cpu_permille: u16,
    /// Memory of the machine that is in use, in thousandths of all.
    #[n(1)]
    pub memory_permille: u16,
}

/// Samples in the mean that is judged.
const RECENT: usize = 10;
/// So few samples say nothing of the latency: the relative bounds need all of [`RECENT`].
const RECENT_MIN: u64 = 3;
/// Weight of a sample in what is usual, one in this many. Slower than the mean by so much that a step is seen.
const BASE_WEIGHT: i64 = 50;
/// Thousandths by which the mean is over what is usual.
const RELATIVE: [i64; 3] = [200, 500, i64::MAX];
/// The mean itself.
const ABSOLUTE: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(2)];
/// A mean below this is at most busy, whatever is usual.
const FLOOR: Duration = Duration::from_millis(100);
/// What is usual counts as at least this.
const BASE_MIN: Duration = Duration::from_millis(1);
/// Thousandths of processors or memory.
const RESOURCES: [u16; 3] = [700, 850, 950];
/// Samples in a row that are better than the condition, for it to become better by one.
pub const HYSTERESIS: u8 = 2;
/// After so long with nothing but the relative sign, what is usual has changed.
const RELEARN: Duration = Duration::from_secs(600);

/// A node's gauge of itself.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    recent: [Duration; RECENT],
    taken: u64,
    /// What is usual.
    base: Duration,
    condition: Condition,
    /// Samples in a row that were better.
    better: u8,
    /// Since when nothing but the relative sign says so.
    only_relative_since: Option<Instant>,
}

impl Gauge {
    /// How loaded the node is. Asking changes nothing.
    pub const fn condition(&self) -> Condition {
        self.condition
    }

    /// Takes a sample; gives the condition where it has changed. How long the sample waited for its step is part of it.
    pub fn take(&mut self, now: Now, usage: Usage) -> Option<Condition> {
        self.recent[(self.taken % RECENT as u64) as usize] = now.waited;
        self.taken += 1;
        let relative = self.relative();
        let others = self.absolute().max(resources(usage));
        self.learn(now, relative, others);
        self.settle(relative.max(others))
    }

    fn mean(&self) -> Duration {
        let count = self.taken.min(RECENT as u64);
        let sum: u64 = self.recent.iter().map(|sample| sample.as_nanos() / RECENT as u64).sum();
        Duration::from_nanos(sum).scale(RECENT as u64, count.max(1))
    }

    fn relative(&self) -> Condition {
        if self.taken < RECENT as u64 {
            return Condition::Healthy;
        }
        let (mean, base) = (self.mean(), self.base);
        let over = mean.saturating_sub(base).scale(1_000, base.max(BASE_MIN).as_nanos());
        let most = if mean < FLOOR { Condition::Busy } else { Condition::Stressed };
        grade(over.as_nanos() as i64, RELATIVE).min(most)
    }

    fn absolute(&self) -> Condition {
        if self.taken < RECENT_MIN { Condition::Healthy } else { grade(self.mean(), ABSOLUTE) }
    }

    /// What is usual follows the samples, except while they are unusual; if that lasts, they have become usual.
    fn learn(&mut self, now: Now, relative: Condition, others: Condition) {
        let only_relative = relative > Condition::Busy && others == Condition::Healthy;
        let since = only_relative.then(|| self.only_relative_since.unwrap_or(now.mono));
        self.only_relative_since = since;
        let has_lasted = since.is_some_and(|since| now.mono.since(since) >= RELEARN);
        if relative <= Condition::Busy || has_lasted {
            let (base, sample) = (self.base.as_nanos() as i64, now.waited.as_nanos() as i64);
            let step = (sample - base) / if self.taken == 1 { 1 } else { BASE_WEIGHT };
            self.base = Duration::from_nanos((base + step) as u64);
        }
    }

    fn settle(&mut self, raw: Condition) -> Option<Condition> {
        let before = self.condition;
        if raw >= before {
            self.better = 0;
            self.condition = raw;
        } else {
            self.better += 1;
            if self.better >= HYSTERESIS {
                self.better = 0;
                self.condition = before.better();
            }
        }
        (self.condition != before).then_some(self.condition)
    }
}

fn resources(usage: Usage) -> Condition {
    grade(usage.cpu_permille, RESOURCES).min(Condition::Stressed).max(grade(usage.memory_permille, RESOURCES))
}

/// How many of the ascending bounds a value is over.
fn grade<T: PartialOrd>(value: T, bounds: [T; 3]) -> Condition {
    Condition::ALL[bounds.iter().filter(|bound| value > **bound).count()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const QUIET: Usage = Usage { cpu_permille: 0, memory_permille: 0 };

    fn at(second: u64, waited_us: u64) -> Now {
        let mono = Instant::from_nanos(second * 1_000_000_000);
        Now { mono, waited: Duration::from_micros(waited_us), ..Now::default() }
    }

    fn cpu(permille: u16) -> Usage {
        Usage { cpu_permille: permille, ..QUIET }
    }

    fn memory(permille: u16) -> Usage {
        Usage { memory_permille: permille, ..QUIET }
    }

    /// The gauge after so many samples of one latency, and the second of the next.
    fn warm(waited_us: u64) -> (Gauge, u64) {
        let mut gauge = Gauge::default();
        for second in 0..100 {
            assert_eq!(gauge.take(at(second, waited_us), QUIET), None);
        }
        (gauge, 100)
    }

    #[test]
    fn bounds_of_processors_and_memory() {
        for (permille, condition) in [
            (0, Condition::Healthy),
            (700, Condition::Healthy),
            (701, Condition::Busy),
            (850, Condition::Busy),
            (851, Condition::Stressed),
            (950, Condition::Stressed),
            (951, Condition::Overloaded),
            (u16::MAX, Condition::Overloaded),
        ] {
            for (usage, most) in
                [(cpu(permille), Condition::Stressed), (memory(permille), Condition::Overloaded)]
            {
                let mut gauge = Gauge::default();
                gauge.take(at(0, 0), usage);
                assert_eq!(gauge.condition(), condition.min(most), "{usage:?}");
            }
        }
    }

    #[test]
    fn worse_at_once_and_better_after_two_samples_a_level() {
        let mut gauge = Gauge::default();
        assert_eq!(gauge.take(at(0, 0), memory(990)), Some(Condition::Overloaded));
        let readings = [600, 960, 600, 600, 600, 600, 600, 600, 600];
        let news: Vec<_> =
            (1..).zip(readings).map(|(s, permille)| gauge.take(at(s, 0), memory(permille))).collect();
        let (stressed, busy, healthy) = (Condition::Stressed, Condition::Busy, Condition::Healthy);
        let expected = [None, None, None, Some(stressed), None, Some(busy), None, Some(healthy), None];
        assert_eq!(news, expected);
    }

    #[test]
    fn a_load_that_swings_about_a_bound_makes_one_change() {
        let mut gauge = Gauge::default();
        let swing = (0..240).map(|n| gauge.take(at(n, 0), cpu(if n % 2 == 0 { 720 } else { 680 })));
        assert_eq!(swing.flatten().collect::<Vec<_>>(), [Condition::Busy]);
        let calm = (240..250).map(|n| gauge.take(at(n, 0), cpu(600)));
        assert_eq!(calm.flatten().collect::<Vec<_>>(), [Condition::Healthy]);
    }

    /// A sustained step over what is usual is seen within ten samples, and holds (OVL-2).
    #[test]
    fn a_step_over_what_is_usual_is_seen_and_held() {
        for (factor, condition) in [
            (12, Condition::Healthy),
            (13, Condition::Busy),
            (17, Condition::Stressed),
            (40, Condition::Stressed),
        ] {
            let (mut gauge, start) = warm(120_000);
            let step = 120_000 * factor / 10;
            for second in start..start + 10 {
                gauge.take(at(second, step), QUIET);
            }
            assert_eq!(gauge.condition(), condition, "a step of {factor}/10");
            if condition >= Condition::Stressed {
                for second in start + 10..start + 500 {
                    gauge.take(at(second, step), QUIET);
                }
                assert_eq!(gauge.condition(), condition, "held");
            }
        }
    }

    /// However usual it is, and before anything is known to be usual.
    #[test]
    fn a_lasting_wait_is_judged_by_itself() {
        for (ms, condition) in [
            (150, Condition::Healthy),
            (200, Condition::Healthy),
            (300, Condition::Busy),
            (500, Condition::Busy),
            (800, Condition::Stressed),
            (2_000, Condition::Stressed),
            (2_500, Condition::Overloaded),
        ] {
            let mut gauge = Gauge::default();
            for second in 0..20 {
                gauge.take(at(second, ms * 1_000), QUIET);
                let judged = if second + 1 < RECENT_MIN { Condition::Healthy } else { condition };
                assert_eq!(gauge.condition(), judged, "{ms} ms, sample {second}");
            }
        }
    }

    #[test]
    fn what_lasts_becomes_usual() {
        let (mut gauge, start) = warm(100_000);
        for second in start..start + 500 {
            gauge.take(at(second, 199_000), QUIET);
        }
        assert_eq!(gauge.condition(), Condition::Stressed);
        for second in start + 500..start + 1_000 {
            gauge.take(at(second, 199_000), QUIET);
        }
        assert_eq!(gauge.condition(), Condition::Healthy);
    }

    #[test]
    fn short_waits_are_at_most_busy() {
        let (mut gauge, start) = warm(100);
        for second in start..start + 20 {
            gauge.take(at(second, 90_000), QUIET);
        }
        assert_eq!(gauge.condition(), Condition::Busy);
    }

    proptest! {
        /// One sample never makes a node better, and none makes it better by more than one level (OVL-5).
        #[test]
        fn better_comes_slowly(samples in proptest::collection::vec((0..4_000_000u64, 0..1_100u16), 1..200)) {
            let (mut gauge, mut second, mut since_better) = (Gauge::default(), 0, 0u32);
            for (waited_us, permille) in samples {
                second += 1;
                since_better += 1;
                let before = gauge.condition();
                let news = gauge.take(at(second, waited_us), cpu(permille));
                prop_assert_eq!(news.is_some(), gauge.condition() != before);
                if gauge.condition() < before {
                    prop_assert_eq!(gauge.condition(), before.better());
                    prop_assert!(since_better >= u32::from(HYSTERESIS));
                    since_better = 0;
                }
                prop_assert!(gauge.condition() >= resources(cpu(permille)).min(before));
            }
        }
    }
}
