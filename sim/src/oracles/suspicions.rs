//! A suspicion comes to an end.
//!
//! A manager that suspects a worker for a job gives it up for the job in time, or hears of it, or the job has no more to
//! do with it: a verdict that is lost on its way leaves a run with a worker that does nothing for it. Judged where
//! nothing but messages went wrong at the worker and at the managers: anything else may end a suspicion without a word.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::id::{DcId, JobId, NodeId, Role};
use tidegate_core::observe::Observation;

use crate::plan::Point;
use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

const S: Time = 1_000_000_000;
/// Nobody but the owner hears of a run, so the shortest suspicion is the one: 2 s, and what a slow disk and late timers
/// take.
const JUDGED: Time = 8 * S;
/// A healed cluster is as before within this time.
const MENDED: Time = 10 * S;
/// Faults that leave a node and its connections as they are.
const HARMLESS: &[&str] = &["message_drop", "message_hold", "message_repeat"];

/// See the module.
#[derive(Default)]
pub(super) struct Suspicions {
    tested: u64,
    /// By manager, job and worker: since when.
    open: BTreeMap<(HostIx, JobId, NodeId), Time>,
    /// Whom more than messages has gone wrong with.
    broken: BTreeSet<HostIx>,
    healed_at: Option<Time>,
    next_look: Time,
}

impl Suspicions {
    fn is_well(&self, scene: &Scene, host: HostIx) -> bool {
        match self.healed_at {
            None => !self.broken.contains(&host) && !scene.plan.driver.contains_key(&Point::ResetAfterSend),
            Some(at) => scene.is_healed(host) && scene.running[host] && at + MENDED < scene.now,
        }
    }

    fn observed(&mut self, scene: &Scene, host: HostIx, observation: &Observation) {
        match *observation {
            Observation::WorkerSuspected { job, worker } => {
                self.open.insert((host, job, worker), scene.now);
            }
            Observation::WorkerDeadForJob { job, worker } | Observation::WorkerBackForJob { job, worker } => {
                self.tested += u64::from(self.open.remove(&(host, job, worker)).is_some());
            }
            Observation::WorkerLost(node) => self.open.retain(|(_, _, worker), _| *worker != node),
            Observation::DcJobFinal { job, .. } | Observation::JobDropped(job) => {
                self.open.retain(|(_, known, _), _| *known != job);
            }
            // Only the owner suspects.
            Observation::DcOwner { job, owner, .. } => {
                self.open.retain(|(by, known, _), _| *known != job || scene.hosts[*by].node == owner);
            }
            _ => {}
        }
    }

    fn look(&self, scene: &Scene) -> Result<(), String> {
        let managers_are_well = |dc: DcId| {
            let managers =
                |ix: &HostIx| scene.hosts[*ix].dc == dc && scene.hosts[*ix].role == Some(Role::Manager);
            (0..scene.nodes).filter(managers).all(|ix| self.is_well(scene, ix))
        };
        let unjudged = self.open.iter().find(|((manager, _, worker), at)| {
            let dc = scene.hosts[*manager].dc;
            **at + JUDGED < scene.now
                && scene.host(*worker).is_some_and(|worker| self.is_well(scene, worker))
                && managers_are_well(dc)
        });
        let Some(((manager, job, worker), at)) = unjudged else { return Ok(()) };
        let (name, job, s) = (scene.name(*manager), scene.job_name(*job), (scene.now - at) / S);
        Err(format!(
            "{name} has suspected {} for {job} for {s} s, and nothing came of it",
            scene.node_name(*worker)
        ))
    }
}

impl Spectator for Suspicions {
    fn name(&self) -> &'static str {
        "a suspicion ends"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::RUNS.and(Interest::OBSERVATIONS).and(Interest::FAULTS).and(Interest::PROCESSES)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Healed => {
                self.healed_at = Some(scene.now);
                // What was broken may have ended a suspicion without a word.
                let broken = &self.broken;
                let is_broken = |node: NodeId| scene.host(node).is_none_or(|host| broken.contains(&host));
                self.open.retain(|(by, _, worker), _| !broken.contains(by) && !is_broken(*worker));
            }
            Fact::Fault { kind, host, .. } if !HARMLESS.contains(kind) => drop(self.broken.insert(*host)),
            Fact::Ended { host, .. } => {
                self.broken.insert(*host);
                let node = scene.hosts[*host].node;
                self.open.retain(|(manager, _, worker), _| manager != host && *worker != node);
            }
            Fact::RunOver { host, run, .. } => {
                let node = scene.hosts[*host].node;
                self.open.retain(|(_, job, worker), _| *job != run.shard.job || *worker != node);
            }
            Fact::Observed { host, observation } => self.observed(scene, *host, observation),
            _ => {}
        }
        if scene.now >= self.next_look && !self.open.is_empty() {
            self.next_look = scene.now + S;
            return self.look(scene);
        }
        Ok(())
    }
}
