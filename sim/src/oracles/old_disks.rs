//! An old image of a disk is refused.
//!
//! A voter that comes back with an older disk has forgotten what it confirmed. Where the tier has seen a higher start of
//! that disk, a process of a lower one never becomes active.

use std::collections::BTreeMap;

use tidegate_core::id::Role;
use tidegate_core::observe::Observation;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct OldDisks {
    /// The highest start that was active.
    active: BTreeMap<HostIx, u32>,
}

impl Spectator for OldDisks {
    fn name(&self) -> &'static str {
        "an old disk is refused"
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::FAULTS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            // An empty disk is another disk: it has starts of its own.
            Fact::Fault { kind: "disk_wipe", host, .. } => drop(self.active.remove(host)),
            // A worker votes on nothing.
            Fact::Observed { host, observation: Observation::Active }
                if scene.hosts[*host].role != Some(Role::Worker) =>
            {
                let boot = scene.boots[*host];
                let known = self.active.entry(*host).or_insert(boot);
                if boot < *known {
                    return Err(format!(
                        "{} is active as start {boot} of its disk; it was active as start {known}",
                        scene.name(*host)
                    ));
                }
                *known = boot;
            }
            _ => {}
        }
        Ok(())
    }
}
