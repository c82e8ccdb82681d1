//! How a job ended: its final status, its result, and the judgement of its thresholds.
//!
//! Functions of the replicated record alone, so that every gate gives the same bytes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::job::{GateJob, Target, TargetState};
use crate::fault::Fault;
use crate::id::{DcId, JobId, WorkflowIx};
use crate::jobs::{
    DcReport, ExecutorKind, JobResult, JobStatus, Metric, Statistic, Threshold, Totals, Verdict,
    WorkflowReport, WorkflowStatus,
};
use crate::stats::Sketch;

/// Longest resolution and longest reason, in bytes.
const MAX_WHY: usize = 512;

/// A text cut at the bound of what people are told.
pub(super) fn cut(mut text: String) -> String {
    const { assert!(MAX_WHY == Fault::MAX_DETAIL) };
    if text.len() > MAX_WHY {
        let at = (0..=MAX_WHY).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(at);
    }
    text
}

/// The final status and why, of a record of which no target is open (`nodes-and-protocol` 3.6, first that fits).
pub(super) fn final_status(record: &GateJob) -> (JobStatus, String) {
    if let Some(stop) = &record.row.stop
        && matches!(stop.verdict, JobStatus::Cancelled | JobStatus::TimedOut)
    {
        return (stop.verdict, cut(stop.reason.clone()));
    }
    let targets = || record.row.targets.iter().filter(|target| target.counts());
    let statuses = || targets().filter_map(|target| target.end().map(|end| end.status));
    let all = targets().count() > 0 && targets().count() == statuses().count();
    let useful = statuses().any(|status| matches!(status, JobStatus::Completed | JobStatus::Partial));
    let status =
        if record.row.stop.is_none() && all && statuses().all(|status| status == JobStatus::Completed) {
            JobStatus::Completed
        } else if useful && record.origin.spec.partial_results {
            JobStatus::Partial
        } else {
            worst(statuses(), all)
        };
    if matches!(status, JobStatus::Completed | JobStatus::Partial) && measured_nothing(record) {
        return (JobStatus::Failed, "nothing was measured: no request was made".to_string());
    }
    match status {
        JobStatus::Completed => (status, String::new()),
        _ => (status, explain(record)),
    }
}

/// The worst of the ends; a target without one, or one that is only partly done where that is not enough, has failed.
fn worst(statuses: impl Iterator<Item = JobStatus>, all: bool) -> JobStatus {
    let rank = |status| match status {
        JobStatus::Completed => 0,
        JobStatus::TimedOut => 1,
        JobStatus::Cancelled => 2,
        _ => 3,
    };
    let worst = statuses.max_by_key(|status| rank(*status)).filter(|status| all && rank(*status) < 3);
    match worst {
        Some(JobStatus::Completed) | None => JobStatus::Failed,
        Some(status) => status,
    }
}

/// A run that was to measure and measured nothing has failed, however well it ended.
fn measured_nothing(record: &GateJob) -> bool {
    let measures = |workflow: WorkflowIx| {
        let spec = record.origin.spec.workflows.get(usize::from(workflow.0));
        spec.is_some_and(|spec| spec.executor == ExecutorKind::Http)
    };
    let any = record.origin.spec.workflows.iter().any(|spec| spec.executor == ExecutorKind::Http);
    let counted = record.row.targets.iter().filter(|target| target.counts());
    let requests = counted
        .flat_map(|target| reports_of(record, target.dc))
        .filter(|report| measures(report.workflow))
        .fold(0u64, |sum, report| sum.saturating_add(report.totals.requests()));
    any && requests == 0
}

/// What went wrong where, for a person.
fn explain(record: &GateJob) -> String {
    let mut why = record.row.stop.as_ref().map(|stop| stop.reason.clone()).unwrap_or_default();
    for target in record.row.targets.iter().filter(|target| target.counts()) {
        let part = match &target.state {
            TargetState::Ended(end) if end.status == JobStatus::Completed => continue,
            TargetState::Ended(end) => match first_failure(record, target.dc) {
                Some((name, why)) => {
                    format!("{}: {}, workflow {name:?}: {why}", target.dc, end.status.as_str())
                }
                None => format!("{}: {}", target.dc, end.status.as_str()),
            },
            _ => format!("{}: no result: {}", target.dc, target.why),
        };
        if !why.is_empty() {
            why.push_str("; ");
        }
        why.push_str(&part);
        if why.len() > MAX_WHY {
            break;
        }
    }
    cut(why)
}

fn first_failure(record: &GateJob, dc: DcId) -> Option<(&str, &str)> {
    let report = reports_of(record, dc)
        .find(|report| !matches!(report.status, WorkflowStatus::Completed | WorkflowStatus::Skipped))?;
    let spec = record.origin.spec.workflows.get(usize::from(report.workflow.0))?;
    let why = if report.why.is_empty() { report.status.as_str() } else { &report.why };
    Some((&spec.name, why))
}

/// The reports of one datacenter, by workflow.
pub(super) fn reports_of(record: &GateJob, dc: DcId) -> impl Iterator<Item = &WorkflowReport> {
    let (first, last) = ((dc, WorkflowIx(0)), (dc, WorkflowIx(u16::MAX)));
    record.reports.range(first..=last).map(|(_, report)| &**report)
}

/// The one final result of a job that ended.
pub(super) fn result(job: JobId, record: &GateJob) -> JobResult {
    let spec = &record.origin.spec;
    let mut targets: Vec<&Target> = record.row.targets.iter().filter(|target| target.counts()).collect();
    targets.sort_unstable_by_key(|target| target.dc);
    let missing = targets.iter().filter(|target| target.end().is_none());
    let mut result = JobResult {
        job,
        name: spec.name.clone(),
        status: record.row.status,
        resolution: record.row.resolution.clone(),
        per_dc: targets.iter().filter_map(|target| dc_report(record, target)).collect(),
        missing: missing.map(|target| (target.dc, target.why.clone())).collect(),
        verdicts: Vec::new(),
        elapsed_ms: record.row.elapsed_ms,
        workflow_names: spec.workflows.iter().map(|workflow| workflow.name.clone()).collect(),
    };
    result.verdicts = spec.thresholds.iter().map(|threshold| judge(threshold, &result)).collect();
    result
}

/// What a datacenter delivered. One without a final stands there with the workflows that it finished, if any.
fn dc_report(record: &GateJob, target: &Target) -> Option<DcReport> {
    let workflows: Vec<WorkflowReport> = reports_of(record, target.dc).cloned().collect();
    match target.end() {
        Some(end) => Some(DcReport {
            dc: target.dc,
            status: end.status,
            workflows,
            cancelled: end.cancelled,
            killed: end.killed,
            elapsed_ms: end.elapsed_ms,
        }),
        None if workflows.is_empty() => None,
        None => Some(DcReport {
            dc: target.dc,
            status: record.row.stop_verdict().unwrap_or(JobStatus::Failed),
            workflows,
            cancelled: 0,
            killed: 0,
            elapsed_ms: 0,
        }),
    }
}

/// Judges a threshold on the merged numbers of all datacenters. What was not measured does not hold.
pub(super) fn judge(threshold: &Threshold, result: &JobResult) -> Verdict {
    let measured_micro = measure(threshold, result);
    let ok = measured_micro.is_some_and(|value| threshold.comparison.holds(value, threshold.value_micro));
    Verdict { text: threshold.text.clone(), ok, measured_micro }
}

/// The figure that a threshold speaks of, in millionths of its unit.
fn measure(threshold: &Threshold, result: &JobResult) -> Option<u64> {
    let totals = match threshold.workflow {
        Some(workflow) => result.workflow_totals(workflow),
        None => result.totals(),
    };
    let micro = |value: u64| value.saturating_mul(1_000_000);
    match threshold.metric {
        Metric::Latency => figure(&totals.latency, threshold.statistic),
        Metric::Service => figure(&totals.service, threshold.statistic),
        _ if totals.requests() == 0 && totals.dropped == 0 => None,
        Metric::Rate => rate_micro(result, threshold.workflow),
        Metric::ErrorRate => ratio_micro(totals.err, totals.requests()),
        Metric::Requests => Some(micro(totals.requests())),
        Metric::Dropped => Some(micro(totals.dropped)),
    }
}

/// A figure of a distribution of microseconds, in millionths of a millisecond.
fn figure(sketch: &Sketch, statistic: Statistic) -> Option<u64> {
    const NANOS_PER_MICRO: u64 = 1_000;
    let micros = match statistic {
        // A millionth of a millisecond is a nanosecond.
        Statistic::Mean => return sketch.mean_ns(),
        Statistic::Min => sketch.min_us(),
        Statistic::Max => sketch.max_us(),
        Statistic::Quantile(ppm) => sketch.value_at_quantile_micro(ppm),
        Statistic::Value => None,
    };
    micros.map(|value| value.saturating_mul(NANOS_PER_MICRO))
}

fn ratio_micro(part: u64, whole: u64) -> Option<u64> {
    u64::try_from((u128::from(part) * 1_000_000).checked_div(u128::from(whole))?).ok()
}

/// Requests per second: each datacenter's requests by its own active time, added up (`jobs-routing-stats` 32). The
/// active time is that of the one workflow in question; of several, the datacenter's whole time.
fn rate_micro(result: &JobResult, workflow: Option<WorkflowIx>) -> Option<u64> {
    let mut sum = None;
    for dc in &result.per_dc {
        let reports = || dc.workflows.iter().filter(|report| workflow.is_none_or(|ix| report.workflow == ix));
        let active: Vec<&Totals> =
            reports().map(|report| &report.totals).filter(|totals| totals.requests() > 0).collect();
        let (requests, elapsed_ms) = match active[..] {
            [] => continue,
            [one] => (one.requests(), one.elapsed_ms),
            _ => (active.iter().map(|totals| totals.requests()).sum(), dc.elapsed_ms),
        };
        let per_second = u128::from(requests) * 1_000_000_000 / u128::from(elapsed_ms.max(1));
        let rate = u64::try_from(per_second).unwrap_or(u64::MAX);
        sum = Some(rate.saturating_add(sum.unwrap_or(0)));
    }
    sum
}
