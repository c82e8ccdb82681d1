//! The one negative reply.

use alloc::string::String;
use core::fmt;
use minicbor::{Decode, Encode};

use crate::id::NodeId;
use crate::jobs::JobStatus;

/// Why a request was refused. A refusal changes nothing at the node that gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Fault {
    /// The kind of refusal.
    #[n(0)]
    pub code: FaultCode,
    /// Repeat not before this many milliseconds; 0 where repeating the same request is of no use.
    #[n(1)]
    pub retry_after_ms: u32,
    /// Where to repeat the request (`NotOwner`, `NotLeader`, `Draining`).
    #[n(2)]
    pub owner: Option<NodeId>,
    /// For a person: what is wrong and what would be right. At most [`Fault::MAX_DETAIL`] bytes.
    #[n(3)]
    pub detail: String,
}

impl Fault {
    /// Longest detail, in bytes.
    pub const MAX_DETAIL: usize = 512;

    /// A refusal with its explanation, cut at [`Fault::MAX_DETAIL`] bytes.
    pub fn new(code: FaultCode, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > Self::MAX_DETAIL {
            let cut = (0..=Self::MAX_DETAIL).rev().find(|&at| detail.is_char_boundary(at)).unwrap_or(0);
            detail.truncate(cut);
        }
        Self { code, retry_after_ms: code.default_retry_ms(), owner: None, detail }
    }

    /// The same refusal, naming the node to ask instead.
    #[must_use]
    pub fn at(mut self, owner: Option<NodeId>) -> Self {
        self.owner = owner;
        self
    }

    /// Whether the same request may succeed later or elsewhere.
    pub const fn is_retryable(&self) -> bool {
        self.code.default_retry_ms() > 0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.detail)
    }
}

/// The closed list of refusals (`nodes-and-protocol` 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum FaultCode {
    /// The bytes are no frame.
    #[n(0)]
    BadFrame,
    /// The body does not decode.
    #[n(1)]
    BadBody,
    /// Another major version, or a message of a newer one.
    #[n(2)]
    UnsupportedVersion,
    /// The sender belongs to another cluster.
    #[n(3)]
    WrongCluster,
    /// The sender's role may not send this.
    #[n(4)]
    RoleDenied,
    /// No valid identity, or not one that may do this.
    #[n(5)]
    Unauthorized,
    /// Over a size limit.
    #[n(6)]
    TooLarge,
    /// Over the rate of this identity.
    #[n(7)]
    RateLimited,
    /// The node sheds load, or a bounded queue is full.
    #[n(8)]
    Overloaded,
    /// The node is not active yet.
    #[n(9)]
    NotReady,
    /// Another node owns the job.
    #[n(10)]
    NotOwner,
    /// Another node leads the tier's log.
    #[n(11)]
    NotLeader,
    /// The tier has no majority, or has not decided in time.
    #[n(12)]
    NoQuorum,
    /// The fence in the message is older than the one known.
    #[n(13)]
    StaleEpoch,
    /// No such job here, nor a trace of one.
    #[n(14)]
    UnknownJob,
    /// No such workflow in the job.
    #[n(15)]
    UnknownWorkflow,
    /// No such shard.
    #[n(16)]
    UnknownShard,
    /// The job existed; its retention has ended.
    #[n(17)]
    Expired,
    /// The same idempotency key was used for another specification.
    #[n(18)]
    Conflict,
    /// Decodes, but breaks a rule.
    #[n(19)]
    Invalid,
    /// No datacenter could ever run this.
    #[n(20)]
    Infeasible,
    /// No room now.
    #[n(21)]
    NoCapacity,
    /// No usable datacenter now.
    #[n(22)]
    NoDatacenter,
    /// The node is shutting down.
    #[n(23)]
    Draining,
    /// The answer did not come in time.
    #[n(24)]
    DeadlineExceeded,
    /// The job has ended with this status.
    #[n(25)]
    AlreadyTerminal(#[n(0)] JobStatus),
    /// The node failed; it says so and stops.
    #[n(26)]
    Internal,
}

impl FaultCode {
    /// The hint given when the refusing node knows nothing better; 0 for final refusals.
    pub const fn default_retry_ms(self) -> u32 {
        match self {
            Self::RateLimited | Self::Overloaded | Self::NoCapacity | Self::NoDatacenter => 1_000,
            Self::NotReady | Self::NoQuorum | Self::Draining | Self::DeadlineExceeded => 500,
            Self::NotOwner | Self::NotLeader => 50,
            _ => 0,
        }
    }
}
