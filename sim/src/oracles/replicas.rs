//! Replicas agree: at the same index of a tier's log, the same state.
//!
//! What a replica computes may depend on the log alone. One that has another state will answer differently as soon as
//! it owns something.

use std::collections::BTreeMap;

use tidegate_core::id::DcId;
use tidegate_core::observe::Observation;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Replicas {
    tested: u64,
    digests: BTreeMap<(DcId, u64), (u64, HostIx)>,
}

impl Spectator for Replicas {
    fn name(&self) -> &'static str {
        "replicas agree"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Observed { host, observation } = fact else { return Ok(()) };
        match **observation {
            Observation::StateDiverged(index) => {
                Err(format!("the state of {} differs from its leader's at index {index}", scene.name(*host)))
            }
            Observation::StateDigest { index, digest } => {
                let key = (scene.hosts[*host].dc, index);
                let (known, other) = *self.digests.entry(key).or_insert((digest, *host));
                self.tested += u64::from(other != *host);
                if known == digest {
                    return Ok(());
                }
                Err(format!(
                    "at index {index} {} has state {digest:016x}, {} {known:016x}",
                    scene.name(*host),
                    scene.name(other)
                ))
            }
            _ => Ok(()),
        }
    }
}
