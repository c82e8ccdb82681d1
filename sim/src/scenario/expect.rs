//! What a case must show: facts, how often, when, and in which order.
//!
//! One form serves all: *see* a fact of this name, *by* these nodes, *with* these fields, so many *times*, in this
//! window. `times = 0` is "never"; without `times` it is "at least once".

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sight::{self, Sight};
use crate::plan::{Plan, Scalar, Selector};
use crate::world::{Fact, Interest, Scene, Spectator};

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The name of what is seen: see `docs/scenarios.md`.
    pub see: String,
    /// Only by these nodes: whoever observes, sends, begins or is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Selector>,
    /// Only with these fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, Wanted>,
    /// Whatever is seen must also have these fields.
    #[serde(default)]
    pub always: BTreeMap<String, Wanted>,
    /// How often; at least once where absent.
    #[serde(default)]
    pub times: Times,
    /// Only from this instant on.
    #[serde(default)]
    pub from_ms: u64,
    /// Only up to this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Only after the first sight of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Pattern>,
    /// With `after`: only within this much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// It is the point of the case: without the case's faults it must not hold.
    #[serde(default)]
    pub reached: bool,
}

/// What is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// See [`Expect::see`].
    pub see: String,
    /// See [`Expect::by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Selector>,
    /// See [`Expect::with`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, Wanted>,
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields, expecting = "write a value, or { at_least = n, at_most = n }")]
pub enum Wanted {
    /// Exactly this.
    Is(Scalar),
    /// A number in this range, both ends included.
    Range {
        /// From.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<i64>,
        /// To.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<i64>,
    },
}

impl Wanted {
    fn fits(&self, have: Option<&Scalar>) -> bool {
        match (self, have) {
            (Self::Is(wanted), Some(have)) => wanted == have,
            (Self::Range { at_least, at_most }, Some(Scalar::Number(number))) => {
                at_least.is_none_or(|least| *number >= least) && at_most.is_none_or(|most| *number <= most)
            }
            _ => false,
        }
    }
}

/// How often something must be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields, expecting = "write how often, or { at_least = n, at_most = n }")]
pub enum Times {
    /// Exactly so often.
    Exactly(u64),
    /// In this range, both ends included.
    Range {
        /// From; 0 where absent.
        #[serde(default)]
        at_least: u64,
        /// To; without an end where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<u64>,
    },
}

impl Default for Times {
    fn default() -> Self {
        Self::Range { at_least: 1, at_most: None }
    }
}

impl Times {
    const fn least(self) -> u64 {
        match self {
            Self::Exactly(times) => times,
            Self::Range { at_least, .. } => at_least,
        }
    }

    const fn most(self) -> Option<u64> {
        match self {
            Self::Exactly(times) => Some(times),
            Self::Range { at_most, .. } => at_most,
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least(), self.most()) {
            (least, Some(most)) if least == most => write!(f, "{least} times"),
            (0, Some(most)) => write!(f, "at most {most} times"),
            (least, Some(most)) => write!(f, "{least} to {most} times"),
            (least, None) => write!(f, "at least {least} times"),
        }
    }
}

impl Expect {
    fn pattern(&self) -> Pattern {
        Pattern { see: self.see.clone(), by: self.by.clone(), with: self.with.clone() }
    }

    /// Whether it can be met at all, and names only what is there.
    pub fn check(&self, plan: &Plan) -> Result<(), String> {
        self.pattern().check(plan)?;
        if let Some(after) = &self.after {
            after.check(plan)?;
        }
        if self.within_ms.is_some() && self.after.is_none() {
            return Err("`within_ms` counts from `after`; add it".to_string());
        }
        if self.until_ms.is_some_and(|until| until < self.from_ms) {
            return Err("`until_ms` lies before `from_ms`".to_string());
        }
        if self.times.most().is_some_and(|most| most < self.times.least()) {
            return Err("`at_most` is less than `at_least`".to_string());
        }
        if self.times == (Times::Range { at_least: 0, at_most: None }) {
            return Err("any number of times is no expectation".to_string());
        }
        if self.reached && self.times.least() == 0 {
            return Err(
                "`reached` needs something that happens; what never happens is never reached".to_string()
            );
        }
        Ok(())
    }
}

impl Expect {
    fn holds_always(&self, scene: &Scene, sight: &Sight<'_>) -> Result<(), String> {
        if self.always.is_empty() {
            return Ok(());
        }
        let fields = sight.fields(scene);
        match self.always.iter().find(|(name, wanted)| !wanted.fits(fields.get(*name))) {
            Some((name, _)) => {
                let always = Pattern { see: self.see.clone(), by: None, with: self.always.clone() };
                let have = fields.get(name).map_or_else(|| "nothing".to_string(), Scalar::to_string);
                Err(format!("{} had {name} {have}, expected always {always}", self.pattern()))
            }
            None => Ok(()),
        }
    }
}

impl Pattern {
    pub(super) fn check(&self, plan: &Plan) -> Result<(), String> {
        sight::check_name(&self.see)?;
        if self.see == "Look" && plan.run.look_every_ms == 0 {
            return Err("nobody looks; set `run.look_every_ms`".to_string());
        }
        if let Some(selector) = &self.by {
            plan.check_selector(selector).map_err(|why| why.0)?;
        }
        if let Some((field, _)) = self
            .with
            .iter()
            .find(|(_, wanted)| matches!(wanted, Wanted::Range { at_least: None, at_most: None }))
        {
            return Err(format!("`{field}` is a range without ends; write at_least or at_most"));
        }
        for (field, wanted) in &self.with {
            sight::check_field(&self.see, field)?;
            if let (true, Wanted::Is(Scalar::Text(name))) = (field == "job", wanted) {
                let known = plan.clients.iter().flat_map(|client| &client.jobs).any(|job| job.name == *name);
                if !known {
                    return Err(format!("there is no job {name:?}"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn fits(&self, scene: &Scene, sight: &Sight<'_>) -> bool {
        if self.see != sight.name() {
            return false;
        }
        if let Some(selector) = &self.by
            && !sight.hosts().any(|host| scene.select(selector, None).contains(&host))
        {
            return false;
        }
        if self.with.is_empty() {
            return true;
        }
        let fields = sight.fields(scene);
        self.with.iter().all(|(name, wanted)| wanted.fits(fields.get(name)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.see)?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        for (at, (name, wanted)) in self.with.iter().enumerate() {
            let comma = if at == 0 { " with" } else { "," };
            match wanted {
                Wanted::Is(value) => write!(f, "{comma} {name} {value}")?,
                Wanted::Range { at_least, at_most } => {
                    write!(f, "{comma} {name}")?;
                    at_least.map_or(Ok(()), |least| write!(f, " at least {least}"))?;
                    at_most.map_or(Ok(()), |most| write!(f, " at most {most}"))?;
                }
            }
        }
        Ok(())
    }
}

/// Judges a run by the expectations of its case.
pub struct Judge {
    expects: Arc<[Expect]>,
    seen: Vec<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    times: u64,
    after_ms: Option<u64>,
}

impl Judge {
    /// A judge that has seen nothing.
    pub fn new(expects: Arc<[Expect]>) -> Self {
        let seen = vec![Seen::default(); expects.len()];
        Self { expects, seen }
    }
}

impl Spectator for Judge {
    fn name(&self) -> &'static str {
        "expectation"
    }

    fn interest(&self) -> Interest {
        let names = self.expects.iter().flat_map(|expect| {
            [Some(expect.see.as_str()), expect.after.as_ref().map(|after| after.see.as_str())]
        });
        names.flatten().fold(Interest::NONE, |all, name| all.and(sight::interest(name)))
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        let Some(sight) = Sight::of(fact) else { return Ok(()) };
        let now_ms = scene.now / 1_000_000;
        for (expect, seen) in self.expects.iter().zip(&mut self.seen) {
            // Whatever sets the window off does not itself lie in it.
            let in_window = now_ms >= expect.from_ms
                && expect.until_ms.is_none_or(|until| now_ms <= until)
                && match (&expect.after, seen.after_ms) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(_), Some(after)) => expect.within_ms.is_none_or(|within| now_ms <= after + within),
                };
            if in_window && expect.pattern().fits(scene, &sight) {
                seen.times += 1;
                expect.holds_always(scene, &sight)?;
                if expect.times.most().is_some_and(|most| seen.times > most) {
                    return Err(format!(
                        "{} was seen {} times, expected {}",
                        expect.pattern(),
                        seen.times,
                        expect.times
                    ));
                }
            }
            if let (Some(after), None) = (&expect.after, seen.after_ms)
                && after.fits(scene, &sight)
            {
                seen.after_ms = Some(now_ms);
            }
        }
        Ok(())
    }

    fn finish(&mut self, _scene: &Scene) -> Result<(), String> {
        for (expect, seen) in self.expects.iter().zip(&self.seen) {
            if let (Some(after), None) = (&expect.after, seen.after_ms) {
                return Err(format!("{after} was never seen, so {} could not be judged", expect.pattern()));
            }
            if seen.times < expect.times.least() {
                return Err(format!(
                    "{} was seen {} times, expected {}",
                    expect.pattern(),
                    seen.times,
                    expect.times
                ));
            }
        }
        Ok(())
    }
}
