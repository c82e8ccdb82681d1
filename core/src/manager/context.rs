//! What a record's duties are done with: the node around it, and where its sends, proposals and deadlines go.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::command::Command;
use super::job::{DcJob, Duty};
use super::retry::Ask;
use super::workers::Pool;
use crate::config::NodeConfig;
use crate::effect::{Effect, Effects};
use crate::id::{BootNo, NodeId};
use crate::link::Links;
use crate::rng::NodeRng;
use crate::time::{Duration, Instant, Now};
use crate::wire::Message;

/// The node around a record.
pub struct Context<'a> {
    /// The step's time.
    pub now: Now,
    /// The node's configuration.
    pub config: &'a NodeConfig,
    /// The node's process.
    pub boot: BootNo,
    /// The workers.
    pub pool: &'a Pool,
    /// The connections.
    pub links: &'a Links,
    /// The node's stream.
    pub rng: &'a mut NodeRng,
    /// Whether the node's own lease holds: whether it may act as an owner.
    pub may_act: bool,
    /// When a gate was heard last.
    pub gate_heard: Instant,
    /// From when on this process trusts its log alone.
    pub sure_at: Instant,
    /// Where effects go.
    pub out: &'a mut Effects,
    /// What is to be proposed for the record.
    pub proposals: Vec<(Duty, Command)>,
    /// When the record's duties are due again.
    pub wake: Option<Instant>,
    /// Something of the record waits for cores.
    pub wants_cores: bool,
    /// Workers that can be reached and have left a request without an answer.
    pub unanswered: Vec<NodeId>,
}

impl Context<'_> {
    /// This node.
    pub fn me(&self) -> NodeId {
        self.config.node
    }

    /// Sends on the ordered connection.
    pub fn send(&mut self, to: NodeId, message: Message) {
        self.out.push(Effect::Send { to, message: Box::new(message) });
    }

    /// The record's duties are due again at `at`, or earlier.
    pub fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// The record's duties are due again when a request is to be repeated.
    pub fn wake_for(&mut self, ask: &Ask) {
        if let Some(next) = ask.next() {
            self.wake_at(next);
        }
    }

    /// The record's duties are due again after `wait`, or earlier.
    pub fn wake_in(&mut self, wait: Duration) {
        self.wake_at(self.now.mono + wait);
    }
}

impl DcJob {
    /// Proposes a command for a duty, unless that duty's command is undecided.
    pub(super) fn propose(&mut self, cx: &mut Context<'_>, duty: Duty, command: Command) {
        if !self.is_proposed(duty) {
            self.live.proposed.insert(duty, 0);
            cx.proposals.push((duty, command));
        }
    }

    /// Whether a duty's command is undecided.
    pub(super) fn is_proposed(&self, duty: Duty) -> bool {
        self.live.proposed.contains_key(&duty)
    }
}
