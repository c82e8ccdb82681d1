//! Circuit breakers: requests that somebody else can serve do not go to a peer that has stopped answering them.
//!
//! | in | Closed | Open | Half open |
//! |---|---|---|---|
//! | [`Breakers::allows`] | yes | no | yes, until a trial is under way |
//! | [`Breakers::failed`] | counts; opens at [`Patience::failures`] within its window | too late to count | opens again |
//! | [`Breakers::answered`] | forgets its failures | too late to count | closes |
//! | [`Patience::open_for`] passes | | half open | |
//!
//! A failure is silence: a peer that refuses is well. Nothing that is critical asks here. There are no timers: what the
//! state is follows from the time of asking, and asking changes nothing.

use alloc::collections::BTreeMap;
use smallvec::SmallVec;

use crate::id::NodeId;
use crate::time::{Duration, Instant};

/// How much a circuit bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Failures that open it, if they lie within `window`; at most 5.
    pub failures: usize,
    /// See `failures`.
    pub window: Duration,
    /// Then a peer is let alone for this long, and tried once.
    pub open_for: Duration,
}

impl Patience {
    /// Of a gate with managers.
    pub const WITH_MANAGERS: Self =
        Self { failures: 3, window: Duration::from_secs(30), open_for: Duration::from_secs(10) };
    /// Of a manager with workers: each failure took two requests and ten seconds.
    pub const WITH_WORKERS: Self =
        Self { failures: 5, window: Duration::from_secs(60), open_for: Duration::from_secs(30) };
}

/// The circuits of those that have failed of late. Gone with the peer's connection.
#[derive(Clone, Debug)]
pub struct Breakers {
    patience: Patience,
    peers: BTreeMap<NodeId, Breaker>,
}

#[derive(Clone, Debug, Default)]
struct Breaker {
    /// The newest failures, oldest first.
    failures: SmallVec<[Instant; 5]>,
    /// Opened, until then; half open afterwards.
    open_until: Option<Instant>,
    /// When it opened first since it was closed.
    since: Option<Instant>,
    /// Half open, and one request is under way, since then. One of which nobody tells the outcome is forgotten in time.
    trial: Option<Instant>,
}

impl Breakers {
    /// All of them closed.
    pub const fn new(patience: Patience) -> Self {
        Self { patience, peers: BTreeMap::new() }
    }

    /// Since when a peer does not answer: when its circuit opened that has not been closed since.
    pub fn failing_since(&self, peer: NodeId) -> Option<Instant> {
        self.peers.get(&peer)?.since
    }

    /// Whether a request may go to a peer.
    pub fn allows(&self, now: Instant, peer: NodeId) -> bool {
        self.peers.get(&peer).is_none_or(|breaker| match breaker.open_until {
            None => true,
            Some(until) => now >= until && !breaker.on_trial(now, self.patience),
        })
    }

    /// A request went to a peer: where the circuit is half open, it is the trial. Tells whether it is.
    pub fn sent(&mut self, now: Instant, peer: NodeId) -> bool {
        let Some(breaker) = self.peers.get_mut(&peer) else { return false };
        breaker.trial = breaker.open_until.map(|_| now);
        breaker.trial.is_some()
    }

    /// A request had no answer. Tells whether that opened the circuit.
    pub fn failed(&mut self, now: Instant, peer: NodeId) -> bool {
        let Patience { failures, window, open_for } = self.patience;
        let breaker = self.peers.entry(peer).or_default();
        match breaker.open_until {
            Some(_) if breaker.trial.is_some() => {}
            // Of a request that left before it opened.
            Some(_) => return false,
            None => {
                breaker.failures.retain(|at| now.since(*at) < window);
                breaker.failures.push(now);
                if breaker.failures.len() < failures {
                    return false;
                }
            }
        }
        breaker.failures.clear();
        breaker.trial = None;
        breaker.open_until = Some(now + open_for);
        breaker.since.get_or_insert(now);
        true
    }

    /// A peer answered a request. Tells whether that closed the circuit.
    pub fn answered(&mut self, peer: NodeId) -> bool {
        let Some(breaker) = self.peers.get(&peer) else { return false };
        let closes = breaker.trial.is_some();
        if closes || breaker.open_until.is_none() {
            self.peers.remove(&peer);
        }
        closes
    }

    /// The connection to a peer is gone, and with it what its silence meant.
    pub fn forget(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
    }
}

impl Breaker {
    fn on_trial(&self, now: Instant, patience: Patience) -> bool {
        self.trial.is_some_and(|since| now.since(since) < patience.open_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const PEER: NodeId = NodeId([7; 16]);
    const OTHER: NodeId = NodeId([8; 16]);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn failures_count_for_a_while_and_an_answer_forgets_them_at_once() {
        let twice = || {
            let mut breakers = Breakers::new(Patience::WITH_MANAGERS);
            assert!(!breakers.failed(at(0), PEER) && !breakers.failed(at(5_000), PEER));
            breakers
        };
        for (third_ms, opens) in [(5_001, true), (29_999, true), (30_000, false), (35_000, false)] {
            let mut breakers = twice();
            assert!(breakers.allows(at(third_ms), PEER));
            assert_eq!(breakers.failed(at(third_ms), PEER), opens, "{third_ms}");
            assert_eq!(breakers.allows(at(third_ms), PEER), !opens);
        }
        // Both have left the window: it takes three new ones.
        let mut breakers = twice();
        let opened = [35_000, 36_000, 37_000].map(|ms| breakers.failed(at(ms), PEER));
        assert_eq!(opened, [false, false, true]);
        assert!(breakers.allows(at(37_000), OTHER) && !breakers.peers.contains_key(&OTHER));

        let mut breakers = twice();
        assert!(!breakers.answered(PEER));
        assert!(breakers.peers.is_empty());
        assert!(!breakers.failed(at(6_000), PEER) && !breakers.failed(at(7_000), PEER));
    }

    /// A circuit that opened at 55 s.
    fn opened() -> Breakers {
        let mut breakers = Breakers::new(Patience::WITH_MANAGERS);
        let opened: Vec<bool> =
            [5, 10, 45, 50, 55].into_iter().map(|s| breakers.failed(at(s * 1_000), PEER)).collect();
        assert_eq!(opened, [false, false, false, false, true], "the first two had left the window");
        breakers
    }

    #[test]
    fn it_opens_at_three_failures_within_the_window_and_no_other_with_it() {
        let breakers = opened();
        assert!(!breakers.allows(at(55_000), PEER) && !breakers.allows(at(64_999), PEER));
        assert!(breakers.allows(at(65_000), PEER));
        assert!(breakers.allows(at(55_000), OTHER));
    }

    #[test]
    fn one_trial_and_its_answer_close_it() {
        let mut breakers = opened();
        assert!(breakers.allows(at(65_000), PEER), "half open");
        breakers.sent(at(65_000), PEER);
        assert!(!breakers.allows(at(65_001), PEER), "one trial at a time");
        assert!(breakers.answered(PEER));
        assert!(breakers.allows(at(65_002), PEER) && breakers.peers.is_empty(), "its history is empty");
        assert!(!breakers.failed(at(66_000), PEER), "so one more failure is the first");
    }

    #[test]
    fn a_failed_trial_opens_it_again_and_the_wait_begins_anew() {
        let mut breakers = opened();
        breakers.sent(at(66_000), PEER);
        assert!(breakers.failed(at(71_000), PEER));
        assert!(!breakers.allows(at(80_999), PEER) && breakers.allows(at(81_000), PEER));
        assert_eq!(breakers.failing_since(PEER), Some(at(55_000)), "since the first opening");
        breakers.sent(at(82_000), PEER);
        assert!(breakers.answered(PEER) && breakers.failing_since(PEER).is_none());
    }

    #[test]
    fn a_trial_of_which_nobody_tells_is_not_the_last() {
        let mut breakers = opened();
        breakers.sent(at(66_000), PEER);
        assert!(!breakers.allows(at(75_999), PEER) && breakers.allows(at(76_000), PEER));
    }

    #[test]
    fn late_results_of_earlier_requests_neither_close_nor_prolong() {
        let mut breakers = opened();
        assert!(!breakers.failed(at(57_000), PEER) && !breakers.answered(PEER));
        assert!(!breakers.allows(at(64_999), PEER) && breakers.allows(at(65_000), PEER));
    }

    #[test]
    fn an_answer_forgets_failures_and_a_lost_connection_everything() {
        let mut breakers = Breakers::new(Patience::WITH_MANAGERS);
        breakers.failed(at(0), PEER);
        breakers.failed(at(1), PEER);
        assert!(!breakers.answered(PEER), "it was closed");
        assert!(!breakers.failed(at(2), PEER));
        let mut breakers = opened();
        breakers.forget(PEER);
        assert!(breakers.allows(at(56_000), PEER) && breakers.peers.is_empty());
    }

    proptest! {
        /// Between two openings in a row lies the wait; requests to a peer that never answers are rare; asking changes
        /// nothing.
        #[test]
        fn at_most_one_trial_in_each_wait(steps in proptest::collection::vec((0u64..6_000, 0u8..3), 0..200)) {
            let (mut breakers, mut now, mut opened) = (Breakers::new(Patience::WITH_MANAGERS), 0, None::<u64>);
            let mut trial = None::<u64>;
            for (ms, what) in steps {
                now += ms;
                let allowed = breakers.allows(at(now), PEER);
                if let Some(opened) = opened {
                    prop_assert!(!allowed || now - opened >= 10_000);
                    prop_assert!(!allowed || trial.is_none_or(|trial| now - trial >= 10_000));
                }
                match what {
                    0 if allowed => {
                        breakers.sent(at(now), PEER);
                        trial = opened.map(|_| now);
                    }
                    1 if breakers.failed(at(now), PEER) => (opened, trial) = (Some(now), None),
                    2 if breakers.answered(PEER) => (opened, trial) = (None, None),
                    _ => {}
                }
                prop_assert_eq!(breakers.allows(at(now), PEER), breakers.allows(at(now), PEER));
            }
        }
    }
}
