//! Exactly one final result per job, never changed: the same bytes for every client, from every gate, at any time.
//!
//! A result that differs between gates, or a status that moves on after it was final, makes every number of a report
//! worthless: nobody can know which one is true.

use std::collections::BTreeMap;

use tidegate_core::api::{Answer, ClientEventKind};
use tidegate_core::id::{JobId, WorkflowIx};
use tidegate_core::jobs::{JobResult, JobStatus};
use tidegate_core::observe::Observation;

use crate::world::{Fact, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Results {
    tested: u64,
    results: BTreeMap<JobId, JobResult>,
    decided: BTreeMap<JobId, JobStatus>,
}

impl Results {
    fn is_decided(&mut self, scene: &Scene, job: JobId, status: JobStatus, who: &str) -> Result<(), String> {
        let known = *self.decided.entry(job).or_insert(status);
        if known == status {
            return Ok(());
        }
        let job = scene.job_name(job);
        Err(format!("{job} was {}, and is {} for {who}", known.as_str(), status.as_str()))
    }

    /// A status that is not final must not follow one that is, at the same node. (Another node may be behind.)
    fn view(&mut self, scene: &Scene, job: JobId, status: JobStatus, who: &str) -> Result<(), String> {
        if status.is_final() { self.is_decided(scene, job, status, who) } else { Ok(()) }
    }

    fn read(&mut self, scene: &Scene, result: &JobResult, who: &str) -> Result<(), String> {
        if !result.status.is_final() {
            return Err(format!(
                "{} has a result with status {}",
                scene.job_name(result.job),
                result.status.as_str()
            ));
        }
        self.tested += u64::from(self.results.contains_key(&result.job));
        let known = self.results.entry(result.job).or_insert_with(|| result.clone());
        if known != result {
            let job = scene.job_name(result.job);
            return Err(format!(
                "{job} has two results:\n  {known:?}\n  {result:?}\n  the second from {who}"
            ));
        }
        let places = result.per_dc.iter().map(|report| (report.dc, WorkflowIx(0)));
        if !places.clone().is_sorted_by(|a, b| a.0 < b.0) {
            return Err(format!("{}: a datacenter counts twice", scene.job_name(result.job)));
        }
        self.is_decided(scene, result.job, result.status, who)
    }
}

impl Spectator for Results {
    fn name(&self) -> &'static str {
        "one final result"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::CALLS).and(Interest::PUSHES).and(Interest::RESULTS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::ResultRead { gate, result, .. } => self.read(scene, result, scene.name(*gate)),
            Fact::Observed { host, observation } => match **observation {
                Observation::JobFinal { job, status } => {
                    self.is_decided(scene, job, status, scene.name(*host))
                }
                Observation::JobStatus { job, status } => self.view(scene, job, status, scene.name(*host)),
                _ => Ok(()),
            },
            Fact::Answered { gate, answer: Answer::Status(view), .. } => {
                self.view(scene, view.job, view.status, scene.name(*gate))
            }
            Fact::Pushed { gate, event, .. } => match &event.kind {
                ClientEventKind::Status { status, .. } => {
                    self.view(scene, event.job, *status, scene.name(*gate))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
