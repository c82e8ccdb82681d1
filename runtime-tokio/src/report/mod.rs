//! What a person or a program reads of a job: figures made from its result, the summary, live progress.
//!
//! Input: `JobResult` and the events of a job. Output: JSON ([`Report`]) and text. Nothing here measures or decides;
//! every figure comes from merged counters and histograms.

mod figures;
mod live;
mod text;

pub use figures::{Delivered, Distribution, Figures};
pub use live::Live;
pub use text::{duration, error_text, grouped, latency, summary};

use serde::{Deserialize, Serialize};
use tidegate_core::id::{DcId, WorkflowIx};
use tidegate_core::jobs::{JobResult, JobStatus, WorkflowStatus};

/// The result file and the answer of `GET /v1/jobs/{id}/result`: figures first, then the exact result they come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Format of this file.
    pub version: u32,
    /// The job's name.
    pub name: String,
    /// Its final status.
    pub status: JobStatus,
    /// Why, for a person; empty for a completed job.
    pub resolution: String,
    /// From acceptance to the end.
    pub elapsed_ms: u32,
    /// Whether every threshold holds.
    pub thresholds_ok: bool,
    /// The whole job.
    pub total: Figures,
    /// Each datacenter.
    pub datacenters: Vec<DcFigures>,
    /// Each workflow, merged over the datacenters.
    pub workflows: Vec<WorkflowFigures>,
    /// The exact result with mergeable histograms.
    pub result: JobResult,
}

/// One datacenter's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DcFigures {
    /// The datacenter.
    pub dc: DcId,
    /// How the job ended there.
    pub status: JobStatus,
    /// What was measured there.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One workflow's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkflowFigures {
    /// Its name.
    pub name: String,
    /// How it ended in each datacenter.
    pub status: Vec<(DcId, WorkflowStatus)>,
    /// What was measured, merged.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Report {
    /// Version of the format.
    pub const VERSION: u32 = 1;

    /// The report of a result.
    pub fn new(result: &JobResult) -> Self {
        let all = || result.per_dc.iter().flat_map(|dc| &dc.workflows);
        let datacenters = result
            .per_dc
            .iter()
            .map(|dc| DcFigures { dc: dc.dc, status: dc.status, figures: Figures::of(&dc.workflows) })
            .collect();
        let workflows = result.workflow_names.iter().enumerate().map(|(ix, name)| {
            let of_this =
                |report: &&tidegate_core::jobs::WorkflowReport| report.workflow == WorkflowIx(ix as u16);
            let status = result
                .per_dc
                .iter()
                .flat_map(|dc| dc.workflows.iter().filter(of_this).map(|report| (dc.dc, report.status)));
            WorkflowFigures {
                name: name.clone(),
                status: status.collect(),
                figures: Figures::of(all().filter(of_this)),
            }
        });
        Self {
            version: Self::VERSION,
            name: result.name.clone(),
            status: result.status,
            resolution: result.resolution.clone(),
            elapsed_ms: result.elapsed_ms,
            thresholds_ok: result.verdicts.iter().all(|verdict| verdict.ok),
            total: Figures::of(all()),
            datacenters,
            workflows: workflows.collect(),
            result: result.clone(),
        }
    }
}
