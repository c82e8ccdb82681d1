//! The job file as it is written: one serde type per table, from which the JSON Schema is generated as well. Nothing
//! here knows what a field means beyond its shape; `compile` does.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{Datacenters, HumanDuration, Method, Rate, StatusSet};

/// A Tidegate job file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Tidegate job file")]
pub struct JobFile {
    /// The version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// What people call the job; 1 to 128 bytes.
    pub name: String,
    /// Whose quota it counts against; 1 to 64 bytes. A gate that proves tenants by token goes by the token.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// Where it runs; the load is divided between the datacenters.
    #[serde(default)]
    pub datacenters: Datacenters,
    /// The whole job ends after this, at most 24 h.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// What the merged numbers of all workflows must satisfy, such as "p(99) < 250".
    #[serde(default)]
    pub thresholds: Vec<String>,
    /// What the loss of a worker means for its share of the load.
    #[serde(default)]
    pub on_worker_loss: WorkerLoss,
    /// How often lost shards are placed again, for each datacenter: 0 to 50.
    #[serde(default = "default_retries")]
    pub retries: u16,
    /// How often shards of one workflow are placed again, for each datacenter: 0 to 5.
    #[serde(default = "default_workflow_retries")]
    pub workflow_retries: u16,
    /// Whether a job of which some parts failed ends as `partial` instead of `failed`.
    #[serde(default)]
    pub partial_results: bool,
    /// The workflows: a graph by their `needs`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256), required)]
    pub workflow: Vec<Workflow>,
}

/// What the loss of a worker means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerLoss {
    /// Run what remains on another worker.
    #[default]
    Replace,
    /// Go on with less load; the report says how much.
    Degrade,
    /// Fail the workflow.
    Fail,
}

/// One workflow: a name, what it waits for, and exactly one executor.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// Unique in the job; 1 to 128 bytes.
    pub name: String,
    /// Workflows that must have completed in the same datacenter before this one starts.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What the merged numbers of this workflow must satisfy.
    #[serde(default)]
    pub thresholds: Vec<String>,
    /// HTTP load.
    pub http: Option<Http>,
    /// A process per instance.
    pub command: Option<Command>,
    /// Waits.
    pub sleep: Option<Sleep>,
}

/// HTTP load: virtual users in a loop (closed model), or arrivals at a rate (open model).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// What one iteration sends, in order.
    #[schemars(length(min = 1, max = 64))]
    pub requests: Vec<HttpRequest>,
    /// Virtual users over all datacenters. In the open model: most iterations in flight.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub vus: u32,
    /// How long new iterations are started, at most 24 h.
    pub duration: HumanDuration,
    /// Open model: iterations started a second over all datacenters, whether or not the target keeps up.
    pub rate: Option<Rate>,
    /// Open model: an arrival that finds no free virtual user for this long is dropped and counted.
    #[serde(default = "default_start_within")]
    pub start_within: HumanDuration,
    /// Whether a virtual user keeps its connection for the next request.
    #[serde(default = "default_true")]
    pub keep_alive: bool,
    /// A request that takes longer fails as `timeout`.
    #[serde(default = "default_request_timeout")]
    pub timeout: HumanDuration,
    /// Cores, and with them load threads, of each shard.
    #[serde(default = "default_one")]
    #[schemars(range(min = 1, max = 256))]
    pub cores: u16,
}

/// One request. `url`, header values and `body` are templates.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// The method.
    #[serde(default)]
    pub method: Method,
    /// Where to: `http://` or `https://`, or `{{target}}` and a path.
    pub url: String,
    /// Headers beside `host` and those that the connection needs.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Option<String>,
    /// What a good response is.
    #[serde(default)]
    pub checks: Checks,
    /// In place of the workflow's `timeout`.
    pub timeout: Option<HumanDuration>,
}

/// What a good response is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checks {
    /// Status codes that count as ok: 200, "2xx", or a list of these. Without it: 200 to 399.
    #[serde(default)]
    pub status: StatusSet,
}

/// A process per instance. Elements of `argv` and values of `env` are templates.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments; no shell reads them.
    #[schemars(length(min = 1, max = 256))]
    pub argv: Vec<String>,
    /// Environment variables, beside PATH, HOME, LANG, TZ and TIDEGATE_*.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The process group is ended after this.
    pub timeout: HumanDuration,
    /// Cores of each instance.
    #[serde(default = "default_one")]
    #[schemars(range(min = 1, max = 256))]
    pub cores: u16,
    /// How many processes over all datacenters.
    #[serde(default = "default_one")]
    #[schemars(range(min = 1, max = 1024))]
    pub instances: u16,
}

/// Waits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sleep {
    /// How long.
    pub duration: HumanDuration,
    /// How many times, over all datacenters and side by side.
    #[serde(default = "default_one")]
    #[schemars(range(min = 1, max = 1024))]
    pub instances: u16,
}

fn default_tenant() -> String {
    "default".to_string()
}
fn default_timeout() -> HumanDuration {
    HumanDuration::from_millis(3_600_000)
}
fn default_start_within() -> HumanDuration {
    HumanDuration::from_millis(1_000)
}
fn default_request_timeout() -> HumanDuration {
    HumanDuration::from_millis(10_000)
}
const fn default_retries() -> u16 {
    10
}
const fn default_workflow_retries() -> u16 {
    3
}
const fn default_one() -> u16 {
    1
}
const fn default_true() -> bool {
    true
}
