//! How long a member stays suspected before it is dead: long at first, shorter with each further member that finds the
//! same (Lifeguard, section IV-B: LHA-Suspicion).

use smallvec::SmallVec;

use super::member::Incarnation;
use super::rules::Rules;
use crate::id::NodeId;
use crate::time::{Duration, Instant};

/// Most confirmations that count (Lifeguard's K). At the bound further ones change nothing.
pub const CONFIRMATIONS_MAX: usize = 3;
/// Longest waits of a member that hears somebody now and then but not as it should, in longest suspicions.
const PATIENCE: u64 = 8;
/// `log(c + 1) / log(k + 1)` in millionths, for `k` of 1 to 3 and `c` of 0 to `k`.
const SHARE: [[u64; CONFIRMATIONS_MAX + 1]; CONFIRMATIONS_MAX] = [
    [0, 1_000_000, 1_000_000, 1_000_000],
    [0, 630_930, 1_000_000, 1_000_000],
    [0, 500_000, 792_481, 1_000_000],
];

/// One suspicion of one incarnation of a member.
#[derive(Clone, Debug)]
pub struct Suspicion {
    incarnation: Incarnation,
    opened_at: Instant,
    heard_at: Option<Instant>,
    shortest: Duration,
    longest: Duration,
    needed: usize,
    witnesses: usize,
    accusers: SmallVec<[NodeId; CONFIRMATIONS_MAX + 1]>,
}

impl Suspicion {
    /// Opened by its first accuser in a group of `members`, this node and the suspect included.
    pub fn new(incarnation: Incarnation, first: NodeId, now: Instant, members: usize, rules: &Rules) -> Self {
        let shortest = rules.shortest(members);
        // Neither the first accuser nor the suspect can confirm.
        let others = members.saturating_sub(2);
        Self {
            incarnation,
            opened_at: now,
            heard_at: None,
            shortest,
            longest: shortest.scale((rules.beta * 1e3) as u64, 1_000),
            needed: rules.confirmations.min(CONFIRMATIONS_MAX).min(others),
            witnesses: rules.witnesses.min(others + 1),
            accusers: SmallVec::from_slice(&[first]),
        }
    }

    /// The incarnation that is suspected.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Who accused first.
    pub fn first_accuser(&self) -> NodeId {
        self.accusers[0]
    }

    /// Whether another finding, by this member, would count.
    #[inline]
    pub fn wants(&self, by: NodeId) -> bool {
        self.accusers.len() <= self.needed && !self.accusers.contains(&by)
    }

    /// Another member's finding; tells whether it is a new one that counts.
    pub fn confirm(&mut self, by: NodeId) -> bool {
        let counts = self.wants(by);
        if counts {
            self.accusers.push(by);
        }
        counts
    }

    /// The suspect itself spoke, at this time.
    pub fn heard(&mut self, at: Instant) {
        self.heard_at = self.heard_at.max((at > self.opened_at).then_some(at));
    }

    /// Whether so many members accuse that somebody's word of the death is enough, `teller` among them.
    pub fn is_proven_with(&self, teller: NodeId) -> bool {
        let others = self.accusers.iter().filter(|by| **by != teller).count();
        others + 1 >= self.witnesses
    }

    /// Whether only one member accuses where another could.
    pub fn has_one_witness(&self) -> bool {
        self.needed > 0 && self.accusers.len() == 1
    }

    /// When the member is dead. Only ever moves earlier.
    pub fn deadline(&self) -> Instant {
        let timeout = match self.needed {
            0 => self.shortest,
            needed => {
                let share = SHARE[needed - 1][(self.accusers.len() - 1).min(needed)];
                self.longest
                    .saturating_sub(self.longest.saturating_sub(self.shortest).scale(share, 1_000_000))
            }
        };
        self.opened_at + timeout
    }

    /// When it ends if only one member accuses where another could. Whom this node hears it does not bury on one word:
    /// the way there may be cut, not the way back. That holds until the suspect was not heard for the longest suspicion,
    /// or for [`PATIENCE`] such spans: it may be deaf, and no other be there to find it so. Where this node is `lonely`,
    /// one span more is waited at least.
    pub fn ends_alone_by(&self, lonely: bool) -> Instant {
        let deadline = self.deadline();
        let heard = self.heard_at.map_or(deadline, |heard| deadline.max(heard + self.longest));
        let heard = heard.min(deadline + self.longest.scale(PATIENCE, 1));
        if lonely { heard.max(deadline + self.longest) } else { heard }
    }

    /// When it ends even if this node, who heard somebody last at `heard`, may be the one that is cut off: after as long
    /// again as the longest suspicion without a word from anybody, and in any case after [`PATIENCE`] such spans. In a
    /// group of two, where silence is all there can be, the span is the shortest suspicion, and there is one.
    pub fn ends_by(&self, heard: Instant) -> Instant {
        let deadline = self.deadline();
        match self.needed {
            0 => deadline + self.shortest,
            _ => (deadline.max(heard) + self.longest).min(deadline + self.longest.scale(PATIENCE, 1)),
        }
    }
}
