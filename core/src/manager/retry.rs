//! When a request was sent, and when it is due again.

use crate::rng::NodeRng;
use crate::time::{Duration, Instant, Now};

/// First repeat of an unacknowledged outbox message.
pub const OUTBOX_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between repeats of an outbox message.
pub const OUTBOX_CAP: Duration = Duration::from_secs(30);

/// A request that is repeated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// The next sending; at once where `None`.
    next: Option<Instant>,
    /// How often it was sent.
    pub tries: u32,
}

impl Ask {
    /// Whether it is to be sent.
    pub fn is_due(&self, now: Now) -> bool {
        self.next.is_none_or(|next| next <= now.mono)
    }

    /// When it is to be sent; `None` is at once.
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// It was sent; it is due again after `period`.
    pub fn sent(&mut self, now: Now, period: Duration) {
        self.tries = self.tries.saturating_add(1);
        self.next = Some(now.mono + period);
    }

    /// An outbox message was sent: due again after 0.5 s, doubling up to 30 s, less a random part.
    pub fn sent_from_outbox(&mut self, now: Now, rng: &mut NodeRng) {
        let wait = doubled(OUTBOX_FIRST, OUTBOX_CAP, self.tries);
        let half = wait.scale(1, 2);
        self.sent(now, half + Duration::from_nanos(rng.below(half.as_nanos())));
    }

    /// It is to be sent at once: the way has changed.
    pub fn hurry(&mut self) {
        self.next = None;
    }
}

/// `first`, doubled `tries` times, at most `cap`.
pub fn doubled(first: Duration, cap: Duration, tries: u32) -> Duration {
    first.scale(1 << tries.min(20), 1).min(cap)
}

/// A wait with full jitter: anything up to `first` doubled `tries` times, at most `cap`.
pub fn backoff(first: Duration, cap: Duration, tries: u32, rng: &mut NodeRng) -> Duration {
    Duration::from_nanos(rng.below(doubled(first, cap, tries).as_nanos()))
}
