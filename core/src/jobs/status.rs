//! Life cycles of jobs, workflows and shards.

use minicbor::{Decode, Encode};

/// A job at its owner (`jobs-routing-stats` 3). A final status never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cbor(index_only)]
pub enum JobStatus {
    /// Accepted: it exists whatever happens to the gate.
    #[n(0)]
    Submitted,
    /// Targets are being asked.
    #[n(1)]
    Dispatching,
    /// Every candidate refused for now.
    #[n(2)]
    Queued,
    /// Every current target has accepted.
    #[n(3)]
    Running,
    /// The result is being built.
    #[n(4)]
    Completing,
    /// A cancel is recorded.
    #[n(5)]
    Cancelling,
    /// Final: all of it ran.
    #[n(6)]
    Completed,
    /// Final: some of it is useful, and the job allows that.
    #[n(7)]
    Partial,
    /// Final: it failed.
    #[n(8)]
    Failed,
    /// Final: it was cancelled.
    #[n(9)]
    Cancelled,
    /// Final: its time was over.
    #[n(10)]
    TimedOut,
}

impl JobStatus {
    /// Whether it never changes again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Partial | Self::Failed | Self::Cancelled | Self::TimedOut)
    }

    /// The name in APIs and reports: snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Dispatching => "dispatching",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completing => "completing",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}

/// A workflow in one datacenter (`jobs-routing-stats` 4). A final status never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cbor(index_only)]
pub enum WorkflowStatus {
    /// A workflow that it needs has not completed.
    #[n(0)]
    Blocked,
    /// It waits for cores.
    #[n(1)]
    Ready,
    /// Its shards are being reserved.
    #[n(2)]
    Dispatching,
    /// Its shards run.
    #[n(3)]
    Running,
    /// A reservation failed; it waits before the next try.
    #[n(4)]
    RetryWait,
    /// Its shards are being stopped.
    #[n(5)]
    Cancelling,
    /// Final: every shard completed.
    #[n(6)]
    Completed,
    /// Final: a shard failed, or the retries are used up.
    #[n(7)]
    Failed,
    /// Final: it was cancelled.
    #[n(8)]
    Cancelled,
    /// Final: a workflow that it needs did not complete.
    #[n(9)]
    Skipped,
    /// Final: it was stopped by its own or the job's time limit.
    #[n(10)]
    TimedOut,
}

impl WorkflowStatus {
    /// Whether it never changes again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Skipped | Self::TimedOut)
    }

    /// The name in APIs and reports: snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Ready => "ready",
            Self::Dispatching => "dispatching",
            Self::Running => "running",
            Self::RetryWait => "retry_wait",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::TimedOut => "timed_out",
        }
    }
}

/// How one execution of a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cbor(index_only)]
pub enum Outcome {
    /// It did what was asked.
    #[n(0)]
    Completed,
    /// It returned an error. Never retried.
    #[n(1)]
    Failed,
    /// It stopped when asked to.
    #[n(2)]
    Cancelled,
    /// It was killed.
    #[n(3)]
    Killed,
    /// Its run limit was over.
    #[n(4)]
    TimedOut,
}
