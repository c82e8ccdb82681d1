//! The worker machine.

use crate::config::Boot;
use crate::effect::{Effects, HaltReason};
use crate::event::Event;
use crate::id::JobId;
use crate::time::{Instant, Now};

/// The worker machine.
#[derive(Clone, Debug)]
pub struct Worker {
    boot: Boot,
}

impl Worker {
    /// The worker as its disk left it.
    pub fn new(boot: Boot) -> Result<Self, HaltReason> {
        Ok(Self { boot })
    }

    /// One step.
    pub fn step_into(&mut self, _now: Now, _event: Event, _out: &mut Effects) {
        let _ = &self.boot;
    }

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// How many places mention the job.
    pub fn mentions(&self, _job: JobId) -> usize {
        0
    }
}
