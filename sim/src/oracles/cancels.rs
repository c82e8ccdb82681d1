//! A cancelled job never completes.
//!
//! Once a client has read that its cancel is recorded, the job's final status is `Cancelled` and nothing else, whatever
//! comes later: a result, a failure, a deadline. A gate whose log has the final result before the cancel says so
//! (`AlreadyTerminal`) instead of recording it.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::api::Answer;
use tidegate_core::id::JobId;
use tidegate_core::jobs::JobStatus;

use crate::world::{Fact, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Cancels {
    tested: u64,
    recorded: BTreeSet<JobId>,
    ended: BTreeMap<JobId, JobStatus>,
}

impl Cancels {
    fn check(&self, scene: &Scene, job: JobId) -> Result<(), String> {
        match self.ended.get(&job) {
            Some(status) if *status != JobStatus::Cancelled && self.recorded.contains(&job) => Err(format!(
                "{} is {} although its cancel was recorded",
                scene.job_name(job),
                status.as_str()
            )),
            _ => Ok(()),
        }
    }
}

impl Spectator for Cancels {
    fn name(&self) -> &'static str {
        "a cancelled job never completes"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::CALLS.and(Interest::RESULTS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        let job = match fact {
            Fact::Answered { answer: Answer::CancelRecorded { job, .. }, .. } => {
                self.recorded.insert(*job);
                *job
            }
            Fact::ResultRead { result, .. } => {
                self.ended.insert(result.job, result.status);
                result.job
            }
            _ => return Ok(()),
        };
        self.tested += u64::from(self.recorded.contains(&job) && self.ended.contains_key(&job));
        self.check(scene, job)
    }
}
