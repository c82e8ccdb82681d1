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

    /// Where errors are counted whose kind is beyond the bound.
    pub const OTHER: &'static str = "other";

    /// Counts errors of this kind. Beyond the bound the alphabetically last kind goes to `other`, whenever it came:
    /// a kind that is told apart in the end was never given up before, so the outcome does not depend on the order.
    pub fn count_error(&mut self, kind: &str, count: u64) {
        let cut =
            (0..=kind.len().min(Self::MAX_KIND_LEN)).rev().find(|&at| kind.is_char_boundary(at)).unwrap_or(0);
        self.add_error(&kind[..cut], count);
        let named = self.errors.iter().filter(|error| error.kind != Self::OTHER).count();
        if named >= Self::MAX_KINDS
            && let Some(last) = self.errors.iter().rposition(|error| error.kind != Self::OTHER)
        {
            let ErrorCount { count, .. } = self.errors.remove(last);
            self.add_error(Self::OTHER, count);
        }
    }

    fn add_error(&mut self, kind: &str, count: u64) {
        match self.errors.binary_search_by(|known| known.kind.as_str().cmp(kind)) {
            Ok(at) => self.errors[at].count = self.errors[at].count.saturating_add(count),
            Err(at) => self.errors.insert(at, ErrorCount { kind: kind.into(), count }),
        }
    }

    /// Adds another source. Commutative and associative.
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
            && self.bytes_in >= earlier.bytes_in
            && self.bytes_out >= earlier.bytes_out
            && self.elapsed_ms >= earlier.elapsed_ms
            && self.latency.count() >= earlier.latency.count()
            && self.service.count() >= earlier.service.count()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Recorder;
    use alloc::format;
    use proptest::prelude::*;

    fn totals() -> impl Strategy<Value = Totals> {
        let errors = proptest::collection::vec((0u32..60, 1u64..9), 0..50);
        (errors, 0u64..1_000, proptest::collection::vec(1u64..90_000, 0..20)).prop_map(
            |(errors, ok, samples)| {
                let mut recorder = Recorder::default();
                samples.iter().for_each(|&us| recorder.record(us));
                let mut totals = Totals {
                    ok,
                    err: errors.iter().map(|(_, count)| count).sum(),
                    elapsed_ms: ok as u32 * 3,
                    latency: recorder.sketch(),
                    ..Totals::default()
                };
                for (kind, count) in errors {
                    let kind = if kind == 0 { Totals::OTHER.into() } else { format!("status {kind}") };
                    totals.count_error(&kind, count);
                }
                totals
            },
        )
    }

    fn sum<'a>(parts: impl IntoIterator<Item = &'a Totals>) -> Totals {
        parts.into_iter().fold(Totals::default(), |mut sum, part| {
            sum.merge(part);
            sum
        })
    }

    proptest! {
        #[test]
        fn merging_depends_on_no_order(
            parts in proptest::collection::vec(totals(), 1..6).prop_flat_map(|parts| {
                let shuffled = Just(parts.clone()).prop_shuffle();
                (Just(parts), shuffled)
            }),
            split in any::<proptest::sample::Index>(),
        ) {
            let (parts, shuffled) = parts;
            let (left, right) = shuffled.split_at(split.index(parts.len()));
            let whole = sum(&parts);
            prop_assert_eq!(&whole, &sum([&sum(left), &sum(right)]));
            prop_assert!(whole.errors.len() <= Totals::MAX_KINDS);
            prop_assert_eq!(whole.errors.iter().map(|error| error.count).sum::<u64>(), whole.err);
            prop_assert!(parts.iter().all(|part| whole.covers(part)));
        }
    }

    #[test]
    fn kinds_beyond_the_bound_are_counted_together() {
        let mut totals = Totals::default();
        (0..40).rev().for_each(|kind| totals.count_error(&format!("status {kind:02}"), 1));
        assert_eq!(totals.errors.len(), Totals::MAX_KINDS);
        assert_eq!(totals.errors[0], ErrorCount { kind: "other".into(), count: 9 });
        assert_eq!(totals.errors[1].kind, "status 00");
        assert_eq!(totals.errors[31].kind, "status 30");
        totals.count_error(&"é".repeat(100), 1);
        assert_eq!(totals.errors[0].count, 10, "a long kind is cut, then it is beyond the bound too");
    }
}
