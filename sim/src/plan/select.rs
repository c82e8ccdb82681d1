//! When something happens and to whom: instants, observations, and names of nodes by place or by role.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{BadPlan, ClusterPlan};
use crate::known;

/// When something happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// This many milliseconds after the start of the world.
    AtMs(u64),
    /// After something was observed.
    Seen(Seen),
}

/// The n-th observation that fits, and a delay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The observation's name as in `tidegate_core::Observation`: `DcAccepted`.
    pub name: String,
    /// Only by these nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Selector>,
    /// Only with these fields: `job = "j1"`, `dc = "dc-a"`, `status = "Running"`, `owner = "g2"`. The field of a
    /// variant without names is `value`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Scalar>,
    /// Which of those, from 1.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub nth: u32,
    /// Not before this instant.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_before_ms: u64,
    /// This much later.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after_ms: u64,
}

const fn first() -> u32 {
    1
}
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_first(n: &u32) -> bool {
    *n == 1
}
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A value that a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// A yes or no.
    Bool(bool),
    /// A number.
    Number(i64),
    /// A name: of a node, a job, a datacenter, a variant.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Nodes, by name or by what they do at the moment of asking. A text in files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// One node: `g1`, `dc-a/m1`, `dc-a/w2`.
    Node(String),
    /// Every node: `*`.
    All,
    /// Every gate: `gates`.
    Gates,
    /// Every manager of a datacenter: `managers@dc-a`.
    Managers(String),
    /// Every worker of a datacenter: `workers@dc-a`.
    Workers(String),
    /// Every manager and worker of a datacenter: `dc@dc-a`.
    Datacenter(String),
    /// The gate that leads the gates' log: `leader`.
    GateLeader,
    /// The manager that leads the log of a datacenter: `leader@dc-a`.
    DcLeader(String),
    /// The n-th gate, from 1 and by place, that does not lead the gates' log: `follower:1`.
    GateFollower(u16),
    /// The n-th manager of a datacenter that does not lead its log: `follower:1@dc-a`.
    DcFollower(u16, String),
    /// The gate that owns a job: `owner:j1`.
    JobOwner(String),
    /// The manager that owns a job in a datacenter: `owner:j1@dc-a`.
    DcOwner(String, String),
    /// The worker that runs the job's first running shard in a datacenter: `worker:j1@dc-a`.
    RunningWorker(String, String),
    /// The client's machine: `client:c1`. Links only.
    Client(String),
    /// The node whose observation set this off: `observer`.
    Observer,
}

/// A text that selects nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSelector(String);

impl fmt::Display for BadSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} names no node: write a node (g1, dc-a/m1, dc-a/w2), *, gates, managers@DC, workers@DC, dc@DC, \
             leader, leader@DC, follower:N, follower:N@DC, owner:JOB, owner:JOB@DC, worker:JOB@DC, client:NAME or observer",
            self.0
        )
    }
}

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let bad = || BadSelector(text.to_string());
        let own = |part: &str| if part.is_empty() { Err(bad()) } else { Ok(part.to_string()) };
        let place = |part: &str| part.parse().ok().filter(|&nth: &u16| nth > 0).ok_or_else(bad);
        let (head, dc) = match text.split_once('@') {
            Some((head, dc)) => (head, Some(own(dc)?)),
            None => (text, None),
        };
        Ok(match (head.split_once(':'), head, dc) {
            (None, "*", None) => Self::All,
            (None, "gates", None) => Self::Gates,
            (None, "leader", None) => Self::GateLeader,
            (None, "observer", None) => Self::Observer,
            (None, "managers", Some(dc)) => Self::Managers(dc),
            (None, "workers", Some(dc)) => Self::Workers(dc),
            (None, "dc", Some(dc)) => Self::Datacenter(dc),
            (None, "leader", Some(dc)) => Self::DcLeader(dc),
            (Some(("follower", nth)), _, None) => Self::GateFollower(place(nth)?),
            (Some(("follower", nth)), _, Some(dc)) => Self::DcFollower(place(nth)?, dc),
            (Some(("owner", job)), _, None) => Self::JobOwner(own(job)?),
            (Some(("owner", job)), _, Some(dc)) => Self::DcOwner(own(job)?, dc),
            (Some(("worker", job)), _, Some(dc)) => Self::RunningWorker(own(job)?, dc),
            (Some(("client", name)), _, None) => Self::Client(own(name)?),
            (None, name, None) => Self::Node(own(name)?),
            _ => return Err(bad()),
        })
    }
}

impl When {
    /// Whether what it waits for can be seen.
    pub(super) fn check(&self) -> Result<(), BadPlan> {
        let Self::Seen(seen) = self else { return Ok(()) };
        let observations = known::observations();
        known::check("observation", &seen.name, observations.names).map_err(BadPlan)?;
        let mut fields = seen.fields.keys();
        fields.try_for_each(|field| known::check("field", field, &observations.fields).map_err(BadPlan))
    }
}

impl Selector {
    /// Whether what it names is there.
    pub(super) fn check(&self, cluster: &ClusterPlan, jobs: &BTreeSet<&str>) -> Result<(), BadPlan> {
        let no = |what: &str, name: &str| Err(BadPlan(format!("there is no {what} {name:?}")));
        match self {
            Self::Node(name) if !cluster.node_names().contains(name) => no("node", name),
            Self::Managers(dc) | Self::Workers(dc) | Self::Datacenter(dc) | Self::DcLeader(dc)
                if !cluster.has_dc(dc) =>
            {
                no("datacenter", dc)
            }
            Self::DcFollower(_, dc) | Self::DcOwner(_, dc) | Self::RunningWorker(_, dc)
                if !cluster.has_dc(dc) =>
            {
                no("datacenter", dc)
            }
            Self::JobOwner(job) | Self::DcOwner(job, _) | Self::RunningWorker(job, _)
                if !jobs.contains(job.as_str()) =>
            {
                no("job", job)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "{name}"),
            Self::All => write!(f, "*"),
            Self::Gates => write!(f, "gates"),
            Self::Managers(dc) => write!(f, "managers@{dc}"),
            Self::Workers(dc) => write!(f, "workers@{dc}"),
            Self::Datacenter(dc) => write!(f, "dc@{dc}"),
            Self::GateLeader => write!(f, "leader"),
            Self::DcLeader(dc) => write!(f, "leader@{dc}"),
            Self::GateFollower(nth) => write!(f, "follower:{nth}"),
            Self::DcFollower(nth, dc) => write!(f, "follower:{nth}@{dc}"),
            Self::JobOwner(job) => write!(f, "owner:{job}"),
            Self::DcOwner(job, dc) => write!(f, "owner:{job}@{dc}"),
            Self::RunningWorker(job, dc) => write!(f, "worker:{job}@{dc}"),
            Self::Client(name) => write!(f, "client:{name}"),
            Self::Observer => write!(f, "observer"),
        }
    }
}

impl Serialize for Selector {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Selector {
    fn schema_name() -> Cow<'static, str> {
        "Selector".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "Nodes: g1, dc-a/m1, dc-a/w2, *, gates, managers@DC, workers@DC, dc@DC, leader, leader@DC, \
                follower:N, follower:N@DC, owner:JOB, owner:JOB@DC, worker:JOB@DC, client:NAME or observer."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_its_text() {
        for text in [
            "g1",
            "dc-a/m1",
            "*",
            "gates",
            "managers@dc-a",
            "workers@dc-a",
            "dc@dc-a",
            "leader",
            "leader@dc-a",
            "follower:1",
            "follower:2@dc-a",
            "owner:j1",
            "owner:j1@dc-a",
            "worker:j1@dc-a",
            "client:c1",
            "observer",
        ] {
            assert_eq!(text.parse::<Selector>().map(|selector| selector.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "follower:0",
            "follower:",
            "owner:",
            "owner:@dc-a",
            "leader@",
            "worker:j1",
            "thing:x",
            "client:c@dc-a",
        ] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
