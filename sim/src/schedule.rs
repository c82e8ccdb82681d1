//! What really happened of a plan's faults: the schedule of a run.
//!
//! A drawn plan names faults that may never find their moment or their target. The schedule of a run is the same plan
//! without those. Faults that wait for an observation keep it: an anchor in what the nodes do outlives changes that
//! shift every instant.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::plan::Plan;
use crate::world::{Fact, Interest, Scene, Spectator};

/// A fault that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// To whom.
    pub hosts: Vec<String>,
}

/// The faults of a run that happened, by their place in the plan.
pub type FiredFaults = BTreeMap<usize, Fired>;

/// Notes the faults that happen; shared with whoever asks after the run.
#[derive(Clone, Debug, Default)]
pub struct Notes(Rc<RefCell<FiredFaults>>);

impl Notes {
    /// What was noted so far.
    pub fn take(&self) -> FiredFaults {
        self.0.take()
    }
}

impl Spectator for Notes {
    fn name(&self) -> &'static str {
        "schedule"
    }

    fn interest(&self) -> Interest {
        Interest::FAULTS
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Fault { fault, host, .. } = fact {
            let mut fired = self.0.borrow_mut();
            let fired = fired.entry(*fault).or_insert_with(|| Fired { at_ms: scene.ms(), hosts: Vec::new() });
            fired.hosts.push(scene.name(*host).to_string());
        }
        Ok(())
    }
}

/// The plan with the faults that happened, and no others.
pub fn schedule(plan: &Plan, fired: &FiredFaults) -> Plan {
    let happened =
        |(place, fault): (usize, &crate::plan::FaultPlan)| fired.contains_key(&place).then(|| fault.clone());
    Plan { faults: plan.faults.iter().enumerate().filter_map(happened).collect(), ..plan.clone() }
}

/// One line for each fault that happened, for people.
pub fn describe(plan: &Plan, fired: &FiredFaults) -> Vec<String> {
    let line = |(place, fired): (&usize, &Fired)| {
        let kind = plan.faults[*place].kind.name();
        format!("{kind} at {} after {:.3} s", fired.hosts.join(", "), fired.at_ms as f64 / 1e3)
    };
    fired.iter().map(line).collect()
}
