//! Between a worker's machine and its executors.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::bytes::Bytes;
use crate::id::{RunId, WorkflowIx};
use crate::jobs::{ExecutorKind, Load, Outcome, Totals, Window};
use crate::time::Duration;

/// What an executor needs to run one shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct ShardRun {
    /// Who runs it.
    #[n(0)]
    pub executor: ExecutorKind,
    /// The workflow's payload, as submitted.
    #[n(1)]
    pub payload: Bytes,
    /// This shard's part of the load. A replacement's duration is what remains.
    #[n(2)]
    pub load: Load,
    /// The number of its first virtual user in the whole job: numbers are unique over all shards.
    #[n(3)]
    pub first_vu: u32,
    /// How much of the workflow's duration earlier attempts have used, in ms.
    #[n(4)]
    pub elapsed_before_ms: u32,
    /// Cores it may use.
    #[n(5)]
    pub cores: u16,
    /// It is killed after this.
    #[n(6)]
    pub run_limit_ms: u32,
    /// The workflow, for messages to people.
    #[n(7)]
    pub workflow: WorkflowIx,
}

/// How an execution is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum StopMode {
    /// Finish what is in flight, start nothing new; `command`: SIGTERM to the group.
    #[n(0)]
    Graceful,
    /// At once; `command`: SIGKILL to the group.
    #[n(1)]
    Kill,
}

/// What a worker asks of its executors.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ExecCommand {
    /// Begin this execution after `start_in`.
    #[n(0)]
    Start {
        /// Names the execution; started at most once.
        #[n(0)]
        run: RunId,
        /// What to run.
        #[n(1)]
        shard: Box<ShardRun>,
        /// How long to wait before it begins, from this effect.
        #[n(2)]
        start_in: Duration,
    },
    /// End it. Answered by `Finished`, unless that is already under way.
    #[n(1)]
    Stop {
        /// Which execution.
        #[n(0)]
        run: RunId,
        /// How.
        #[n(1)]
        mode: StopMode,
    },
}

/// What executors tell their worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ExecEvent {
    /// It has begun, this much after the instant that was asked for.
    #[n(0)]
    Started {
        /// Which execution.
        #[n(0)]
        run: RunId,
        /// How late it began.
        #[n(1)]
        late: Duration,
    },
    /// Cumulative numbers so far, and the windows closed since the last report.
    #[n(1)]
    Progress {
        /// Which execution.
        #[n(0)]
        run: RunId,
        /// Since it began.
        #[n(1)]
        totals: Box<Totals>,
        /// Closed since the last report.
        #[n(2)]
        windows: Vec<Window>,
    },
    /// It has ended; nothing of it runs any more.
    #[n(2)]
    Finished {
        /// Which execution.
        #[n(0)]
        run: RunId,
        /// How.
        #[n(1)]
        outcome: Outcome,
        /// The final numbers.
        #[n(2)]
        totals: Box<Totals>,
        /// Windows closed since the last report.
        #[n(3)]
        windows: Vec<Window>,
        /// What went wrong, for a person; at most 512 bytes.
        #[n(4)]
        why: String,
    },
}
