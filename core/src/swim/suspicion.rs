//! How long a member stays suspected before it is dead: long at first, shorter with each further member that finds the
//! same (Lifeguard, section IV-B: LHA-Suspicion).

use smallvec::SmallVec;

use super::member::Incarnation;
use crate::id::NodeId;
use crate::time::{Duration, Instant};

/// Periods of the shortest timeout per `log10 n` (Lifeguard's alpha).
const ALPHA: f64 = 5.0;
/// The longest timeout in shortest ones (Lifeguard's beta).
const BETA: u64 = 6;
/// Confirmations that bring the timeout down to the shortest (Lifeguard's K). At the bound further ones change nothing.
const CONFIRMATIONS: usize = 3;
/// `log(c + 1) / log(k + 1)` in millionths, for `k` of 1 to 3 and `c` of 0 to `k`.
const SHARE: [[u64; CONFIRMATIONS + 1]; CONFIRMATIONS] = [
    [0, 1_000_000, 1_000_000, 1_000_000],
    [0, 630_930, 1_000_000, 1_000_000],
    [0, 500_000, 792_481, 1_000_000],
];

/// One suspicion of one incarnation of a member.
#[derive(Clone, Debug)]
pub struct Suspicion {
    incarnation: Incarnation,
    opened_at: Instant,
    shortest: Duration,
    needed: usize,
    accusers: SmallVec<[NodeId; CONFIRMATIONS + 1]>,
}

impl Suspicion {
    /// Opened by its first accuser in a group of `members`, this node and the suspect included.
    pub fn new(
        incarnation: Incarnation,
        first: NodeId,
        now: Instant,
        members: usize,
        period: Duration,
    ) -> Self {
        let micro_alpha = ALPHA * 1e6 * libm::log10(members as f64).max(1.0);
        Self {
            incarnation,
            opened_at: now,
            shortest: period.scale(micro_alpha as u64, 1_000_000),
            // Neither the first accuser nor the suspect can confirm.
            needed: CONFIRMATIONS.min(members.saturating_sub(2)),
            accusers: SmallVec::from_slice(&[first]),
        }
    }

    /// The incarnation that is suspected.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Another member's finding; tells whether it is a new one that counts.
    pub fn confirm(&mut self, by: NodeId) -> bool {
        let counts = self.accusers.len() <= self.needed && !self.accusers.contains(&by);
        if counts {
            self.accusers.push(by);
        }
        counts
    }

    /// When the member is dead. Only ever moves earlier.
    pub fn deadline(&self) -> Instant {
        let longest = self.shortest.scale(BETA, 1);
        let timeout = match self.needed {
            0 => self.shortest,
            needed => {
                let share = SHARE[needed - 1][self.accusers.len() - 1];
                longest.saturating_sub(longest.saturating_sub(self.shortest).scale(share, 1_000_000))
            }
        };
        self.opened_at + timeout
    }
}
