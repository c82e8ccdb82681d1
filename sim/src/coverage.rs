//! What runs have come to: how often each kind of thing has happened that a run can come to.
//!
//! An oracle that nothing ever comes near, a refusal that nobody ever gives and a fault that is never drawn are not
//! tested, however many seeds are clean. Counted are the catalogue ids of cases that passed, observations, faults,
//! messages, refusals, and for each oracle how often its rule was put to the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tidegate_core::api::Answer;
use tidegate_core::fault::{Fault, FaultCode};
use tidegate_core::wire::{Kind, Message};

use crate::plan::{FaultKind, Point};
use crate::world::{Fact, Interest, Scene, Spectator, Verdict, name_of};
use crate::{known, oracles};

/// What is counted, by name.
type Group = BTreeMap<String, u64>;

/// How often each kind of thing has happened. Kinds that never did are there, at zero; of the catalogue only those are
/// there that a case claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counts {
    /// Catalogue ids: runs that passed of cases that cover them.
    pub ids: Group,
    /// Observations of nodes.
    pub observations: Group,
    /// Faults that really happened.
    pub faults: Group,
    /// Messages that left a node.
    pub messages: Group,
    /// Refusals, in replies, answers to clients and answers to greetings.
    pub refusals: Group,
    /// How often the rule of an oracle was put to the test: it could have been broken then.
    pub oracles: Group,
}

impl Counts {
    /// Every kind, at zero.
    pub fn zero() -> Self {
        let group = |names: Vec<String>| names.into_iter().map(|name| (name, 0)).collect();
        let words = |names: &[&str]| group(names.iter().map(ToString::to_string).collect());
        Self {
            ids: Group::new(),
            observations: words(known::observations().names),
            faults: words(&[FaultKind::NAMES, &Point::ALL.map(Point::name)].concat()),
            messages: group(Kind::ALL.iter().map(|kind| kind.as_str().to_string()).collect()),
            refusals: words(known::variants::<FaultCode>()),
            oracles: group(oracles::all().iter().map(|oracle| oracle.name().to_string()).collect()),
        }
    }

    /// The groups, with their names.
    pub fn groups(&self) -> [(&'static str, &Group); 6] {
        [
            ("ids", &self.ids),
            ("observations", &self.observations),
            ("faults", &self.faults),
            ("messages", &self.messages),
            ("refusals", &self.refusals),
            ("oracles", &self.oracles),
        ]
    }

    /// Adds other runs.
    pub fn add(&mut self, other: &Self) {
        let groups = [
            (&mut self.ids, &other.ids),
            (&mut self.observations, &other.observations),
            (&mut self.faults, &other.faults),
            (&mut self.messages, &other.messages),
            (&mut self.refusals, &other.refusals),
            (&mut self.oracles, &other.oracles),
        ];
        for (group, more) in groups {
            for (name, count) in more {
                *group.entry(name.clone()).or_insert(0) += count;
            }
        }
    }
}

/// Counts over many runs at once; shared by all threads.
#[derive(Clone)]
pub struct Coverage(Arc<Mutex<Counts>>);

impl Default for Coverage {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Counts::zero())))
    }
}

impl Coverage {
    /// Watches one run, and adds what it saw when it is dropped.
    pub fn watch(&self) -> Box<dyn Spectator> {
        Box::new(Watch { counts: Counts::default(), all: self.clone() })
    }

    /// Adds what a run came to.
    pub fn ran(&self, verdict: &Verdict) {
        let faults = verdict.fired.iter().map(|(kind, count)| (kind.to_string(), *count)).collect();
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Beside the oracles there are spectators of the case.
        let is_oracle = |name: &&str| all.oracles.contains_key(*name);
        let tested = verdict.tested.iter().filter(|(name, _)| is_oracle(name));
        let oracles = tested.map(|(oracle, count)| (oracle.to_string(), *count)).collect();
        all.add(&Counts { faults, oracles, ..Counts::default() });
    }

    /// So many runs of a case with these ids passed.
    pub fn passed(&self, ids: &[String], runs: u64) {
        let ids = ids.iter().map(|id| (id.clone(), runs)).collect();
        self.add(&Counts { ids, ..Counts::default() });
    }

    /// Everything so far.
    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn add(&self, counts: &Counts) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(counts);
    }
}

/// See [`Coverage::watch`].
struct Watch {
    counts: Counts,
    all: Coverage,
}

impl Watch {
    fn refused(&mut self, fault: &Fault) {
        let name = match serde_json::to_value(fault.code) {
            Ok(serde_json::Value::String(name)) => name,
            // A code with a field is an object of one.
            Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        *self.counts.refusals.entry(name).or_insert(0) += 1;
    }
}

fn count(group: &mut Group, name: &str) {
    match group.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(group.insert(name.to_string(), 1)),
    }
}

impl Spectator for Watch {
    fn name(&self) -> &'static str {
        "coverage"
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS.and(Interest::DEPARTURES).and(Interest::CALLS).and(Interest::GREETINGS)
    }

    fn see(&mut self, _: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Observed { observation, .. } => {
                count(&mut self.counts.observations, name_of(observation).as_str());
            }
            Fact::Left { message, .. } => {
                count(&mut self.counts.messages, message.kind().as_str());
                refusal(message).into_iter().for_each(|fault| self.refused(fault));
            }
            Fact::Answered { answer: Answer::Fault(fault), .. } => self.refused(fault),
            Fact::GreetingRefused { fault, .. } => self.refused(fault),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.all.add(&self.counts);
    }
}

/// Why a reply refuses; `None` where it does not, or is none.
pub(crate) fn refusal(message: &Message) -> Option<&Fault> {
    match message {
        Message::DispatchReply { reply: Err(fault), .. }
        | Message::GateOwnerChangedReply { reply: Err(fault), .. }
        | Message::WorkflowResultAck { stored: Err(fault), .. }
        | Message::DcFinalAck { stored: Err(fault), .. }
        | Message::ShardResultAck { stored: Err(fault), .. }
        | Message::StopInDcReply { recorded: Err(fault), .. }
        | Message::DcOwnerChangedAck { stored: Err(fault), .. }
        | Message::RegisterWorkerReply { accepted: Err(fault), .. }
        | Message::ReserveShardReply { reserved: Err(fault), .. }
        | Message::ShardStarted { started: Err(fault), .. }
        | Message::OwnerChangedReply { held: Err(fault), .. } => Some(fault),
        _ => None,
    }
}

/// The file of the exceptions, beside the groups of the catalogue.
pub const UNSEEN: &str = "unseen.toml";

/// What never happens in a simulation, and why.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    /// Catalogue ids that no case covers yet: more are not accepted.
    #[serde(default)]
    pub ids_without_a_case: usize,
    /// The kinds.
    #[serde(default)]
    pub unseen: Vec<Unseen>,
}

/// A kind that never happens in a simulation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unseen {
    /// Its group, as in [`Counts`].
    pub group: String,
    /// Its name.
    pub name: String,
    /// Why it cannot.
    pub why: String,
}

/// What is missing in these counts: kinds at zero that are no exception, and exceptions that are none.
pub fn missing(counts: &Counts, exceptions: &Exceptions) -> Vec<String> {
    let mut missing = Vec::new();
    for (group, kinds) in counts.groups() {
        let is_exception =
            |name: &str| exceptions.unseen.iter().any(|known| known.group == group && known.name == name);
        let zero = kinds.iter().filter(|(name, count)| **count == 0 && !is_exception(name));
        missing.extend(zero.map(|(name, _)| format!("{group}: {name} never happened")));
    }
    for known in &exceptions.unseen {
        let group = counts.groups().into_iter().find(|(group, _)| *group == known.group);
        match group.and_then(|(_, kinds)| kinds.get(&known.name)) {
            Some(0) if !known.why.trim().is_empty() => {}
            Some(0) => {
                missing.push(format!("{}: {} is an exception without a reason", known.group, known.name))
            }
            Some(count) => {
                let (group, name) = (&known.group, &known.name);
                missing.push(format!("{group}: {name} is an exception, and happened {count} times"));
            }
            None => missing.push(format!("{}: there is no {}", known.group, known.name)),
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceptions(text: &str) -> Exceptions {
        toml::from_str(text).expect("it is sound")
    }

    #[test]
    fn every_kind_is_known_before_it_happens() {
        let zero = Counts::zero();
        for (group, names) in [
            ("observations", ["JobFinal", "Orphaned"]),
            ("faults", ["crash", "message_corrupt"]),
            ("messages", ["Log", "ForgetAtWorker"]),
            ("refusals", ["not_owner", "already_terminal"]),
            ("oracles", ["one final result", "replicas agree"]),
        ] {
            let (_, kinds) = zero.groups().into_iter().find(|(name, _)| *name == group).expect("the group");
            assert!(names.iter().all(|name| kinds.get(*name) == Some(&0)), "{group}: {kinds:?}");
        }
    }

    #[test]
    fn a_run_is_counted_under_known_names() {
        let coverage = Coverage::default();
        let extras =
            crate::runner::Extras { spectators: vec![coverage.watch()], ..crate::runner::Extras::default() };
        let verdict = crate::runner::run(crate::swarm::draw(3), extras).expect("the plan is sound");
        coverage.ran(&verdict);
        let (counts, zero) = (coverage.counts(), Counts::zero());
        for ((group, kinds), (_, known)) in counts.groups().into_iter().zip(zero.groups()) {
            assert!(group == "ids" || kinds.keys().eq(known.keys()), "{group}: {kinds:?}");
        }
        assert!(counts.observations["JobFinal"] > 0 && counts.messages["Log"] > 0);
        assert!(counts.oracles["one final result"] > 0);
    }

    #[test]
    fn what_is_at_zero_is_missing_unless_it_is_a_sound_exception() {
        let mut counts = Counts::default();
        counts.faults.extend([("crash".into(), 3), ("freeze".into(), 0)]);
        assert_eq!(missing(&counts, &Exceptions::default()), ["faults: freeze never happened"]);
        let reason = "[[unseen]]\ngroup = \"faults\"\nname = \"freeze\"\nwhy = \"no such thing\"";
        assert!(missing(&counts, &exceptions(reason)).is_empty());
        for (from, to) in [("freeze", "crash"), ("freeze", "frieze"), ("no such thing", " ")] {
            let told = missing(&counts, &exceptions(&reason.replace(from, to)));
            assert!(!told.is_empty(), "{to:?}");
        }
    }
}
