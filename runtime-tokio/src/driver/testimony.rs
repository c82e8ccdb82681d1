//! What becomes of observations: log lines, counters, and whoever listens.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::mpsc::Sender;

use prometheus_client::metrics::counter::Counter;
use tidegate_core::{Observation, WallTime};

use super::metrics::Metrics;

/// Takes a node's observations.
#[derive(Debug)]
pub struct Testimony {
    node: String,
    metrics: Metrics,
    counters: HashMap<String, Counter>,
    tap: Option<Sender<(WallTime, Observation)>>,
}

impl Testimony {
    /// For the node of this name. `tap` hears every observation too.
    pub fn new(node: String, metrics: Metrics, tap: Option<Sender<(WallTime, Observation)>>) -> Self {
        Self { node, metrics, counters: HashMap::new(), tap }
    }

    /// One observation.
    pub(super) fn hear(&mut self, wall: WallTime, observation: Observation) {
        let kind = kind_of(&observation);
        if let Some(counter) = self.counters.get(kind.as_str()) {
            counter.inc();
        } else {
            let counter = self.metrics.observations(kind.as_str());
            counter.inc();
            self.counters.insert(kind.as_str().to_owned(), counter);
        }
        self.log(&observation);
        if let Some(tap) = &self.tap
            && tap.send((wall, observation)).is_err()
        {
            self.tap = None;
        }
    }

    fn log(&self, observation: &Observation) {
        let node = self.node.as_str();
        match observation {
            Observation::StoreFailed | Observation::StateDiverged(_) => {
                tracing::error!(target: "tidegate::node", node, "{observation:?}");
            }
            Observation::Isolated
            | Observation::LeaseEnded(_)
            | Observation::TargetReplaced { .. }
            | Observation::PartitionSuspected { .. }
            | Observation::EvictionHeld { .. }
            | Observation::CircuitOpened(_)
            | Observation::GreetingRefused { .. }
            | Observation::WorkerDeadForJob { .. }
            | Observation::WorkerUnhealthy { .. }
            | Observation::WorkerHeld { .. }
            | Observation::Alert { .. } => {
                tracing::warn!(target: "tidegate::node", node, "{observation:?}");
            }
            Observation::Active
            | Observation::Draining
            | Observation::Greeted { .. }
            | Observation::Member { .. }
            | Observation::DcReach { .. }
            | Observation::DcHealth { .. }
            | Observation::RegionHealth { .. }
            | Observation::GateReadiness { .. }
            | Observation::NetworkSlow { .. }
            | Observation::DcLeader { .. }
            | Observation::PartitionHealed
            | Observation::CircuitClosed(_)
            | Observation::Condition(_)
            | Observation::PeerCondition { .. }
            | Observation::AlertOver { .. }
            | Observation::WorkerSuspected { .. }
            | Observation::WorkerBackForJob { .. }
            | Observation::MoreTimeAsked { .. }
            | Observation::WorkerPace { .. }
            | Observation::MoreTimeGranted { .. }
            | Observation::MoreTimeDenied { .. }
            | Observation::BecameLeader(_)
            | Observation::LostLeadership(_)
            | Observation::JobAccepted(_)
            | Observation::JobFinal { .. }
            | Observation::CancelRecorded(_)
            | Observation::WorkerRegistered(_)
            | Observation::WorkerLost(_) => tracing::info!(target: "tidegate::node", node, "{observation:?}"),
            _ => tracing::debug!(target: "tidegate::node", node, "{observation:?}"),
        }
    }
}

/// The name of an observation's kind, without its fields: the first word of its `Debug` form, without formatting the
/// rest.
fn kind_of(observation: &Observation) -> Kind {
    let mut kind = Kind::default();
    // The error is how the name stops the formatting of the fields.
    let _ = write!(kind, "{observation:?}");
    kind
}

/// A short name, on the stack.
#[derive(Default)]
struct Kind {
    bytes: [u8; 32],
    len: usize,
}

impl Kind {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("unknown")
    }
}

impl Write for Kind {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let word = text.bytes().take_while(u8::is_ascii_alphanumeric);
        for (place, byte) in self.bytes[self.len..].iter_mut().zip(word) {
            *place = byte;
            self.len += 1;
        }
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::id::Term;
    use tidegate_core::wire::Malformed;

    #[test]
    fn a_kind_is_the_name_alone() {
        assert_eq!(kind_of(&Observation::Active).as_str(), "Active");
        assert_eq!(kind_of(&Observation::BecameLeader(Term(3))).as_str(), "BecameLeader");
        assert_eq!(kind_of(&Observation::Malformed(Malformed::Seal)).as_str(), "Malformed");
        let digest = Observation::StateDigest { index: 1, digest: 2 };
        assert_eq!(kind_of(&digest).as_str(), "StateDigest");
    }
}
