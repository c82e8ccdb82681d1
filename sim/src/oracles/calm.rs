//! As long as nothing has gone wrong, nobody is held lost.
//!
//! Leases, membership and placement must cost nothing where all is well: a lease that ends, a worker that is given up, a
//! member that is held dead before the first fault of a run is a fault of the nodes. So is a job that goes to a far
//! datacenter while a near one is as idle.

use std::collections::BTreeSet;

use tidegate_core::id::{DcId, JobId};
use tidegate_core::observe::Observation;
use tidegate_core::routing::needed_cores;
use tidegate_core::swim::MemberStatus;

use crate::plan::{DatacenterPlan, LinkPlan, Place};
use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

/// A cluster has found together so long after its last node has begun.
const BEGUN: Time = 5_000_000_000;
/// A datacenter is far if its way is this many times as long as that of a near one, at least.
const FAR: u64 = 2;

/// See the module.
#[derive(Default)]
pub(super) struct Calm {
    tested: u64,
    over: bool,
    dispatched: BTreeSet<JobId>,
    /// The first job, by whom and where it was sent: judged once it has its name.
    first: Option<(HostIx, JobId, DcId)>,
}

/// Whether links are such that what takes long is not by chance.
fn is_steady(link: &LinkPlan) -> bool {
    link.spike_permille == 0 && link.bytes_per_ms == 0
}

impl Calm {
    fn observed(&self, scene: &Scene, host: HostIx, observation: &Observation) -> Result<(), String> {
        let what = match *observation {
            Observation::LeaseEnded(node) => format!("the lease of {} has ended", scene.node_name(node)),
            Observation::WorkerLost(node) => format!("{} is given up", scene.node_name(node)),
            Observation::Member { node, status: MemberStatus::Dead } => {
                format!("{} is held dead", scene.node_name(node))
            }
            _ => return Ok(()),
        };
        Err(format!("{} says, before anything has gone wrong: {what}", scene.name(host)))
    }

    /// The first job of a run, when everything is idle, goes to a near datacenter.
    fn placed(&mut self, scene: &Scene) -> Result<(), String> {
        let Some((gate, job, dc)) = self.first else { return Ok(()) };
        let (name, dc) = (scene.job_name(job), dc.as_str());
        let mut jobs = scene.plan.clients.iter().flat_map(|client| &client.jobs);
        let Some(plan) = jobs.find(|plan| plan.name == name) else { return Ok(()) };
        self.first = None;
        let (Place::Any | Place::Count(1), Ok(spec)) = (&plan.place, plan.spec()) else { return Ok(()) };
        let needed = needed_cores(&spec, 1);
        let region = &scene.hosts[gate].region;
        let way = |dc: &str| scene.plan.network.link(region, dc);
        let cores = |dc: &DatacenterPlan| -> u32 { dc.workers.iter().map(|one| u32::from(one.cores)).sum() };
        let all = &scene.plan.cluster.datacenters;
        self.tested += 1;
        let nearer = all.iter().find(|other| {
            let (near, far) = (way(&other.name), way(dc));
            cores(other) >= needed
                && (near.latency_us + near.jitter_us) * FAR < far.latency_us
                && is_steady(&near)
                && is_steady(&far)
        });
        match nearer {
            Some(other) => Err(format!(
                "{} sends {name}, the first job, to {dc} ({} us away), and {} is idle and {} us away",
                scene.name(gate),
                way(dc).latency_us,
                other.name,
                way(&other.name).latency_us
            )),
            None => Ok(()),
        }
    }
}

impl Spectator for Calm {
    fn name(&self) -> &'static str {
        "nothing is lost in calm"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::FAULTS).and(Interest::PROCESSES)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        if self.over {
            return Ok(());
        }
        match fact {
            Fact::Fault { .. } | Fact::Ended { .. } => self.over = true,
            Fact::Observed { host, observation } => {
                self.over |= !scene.plan.driver.is_empty();
                if !self.over {
                    self.tested += 1;
                    self.observed(scene, *host, observation)?;
                    if let Observation::Dispatched { job, dc } = **observation {
                        let stagger = scene.plan.cluster.start_stagger_ms * scene.nodes as u64 * 1_000_000;
                        let first = self.dispatched.is_empty() && scene.now >= stagger + BEGUN;
                        self.dispatched.insert(job);
                        self.first = first.then_some((*host, job, dc));
                    }
                    return self.placed(scene);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
