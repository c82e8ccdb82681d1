//! Jobs that the managers have dropped: names only, so that a late word of one does not start it again.
//!
//! Connections are not ordered with each other: a reservation of a manager that was deposed may come after its successor
//! has said that the job is over. A start of the worker needs no memory of these, since a reservation names the start
//! that it is meant for.

use alloc::collections::{BTreeSet, VecDeque};

use crate::id::JobId;

/// Most names that are kept; the oldest go first.
pub const OVER_MAX: usize = 1_024;

/// The newest dropped jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Over {
    jobs: BTreeSet<JobId>,
    order: VecDeque<JobId>,
}

impl Over {
    /// Remembers a job.
    pub fn add(&mut self, job: JobId) {
        if !self.jobs.insert(job) {
            return;
        }
        self.order.push_back(job);
        if self.order.len() > OVER_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.jobs.remove(&oldest);
        }
    }

    /// Whether a job is over.
    pub fn has(&self, job: JobId) -> bool {
        self.jobs.contains(&job)
    }
}
