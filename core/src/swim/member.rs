//! What is said of members: facts and their order.
//!
//! A fact about a node is `(incarnation, claim)`, ordered by incarnation first and by the claim's rank second. The
//! newer fact wins, so merging views is the join of a lattice: the order in which facts arrive does not matter.

use minicbor::{Decode, Encode};

use crate::id::{BootNo, NodeId, Role};

/// Most members that a node remembers, itself aside. At the bound the longest known unconfirmed member that is not
/// configured makes room; where there is none, the new one is refused.
pub const MEMBERS_MAX: usize = 10_000;

/// Where a node takes datagrams: an IPv6 (or IPv4-mapped) address and a port. The core compares and carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Addr {
    /// The address.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub ip: [u8; 16],
    /// The UDP port.
    #[n(1)]
    pub port: u16,
}

/// What stands before an IPv4 address that is written as an IPv6 one.
pub(super) const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// What a node believes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cbor(index_only)]
pub enum MemberStatus {
    /// Known from configuration or rumour; never heard.
    #[n(0)]
    Unconfirmed,
    /// It answers.
    #[n(1)]
    Alive,
    /// It did not answer; it may refute.
    #[n(2)]
    Suspect,
    /// It is dead until it says otherwise with a higher incarnation.
    #[n(3)]
    Dead,
    /// It left by itself.
    #[n(4)]
    Left,
}

/// Which life of a node a fact speaks of, and which answer of that life to rumours: `boot << 32 | refutes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Incarnation(#[n(0)] u64);

impl Incarnation {
    /// Nothing was ever said. No fact carries it.
    pub const NONE: Self = Self(0);
    /// Facts at or above this are refused: no honest node starts a billion times.
    pub const LIMIT: Self = Self(1 << 62);
    /// How many refutations in one life, or restarts, a third party may report at once of a member that was heard
    /// itself. What is beyond waits until the member says it.
    const RUMOUR_REFUTES: u32 = 1_000;
    const RUMOUR_BOOTS: u32 = 64;
    /// How far above its own a node follows a rumour about itself. Wide enough for a disk that was emptied, too narrow
    /// for one packet to use up the numbers.
    const FOLLOW_BOOTS: u32 = 1 << 20;

    /// The first incarnation of a life.
    pub const fn of_boot(boot: BootNo) -> Self {
        Self((boot.0 as u64) << 32)
    }
    /// The life. At least the node's boot number; more after it refuted a rumour of a later life.
    pub const fn boot(self) -> BootNo {
        BootNo((self.0 >> 32) as u32)
    }
    /// As a number: `boot << 32 | refutes`.
    pub const fn raw(self) -> u64 {
        self.0
    }
    /// From that number.
    #[cfg(test)]
    pub(super) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
    /// Which answer to rumours in that life.
    pub(super) const fn refutes(self) -> u32 {
        self.0 as u32
    }
    /// This answer in this life.
    pub(super) const fn new(boot: BootNo, refutes: u32) -> Self {
        Self((boot.0 as u64) << 32 | refutes as u64)
    }
    /// Whether a fact may carry it.
    pub fn is_legal(self) -> bool {
        Self::NONE < self && self < Self::LIMIT
    }
    /// Whether a third party's word is enough to go on from `self` to `other` (see the constants).
    pub fn believes(self, other: Self) -> bool {
        let boots = other.boot().0.saturating_sub(self.boot().0);
        let refutes = match boots {
            0 => other.refutes().saturating_sub(self.refutes()),
            _ => other.refutes(),
        };
        boots <= Self::RUMOUR_BOOTS && refutes <= Self::RUMOUR_REFUTES
    }
    /// Whether `other` is so far above `self` that no life of this node can lead there: a node does not follow it, and
    /// the node's own word replaces it.
    pub fn is_absurd(self, other: Self) -> bool {
        other.boot().0.saturating_sub(self.boot().0) > Self::FOLLOW_BOOTS
    }
    /// The incarnation that outranks a rumour at `accused`, for a node that is at `self`: the next one, or the next life
    /// where the rumour jumped. `None` where the rumour is absurd or the numbers are used up.
    pub fn above(self, accused: Self) -> Option<Self> {
        let far = accused.boot() == self.boot()
            && accused.refutes().saturating_sub(self.refutes()) > Self::RUMOUR_REFUTES
            || accused.boot() > self.boot() && accused.refutes() > Self::RUMOUR_REFUTES;
        let next = match far {
            true => Self::of_boot(accused.boot().next()),
            false => Self(accused.0.saturating_add(1)),
        };
        (!self.is_absurd(accused) && next.is_legal()).then_some(next)
    }
}

/// What a fact says of its subject. Later variants outrank earlier ones at the same incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It lives. Only the subject can say this at a new incarnation.
    Alive,
    /// It did not answer.
    Suspect {
        /// Who found so.
        by: NodeId,
    },
    /// It was suspected for long enough.
    Dead,
    /// It said goodbye.
    Left,
}

impl Claim {
    /// Its place among claims of one incarnation.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Alive => 0,
            Self::Suspect { .. } => 1,
            Self::Dead => 2,
            Self::Left => 3,
        }
    }

    /// What it makes of a member that was heard.
    pub(super) const fn status(self) -> MemberStatus {
        match self {
            Self::Alive => MemberStatus::Alive,
            Self::Suspect { .. } => MemberStatus::Suspect,
            Self::Dead => MemberStatus::Dead,
            Self::Left => MemberStatus::Left,
        }
    }
}

/// A statement about one node, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
    /// The subject.
    pub node: NodeId,
    /// Which incarnation of it.
    pub incarnation: Incarnation,
    /// What is said.
    pub claim: Claim,
    /// What the subject does.
    pub role: Role,
    /// Where the subject takes datagrams.
    pub addr: Addr,
}

impl Fact {
    /// Orders facts about one node.
    pub fn key(&self) -> (Incarnation, u8) {
        (self.incarnation, self.claim.rank())
    }
}

/// A member, as the owner of the machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// The member.
    pub node: NodeId,
    /// What is believed of it.
    pub status: MemberStatus,
    /// Whether it is said to live: also of a member that was never heard itself.
    pub listed: bool,
    /// Where it takes datagrams.
    pub addr: Addr,
    /// What it does.
    pub role: Role,
    /// Its life; 0 while nothing was heard of it. At least its boot number (see [`Incarnation::boot`]).
    pub boot: BootNo,
}
