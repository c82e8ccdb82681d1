//! Bounds hold.
//!
//! - The cores of the executions on a worker are never more than it offers (`INV-POOL-2`).
//! - The log on a voter's disk is at most 4 MiB, and one entry more (DESIGN 6).
//! - At every look, what a node holds in memory is within the bounds of its limits: live jobs, tombstones, windows and
//!   volatile events of a job, callers, proposals, leases, timers.
//! - An outbox on a worker's disk has at most as many results as its limit, and one for each core that can still end.

use std::collections::BTreeMap;

use tidegate_core::bytes::Bytes;
use tidegate_core::census::Census;
use tidegate_core::id::{Role, RunId};
use tidegate_core::ledger::MAX_UNDECIDED;
use tidegate_core::store::{Write, table};

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// The log may have this much, and an entry that was appended before the oldest could go.
const LOG_BYTES_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;

#[derive(Default)]
struct Rows {
    sizes: BTreeMap<Bytes, usize>,
    log_bytes: usize,
    outbox: usize,
}

impl Rows {
    fn take(&mut self, write: &Write) {
        let Some(&table) = write.key.first() else { return };
        if table != table::LOG && table != table::OUTBOX {
            return;
        }
        let before = match &write.value {
            Some(value) => self.sizes.insert(write.key.clone(), value.len()),
            None => self.sizes.remove(&write.key),
        };
        if table == table::LOG {
            self.log_bytes -= before.unwrap_or(0);
            self.log_bytes += write.value.as_ref().map_or(0, |value| value.len());
        } else {
            self.outbox -= usize::from(before.is_some());
            self.outbox += usize::from(write.value.is_some());
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Bounds {
    tested: u64,
    cores: BTreeMap<RunId, u16>,
    busy: BTreeMap<HostIx, BTreeMap<RunId, u16>>,
    rows: BTreeMap<HostIx, Rows>,
}

fn cores_of(scene: &Scene, host: HostIx) -> u32 {
    let info = &scene.hosts[host];
    let place = info.name.rsplit("/w").next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
    let dc = scene.plan.cluster.datacenters.iter().find(|dc| dc.name == info.dc.as_str());
    dc.and_then(|dc| dc.workers.get(place - 1)).map_or(0, |worker| u32::from(worker.cores))
}

impl Bounds {
    fn begun(&mut self, scene: &Scene, host: HostIx, run: RunId) -> Result<(), String> {
        let busy = self.busy.entry(host).or_default();
        busy.insert(run, self.cores.get(&run).copied().unwrap_or(0));
        let (used, offered) =
            (busy.values().map(|&cores| u32::from(cores)).sum::<u32>(), cores_of(scene, host));
        self.tested += u64::from(used == offered);
        if used <= offered {
            return Ok(());
        }
        Err(format!(
            "{} runs {} executions with {used} cores; it offers {offered}",
            scene.name(host),
            busy.len()
        ))
    }

    fn stored(&mut self, scene: &Scene, host: HostIx, writes: &[Write]) -> Result<(), String> {
        let rows = self.rows.entry(host).or_default();
        for write in writes {
            rows.take(write);
        }
        if rows.log_bytes > LOG_BYTES_MAX {
            return Err(format!("the log of {} has {} bytes", scene.name(host), rows.log_bytes));
        }
        let limit = usize::from(scene.plan.cluster.limits().worker_outbox) + cores_of(scene, host) as usize;
        if scene.hosts[host].role == Some(Role::Worker) && rows.outbox > limit {
            return Err(format!(
                "the outbox of {} has {} results; at most {limit}",
                scene.name(host),
                rows.outbox
            ));
        }
        Ok(())
    }
}

/// What a node may hold of what, by its limits and the plan.
fn held_bounds(scene: &Scene, host: HostIx, holds: &Census) -> [(&'static str, usize, usize); 8] {
    let limits = scene.plan.cluster.limits();
    let jobs = limits.jobs as usize;
    let workflows = scene.plan.clients.iter().flat_map(|client| &client.jobs).map(|job| job.workflows.len());
    let windows = usize::from(limits.window_ring).max(1) * workflows.max().unwrap_or(0);
    let streams = usize::from(limits.streams_per_job) * holds.jobs;
    let callers = limits.calls as usize + streams;
    let of_tier = |ix: &usize| {
        let (one, other) = (&scene.hosts[*ix], &scene.hosts[host]);
        (one.role, one.dc) == (other.role, other.dc)
    };
    // A worker's timers belong to its runs, which its cores bound; each has at most a handful.
    let timers = match scene.hosts[host].role {
        Some(Role::Worker) => 16 + 4 * cores_of(scene, host) as usize + 4 * usize::from(limits.worker_outbox),
        _ => holds.jobs + callers,
    };
    [
        ("live jobs", holds.live_jobs, jobs),
        ("tombstones", holds.tombstones, limits.tombstones as usize),
        ("windows of a job", holds.windows, windows),
        ("volatile events of a job", holds.volatile, usize::from(limits.event_ring).max(1)),
        ("callers", holds.callers, callers),
        ("proposals", holds.proposals, MAX_UNDECIDED),
        ("leases", holds.leases, (0..scene.nodes).filter(of_tier).count()),
        ("timers", holds.timers, timers),
    ]
}

fn looked(scene: &Scene, host: HostIx, holds: &Census) -> Result<(), String> {
    match held_bounds(scene, host, holds).into_iter().find(|(_, has, bound)| has > bound) {
        Some((what, has, bound)) => Err(format!("{} holds {has} {what}; at most {bound}", scene.name(host))),
        None => Ok(()),
    }
}

impl Spectator for Bounds {
    fn name(&self) -> &'static str {
        "bounds hold"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::RUNS.and(Interest::WRITES).and(Interest::FAULTS).and(Interest::LOOKS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::RunAsked { run, shard, .. } => {
                self.cores.insert(*run, shard.cores);
                Ok(())
            }
            Fact::RunBegan { host, run } => self.begun(scene, *host, *run),
            Fact::RunOver { host, run, .. } => {
                self.busy.entry(*host).or_default().remove(run);
                Ok(())
            }
            Fact::Durable { host, writes } => self.stored(scene, *host, writes),
            Fact::Looked { host, holds } => looked(scene, *host, holds),
            Fact::Fault { kind: "disk_wipe" | "disk_restore", host, .. } => {
                self.rows.remove(host);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
