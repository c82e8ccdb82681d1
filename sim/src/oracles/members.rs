//! Membership converges: some time after the healing nobody who is healed holds another healed node for dead that runs, or
//! for alive that does not.
//!
//! A view that stays wrong sends work to nobody and leaves a live node without any, without a failure that somebody
//! would notice.

use std::collections::BTreeMap;

use tidegate_core::observe::Observation;
use tidegate_core::swim::MemberStatus;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator, Time};

/// Views agree this long after the last change: a suspicion with its longest timeout, and the spread of its end.
const BOUND: Time = 30_000_000_000;

/// See the module.
#[derive(Default)]
pub(super) struct Members {
    tested: u64,
    /// What each node last said of each other since its start.
    views: BTreeMap<HostIx, BTreeMap<HostIx, MemberStatus>>,
    /// When the world last changed in a way that members must learn of.
    changed: Time,
}

impl Spectator for Members {
    fn name(&self) -> &'static str {
        "membership converges"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::PROCESSES).and(Interest::FAULTS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Began { host, .. } => {
                self.views.remove(host);
                self.changed = scene.now;
            }
            Fact::Ended { .. } | Fact::Healed | Fact::Fault { .. } => self.changed = scene.now,
            Fact::Observed { host, observation: Observation::Member { node, status } } => {
                if let Some(member) = scene.host(*node) {
                    self.views.entry(*host).or_default().insert(member, *status);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, scene: &Scene) -> Result<(), String> {
        if !scene.healed || scene.now < self.changed + BOUND {
            return Ok(());
        }
        self.tested += 1;
        // Of who stays broken there is no right view.
        let judges = |host: &HostIx| scene.is_healed(*host) && scene.running[*host];
        for (&host, view) in self.views.iter().filter(|(host, _)| judges(host)) {
            for (&member, &status) in view.iter().filter(|(member, _)| scene.is_healed(**member)) {
                let is_alive = matches!(status, MemberStatus::Alive | MemberStatus::Suspect);
                if scene.running[member] != is_alive {
                    return Err(format!(
                        "{} ms after the last change {} holds {} for {status:?}",
                        (scene.now - self.changed) / 1_000_000,
                        scene.name(host),
                        scene.name(member)
                    ));
                }
            }
        }
        Ok(())
    }
}
