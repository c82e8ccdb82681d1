//! Every injected failure is reported.
//!
//! - A node whose write failed says `StoreFailed`, halts for that reason, and does nothing more.
//! - Each piece of damaged input becomes one `Malformed` observation of the node that got it.
//!
//! An error that nobody hears of is how results vanish.

use std::collections::BTreeMap;

use tidegate_core::effect::HaltReason;
use tidegate_core::observe::Observation;

use crate::world::{Fact, HostIx, Interest, ProcessEnd, Scene, Spectator, Time};

/// A frozen or slow node may be this late.
const PATIENCE: Time = 120_000_000_000;
/// One that works again is not late, at the end of a run.
const AT_END: Time = 10_000_000_000;
/// One that was frozen until just before the end of a run has not had its turn.
const JUST_NOW: Time = 1_000_000_000;

#[derive(Default)]
struct Open {
    damaged: u32,
    failed_at: Option<Time>,
    said: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Reported {
    tested: u64,
    open: BTreeMap<HostIx, Open>,
    /// Until when a host is frozen, before the healing.
    frozen_until: BTreeMap<HostIx, Time>,
    healed_at: Option<Time>,
}

impl Reported {
    fn ended(&mut self, scene: &Scene, host: HostIx, end: ProcessEnd) -> Result<(), String> {
        let Some(open) = self.open.remove(&host) else { return Ok(()) };
        let halted = end == ProcessEnd::Halt(HaltReason::StoreFailed);
        let why = match (open.failed_at, halted) {
            (Some(_), true) if !open.said => "halted for a failed write without saying StoreFailed",
            (None, true) => "halted for a failed write that did not fail",
            _ => return Ok(()),
        };
        Err(format!("{} {why}", scene.name(host)))
    }

    fn late(&self, scene: &Scene) -> Result<(), String> {
        let late = |open: &Open| open.failed_at.is_some_and(|at| at + PATIENCE < scene.now);
        match self.open.iter().find(|(_, open)| late(open)) {
            Some((host, _)) => Err(format!("{} goes on after a failed write", scene.name(*host))),
            None => Ok(()),
        }
    }
}

impl Spectator for Reported {
    fn name(&self) -> &'static str {
        "every failure is reported"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::FAULTS.and(Interest::PROCESSES).and(Interest::OBSERVATIONS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Damaged { host } => {
                self.tested += 1;
                self.open.entry(*host).or_default().damaged += 1;
            }
            Fact::WriteFailed { host } => {
                self.tested += 1;
                self.open.entry(*host).or_default().failed_at = Some(scene.now);
            }
            Fact::Observed { host, observation } => match observation {
                Observation::Malformed(_) => {
                    let open = self.open.entry(*host).or_default();
                    if open.damaged == 0 {
                        return Err(format!(
                            "{} calls sound input malformed: {observation:?}",
                            scene.name(*host)
                        ));
                    }
                    open.damaged -= 1;
                }
                Observation::StoreFailed => self.open.entry(*host).or_default().said = true,
                _ => {}
            },
            Fact::Healed => self.healed_at = Some(scene.now),
            Fact::Fault { host, kind: "freeze", fault } => {
                let until = scene.fault_ends(*fault);
                let known = self.frozen_until.entry(*host).or_insert(until);
                *known = until.max(*known);
            }
            Fact::Ended { host, end } => return self.ended(scene, *host, *end),
            _ => {}
        }
        self.late(scene)
    }

    fn finish(&mut self, scene: &Scene) -> Result<(), String> {
        let goes_on = |host: HostIx, open: &Open| {
            let long_ago = open.failed_at.is_some_and(|at| at + AT_END < scene.now);
            long_ago && scene.is_healed(host) && scene.running[host]
        };
        if let Some((host, _)) = self.open.iter().find(|(host, open)| goes_on(**host, open)) {
            return Err(format!("{} goes on after a failed write", scene.name(*host)));
        }
        // One that stays frozen for ever has not seen it yet, nor has one that is only just awake.
        let awake_since = |host: HostIx| {
            self.frozen_until.get(&host).map_or(0, |until| (*until).min(self.healed_at.unwrap_or(Time::MAX)))
        };
        let sees = |host: HostIx| {
            (scene.core.is_none() || scene.is_healed(host))
                && awake_since(host).saturating_add(JUST_NOW) < scene.now
        };
        match self.open.iter().find(|(host, open)| open.damaged > 0 && sees(**host)) {
            Some((host, open)) => {
                Err(format!("{} said nothing of {} damaged messages", scene.name(*host), open.damaged))
            }
            None => Ok(()),
        }
    }
}
