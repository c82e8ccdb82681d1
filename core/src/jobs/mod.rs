//! Jobs as all tiers see them: what is asked for, how it stands, what came out.

mod exec;
mod report;
mod spec;
mod status;

pub use exec::{ExecCommand, ExecEvent, ShardRun, StopMode};
pub use report::{DcReport, ErrorCount, JobResult, Totals, Verdict, Window, WorkflowReport};
pub use spec::{
    Comparison, ExecutorKind, JobSpec, Load, Metric, OnWorkerLoss, Placement, SpecError, Statistic,
    Threshold, WorkflowSpec, split,
};
pub use status::{JobStatus, Outcome, WorkflowStatus};
