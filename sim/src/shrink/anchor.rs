//! Ties what happens at an instant to what the nodes did just before.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use toml::Value;

use super::document::{Document, Step};
use crate::plan::{Plan, Scalar, Seen, Selector, When};
use crate::runner::{self, Extras};
use crate::scenario::Repro;
use crate::world::{Fact, Interest, Scene, Spectator, fields, name_of};

/// So many observations before the instant are offered.
const OFFERED: usize = 8;

/// Every `when` of a plan that is an instant; those of faults last, since they come closest to what matters.
pub(super) fn moments(plan: &Plan) -> Vec<Vec<Step>> {
    let document = Document::of(plan);
    let is_moment = |path: &Vec<Step>| {
        let is_when = matches!(path.last(), Some(Step::Key(key)) if key == "when");
        // A job is submitted before anything is seen of it.
        let is_submission =
            matches!(path.as_slice(), [.., Step::Key(key), Step::Place(_), _] if key == "job");
        is_when && !is_submission && instant(&document, path).is_some()
    };
    document.places().into_iter().filter(is_moment).collect()
}

fn instant(document: &Document, path: &[Step]) -> Option<u64> {
    document.get(path)?.get("at_ms")?.as_integer()?.try_into().ok()
}

/// An observation: when, and how to say which.
#[derive(Clone, Debug)]
struct Point {
    at_ms: u64,
    seen: Seen,
}

/// Notes the last observations before an instant.
struct Watch {
    until_ms: u64,
    counts: BTreeMap<(String, String, Option<String>), u32>,
    last: Rc<RefCell<VecDeque<Point>>>,
}

impl Spectator for Watch {
    fn name(&self) -> &'static str {
        "anchors"
    }

    fn interest(&self) -> Interest {
        Interest::OBSERVATIONS
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Observed { host, observation } = fact else { return Ok(()) };
        if scene.ms() >= self.until_ms {
            return Ok(());
        }
        let (name, by) = (name_of(observation).as_str().to_string(), scene.name(*host).to_string());
        let job = match fields(scene, observation).remove("job") {
            Some(Scalar::Text(job)) => Some(job),
            _ => None,
        };
        let count = self.counts.entry((name.clone(), by.clone(), job.clone())).or_insert(0);
        *count += 1;
        let fields = job.map(|job| ("job".to_string(), Scalar::Text(job))).into_iter().collect();
        let seen = Seen { name, by: Some(Selector::Node(by)), fields, nth: *count, ..Seen::default() };
        let mut last = self.last.borrow_mut();
        last.push_back(Point { at_ms: scene.ms(), seen });
        if last.len() > OFFERED {
            last.pop_front();
        }
        Ok(())
    }
}

/// The plan with this moment tied to each of the last observations before it, the nearest first.
pub(super) fn candidates(repro: &Repro, plan: &Plan, path: &[Step]) -> Vec<Plan> {
    let document = Document::of(plan);
    let Some(until_ms) = instant(&document, path) else { return Vec::new() };
    let last = Rc::new(RefCell::new(VecDeque::new()));
    let mut spectators = Repro { plan: plan.clone(), ..repro.clone() }.spectators();
    spectators.push(Box::new(Watch { until_ms, counts: BTreeMap::new(), last: Rc::clone(&last) }));
    if runner::run(plan.clone(), Extras { spectators, ..Extras::default() }).is_err() {
        return Vec::new();
    }
    let anchored = |point: Point| {
        let after_ms = until_ms - point.at_ms;
        let when = Value::try_from(When::Seen(Seen { after_ms, ..point.seen })).ok()?;
        document.with(path, when)
    };
    last.take().into_iter().rev().filter_map(anchored).collect()
}
