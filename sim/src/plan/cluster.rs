//! The nodes of a plan, and the configuration that they start with.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::config::{Limits, Timing};
use tidegate_core::id::{DcId, Role};
use tidegate_core::time::Duration;

use super::{BadPlan, Greets};

/// The version before this one: no release is older, so it is this one without what came with its minor version
/// (`tidegate_core::wire::version`).
pub const PREVIOUS: u16 = tidegate_core::wire::MINOR - 1;
/// Most nodes of a plan: names and addresses are made for this many.
pub const MAX_NODES: usize = 100_000;

/// The nodes. Gates are named `g1`, `g2`, ...; managers `dc/m1`, ...; workers `dc/w1`, ...
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterPlan {
    /// How many gates.
    pub gates: u16,
    /// Where each gate stands, by place; the rest stand in region `core`. A region is any name, or a datacenter's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate_regions: Vec<String>,
    /// Allows tiers of two voters.
    #[serde(default)]
    pub allow_two_voters: bool,
    /// Nodes by name that are not running at first; a `restart` fault starts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Nodes by name that run the version before this one at first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_version: Vec<String>,
    /// How nodes by name greet at first, where that is not as it should be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub greets: BTreeMap<String, Greets>,
    /// A process starts this much later than the one before it in the list of nodes.
    #[serde(default)]
    pub start_stagger_ms: u64,
    /// A timer fires up to this much late.
    #[serde(default)]
    pub timer_late_us: u64,
    /// The monotonic clock of each machine runs by up to this much fast or slow for ever, in parts per million.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mono_ppm: u32,
    /// Waits and periods that differ from the defaults, in milliseconds, by the names of `core::config::Timing`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timing_ms: BTreeMap<String, u64>,
    /// Bounds that differ from the defaults, by the names of `core::config::Limits`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, u32>,
    /// The disks of all nodes.
    #[serde(default)]
    pub disk: DiskPlan,
    /// The datacenters.
    #[serde(default, rename = "datacenter")]
    pub datacenters: Vec<DatacenterPlan>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(ppm: &u32) -> bool {
    *ppm == 0
}

/// One datacenter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatacenterPlan {
    /// Its name, which is also the region of its nodes on the network.
    pub name: String,
    /// With which others a gate judges it together; by itself where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How many managers.
    pub managers: u16,
    /// Its workers, by place.
    #[serde(rename = "worker")]
    pub workers: Vec<WorkerPlan>,
}

impl DatacenterPlan {
    /// With which others it is judged together.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(&self.name)
    }
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerPlan {
    /// Cores that it offers.
    pub cores: u16,
    /// Executors that it may run; all of them where the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executors: Vec<super::Executor>,
}

/// How fast a disk is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiskPlan {
    /// A write is durable after this much.
    pub sync_us: u64,
    /// And up to this much more.
    pub jitter_us: u64,
}

impl Default for DiskPlan {
    fn default() -> Self {
        Self { sync_us: 500, jitter_us: 500 }
    }
}

macro_rules! timing_fields {
    ($($field:ident),+ $(,)?) => {
        /// The names that `timing_ms` may use.
        const TIMING_NAMES: &[&str] = &[$(stringify!($field)),+];

        fn set_timing(timing: &mut Timing, name: &str, value: Duration) -> bool {
            match name {
                $(stringify!($field) => timing.$field = value,)+
                _ => return false,
            }
            true
        }
    };
}

timing_fields!(
    swim_period,
    swim_probe_timeout,
    log_tick,
    leader_silence,
    lease_ttl,
    lease_renew,
    dc_heartbeat,
    dc_progress,
    push_progress,
    progress_sample,
    progress_flush,
    worker_heartbeat,
    request_timeout,
    reconcile,
    shard_hold,
    abandon_target,
    queue_deadline,
    cancel_grace,
    cancel_deadline,
    orphan_grace,
    no_gate_fallback,
    retain_completed,
    retain_other,
    retain_undelivered,
    manager_stale,
    backoff_base,
    backoff_cap,
    drain_timeout,
    start_lead,
    run_silence,
);

macro_rules! limit_fields {
    ($($field:ident),+ $(,)?) => {
        /// The names that `limits` may use.
        const LIMIT_NAMES: &[&str] = &[$(stringify!($field)),+];

        fn set_limit(limits: &mut Limits, name: &str, value: u32) -> bool {
            match name {
                $(stringify!($field) => match value.try_into() {
                    Ok(value) => limits.$field = value,
                    Err(_) => return false,
                },)+
                _ => return false,
            }
            true
        }
    };
}

limit_fields!(
    jobs,
    jobs_per_tenant,
    streams_per_job,
    event_ring,
    window_ring,
    tombstones,
    calls,
    worker_outbox,
    log_keep,
    image_rows
);

impl ClusterPlan {
    /// The timing of a role: its defaults, then what the plan changes.
    pub fn timing(&self, role: Role) -> Timing {
        let mut timing = Timing::for_role(role);
        for (name, &ms) in &self.timing_ms {
            set_timing(&mut timing, name, Duration::from_millis(ms));
        }
        timing
    }

    /// The bounds: the defaults, then what the plan changes.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (name, &value) in &self.limits {
            set_limit(&mut limits, name, value);
        }
        limits
    }

    /// Every node's name: gates, then each datacenter's managers and workers.
    pub fn node_names(&self) -> Vec<String> {
        let gates = (1..=self.gates).map(|n| format!("g{n}"));
        let rest = self.datacenters.iter().flat_map(|dc| {
            let managers = (1..=dc.managers).map(move |n| format!("{}/m{n}", dc.name));
            managers.chain((1..=dc.workers.len()).map(move |n| format!("{}/w{n}", dc.name)))
        });
        gates.chain(rest).collect()
    }

    /// How many managers a datacenter has.
    pub fn managers_of(&self, dc: &str) -> u16 {
        self.datacenters.iter().find(|known| known.name == dc).map_or(0, |known| known.managers)
    }

    /// Whether the plan has this datacenter.
    pub fn has_dc(&self, name: &str) -> bool {
        self.datacenters.iter().any(|dc| dc.name == name)
    }

    pub(super) fn check(&self) -> Result<(), BadPlan> {
        let err = |why: String| Err(BadPlan(why));
        if self.gates == 0 && self.datacenters.is_empty() {
            return err("the cluster has no nodes".into());
        }
        if self.gates == 2 && !self.allow_two_voters {
            return err("two gates stop when either is lost; make it 1 or 3, or set allow_two_voters".into());
        }
        let mut seen = BTreeSet::new();
        for dc in &self.datacenters {
            if dc.managers == 2 && !self.allow_two_voters {
                return err(format!(
                    "the two managers of {:?} stop when either is lost; make it 1 or 3, or set allow_two_voters",
                    dc.name
                ));
            }
            if DcId::new(&dc.name).is_err() {
                return err(format!("{:?} is no datacenter name: 1 to 24 of a-z, 0-9 and -", dc.name));
            }
            if !seen.insert(dc.name.as_str()) {
                return err(format!("two datacenters are named {:?}", dc.name));
            }
            if dc.workers.iter().any(|worker| worker.cores == 0) {
                return err(format!("a worker of {:?} has no cores", dc.name));
            }
        }
        if self.mono_ppm > 1_000 {
            return err("mono_ppm: a clock that is off by more than 1000 is a fault (mono_rate_ppm)".into());
        }
        for name in self.timing_ms.keys() {
            if !TIMING_NAMES.contains(&name.as_str()) {
                return err(format!("timing_ms.{name} does not exist; known: {}", TIMING_NAMES.join(", ")));
            }
        }
        for (name, &value) in &self.limits {
            if !set_limit(&mut Limits::default(), name, value) {
                return err(format!(
                    "limits.{name} = {value}: unknown or too large; known: {}",
                    LIMIT_NAMES.join(", ")
                ));
            }
        }
        let names: BTreeSet<String> = self.node_names().into_iter().collect();
        if names.len() > MAX_NODES {
            return err(format!("{} nodes; at most {MAX_NODES}", names.len()));
        }
        self.greets.values().try_for_each(Greets::check)?;
        let listed = [("absent", &self.absent), ("old_version", &self.old_version)];
        let all = listed.iter().flat_map(|(list, named)| named.iter().map(move |name| (*list, name)));
        match all
            .chain(self.greets.keys().map(|name| ("greets", name)))
            .find(|(_, name)| !names.contains(*name))
        {
            Some((list, name)) => err(format!("{list}: there is no node {name:?}")),
            None => Ok(()),
        }
    }
}
