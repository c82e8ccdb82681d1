//! What a world drives: the nodes of Tidegate, or something simpler in their place.

use tidegate_core::census::Census;
use tidegate_core::config::Boot;
use tidegate_core::effect::{Effects, HaltReason};
use tidegate_core::event::Event;
use tidegate_core::id::JobId;
use tidegate_core::time::{Instant, Now};
use tidegate_core::wire::may_connect;

use super::facts::HostInfo;

/// A node as a world sees it.
pub trait Machine: Sized {
    /// The node as its disk left it.
    fn begin(boot: Boot) -> Result<Self, HaltReason>;
    /// One step.
    fn step_into(&mut self, now: Now, event: Event, out: &mut Effects);
    /// The earliest deadline.
    fn wake_at(&self) -> Option<Instant>;
    /// How many places mention the job.
    fn mentions(&self, job: JobId) -> usize;
    /// How much it holds.
    fn census(&self) -> Census;
    /// Which pairs of nodes hold an ordered connection.
    fn connections(nodes: &[HostInfo]) -> Vec<(usize, usize)>;
}

impl Machine for tidegate_core::Node {
    fn begin(boot: Boot) -> Result<Self, HaltReason> {
        Self::new(boot)
    }
    fn step_into(&mut self, now: Now, event: Event, out: &mut Effects) {
        self.step_into(now, event, out);
    }
    fn wake_at(&self) -> Option<Instant> {
        self.wake_at()
    }
    fn mentions(&self, job: JobId) -> usize {
        self.mentions(job)
    }
    fn census(&self) -> Census {
        self.census()
    }

    /// Gates with gates and managers; managers and workers within their datacenter.
    fn connections(nodes: &[HostInfo]) -> Vec<(usize, usize)> {
        let meets = |a: &HostInfo, b: &HostInfo| match (a.role, b.role) {
            (Some(one), Some(two)) => {
                may_connect(one, two)
                    && (a.dc == b.dc || a.dc.as_str().is_empty() || b.dc.as_str().is_empty())
            }
            _ => false,
        };
        let pairs = (0..nodes.len()).flat_map(|a| (a + 1..nodes.len()).map(move |b| (a, b)));
        pairs.filter(|&(a, b)| meets(&nodes[a], &nodes[b]) || meets(&nodes[b], &nodes[a])).collect()
    }
}
