//! How long a suspicion lasts: `longest - (longest - shortest) * log(c + 1) / log(k + 1)` after `c` confirmations of at
//! most `k` that count (Lifeguard, section IV-B). Integers: a table of the logarithms' quotient in millionths.

use crate::time::Duration;

/// Most confirmations that count; further ones change nothing.
pub const CONFIRMATIONS: usize = 3;
/// `log(c + 1) / log(k + 1)` for `k` of 1 to 3 and `c` of 0 to `k`.
const SHARE: [[u64; CONFIRMATIONS + 1]; CONFIRMATIONS] = [
    [0, 1_000_000, 1_000_000, 1_000_000],
    [0, 630_930, 1_000_000, 1_000_000],
    [0, 500_000, 792_481, 1_000_000],
];

/// The bounds of a suspicion, and how many can confirm it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
    pub(super) needed: u8,
}

impl Window {
    /// For a group of `members` who could accuse, the first accuser and the suspect among them; `shortest` must not be
    /// longer than `longest`.
    pub fn new(shortest: Duration, longest: Duration, members: usize) -> Self {
        assert!(shortest <= longest, "the shortest timeout is not longer than the longest");
        Self { shortest, longest, needed: CONFIRMATIONS.min(members.saturating_sub(2)) as u8 }
    }

    /// Confirmations that bring it down to the shortest.
    pub const fn needed(&self) -> usize {
        self.needed as usize
    }

    /// How long a suspicion lasts after so many confirmations. Where nobody could confirm: the shortest.
    pub fn after(&self, confirmations: usize) -> Duration {
        let Some(row) = self.needed.checked_sub(1).map(|row| &SHARE[usize::from(row)]) else {
            return self.shortest;
        };
        let share = row[confirmations.min(CONFIRMATIONS)];
        self.longest.saturating_sub(self.longest.saturating_sub(self.shortest).scale(share, 1_000_000))
    }
}
