//! What came with which minor version.
//!
//! Nodes of one major version work together. On a connection the lower of the two minor versions is spoken: what came
//! later is not sent, and its absence has a meaning. A command of a log is proposed only once every voter of the tier has
//! run a version that knows it ([`crate::ledger`]); from then on a node of an older version cannot start in that tier.
//! Fences belong to the major version.

use super::message::Message;
use crate::guard::Condition;

/// The minor version of this build, and the highest that it speaks.
pub const MINOR: u16 = 1;

/// Where a node stands, in `Pong`.
pub const COORDINATES: u16 = 1;
/// How loaded a node is, in `Pong` and `WorkerHeartbeat`.
pub const CONDITIONS: u16 = 1;
/// What a gate reaches, told to other gates: `GateView`.
pub const GATE_VIEWS: u16 = 1;
/// The gates' log says that a job waits for cores: `JobQueued`.
pub const JOB_QUEUED: u16 = 1;

impl Message {
    /// The lowest minor version in which this message may be sent.
    pub const fn since(&self) -> u16 {
        match self {
            Self::GateView(_) => GATE_VIEWS,
            Self::Pong { coordinate: Some(_), .. } => COORDINATES,
            Self::Pong { condition, .. } | Self::WorkerHeartbeat { condition, .. }
                if !matches!(condition, Condition::Healthy) =>
            {
                CONDITIONS
            }
            _ => 0,
        }
    }
}
