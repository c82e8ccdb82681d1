//! One lease, one owner: in true time nobody acts on a lease that the log has ended.
//!
//! A holder counts its lease from when it proposed the renewal, everybody else waits half as long again since it was
//! applied. So whatever clocks do within what the design allows (a fifth fast or slow), the holder has stopped by its
//! own clock before the log ends its lease. Judged here by the true time of the world: once a lease is ended by log
//! entry and its job has another owner, the former owner sends no more word of an owner before it holds a new lease.
//!
//! One that leaves hands its jobs over before its lease ends; it is not judged. Nor is a run whose plan turns a clock
//! faster or slower than the design allows.

use std::collections::BTreeMap;

use tidegate_core::id::{DcEpoch, DcId, GateEpoch, JobId};
use tidegate_core::observe::Observation;
use tidegate_core::wire::Message;

use crate::plan::FaultKind;
use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

/// Clock rates within this, in parts per million, are what leases are made for.
const RATE_PPM_MAX: i32 = 200_000;

/// Where a node's lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lease {
    Held,
    /// Ended by log entry, at this time, and its holder has not said that it knows.
    Ended(Time),
}

/// See the module.
#[derive(Default)]
pub(super) struct Leases {
    tested: u64,
    leases: BTreeMap<HostIx, Lease>,
    gate_owners: BTreeMap<JobId, GateEpoch>,
    dc_owners: BTreeMap<(JobId, DcId), DcEpoch>,
    hostile: Option<bool>,
}

fn is_hostile(scene: &Scene) -> bool {
    let turned = |kind: &FaultKind| matches!(kind, FaultKind::MonoRatePpm(ppm) if ppm.abs() > RATE_PPM_MAX);
    scene.plan.faults.iter().any(|fault| turned(&fault.kind))
}

impl Leases {
    fn observed(&mut self, scene: &Scene, host: HostIx, observation: &Observation) {
        match *observation {
            Observation::Active => drop(self.leases.insert(host, Lease::Held)),
            Observation::Isolated | Observation::Draining => drop(self.leases.remove(&host)),
            Observation::LeaseEnded(node) => {
                if let Some(lease) = scene.host(node).and_then(|holder| self.leases.get_mut(&holder))
                    && *lease == Lease::Held
                {
                    *lease = Lease::Ended(scene.now);
                    self.tested += 1;
                }
            }
            Observation::JobOwner { job, gate_epoch, .. } => {
                let known = self.gate_owners.entry(job).or_insert(gate_epoch);
                *known = gate_epoch.max(*known);
            }
            Observation::DcOwner { job, dc_epoch, .. } => {
                let known = self.dc_owners.entry((job, scene.hosts[host].dc)).or_insert(dc_epoch);
                *known = dc_epoch.max(*known);
            }
            _ => {}
        }
    }

    fn acts(&self, scene: &Scene, host: HostIx, message: &Message) -> Result<(), String> {
        let Some(Lease::Ended(at)) = self.leases.get(&host) else { return Ok(()) };
        let gates = |job: &JobId| self.gate_owners.get(job).map(|known| known.0);
        let managers = |job: &JobId| self.dc_owners.get(&(*job, scene.hosts[host].dc)).map(|known| known.0);
        let (job, fence, newest) = match message {
            Message::Dispatch { job, gate_epoch, .. }
            | Message::StopInDc { job, gate_epoch, .. }
            | Message::GateOwnerChanged { job, gate_epoch, .. } => (job, gate_epoch.0, gates(job)),
            Message::ReserveShard(reserve) => {
                (&reserve.run.shard.job, reserve.dc_epoch.0, managers(&reserve.run.shard.job))
            }
            Message::StartShard { run, dc_epoch, .. } | Message::StopShard { run, dc_epoch, .. } => {
                (&run.shard.job, dc_epoch.0, managers(&run.shard.job))
            }
            Message::OwnerChanged { job, dc_epoch, .. } => (job, dc_epoch.0, managers(job)),
            _ => return Ok(()),
        };
        match newest {
            // Fence 0 is no owner's: with it the leader of a log ends what is left of a job that was dropped.
            Some(newest) if newest > fence && fence > 0 => Err(format!(
                "{} acts as the owner of {} under fence {fence}; the log ended its lease at {} ms, and the fence is {newest}",
                scene.name(host),
                scene.job_name(*job),
                at / 1_000_000,
            )),
            _ => Ok(()),
        }
    }
}

impl Spectator for Leases {
    fn name(&self) -> &'static str {
        "one lease, one owner"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::DEPARTURES.and(Interest::PROCESSES).and(Interest::OBSERVATIONS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        if *self.hostile.get_or_insert_with(|| is_hostile(scene)) {
            return Ok(());
        }
        match fact {
            Fact::Left { from, message, .. } => return self.acts(scene, *from, message),
            Fact::Observed { host, observation } => self.observed(scene, *host, observation),
            Fact::Ended { host, .. } => drop(self.leases.remove(host)),
            _ => {}
        }
        Ok(())
    }
}
