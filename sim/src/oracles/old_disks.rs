//! An old image of a disk is refused.
//!
//! A voter that comes back with an older disk has forgotten what it confirmed. Where the tier has seen a higher start of
//! that disk, a process of a lower one never becomes active, and where nothing else is wrong with the tier, it is told so
//! and ends: what it promises meanwhile is worth nothing.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::id::{DcId, Role};
use tidegate_core::observe::Observation;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

const S: Time = 1_000_000_000;
/// An election, a connection, and a message each way.
const REFUSED: Time = 20 * S;
/// What makes a disk old, and starts that a plan has beside it.
const OWN_FAULTS: &[&str] = &["disk_save", "disk_restore", "restart"];

/// See the module.
#[derive(Default)]
pub(super) struct OldDisks {
    tested: u64,
    /// The highest start that was active.
    active: BTreeMap<HostIx, u32>,
    /// Processes on disks that are older than their tier knows them: since when.
    old: BTreeMap<HostIx, Time>,
    /// Tiers with which anything else went wrong: who knows better may be absent.
    broken: BTreeSet<DcId>,
    healed_at: Option<Time>,
    next_look: Time,
}

impl OldDisks {
    fn look(&self, scene: &Scene) -> Result<(), String> {
        let endless = self.old.iter().find(|(host, since)| {
            let from = if !self.broken.contains(&scene.hosts[**host].dc) {
                Some(**since)
            } else {
                self.healed_at.filter(|_| scene.is_healed(**host)).map(|at| at.max(**since))
            };
            from.is_some_and(|from| from + REFUSED < scene.now)
        });
        match endless {
            Some((host, since)) => Err(format!(
                "{} has run for {} s as start {} of its disk, which was active as start {}, and nobody refuses it",
                scene.name(*host),
                (scene.now - since) / S,
                scene.boots[*host],
                self.active[host],
            )),
            None => Ok(()),
        }
    }
}

impl Spectator for OldDisks {
    fn name(&self) -> &'static str {
        "an old disk is refused"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::FAULTS).and(Interest::PROCESSES)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Healed => self.healed_at = Some(scene.now),
            // An empty disk is another disk: it has starts of its own.
            Fact::Fault { kind: "disk_wipe", host, .. } => drop(self.active.remove(host)),
            Fact::Fault { kind, host, .. }
                if !OWN_FAULTS.contains(kind) && scene.hosts[*host].role != Some(Role::Worker) =>
            {
                self.broken.insert(scene.hosts[*host].dc);
            }
            Fact::Began { host, boot } if self.active.get(host).is_some_and(|active| active > boot) => {
                self.old.insert(*host, scene.now);
            }
            Fact::Ended { host, .. } => self.tested += u64::from(self.old.remove(host).is_some()),
            // A worker votes on nothing.
            Fact::Observed { host, observation: Observation::Active }
                if scene.hosts[*host].role != Some(Role::Worker) =>
            {
                let boot = scene.boots[*host];
                self.tested += u64::from(boot > 1);
                let known = self.active.entry(*host).or_insert(boot);
                self.tested += u64::from(boot != *known);
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
        if scene.now >= self.next_look && !self.old.is_empty() {
            self.next_look = scene.now + S;
            return self.look(scene);
        }
        Ok(())
    }
}
