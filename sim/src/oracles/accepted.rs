//! An accepted job is never lost, and accepted once.
//!
//! - Before a client reads that its job is accepted, a majority of the gates has it on disk.
//! - From then on no gate says that it does not know the job, until the job was dropped at the end of its retention.
//! - Its result is read by a client, or was kept for one as long as `retain_undelivered` says. Where a gate refused the
//!   same submission for good, its client has left, and nobody reads what another one accepted: it is decided and kept.
//! - The same key of the same tenant is always the same job, after its record was dropped too, as long as
//!   there is room for its tombstone.
//!
//! The answer to a submission is the promise of the whole system: whoever has it may turn off the laptop.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::api::{Answer, Request};
use tidegate_core::fault::FaultCode;
use tidegate_core::id::{JobId, Role};
use tidegate_core::observe::Observation;

use crate::world::{Fact, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Accepted {
    tested: u64,
    accepted: BTreeSet<JobId>,
    read: BTreeSet<JobId>,
    /// When the first gate decided the result, in simulated ns.
    decided: BTreeMap<JobId, u64>,
    /// When the first gate dropped the record.
    dropped: BTreeMap<JobId, u64>,
    /// Names of jobs whose submission some gate refused for good.
    refused: BTreeSet<String>,
    /// By tenant and key.
    keys: BTreeMap<(String, String), JobId>,
}

/// Whose job it is that a client submits under this name.
fn tenant(scene: &Scene, name: &str) -> String {
    let mut jobs = scene.plan.clients.iter().flat_map(|client| &client.jobs);
    jobs.find(|job| job.name == name).map_or_else(String::new, |job| job.tenant.clone())
}

impl Accepted {
    /// Whether no tombstone had to go for another.
    fn all_have_tombstones(&self, scene: &Scene) -> bool {
        self.dropped.len() <= scene.plan.cluster.limits().tombstones as usize
    }

    fn answered(
        &mut self,
        scene: &Scene,
        gate: usize,
        request: &Request,
        answer: &Answer,
    ) -> Result<(), String> {
        match (request, answer) {
            (Request::Submit { key, spec }, Answer::Submitted(submitted)) => {
                self.accepted.insert(submitted.job);
                let Some(key) = key else { return Ok(()) };
                let key = (tenant(scene, &spec.name), key.clone());
                self.tested += u64::from(self.keys.contains_key(&key));
                let known = *self.keys.entry(key.clone()).or_insert(submitted.job);
                let forgotten = self.dropped.contains_key(&known) && !self.all_have_tombstones(scene);
                if known == submitted.job || forgotten {
                    return Ok(());
                }
                Err(format!(
                    "{:?} was accepted twice with the key {key:?}: as {known} and {}",
                    spec.name, submitted.job
                ))
            }
            (Request::Submit { spec, .. }, Answer::Fault(fault)) if !fault.is_retryable() => {
                self.refused.insert(spec.name.clone());
                Ok(())
            }
            (
                Request::Status { job }
                | Request::Cancel { job, .. }
                | Request::Result { job }
                | Request::Events { job, .. },
                Answer::Fault(fault),
            ) if fault.code == FaultCode::UnknownJob
                && self.accepted.contains(job)
                && !self.dropped.contains_key(job) =>
            {
                Err(format!("{} does not know {}, which is accepted", scene.name(gate), scene.job_name(*job)))
            }
            _ => Ok(()),
        }
    }
}

impl Spectator for Accepted {
    fn name(&self) -> &'static str {
        "accepted jobs are never lost"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::CALLS.and(Interest::RESULTS).and(Interest::OBSERVATIONS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Answered { gate, request, answer, .. } => self.answered(scene, *gate, request, answer),
            Fact::Accepted { job, gates_with_it } => {
                let gates = usize::from(scene.plan.cluster.gates);
                if *gates_with_it * 2 > gates {
                    return Ok(());
                }
                Err(format!(
                    "{job} was answered as accepted, and {gates_with_it} of {gates} gates have it on disk"
                ))
            }
            Fact::ResultRead { result, .. } => {
                self.read.insert(result.job);
                Ok(())
            }
            Fact::Observed { host, observation } if scene.hosts[*host].role == Some(Role::Gate) => {
                match **observation {
                    Observation::JobFinal { job, .. } => drop(self.decided.entry(job).or_insert(scene.now)),
                    Observation::JobDropped(job) => drop(self.dropped.entry(job).or_insert(scene.now)),
                    _ => {}
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, scene: &Scene) -> Result<(), String> {
        // A clock may run a fifth fast, so that a day is a little shorter.
        let kept_ns = scene.plan.cluster.timing(Role::Gate).retain_undelivered.as_nanos() / 5 * 4;
        let was_kept = |job| match (self.decided.get(job), self.dropped.get(job)) {
            (Some(decided), Some(dropped)) => dropped - decided >= kept_ns,
            _ => false,
        };
        let is_left = |job: &JobId| {
            let name = scene.job_name(*job);
            self.decided.contains_key(job) && !self.dropped.contains_key(job) && self.refused.contains(&name)
        };
        match self.accepted.difference(&self.read).find(|job| !was_kept(job) && !is_left(job)) {
            Some(job) => {
                Err(format!("{} was accepted and nobody could read its result", scene.job_name(*job)))
            }
            None => Ok(()),
        }
    }
}
