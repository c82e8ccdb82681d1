//! A node of any role behind one interface: what drivers hold.

use alloc::boxed::Box;

use crate::census::Census;
use crate::config::Boot;
use crate::effect::{Effects, HaltReason};
use crate::event::Event;
use crate::gate::Gate;
use crate::id::{JobId, Role};
use crate::manager::Manager;
use crate::time::{Instant, Now};
use crate::worker::Worker;

/// A gate, a manager or a worker.
#[derive(Clone, Debug)]
pub enum Node {
    /// Owns jobs and talks to clients.
    Gate(Box<Gate>),
    /// Runs jobs inside one datacenter.
    Manager(Box<Manager>),
    /// Executes shards.
    Worker(Box<Worker>),
}

impl Node {
    /// The node as its disk left it. `Err` where the rows cannot be used; nothing may be sent then.
    pub fn new(boot: Boot) -> Result<Self, HaltReason> {
        match boot.config.role {
            Role::Gate => Gate::new(boot).map(|gate| Self::Gate(Box::new(gate))),
            Role::Manager => Manager::new(boot).map(|manager| Self::Manager(Box::new(manager))),
            Role::Worker => Worker::new(boot).map(|worker| Self::Worker(Box::new(worker))),
        }
    }

    /// One step: first expires everything due at `now`, then handles the event. Effects are added to `out` in order.
    pub fn step_into(&mut self, now: Now, event: Event, out: &mut Effects) {
        match self {
            Self::Gate(gate) => gate.step_into(now, event, out),
            Self::Manager(manager) => manager.step_into(now, event, out),
            Self::Worker(worker) => worker.step_into(now, event, out),
        }
    }

    /// One step, with its effects returned.
    pub fn step(&mut self, now: Now, event: Event) -> Effects {
        let mut out = Effects::new();
        self.step_into(now, event, &mut out);
        out
    }

    /// The earliest deadline: an [`Event::Wake`] is wanted then.
    pub fn wake_at(&self) -> Option<Instant> {
        match self {
            Self::Gate(gate) => gate.wake_at(),
            Self::Manager(manager) => manager.wake_at(),
            Self::Worker(worker) => worker.wake_at(),
        }
    }

    /// How many places of the node mention a job, tombstones and uncompacted log entries aside. Zero after
    /// `Observation::JobDropped`: the simulator asks.
    pub fn mentions(&self, job: JobId) -> usize {
        match self {
            Self::Gate(gate) => gate.mentions(job),
            Self::Manager(manager) => manager.mentions(job),
            Self::Worker(worker) => worker.mentions(job),
        }
    }

    /// How much the node holds.
    pub fn census(&self) -> Census {
        match self {
            Self::Gate(gate) => gate.census(),
            Self::Manager(manager) => manager.census(),
            Self::Worker(worker) => worker.census(),
        }
    }
}
