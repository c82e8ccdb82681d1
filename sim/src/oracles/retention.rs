//! Ended jobs are dropped when their retention is over.
//!
//! A record that stays is memory that never comes back, and a timer that was lost. Judged at the end, at gates that work
//! again: a job whose result was decided longer ago than it may be kept is gone.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::id::{JobId, Role};
use tidegate_core::observe::Observation;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

/// A gate may come to it this much later: an election, a new owner, a proposal that has to be repeated.
const LATE: Time = 20_000_000_000;

/// See the module.
#[derive(Default)]
pub(super) struct Retention {
    decided: BTreeMap<JobId, Time>,
    held: BTreeMap<HostIx, BTreeSet<JobId>>,
    healed_at: Option<Time>,
}

impl Spectator for Retention {
    fn name(&self) -> &'static str {
        "ended jobs are dropped"
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::FAULTS).and(Interest::PROCESSES)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Healed => self.healed_at = Some(scene.now),
            // What it held is on its disk; a record that it says nothing of is not judged.
            Fact::Ended { host, .. } => drop(self.held.remove(host)),
            Fact::Observed { host, observation } if scene.hosts[*host].role == Some(Role::Gate) => {
                match **observation {
                    Observation::JobFinal { job, .. } => {
                        self.decided.entry(job).or_insert(scene.now);
                        self.held.entry(*host).or_default().insert(job);
                    }
                    Observation::JobDropped(job) => {
                        self.held.entry(*host).or_default().remove(&job);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, scene: &Scene) -> Result<(), String> {
        let Some(healed_at) = self.healed_at else { return Ok(()) };
        let timing = scene.plan.cluster.timing(Role::Gate);
        let kept = timing.retain_completed.max(timing.retain_other).max(timing.retain_undelivered);
        // Clocks may run slow.
        let kept = kept.as_nanos() / 4 * 5 + LATE;
        for (host, jobs) in self.held.iter().filter(|(host, _)| scene.is_healed(**host)) {
            for job in jobs {
                let since = self.decided.get(job).copied().unwrap_or(scene.now).max(healed_at);
                if since + kept < scene.now {
                    let (name, s) = (scene.job_name(*job), (scene.now - since) / 1_000_000_000);
                    return Err(format!("{} still has {name}, {s} s after its end", scene.name(*host)));
                }
            }
        }
        Ok(())
    }
}
