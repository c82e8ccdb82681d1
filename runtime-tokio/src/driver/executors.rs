//! The seam between a worker's thread and what it executes.

use tidegate_core::Event;
use tidegate_core::jobs::{ExecCommand, ExecEvent};

use super::inbox::InboxSender;

/// What performs `Effect::Exec`. It runs on threads of its own and never blocks the caller.
pub trait Executors: Send {
    /// Starts or stops an execution. What comes of it is told through [`ExecEvents`], never returned.
    fn perform(&mut self, command: ExecCommand);

    /// The node has ended: kills whatever still runs, child process groups included, and returns when it is gone.
    fn shutdown(&mut self);
}

/// Makes the executors of a worker, given where they report.
pub type ExecutorsFactory = Box<dyn FnOnce(ExecEvents) -> Box<dyn Executors> + Send>;

/// Where executors report. Clones report to the same node.
#[derive(Clone, Debug)]
pub struct ExecEvents {
    inbox: InboxSender,
}

impl ExecEvents {
    pub(crate) fn new(inbox: InboxSender) -> Self {
        Self { inbox }
    }

    /// Tells the node. Never waits: an execution reports at most a few times a second, and a worker bounds them.
    pub fn send(&self, event: ExecEvent) {
        self.inbox.push(Event::Exec(Box::new(event)));
    }
}
