//! Every refusal is counted: who refuses says so, with the same code, at least as often.
//!
//! A refusal that only its receiver knows of is missing from every metric: an operator would see work that does not
//! come on, and no reason.

use std::collections::BTreeMap;

use tidegate_core::api::Answer;
use tidegate_core::fault::FaultCode;
use tidegate_core::observe::Observation;

use crate::coverage::refusal;
use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// See the module.
#[derive(Default)]
pub(super) struct Refusals {
    tested: u64,
    /// Refusals given, less those that were told. Never above 0 once a step is over.
    untold: BTreeMap<(HostIx, FaultCode), i64>,
}

impl Spectator for Refusals {
    fn name(&self) -> &'static str {
        "refusals are counted"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::DEPARTURES.and(Interest::CALLS).and(Interest::OBSERVATIONS)
    }

    fn see(&mut self, _: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        let (host, code, more) = match fact {
            Fact::Left { from, message, .. } => match refusal(message) {
                Some(fault) => (*from, fault.code, 1),
                None => return Ok(()),
            },
            Fact::Answered { gate, answer: Answer::Fault(fault), .. } => (*gate, fault.code, 1),
            Fact::Observed { host, observation: Observation::Refused(code) } => (*host, *code, -1),
            _ => return Ok(()),
        };
        self.tested += u64::from(more > 0);
        *self.untold.entry((host, code)).or_insert(0) += more;
        Ok(())
    }

    fn finish(&mut self, scene: &Scene) -> Result<(), String> {
        match self.untold.iter().find(|(_, untold)| **untold > 0) {
            Some(((host, code), untold)) => {
                Err(format!("{} refused {untold} times with {code:?} and did not say so", scene.name(*host)))
            }
            None => Ok(()),
        }
    }
}
