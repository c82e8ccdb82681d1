//! What a client asks for.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use minicbor::{Decode, Encode};

use crate::bytes::Bytes;
use crate::id::{DcId, WorkflowIx};

/// A job: a graph of workflows to run in one or more datacenters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct JobSpec {
    /// For people; 1 to 128 bytes.
    #[n(0)]
    pub name: String,
    /// Where it runs.
    #[n(1)]
    pub placement: Placement,
    /// The whole job ends after this; 1 ms to 24 h.
    #[n(2)]
    pub timeout_ms: u32,
    /// What the loss of a worker means.
    #[n(3)]
    pub on_worker_loss: OnWorkerLoss,
    /// Whether a job of which some parts failed is `Partial` instead of `Failed`.
    #[n(4)]
    pub partial_results: bool,
    /// Re-executions left per datacenter: at most 50.
    #[n(5)]
    pub retries: u16,
    /// Re-executions left per workflow and datacenter: at most 5.
    #[n(6)]
    pub workflow_retries: u16,
    /// What the merged numbers must satisfy.
    #[n(7)]
    pub thresholds: Vec<Threshold>,
    /// 1 to 256 vertices; `needs` names earlier or later ones, without a cycle.
    #[n(8)]
    pub workflows: Vec<WorkflowSpec>,
}

/// Which datacenters a job runs in. The load is divided between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Placement {
    /// One, the gate's best.
    #[n(0)]
    Any,
    /// This many, the gate's best.
    #[n(1)]
    Count(#[n(0)] u16),
    /// Exactly these.
    #[n(2)]
    Only(#[n(0)] Vec<DcId>),
}

/// What the loss of a worker means for the shards that ran there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum OnWorkerLoss {
    /// Run what remains on another worker.
    #[default]
    #[n(0)]
    Replace,
    /// Go on with less load; the report says how much.
    #[n(1)]
    Degrade,
    /// Fail the workflow.
    #[n(2)]
    Fail,
}

/// One vertex of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct WorkflowSpec {
    /// Unique in the job; 1 to 128 bytes.
    #[n(0)]
    pub name: String,
    /// What must have completed in the same datacenter before it starts; at most 64.
    #[n(1)]
    pub needs: Vec<WorkflowIx>,
    /// Who runs it.
    #[n(2)]
    pub executor: ExecutorKind,
    /// How much, over all datacenters.
    #[n(3)]
    pub load: Load,
    /// Cores of each shard; at least 1.
    #[n(4)]
    pub cores: u16,
    /// What the executor reads; the core does not. At most [`JobSpec::MAX_PAYLOAD`] bytes.
    #[n(5)]
    pub payload: Bytes,
}

/// Who runs a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ExecutorKind {
    /// Waits.
    #[n(0)]
    Sleep,
    /// HTTP load.
    #[n(1)]
    Http,
    /// A process per shard.
    #[n(2)]
    Command,
}

impl ExecutorKind {
    /// `sleep`, `http` or `command`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Http => "http",
            Self::Command => "command",
        }
    }

    /// Whether the counters of all attempts of a shard add up, so that a replacement runs only what remains
    /// (`http`), or only the finished attempt counts (DESIGN 8).
    pub const fn attempts_add_up(self) -> bool {
        matches!(self, Self::Http)
    }
}

/// How much load. `http` divides virtual users and arrivals over shards; the others run `instances` shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Load {
    /// `http`: virtual users (closed model), or most concurrent requests (open model). At least 1.
    #[n(0)]
    pub vus: u32,
    /// `http`: arrivals per 1,000 s in the open model; 0 is the closed model.
    #[n(1)]
    pub rate_milli: u64,
    /// How long; for `command` the limit of the process.
    #[n(2)]
    pub duration_ms: u32,
    /// `sleep` and `command`: how many shards in all. At least 1.
    #[n(3)]
    pub instances: u16,
}

/// The part of `total` that falls to place `index` of `count`: parts differ by at most one and add up exactly.
pub const fn split(total: u64, index: u64, count: u64) -> u64 {
    if count == 0 || index >= count {
        return 0;
    }
    total / count + if index < total % count { 1 } else { 0 }
}

impl Load {
    /// The part of this load for place `index` of `count`.
    #[must_use]
    pub fn part(self, index: u16, count: u16) -> Self {
        let (index, count) = (u64::from(index), u64::from(count));
        Self {
            vus: split(u64::from(self.vus), index, count) as u32,
            rate_milli: split(self.rate_milli, index, count),
            duration_ms: self.duration_ms,
            instances: split(u64::from(self.instances), index, count) as u16,
        }
    }

    /// How many of the virtual users fall to the places before `index` of `count`: the number of its first user.
    pub fn vus_before(self, index: u16, count: u16) -> u32 {
        (0..index).map(|place| self.part(place, count).vus).sum()
    }
}

/// A bound that the merged numbers must satisfy; judged by the gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Threshold {
    /// As the user wrote it.
    #[n(0)]
    pub text: String,
    /// Of one workflow, or of all of them merged.
    #[n(1)]
    pub workflow: Option<WorkflowIx>,
    /// What is measured.
    #[n(2)]
    pub metric: Metric,
    /// Which figure of it.
    #[n(3)]
    pub statistic: Statistic,
    /// How it is compared.
    #[n(4)]
    pub comparison: Comparison,
    /// With what: millionths of the metric's unit.
    #[n(5)]
    pub value_micro: u64,
}

/// What a threshold measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Metric {
    /// Latency from the intended start; unit ms.
    #[n(0)]
    Latency,
    /// Service time: from the actual start; unit ms.
    #[n(1)]
    Service,
    /// Requests per second.
    #[n(2)]
    Rate,
    /// Failed requests over all requests, 0 to 1.
    #[n(3)]
    ErrorRate,
    /// Requests.
    #[n(4)]
    Requests,
    /// Arrivals that could not be started.
    #[n(5)]
    Dropped,
}

/// Which figure of a distribution. Counters and rates have only `Value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Statistic {
    /// The number itself.
    #[n(0)]
    Value,
    /// The mean.
    #[n(1)]
    Mean,
    /// The least.
    #[n(2)]
    Min,
    /// The greatest.
    #[n(3)]
    Max,
    /// A quantile in millionths: p99.9 is 999,000.
    #[n(4)]
    Quantile(#[n(0)] u32),
}

/// How a threshold compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Comparison {
    /// `<`
    #[n(0)]
    Below,
    /// `<=`
    #[n(1)]
    AtMost,
    /// `>`
    #[n(2)]
    Above,
    /// `>=`
    #[n(3)]
    AtLeast,
    /// `==`
    #[n(4)]
    Equal,
    /// `!=`
    #[n(5)]
    NotEqual,
}

impl Comparison {
    /// Whether `left` stands in this relation to `right`.
    pub const fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Below => left < right,
            Self::AtMost => left <= right,
            Self::Above => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }
}

/// What is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError(pub String);

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JobSpec {
    /// Longest name of a job or workflow, in bytes.
    pub const MAX_NAME: usize = 128;
    /// Most workflows.
    pub const MAX_WORKFLOWS: usize = 256;
    /// Most `needs` of a workflow.
    pub const MAX_NEEDS: usize = 64;
    /// Most thresholds.
    pub const MAX_THRESHOLDS: usize = 64;
    /// Most datacenters of a job.
    pub const MAX_TARGETS: usize = 64;
    /// Most shards of a workflow in a datacenter.
    pub const MAX_SHARDS: u16 = 1_024;
    /// Largest payload of a workflow and of all together, in bytes: a job is one entry of a tier's log, of 64 KiB.
    pub const MAX_PAYLOAD: usize = 48 * 1024;
    /// Longest job, in ms.
    pub const MAX_TIMEOUT_MS: u32 = 24 * 3_600 * 1_000;

    /// Checks every rule. A specification that passes can be run by every tier without another check.
    pub fn validate(&self) -> Result<(), SpecError> {
        let err = |why: String| Err(SpecError(why));
        if self.name.is_empty() || self.name.len() > Self::MAX_NAME {
            return err(format!("the job's name must have 1 to {} bytes", Self::MAX_NAME));
        }
        if self.timeout_ms == 0 || self.timeout_ms > Self::MAX_TIMEOUT_MS {
            return err("timeout must be between 1 ms and 24 h".to_string());
        }
        if self.retries > 50 || self.workflow_retries > 5 {
            return err("at most 50 retries a job and 5 a workflow".to_string());
        }
        if self.thresholds.len() > Self::MAX_THRESHOLDS {
            return err(format!("at most {} thresholds", Self::MAX_THRESHOLDS));
        }
        if self.workflows.is_empty() || self.workflows.len() > Self::MAX_WORKFLOWS {
            return err(format!("a job has 1 to {} workflows", Self::MAX_WORKFLOWS));
        }
        if self.workflows.iter().map(|workflow| workflow.payload.len()).sum::<usize>() > Self::MAX_PAYLOAD {
            return err(format!("the payloads together are over {} bytes", Self::MAX_PAYLOAD));
        }
        self.validate_placement()?;
        let mut names = BTreeSet::new();
        for workflow in &self.workflows {
            workflow.validate(self.workflows.len())?;
            if !names.insert(workflow.name.as_str()) {
                return err(format!("two workflows are named {:?}", workflow.name));
            }
        }
        if self
            .thresholds
            .iter()
            .filter_map(|t| t.workflow)
            .any(|ix| usize::from(ix.0) >= self.workflows.len())
        {
            return err("a threshold names a workflow that does not exist".to_string());
        }
        match self.topological_order() {
            Ok(_) => Ok(()),
            Err(ix) => err(format!(
                "workflow {:?} needs itself, directly or through others",
                self.workflows[usize::from(ix.0)].name
            )),
        }
    }

    fn validate_placement(&self) -> Result<(), SpecError> {
        let wrong = match &self.placement {
            Placement::Any => None,
            Placement::Count(0) => Some("the count of datacenters must be at least 1"),
            Placement::Count(count) if usize::from(*count) > Self::MAX_TARGETS => {
                Some("at most 64 datacenters")
            }
            Placement::Count(_) => None,
            Placement::Only(dcs) if dcs.is_empty() => Some("the list of datacenters is empty"),
            Placement::Only(dcs) if dcs.len() > Self::MAX_TARGETS => Some("at most 64 datacenters"),
            Placement::Only(dcs) if dcs.contains(&DcId::NONE) => Some("a datacenter without a name"),
            Placement::Only(dcs) if dcs.iter().collect::<BTreeSet<_>>().len() < dcs.len() => {
                Some("a datacenter is listed twice")
            }
            Placement::Only(_) => None,
        };
        wrong.map_or(Ok(()), |why| Err(SpecError(why.to_string())))
    }

    /// The workflows so that each comes after what it needs (by place where free to choose), or one that lies on a
    /// cycle.
    pub fn topological_order(&self) -> Result<Vec<WorkflowIx>, WorkflowIx> {
        let mut order: Vec<WorkflowIx> = Vec::with_capacity(self.workflows.len());
        let mut done = alloc::vec![false; self.workflows.len()];
        loop {
            let next = (0..done.len()).find(|&ix| {
                !done[ix] && self.workflows[ix].needs.iter().all(|need| done[usize::from(need.0)])
            });
            match next {
                Some(ix) => {
                    done[ix] = true;
                    order.push(WorkflowIx(ix as u16));
                }
                None => {
                    return match done.iter().position(|done| !done) {
                        None => Ok(order),
                        Some(ix) => Err(WorkflowIx(ix as u16)),
                    };
                }
            }
        }
    }
}

impl JobSpec {
    /// How long the job takes where nothing waits: the longest way through the graph, in ms. 0 for a cyclic one.
    pub fn planned_ms(&self) -> u64 {
        let Ok(order) = self.topological_order() else { return 0 };
        let mut ends = alloc::vec![0u64; self.workflows.len()];
        for ix in order {
            let workflow = &self.workflows[usize::from(ix.0)];
            let start = workflow.needs.iter().map(|need| ends[usize::from(need.0)]).max().unwrap_or(0);
            ends[usize::from(ix.0)] = start + u64::from(workflow.load.duration_ms);
        }
        ends.into_iter().max().unwrap_or(0)
    }
}

impl WorkflowSpec {
    fn validate(&self, workflows: usize) -> Result<(), SpecError> {
        let err = |why: &str| Err(SpecError(format!("workflow {:?}: {why}", self.name)));
        if self.name.is_empty() || self.name.len() > JobSpec::MAX_NAME {
            return err("its name must have 1 to 128 bytes");
        }
        if self.needs.len() > JobSpec::MAX_NEEDS {
            return err("it needs more than 64 others");
        }
        if self.needs.iter().any(|need| usize::from(need.0) >= workflows) {
            return err("it needs a workflow that does not exist");
        }
        if self.needs.iter().collect::<BTreeSet<_>>().len() < self.needs.len() {
            return err("it needs the same workflow twice");
        }
        if self.cores == 0 {
            return err("a shard has at least 1 core");
        }
        if self.load.duration_ms == 0 || self.load.duration_ms > JobSpec::MAX_TIMEOUT_MS {
            return err("its duration must be between 1 ms and 24 h");
        }
        match self.executor {
            ExecutorKind::Http if self.load.vus == 0 => err("it has no virtual users"),
            ExecutorKind::Http => Ok(()),
            ExecutorKind::Sleep | ExecutorKind::Command
                if self.load.instances == 0 || self.load.instances > JobSpec::MAX_SHARDS =>
            {
                err("it has 1 to 1024 instances")
            }
            ExecutorKind::Sleep | ExecutorKind::Command => Ok(()),
        }
    }
}
