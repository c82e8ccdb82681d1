//! What a node knows of its own condition. A node that may be the sick one must not bury the healthy ones.
//!
//! Five things that it can see of itself: answers that did not come although proxies were asked (Lifeguard's local
//! health multiplier), timers that fired late, events that lay in the driver's queue, silence: it heard nobody, and
//! loneliness: most do not answer. The first two make rounds longer; the second to the fourth make it *wary*: it
//! accuses nobody, and no suspicion runs out; the last means that its own word alone buries nobody.

use crate::time::{Duration, Instant, Now};

/// Highest score (Lifeguard's S).
pub const SCORE_MAX: u32 = 8;
/// Silence begins after so many mean gaps between messages, within the bounds below.
const GAPS: u64 = 4;
/// Shortest and longest span that counts as silence, in periods. A healthy node hears the answer to its own question
/// once in a period, but for those who died; after a burst of rumours the mean gap is too short for a while.
const QUIET_PERIODS: (u64, u64) = (2, 4);
/// After a silence, a late timer or an old message, refutations may still lie in queues for so many periods.
const GRACE_PERIODS: u64 = 2;
/// Rounds without an answer, less those with one, from which on a node is lonely, and the most that are counted.
const LONELY: (u32, u32) = (4, 12);
/// Weight of the newest gap in the mean, one in this many.
const WEIGHT: u64 = 16;

/// A node's view of itself.
#[derive(Clone, Debug)]
pub struct Awareness {
    period: Duration,
    score: u32,
    unanswered: u32,
    last_heard: Instant,
    mean_gap: Duration,
    wary_until: Instant,
    slowest_trip: Duration,
}

impl Awareness {
    /// Of a node that has just started, with this period.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            score: 0,
            unanswered: 0,
            last_heard: Instant::ZERO,
            mean_gap: period,
            wary_until: Instant::ZERO,
            slowest_trip: Duration::ZERO,
        }
    }

    /// Somebody was heard. A first word after a silence, or one that lay in a queue, is old: what others said since
    /// may still be on its way.
    #[inline]
    pub fn heard(&mut self, now: Now) {
        let gap = now.mono.since(self.last_heard);
        if gap > self.quiet() || now.waited.scale(2, 1) > self.period {
            self.be_wary(now.mono);
        } else {
            let mean = self.mean_gap.as_nanos();
            self.mean_gap = Duration::from_nanos(mean - mean / WEIGHT + gap.as_nanos() / WEIGHT);
        }
        self.last_heard = now.mono;
    }

    /// A timer fired this long after its time: half a period is a bad sign, two periods are worse.
    pub fn late(&mut self, now: Instant, by: Duration) {
        if by.scale(2, 1) > self.period {
            self.worse(if by > self.period.scale(2, 1) { 2 } else { 1 });
            self.be_wary(now);
        }
    }

    /// How long nobody must be heard until that counts as silence. It follows the measured rate of messages.
    pub fn quiet(&self) -> Duration {
        let (least, most) = QUIET_PERIODS;
        self.mean_gap.scale(GAPS, 1).max(self.period.scale(least, 1)).min(self.period.scale(most, 1))
    }

    /// Whether nobody was heard for so long that the fault may be here.
    pub fn is_silent(&self, now: Instant) -> bool {
        now.since(self.last_heard) > self.quiet()
    }

    /// When somebody was heard last.
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// Whether this node was out of touch a moment ago.
    pub fn is_wary(&self, now: Instant) -> bool {
        now < self.wary_until
    }

    /// Whether nobody was heard since this node was out of touch, but for what came with its return. Silence is noticed
    /// late, so the end of wariness alone does not tell that it is back.
    pub fn is_unsettled(&self) -> bool {
        self.last_heard < self.wary_until
    }

    /// A round was answered.
    pub fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// A round was not answered, by whatever way.
    pub fn unanswered(&mut self) {
        self.unanswered = (self.unanswered + 1).min(LONELY.1);
    }

    /// Whether more rounds fail than succeed: this node may be the one that is cut off, although it hears somebody.
    pub fn is_lonely(&self) -> bool {
        self.unanswered >= LONELY.0
    }

    /// So many signs that the fault is here.
    pub fn worse(&mut self, by: u32) {
        self.score = (self.score + by).min(SCORE_MAX);
    }

    /// The local health multiplier: 1 when all is well, to 9.
    pub fn multiplier(&self) -> u64 {
        u64::from(self.score) + 1
    }

    /// A direct question was answered after this long. The slowest recent trip counts, and fades.
    pub fn trip(&mut self, took: Duration) {
        let fades = Duration::from_nanos(self.slowest_trip.as_nanos() / 64 * 63);
        self.slowest_trip = took.max(fades);
    }

    /// The slowest recent round trip.
    pub fn slowest_trip(&self) -> Duration {
        self.slowest_trip
    }

    fn be_wary(&mut self, now: Instant) {
        self.wary_until = now + self.period.scale(GRACE_PERIODS, 1);
    }
}
