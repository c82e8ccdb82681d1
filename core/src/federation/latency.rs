//! How long datacenters take to answer: where half of them have become slow together, it is the network.
//!
//! Slow is relative: what a datacenter between continents always takes is no sign of anything. [`STREAK`] answers in a
//! row decide, in both directions, so that one late answer says nothing; and what is old counts no more.

use super::{Due, Federation};
use crate::effect::{Effect, Effects};
use crate::id::DcId;
use crate::observe::Observation;
use crate::time::{Duration, Instant};

/// An answer that takes no longer is not slow, whatever is usual.
pub const ELEVATED: Duration = Duration::from_millis(100);
/// Answers in a row, all slow or all not, that change the judgement.
pub const STREAK: u8 = 3;
/// Answers that are further apart do not belong together, and an older one counts no more.
pub const FRESH: Duration = Duration::from_secs(60);
/// Weight of an answer in what is usual, one in this many.
const WEIGHT: u64 = 64;
/// What has been slow for so long is usual.
const RELEARN: Duration = Duration::from_secs(600);

/// The answers of one datacenter.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    /// What is usual.
    usual: Option<Duration>,
    /// When it answered last.
    last: Instant,
    /// Answers in a row that contradict the judgement.
    against: u8,
    /// Since when it is slow.
    slow_since: Option<Instant>,
}

impl Latency {
    /// It answered after this long.
    pub fn take(&mut self, now: Instant, rtt: Duration) {
        let usual = *self.usual.get_or_insert(rtt);
        if now.since(self.last) >= FRESH {
            (self.against, self.slow_since) = (0, None);
        }
        self.last = now;
        let is_slow = rtt > ELEVATED.max(usual.scale(2, 1));
        if !is_slow {
            self.usual = Some(usual.scale(WEIGHT - 1, WEIGHT) + rtt.scale(1, WEIGHT));
        }
        self.against = if is_slow == self.slow_since.is_some() { 0 } else { self.against + 1 };
        if self.against == STREAK {
            (self.against, self.slow_since) = (0, is_slow.then_some(now));
        }
        if self.slow_since.is_some_and(|since| now.since(since) >= RELEARN) {
            (self.against, self.slow_since, self.usual) = (0, None, Some(rtt));
        }
    }

    /// Whether it is slow, if it has answered of late.
    pub fn is_slow(&self, now: Instant) -> Option<bool> {
        (self.usual.is_some() && now.since(self.last) < FRESH).then_some(self.slow_since.is_some())
    }
}

impl Federation {
    /// Takes an answer's time, and says where the network as a whole has become slow, or is no more.
    pub(super) fn take_latency(&mut self, now: Instant, dc: DcId, rtt: Duration, out: &mut Effects) {
        if let Some(record) = self.dcs.get_mut(&dc) {
            record.latency.take(now, rtt);
        }
        self.judge_latency(now, out);
    }

    /// Half or more of the datacenters that answer are slow; one alone is never the network.
    pub(super) fn judge_latency(&mut self, now: Instant, out: &mut Effects) {
        let answering = || self.dcs.values().filter_map(|record| record.latency.is_slow(now));
        let (all, slow) = (answering().count(), answering().filter(|slow| *slow).count());
        let is_slow = all >= 2 && slow > 0 && 2 * slow >= all;
        if is_slow {
            self.wheel.arm(Due::Latency, now + FRESH);
        } else {
            self.wheel.disarm(Due::Latency);
        }
        if core::mem::replace(&mut self.network_slow, is_slow) != is_slow {
            out.push(Effect::Observe(Observation::NetworkSlow { slow: is_slow, dcs: slow as u16 }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(answers: &[(u64, u64)]) -> (Latency, Instant) {
        let (mut latency, mut now) = (Latency::default(), Instant::ZERO + Duration::from_secs(100));
        for (wait_s, rtt_ms) in answers {
            now += Duration::from_secs(*wait_s);
            latency.take(now, Duration::from_millis(*rtt_ms));
        }
        (latency, now)
    }

    #[test]
    fn three_answers_in_a_row_decide() {
        for (answers, slow) in [
            (&[(1, 60), (1, 400), (1, 400)][..], false),
            (&[(1, 60), (1, 400), (1, 400), (1, 400)], true),
            (&[(1, 60), (1, 400), (1, 400), (1, 60), (1, 400), (1, 400)], false),
            (&[(1, 60), (1, 400), (1, 400), (1, 400), (1, 60), (1, 60)], true),
            (&[(1, 60), (1, 400), (1, 400), (1, 400), (1, 60), (1, 60), (1, 60)], false),
            (&[(1, 60), (1, 400), (1, 400), (60, 400)], false),
            (&[(1, 20), (1, 90), (1, 90), (1, 90)], false),
            (&[(1, 300), (1, 400), (1, 400), (1, 400)], false),
        ] {
            let (latency, now) = after(answers);
            assert_eq!(latency.is_slow(now), Some(slow), "{answers:?}");
        }
    }

    #[test]
    fn what_is_old_says_nothing_and_what_stays_is_usual() {
        let (latency, now) = after(&[(1, 60), (1, 400), (1, 400), (1, 400)]);
        assert_eq!(latency.is_slow(now + FRESH), None);
        let mut answers = std::vec![(1, 60)];
        answers.resize(700, (1, 400));
        let (latency, now) = after(&answers);
        assert_eq!(latency.is_slow(now), Some(false));
    }
}
