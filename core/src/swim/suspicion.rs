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

/// Among whom a suspicion is opened.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// All live members, this node and the suspect included.
    pub members: usize,
    /// Those that may find by themselves that the suspect fails.
    pub judges: usize,
    /// Whether this node is one of them.
    pub is_judge: bool,
}

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
    /// Opened by its first accuser.
    pub fn new(incarnation: Incarnation, first: NodeId, now: Instant, group: Group, rules: &Rules) -> Self {
        let shortest = rules.shortest(group.members);
        // Neither the first accuser nor the suspect can confirm. Whoever does not judge waits to be told.
        let others = if group.is_judge { group.judges.saturating_sub(1) } else { group.judges.max(1) };
        Self {
            incarnation,
            opened_at: now,
            heard_at: None,
            shortest,
            longest: shortest.scale((rules.beta * 1e3) as u64, 1_000),
            needed: rules.confirmations.min(CONFIRMATIONS_MAX).min(others),
            witnesses: rules.witnesses.min(group.judges.max(1)),
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

    /// Whether only one member accuses.
    pub fn has_one_witness(&self) -> bool {
        self.accusers.len() == 1
    }

    /// Whether only one member accuses where another could.
    pub fn lacks_confirmation(&self) -> bool {
        !self.is_one_judges() && self.has_one_witness()
    }

    /// Whether no other member could accuse.
    pub fn is_one_judges(&self) -> bool {
        self.needed == 0
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

    /// When it ends if only one member accuses. Whom this node hears it does not bury on one word: the way there may be cut
    /// or lossy, not the way back. That holds until the suspect was not heard for a [span](Self::span), and has a bound
    /// too: it may be deaf, and no other be there to find it so. A `lonely` node waits one span more at least.
    pub fn ends_alone_by(&self, lonely: bool) -> Instant {
        let (deadline, (span, most)) = (self.deadline(), self.span());
        let heard = self.heard_at.map_or(deadline, |heard| deadline.max(heard + span).min(deadline + most));
        if lonely { heard.max(deadline + span) } else { heard }
    }

    /// When it ends even if this node, who heard somebody last at `heard`, may be the one that is cut off: after one
    /// [span](Self::span) without a word from anybody, and in any case at its bound.
    pub fn ends_by(&self, heard: Instant) -> Instant {
        let (deadline, (span, most)) = (self.deadline(), self.span());
        match self.needed {
            0 => deadline + span,
            _ => (deadline.max(heard) + span).min(deadline + most),
        }
    }

    /// How long word of life holds it back, and the most that all such words do: the longest suspicion, [`PATIENCE`]
    /// times. Where nobody else can accuse, silence is all there can be: the shortest, and up to the longest.
    fn span(&self) -> (Duration, Duration) {
        match self.needed {
            0 => (self.shortest, self.longest),
            _ => (self.longest, self.longest.scale(PATIENCE, 1)),
        }
    }
}
