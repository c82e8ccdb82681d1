//! What came out: cumulative numbers that merge exactly, and the final result made of them.

use alloc::string::String;
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

use crate::id::{DcId, JobId, WorkflowIx};
use crate::jobs::{JobStatus, Load, WorkflowStatus};
use crate::stats::{Sketch, WindowSketch};

/// Cumulative numbers of one source (one attempt of one shard), or of several merged. They only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Totals {
    /// Requests (for `sleep` and `command`: executions) that ended well.
    #[n(0)]
    pub ok: u64,
    /// Those that did not.
    #[n(1)]
    pub err: u64,
    /// Open model: arrivals that could not be started in time.
    #[n(2)]
    pub dropped: u64,
    /// Milliseconds that virtual users were active, added up: the delivered load of the closed model.
    #[n(3)]
    pub vu_ms: u64,
    /// Bytes received in bodies.
    #[n(4)]
    pub bytes_in: u64,
    /// Bytes sent in bodies.
    #[n(5)]
    pub bytes_out: u64,
    /// Milliseconds of run time that these numbers cover; of several sources, the longest.
    #[n(6)]
    pub elapsed_ms: u32,
    /// Latency from the intended start, in microseconds.
    #[n(7)]
    pub latency: Sketch,
    /// Service time: from the actual start, in microseconds.
    #[n(8)]
    pub service: Sketch,
    /// Errors by kind, sorted by kind; at most [`Totals::MAX_KINDS`], the rest under `other`.
    #[n(9)]
    pub errors: Vec<ErrorCount>,
}

/// How often one kind of error occurred.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ErrorCount {
    /// What went wrong, without values that vary (`status 503`, `connect: refused`); at most 96 bytes.
    #[n(0)]
    pub kind: String,
    /// How often.
    #[n(1)]
    pub count: u64,
}

impl Totals {
    /// Most kinds of errors told apart.
    pub const MAX_KINDS: usize = 32;
    /// Longest kind, in bytes.
    pub const MAX_KIND_LEN: usize = 96;

    /// Requests that ended, well or not.
    pub const fn requests(&self) -> u64 {
        self.ok.saturating_add(self.err)
    }

    /// Counts an error of this kind.
    pub fn count_error(&mut self, kind: &str, count: u64) {
        let cut =
            (0..=kind.len().min(Self::MAX_KIND_LEN)).rev().find(|&at| kind.is_char_boundary(at)).unwrap_or(0);
        let kind = &kind[..cut];
        match self.errors.binary_search_by(|known| known.kind.as_str().cmp(kind)) {
            Ok(at) => self.errors[at].count = self.errors[at].count.saturating_add(count),
            Err(_) if self.errors.len() >= Self::MAX_KINDS - 1 && kind != "other" => {
                self.count_error("other", count)
            }
            Err(at) => self.errors.insert(at, ErrorCount { kind: kind.into(), count }),
        }
    }

    /// Adds another source. Commutative and associative in everything but the choice of kinds beyond the bound.
    pub fn merge(&mut self, other: &Self) {
        self.ok = self.ok.saturating_add(other.ok);
        self.err = self.err.saturating_add(other.err);
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.vu_ms = self.vu_ms.saturating_add(other.vu_ms);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
        self.elapsed_ms = self.elapsed_ms.max(other.elapsed_ms);
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
        for error in &other.errors {
            self.count_error(&error.kind, error.count);
        }
    }

    /// Whether every number is at least that of `earlier`: what a later report of the same source must satisfy.
    pub fn covers(&self, earlier: &Self) -> bool {
        self.ok >= earlier.ok
            && self.err >= earlier.err
            && self.dropped >= earlier.dropped
            && self.vu_ms >= earlier.vu_ms
            && self.latency.count() >= earlier.latency.count()
    }
}

/// The numbers of one span of a shard's run time: deltas, for graphs. No total is made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Window {
    /// Which second of the run, from 0.
    #[n(0)]
    pub no: u32,
    /// How many seconds it covers; neighbours are merged when they could not be sent.
    #[n(1)]
    pub count: u16,
    /// Requests that ended well in it.
    #[n(2)]
    pub ok: u64,
    /// Requests that did not.
    #[n(3)]
    pub err: u64,
    /// Latencies with 2 digits, in microseconds. Never merged with the totals'.
    #[n(4)]
    pub latency: WindowSketch,
}

/// One workflow of a job, in one datacenter or merged over them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WorkflowReport {
    /// Its place.
    #[n(0)]
    pub workflow: WorkflowIx,
    /// How it ended.
    #[n(1)]
    pub status: WorkflowStatus,
    /// The load that was asked of this datacenter.
    #[n(2)]
    pub requested: Load,
    /// What was measured.
    #[n(3)]
    pub totals: Totals,
    /// Milliseconds of virtual users' time that were lost with workers and are not covered by the numbers.
    #[n(4)]
    pub uncovered_vu_ms: u64,
    /// How many shards it had.
    #[n(5)]
    pub shards: u16,
    /// How many attempts were lost with their workers.
    #[n(6)]
    pub lost_attempts: u16,
    /// Measured spread of the shards' starts in microseconds, and the bound the clock-free method guarantees.
    #[n(7)]
    pub start_spread_us: u32,
    /// Its bound, in microseconds.
    #[n(8)]
    pub start_bound_us: u32,
    /// Why it did not complete; empty where it did. At most 512 bytes.
    #[n(9)]
    pub why: String,
}

/// One datacenter's part of a final result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DcReport {
    /// The datacenter.
    #[n(0)]
    pub dc: DcId,
    /// How the job ended there; never a status that is not final.
    #[n(1)]
    pub status: JobStatus,
    /// Its workflows, by place.
    #[n(2)]
    pub workflows: Vec<WorkflowReport>,
    /// Shards that were asked to stop and did, on a cancel.
    #[n(3)]
    pub cancelled: u32,
    /// Shards that had to be killed, or could not be reached, on a cancel.
    #[n(4)]
    pub killed: u32,
    /// How long the job ran there.
    #[n(5)]
    pub elapsed_ms: u32,
}

/// How a threshold was judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Verdict {
    /// As the user wrote it.
    #[n(0)]
    pub text: String,
    /// Whether it holds. One whose metric measured nothing does not.
    #[n(1)]
    pub ok: bool,
    /// What was measured, in millionths of the metric's unit; `None` where nothing was.
    #[n(2)]
    pub measured_micro: Option<u64>,
}

/// The one final result of a job. Every gate derives the same bytes from its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct JobResult {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// Its name.
    #[n(1)]
    pub name: String,
    /// Its final status.
    #[n(2)]
    pub status: JobStatus,
    /// Why, for a person; empty for a completed job. At most 512 bytes.
    #[n(3)]
    pub resolution: String,
    /// What each datacenter delivered, sorted by datacenter.
    #[n(4)]
    pub per_dc: Vec<DcReport>,
    /// Datacenters that were asked and gave no result, and why.
    #[n(5)]
    pub missing: Vec<(DcId, String)>,
    /// The thresholds, as judged on merged data.
    #[n(6)]
    pub verdicts: Vec<Verdict>,
    /// From acceptance to the end, by the owner's clock.
    #[n(7)]
    pub elapsed_ms: u32,
    /// Names of the workflows, by place.
    #[n(8)]
    pub workflow_names: Vec<String>,
}

impl JobResult {
    /// The totals of one workflow over all datacenters.
    pub fn workflow_totals(&self, workflow: WorkflowIx) -> Totals {
        let mut sum = Totals::default();
        for report in
            self.per_dc.iter().flat_map(|dc| &dc.workflows).filter(|report| report.workflow == workflow)
        {
            sum.merge(&report.totals);
        }
        sum
    }

    /// The totals of the whole job.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for report in self.per_dc.iter().flat_map(|dc| &dc.workflows) {
            sum.merge(&report.totals);
        }
        sum
    }
}
