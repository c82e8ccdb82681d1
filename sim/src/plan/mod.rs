//! The schedule of a run: plain data that says everything a world needs, and nothing about how it was found.
//!
//! A [`Plan`] is drawn by the swarm from a seed, or written by a scenario. The world takes a plan and nothing else, so
//! equal plans give equal runs, and a run that failed can be kept, edited and shrunk as a readable TOML file. The seed
//! in a plan feeds only the hashes that decide what happens to single messages, disks and node streams.

mod client;
mod cluster;
mod driver;
mod fault;
mod greets;
mod network;
mod readable;
mod select;

pub use client::{
    AskPlan, Behaviour, CancelPlan, ClientPlan, Ending, Executor, FollowerPlan, JobPlan, OnLoss, Place,
    Question, WorkflowPlan,
};
pub use cluster::{ClusterPlan, DatacenterPlan, DiskPlan, MAX_NODES, PREVIOUS, WorkerPlan};
pub use driver::Point;
pub use fault::{Alter, Direction, FaultKind, FaultPlan, LoadPlan, MessageAction, MessageRule, SayPlan};
pub use greets::Greets;
pub use network::{DatagramPlan, LinkPlan, NetworkPlan, PairPlan};
pub use select::{BadSelector, Scalar, Seen, Selector, When};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything a world needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Decides the fate of messages, what a crashed disk keeps, and the random streams of the nodes.
    pub seed: u64,
    /// How long the world runs.
    #[serde(default)]
    pub run: RunPlan,
    /// The nodes.
    pub cluster: ClusterPlan,
    /// The links between them.
    #[serde(default)]
    pub network: NetworkPlan,
    /// What the drivers of the nodes do that is unusual and yet right, and how often: so many of 10,000 times.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub driver: std::collections::BTreeMap<Point, u16>,
    /// Who submits what.
    #[serde(default, rename = "client")]
    pub clients: Vec<ClientPlan>,
    /// What goes wrong.
    #[serde(default, rename = "fault")]
    pub faults: Vec<FaultPlan>,
}

/// How long a world runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunPlan {
    /// After this much simulated time every fault is healed: cuts end, dead nodes start, clocks and disks work again.
    pub faults_end_ms: u64,
    /// Nodes by name that are healed then, while whatever is broken outside stays broken for ever; all of them where the
    /// list is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub core: Vec<String>,
    /// From the healing on, every accepted job must be final within this much simulated time.
    pub settle_ms: u64,
    /// The run goes on at least this long, even where everything is final before.
    pub at_least_ms: u64,
    /// Whether the run goes on until the nodes have dropped every record of a finished job.
    pub until_dropped: bool,
    /// Expectations look at what every running node holds this often (`see = "Look"`); never where 0.
    pub look_every_ms: u64,
}

impl Default for RunPlan {
    fn default() -> Self {
        Self {
            faults_end_ms: 60_000,
            core: Vec::new(),
            settle_ms: 240_000,
            at_least_ms: 0,
            until_dropped: false,
            look_every_ms: 0,
        }
    }
}

/// What is wrong with a plan: which part, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPlan(pub String);

impl std::fmt::Display for BadPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPlan {}

impl Plan {
    /// The plan as a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan has only TOML shapes")
    }

    /// The plan as a person would write it: without what is so by default.
    pub fn to_readable(&self) -> String {
        readable::text(self)
    }

    /// A plan from a file.
    pub fn from_toml(text: &str) -> Result<Self, BadPlan> {
        let plan: Self = toml::from_str(text).map_err(|why| BadPlan(why.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// Whether a selector names what this plan has.
    pub fn check_selector(&self, selector: &Selector) -> Result<(), BadPlan> {
        let jobs = self.clients.iter().flat_map(|client| &client.jobs).map(|job| job.name.as_str()).collect();
        selector.check(&self.cluster, &jobs)
    }

    /// Checks what the types cannot: names that must exist, bounds, shapes.
    pub fn check(&self) -> Result<(), BadPlan> {
        self.cluster.check()?;
        self.network.check()?;
        let mut jobs = std::collections::BTreeSet::new();
        for client in &self.clients {
            client.check(&self.cluster)?;
            for job in &client.jobs {
                if !jobs.insert(job.name.as_str()) {
                    return Err(BadPlan(format!("two jobs are named {:?}", job.name)));
                }
            }
        }
        for fault in &self.faults {
            fault.check(&self.cluster, &jobs)?;
        }
        let names = self.cluster.node_names();
        if let Some(name) = self.run.core.iter().find(|name| !names.contains(name)) {
            return Err(BadPlan(format!("run.core: there is no node {name:?}")));
        }
        if let Some((point, _)) = self.driver.iter().find(|(_, often)| **often > 10_000) {
            return Err(BadPlan(format!("driver.{}: at most 10000 of 10000", point.name())));
        }
        self.whens().try_for_each(When::check)
    }

    /// Whether anything goes wrong in it.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty() || !self.driver.is_empty()
    }

    /// Whether somebody speaks in another's name in it.
    pub fn has_puppets(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Say(_)))
    }

    /// Everything that waits for a moment.
    fn whens(&self) -> impl Iterator<Item = &When> {
        let jobs = self.clients.iter().flat_map(|client| &client.jobs).flat_map(JobPlan::whens);
        self.faults.iter().map(|fault| &fault.when).chain(jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
seed = 7

[cluster]
gates = 3
timing_ms = { lease_ttl = 4000 }

[[cluster.datacenter]]
name = "dc-a"
managers = 3
worker = [{ cores = 4 }, { cores = 2, executors = ["http"] }]

[[client]]
name = "c1"

[[client.job]]
name = "j1"
when = { at_ms = 1000 }
place = { only = ["dc-a"] }
workflow = [
    { name = "warm", duration_ms = 500 },
    { name = "load", needs = ["warm"], executor = "http", vus = 8, duration_ms = 5000 },
]
cancel = { when = { seen = { name = "DcAccepted", fields = { job = "j1" }, after_ms = 200 } } }
ask = [{ when = { at_ms = 9000 }, gate = "g2", ask = "status" }]

[[fault]]
when = { at_ms = 20000 }
target = "g1"
kind = { say = { from = "dc-a/m1", kind = "DcFinal", of = "dc-a/m2", job = "j1", times = 2, alter = { fence = 9 } } }

[[fault]]
when = { seen = { name = "RunStarted", by = "workers@dc-a", nth = 2, after_ms = 30 } }
target = "owner:j1@dc-a"
kind = "crash"
for_ms = 4000

[[fault]]
when = { at_ms = 4000 }
target = "g1"
kind = { cut = { from = "dc@dc-a", direction = "in" } }
for_ms = 4000

[[fault]]
when = { at_ms = 0 }
target = "gates"
kind = { messages = { kind = "DcFinalAck", count = 1, action = "drop" } }
"#;

    #[test]
    fn a_plan_survives_its_file() {
        let plan = Plan::from_toml(TEXT).unwrap();
        assert_eq!(plan.faults.len(), 4);
        assert_eq!(plan.clients[0].jobs[0].spec().unwrap().workflows[1].needs.len(), 1);
        assert_eq!(Plan::from_toml(&plan.to_toml()).unwrap(), plan);
    }

    #[test]
    fn what_a_plan_names_must_exist() {
        for (good, bad, word) in [
            ("lease_ttl", "lease_tll", "lease_tll"),
            ("target = \"g1\"", "target = \"g9\"", "g9"),
            ("owner:j1@dc-a", "owner:j2@dc-a", "j2"),
            ("dc@dc-a", "dc@dc-b", "dc-b"),
            ("needs = [\"warm\"]", "needs = [\"cold\"]", "cold"),
            ("kind = \"crash\"", "kind = \"crush\"", "crush"),
            ("kind = \"DcFinalAck\"", "kind = \"DcFinalAkk\"", "DcFinalAkk"),
            ("from = \"dc-a/m1\"", "from = \"dc-a/m9\"", "m9"),
            ("kind = \"DcFinal\"", "kind = \"Datagram\"", "Datagram"),
            ("times = 2", "times = 0", "times"),
            ("of = \"dc-a/m2\", job = \"j1\"", "of = \"dc-a/m2\", job = \"j9\"", "j9"),
            ("gate = \"g2\"", "gate = \"g7\"", "g7"),
            ("ask = \"status\"", "ask = \"weather\"", "weather"),
        ] {
            let why = Plan::from_toml(&TEXT.replace(good, bad)).expect_err(bad).0;
            assert!(why.contains(word), "{why}");
        }
    }
}
