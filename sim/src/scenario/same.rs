//! Cases that are compared: what is seen in one is the same as in another, with the same seed.
//!
//! The other case's plan is run when this one is over. Facts are compared as a set with counts, by the named fields:
//! the order in which independent things happen is no part of an outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::Node;

use super::expect::{Pattern, Wanted};
use super::sight::{self, Sight};
use crate::plan::{Plan, Selector};
use crate::world::{Fact, Interest, Scene, Spectator, World};

/// A comparison.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Same {
    /// The id of the other case, of the same file.
    #[serde(rename = "as")]
    pub other: String,
    /// What is compared: see [`super::Expect::see`].
    pub see: String,
    /// Only by these nodes.
    #[serde(default)]
    pub by: Option<Selector>,
    /// Only with these fields.
    #[serde(default)]
    pub with: BTreeMap<String, Wanted>,
    /// By which fields.
    pub fields: Vec<String>,
}

impl Same {
    /// What is collected.
    pub fn pattern(&self) -> Pattern {
        Pattern { see: self.see.clone(), by: self.by.clone(), with: self.with.clone() }
    }
}

type Seen = BTreeMap<String, u64>;

/// Collects what is compared.
struct Collector {
    same: Arc<Same>,
    seen: Arc<Mutex<Seen>>,
}

impl Collector {
    fn take(&self, scene: &Scene, fact: &Fact<'_>) {
        let Some(sight) = Sight::of(fact).filter(|sight| self.same.pattern().fits(scene, sight)) else {
            return;
        };
        let fields = sight.fields(scene);
        let value = |name: &String| fields.get(name).map_or_else(|| "-".to_string(), ToString::to_string);
        let words: Vec<String> =
            self.same.fields.iter().map(|name| format!("{name} {}", value(name))).collect();
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *seen.entry(words.join(", ")).or_insert(0) += 1;
    }

    fn all(&self) -> Seen {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Spectator for Collector {
    fn name(&self) -> &'static str {
        "comparison"
    }

    fn interest(&self) -> Interest {
        sight::interest(&self.same.see)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        self.take(scene, fact);
        Ok(())
    }
}

/// Judges a run by another one.
pub struct Comparison {
    own: Collector,
    other: Arc<Plan>,
}

impl Comparison {
    /// With the plan of the other case.
    pub fn new(same: Arc<Same>, other: Arc<Plan>) -> Self {
        Self { own: Collector { same, seen: Arc::default() }, other }
    }
}

impl Spectator for Comparison {
    fn name(&self) -> &'static str {
        "comparison"
    }

    fn interest(&self) -> Interest {
        self.own.interest()
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        self.own.see(scene, fact)
    }

    fn finish(&mut self, scene: &Scene) -> Result<(), String> {
        let there = Collector { same: Arc::clone(&self.own.same), seen: Arc::default() };
        let twin = Collector { same: Arc::clone(&there.same), seen: Arc::clone(&there.seen) };
        let plan = Plan { seed: scene.plan.seed, ..(*self.other).clone() };
        let world = World::<Node>::new(plan, vec![Box::new(twin)]).map_err(|why| why.0)?;
        let name = &self.own.same.other;
        if let Some(violation) = world.run().violation {
            return Err(format!("{name} itself fails: {}: {}", violation.oracle, violation.message));
        }
        let (own, other) = (self.own.all(), there.all());
        if own.is_empty() && other.is_empty() {
            return Err(format!("{} was seen in neither case", self.own.same.pattern()));
        }
        let differs = own.keys().chain(other.keys()).find(|words| own.get(*words) != other.get(*words));
        let times = |seen: &Seen, words: &String| seen.get(words).copied().unwrap_or(0);
        match differs {
            Some(words) => Err(format!(
                "{} with {words} was seen {} times, and {} times in {name}",
                self.own.same.see,
                times(&own, words),
                times(&other, words)
            )),
            None => Ok(()),
        }
    }
}
