//! The workload of a plan: clients, their jobs, and what the executors will do.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::bytes::Bytes;
use tidegate_core::id::{DcId, WorkflowIx};
use tidegate_core::jobs::{ExecutorKind, JobSpec, Load, OnWorkerLoss, Placement, Threshold, WorkflowSpec};

use super::{BadPlan, ClusterPlan, When};

/// One client program with its jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// Its name: `c1`.
    pub name: String,
    /// Where it stands.
    #[serde(default = "ClientPlan::default_region")]
    pub region: String,
    /// The gates that it knows, in the order in which it tries them; all of them where the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// So many of 1,000 calls lose their connection on the way there, and as many on the way back.
    #[serde(default)]
    pub loss_permille: u16,
    /// Its jobs.
    #[serde(default, rename = "job")]
    pub jobs: Vec<JobPlan>,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobPlan {
    /// Its name in the plan: `j1`. Also the name in its specification.
    pub name: String,
    /// When it is submitted.
    pub when: When,
    /// The idempotency key; made from the name where absent. Two jobs of a plan may share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whose quota it counts against.
    #[serde(default = "JobPlan::default_tenant")]
    pub tenant: String,
    /// Where it runs.
    #[serde(default)]
    pub place: Place,
    /// The whole job ends after this.
    #[serde(default = "JobPlan::default_timeout")]
    pub timeout_ms: u32,
    /// What the loss of a worker means.
    #[serde(default)]
    pub on_worker_loss: OnLoss,
    /// Whether some failed parts make it `Partial` instead of `Failed`.
    #[serde(default)]
    pub partial_results: bool,
    /// Re-executions per datacenter.
    #[serde(default = "JobPlan::default_retries")]
    pub retries: u16,
    /// Re-executions per workflow and datacenter.
    #[serde(default = "JobPlan::default_workflow_retries")]
    pub workflow_retries: u16,
    /// Cancelled by its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelPlan>,
    /// What its client asks beside that, one call each.
    #[serde(default, rename = "ask", skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<AskPlan>,
    /// Others who follow its events.
    #[serde(default, rename = "follower", skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<FollowerPlan>,
    /// What runs.
    #[serde(rename = "workflow")]
    pub workflows: Vec<WorkflowPlan>,
}

/// Where a job runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the gate's best datacenter.
    #[default]
    Any,
    /// In this many.
    Count(u16),
    /// Exactly in these.
    Only(Vec<String>),
}

/// What the loss of a worker means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLoss {
    /// Run what remains elsewhere.
    #[default]
    Replace,
    /// Go on with less.
    Degrade,
    /// Fail the workflow.
    Fail,
}

/// When a job is cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelPlan {
    /// When; not before the submission was answered.
    pub when: When,
}

/// Somebody else who follows a job from one gate on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowerPlan {
    /// From when on.
    pub when: When,
    /// The gates, in the order tried.
    pub gates: Vec<String>,
    /// It has the kept events up to this one (`Last-Event-ID`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_kept: Option<u64>,
}

/// One call about a job: to this gate, once, whatever comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskPlan {
    /// When; what needs the job's id, not before the submission was answered.
    pub when: When,
    /// The gate.
    pub gate: String,
    /// What.
    pub ask: Question,
    /// How often, all at once.
    #[serde(default = "AskPlan::once")]
    pub times: u32,
    /// About a job that nobody knows, instead of this one.
    #[serde(default)]
    pub unknown_job: bool,
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// How does the job stand?
    Status,
    /// What is its result?
    Result,
    /// End it.
    Cancel,
    /// Take it: the same specification with the same key.
    Submit,
    /// How do the datacenters stand, as the gate sees them?
    Datacenters,
    /// How do the gates stand, as the gate sees them?
    Members,
}

impl AskPlan {
    const fn once() -> u32 {
        1
    }
}

/// Who runs a workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// Waits.
    #[default]
    Sleep,
    /// HTTP load: its attempts add up.
    Http,
    /// A process per shard.
    Command,
}

impl From<Executor> for ExecutorKind {
    fn from(executor: Executor) -> Self {
        match executor {
            Executor::Sleep => Self::Sleep,
            Executor::Http => Self::Http,
            Executor::Command => Self::Command,
        }
    }
}

/// One workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowPlan {
    /// Its name in the job.
    pub name: String,
    /// Names of workflows that must have completed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Who runs it.
    #[serde(default)]
    pub executor: Executor,
    /// How long.
    pub duration_ms: u32,
    /// `http`: virtual users.
    #[serde(default)]
    pub vus: u32,
    /// `http`: arrivals per 1,000 s; 0 is the closed model.
    #[serde(default)]
    pub rate_milli: u64,
    /// `sleep`, `command`: how many shards in all.
    #[serde(default = "WorkflowPlan::default_instances")]
    pub instances: u16,
    /// Cores of each shard.
    #[serde(default = "WorkflowPlan::default_cores")]
    pub cores: u16,
    /// What the executor does.
    #[serde(default)]
    pub behaviour: Behaviour,
}

/// What a simulated executor does. Its numbers are exact: what was done can be compared with what is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// It begins up to this much after the instant asked for.
    pub start_late_ms: u32,
    /// `http`: requests that each virtual user makes per second, all of them well-timed.
    pub requests_per_vu_s: u32,
    /// `http`: so many of 1,000 requests fail.
    pub error_permille: u16,
    /// It says nothing in these spans of its time, from and until, and works on: a long action.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent_ms: Vec<[u32; 2]>,
    /// How it ends when nobody stops it.
    pub ending: Ending,
    /// Silence, and endings other than `complete`, concern only the first so many attempts of a shard; 0 is all.
    pub attempts: u32,
    /// They concern only these shards; all of them where the list is empty.
    pub shards: Vec<u16>,
    /// A polite stop takes this long.
    pub stop_takes_ms: u32,
    /// It does not react to a polite stop; only a kill ends it.
    pub ignores_stop: bool,
    /// A kill takes this long: a process that waits for its disk, a group of many.
    pub kill_takes_ms: u32,
}

/// How an execution ends when nobody stops it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// As asked.
    #[default]
    Complete,
    /// With an error after this long.
    FailAfterMs(u32),
    /// As asked, but this much too late.
    OverrunMs(u32),
    /// Never.
    Hang,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            start_late_ms: 0,
            requests_per_vu_s: 10,
            error_permille: 0,
            silent_ms: Vec::new(),
            ending: Ending::Complete,
            attempts: 0,
            shards: Vec::new(),
            stop_takes_ms: 20,
            ignores_stop: false,
            kill_takes_ms: 1,
        }
    }
}

impl ClientPlan {
    fn default_region() -> String {
        "core".into()
    }

    pub(super) fn check(&self, cluster: &ClusterPlan) -> Result<(), BadPlan> {
        let known = |gate: &String| (1..=cluster.gates).any(|n| *gate == format!("g{n}"));
        if let Some(gate) = self.gates.iter().find(|gate| !known(gate)) {
            return Err(BadPlan(format!("client {:?}: there is no gate {gate:?}", self.name)));
        }
        if cluster.gates == 0 {
            return Err(BadPlan(format!("client {:?}: the cluster has no gates", self.name)));
        }
        for job in &self.jobs {
            let followed = job.followers.iter().flat_map(|follower| &follower.gates);
            let asked = job.asks.iter().map(|ask| &ask.gate);
            if let Some(gate) = followed.chain(asked).find(|gate| !known(gate)) {
                return Err(BadPlan(format!("job {:?}: there is no gate {gate:?}", job.name)));
            }
            job.spec()?;
        }
        Ok(())
    }
}

impl JobPlan {
    fn default_tenant() -> String {
        "acme".into()
    }
    const fn default_timeout() -> u32 {
        120_000
    }
    const fn default_retries() -> u16 {
        10
    }
    const fn default_workflow_retries() -> u16 {
        3
    }

    /// Every moment that it waits for.
    pub(super) fn whens(&self) -> impl Iterator<Item = &When> {
        let cancel = self.cancel.iter().map(|cancel| &cancel.when);
        let followers = self.followers.iter().map(|follower| &follower.when);
        let asks = self.asks.iter().map(|ask| &ask.when);
        [&self.when].into_iter().chain(cancel).chain(followers).chain(asks)
    }

    /// The idempotency key that its client uses.
    pub fn key(&self) -> String {
        self.key.clone().unwrap_or_else(|| format!("key-{}", self.name))
    }

    /// The specification as a client submits it. It need not be valid: gates must refuse what is not. The payload of
    /// a workflow names the job and the workflow, so that simulated executors find their behaviour.
    pub fn spec(&self) -> Result<JobSpec, BadPlan> {
        let places: BTreeMap<&str, u16> =
            self.workflows.iter().zip(0..).map(|(workflow, ix)| (workflow.name.as_str(), ix)).collect();
        let workflow = |plan: &WorkflowPlan| {
            let needs = plan.needs.iter().map(|need| {
                let unknown = || {
                    BadPlan(format!(
                        "job {:?}: workflow {:?} needs {need:?}, which does not exist",
                        self.name, plan.name
                    ))
                };
                places.get(need.as_str()).map(|&ix| WorkflowIx(ix)).ok_or_else(unknown)
            });
            Ok(WorkflowSpec {
                name: plan.name.clone(),
                needs: needs.collect::<Result<_, _>>()?,
                executor: plan.executor.into(),
                load: Load {
                    vus: plan.vus,
                    rate_milli: plan.rate_milli,
                    duration_ms: plan.duration_ms,
                    instances: plan.instances,
                },
                cores: plan.cores,
                payload: Bytes(format!("{}/{}", self.name, plan.name).into_bytes()),
            })
        };
        Ok(JobSpec {
            name: self.name.clone(),
            placement: self.placement()?,
            timeout_ms: self.timeout_ms,
            on_worker_loss: match self.on_worker_loss {
                OnLoss::Replace => OnWorkerLoss::Replace,
                OnLoss::Degrade => OnWorkerLoss::Degrade,
                OnLoss::Fail => OnWorkerLoss::Fail,
            },
            partial_results: self.partial_results,
            retries: self.retries,
            workflow_retries: self.workflow_retries,
            thresholds: Vec::<Threshold>::new(),
            workflows: self.workflows.iter().map(workflow).collect::<Result<_, BadPlan>>()?,
        })
    }

    fn placement(&self) -> Result<Placement, BadPlan> {
        Ok(match &self.place {
            Place::Any => Placement::Any,
            Place::Count(count) => Placement::Count(*count),
            Place::Only(names) => {
                let dc = |name: &String| {
                    DcId::new(name)
                        .map_err(|_| BadPlan(format!("job {:?}: {name:?} is no datacenter name", self.name)))
                };
                Placement::Only(names.iter().map(dc).collect::<Result<_, _>>()?)
            }
        })
    }
}

impl WorkflowPlan {
    const fn default_instances() -> u16 {
        1
    }
    const fn default_cores() -> u16 {
        1
    }
}
