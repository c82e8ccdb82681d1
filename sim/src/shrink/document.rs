//! Plans as documents: every smaller plan is the same document with something taken out or made smaller.
//!
//! Working on the document instead of on the types means that whatever a plan learns to say can be shrunk as well. A
//! change that leaves no sound plan is no candidate.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::{Table, Value};

use crate::plan::Plan;

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Place(usize),
}

/// A plan as a document.
#[derive(Clone, Debug)]
pub(super) struct Document {
    root: Value,
    names: BTreeSet<String>,
    jobs: BTreeSet<String>,
}

impl Document {
    /// The document of a plan.
    pub fn of(plan: &Plan) -> Self {
        let root = Value::try_from(plan).unwrap_or_else(|_| Value::Table(Table::new()));
        Self { root, names: names_of(plan), jobs: jobs_of(plan) }
    }

    /// Every place in it, containers before what they hold.
    pub fn places(&self) -> Vec<Vec<Step>> {
        let mut out = Vec::new();
        walk(&self.root, &mut Vec::new(), &mut out);
        out
    }

    /// What is at a place.
    pub fn get(&self, path: &[Step]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Place(place) => value.get(*place),
        })
    }

    fn get_mut<'a>(root: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
        path.iter().try_fold(root, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Place(place) => value.get_mut(*place),
        })
    }

    /// The plan with this place taken out.
    pub fn without(&self, path: &[Step]) -> Option<Plan> {
        let (last, above) = path.split_last()?;
        let mut root = self.root.clone();
        match (Self::get_mut(&mut root, above)?, last) {
            (Value::Table(table), Step::Key(key)) => drop(table.remove(key)?),
            (Value::Array(values), Step::Place(place)) if *place < values.len() => {
                drop(values.remove(*place))
            }
            _ => return None,
        }
        self.sound(root)
    }

    /// The plan with these elements of an array taken out.
    pub fn without_range(&self, array: &[Step], range: Range<usize>) -> Option<Plan> {
        let mut root = self.root.clone();
        let Value::Array(values) = Self::get_mut(&mut root, array)? else { return None };
        if range.end > values.len() {
            return None;
        }
        drop(values.drain(range));
        self.sound(root)
    }

    /// The plan with another value at this place.
    pub fn with(&self, path: &[Step], value: Value) -> Option<Plan> {
        let mut root = self.root.clone();
        *Self::get_mut(&mut root, path)? = value;
        self.sound(root)
    }

    /// The plan with every `at_ms` this much earlier.
    pub fn earlier(&self, ms: i64) -> Option<Plan> {
        let mut root = self.root.clone();
        for path in self.places() {
            let is_time = matches!(path.last(), Some(Step::Key(key)) if key == "at_ms");
            if let (true, Some(Value::Integer(at))) = (is_time, Self::get_mut(&mut root, &path)) {
                *at = (*at - ms).max(0);
            }
        }
        self.sound(root)
    }

    /// A sound plan, with everything that named what is gone naming something else of its kind, or gone as well.
    fn sound(&self, mut root: Value) -> Option<Plan> {
        let mut plan: Plan = root.clone().try_into().ok()?;
        let missing: BTreeSet<&String> = {
            let (names, jobs) = (names_of(&plan), jobs_of(&plan));
            self.names
                .union(&self.jobs)
                .filter(|name| !names.contains(*name) && !jobs.contains(*name))
                .collect()
        };
        if !missing.is_empty() {
            let others = plan.clone();
            leave_out_pairs(&mut root, &missing);
            rename(&mut root, &|text| replacement(text, &missing, &others));
            plan = root.try_into().ok()?;
            for job in plan.clients.iter_mut().flat_map(|client| &mut client.jobs) {
                if matches!(&job.place, crate::plan::Place::Only(names) if names.is_empty()) {
                    job.place = crate::plan::Place::Any;
                }
            }
        }
        plan.check().is_ok().then_some(plan)
    }
}

/// A pair of regions is nothing without one of them.
fn leave_out_pairs(root: &mut Value, missing: &BTreeSet<&String>) {
    let pairs = root.get_mut("network").and_then(|network| network.get_mut("pair"));
    let Some(pairs) = pairs.and_then(Value::as_array_mut) else { return };
    let is_missing =
        |region: &Value| region.as_str().is_some_and(|region| missing.iter().any(|name| *name == region));
    pairs.retain(|pair| {
        let between = pair.get("between").and_then(Value::as_array);
        !between.is_some_and(|between| between.iter().any(is_missing))
    });
}

fn names_of(plan: &Plan) -> BTreeSet<String> {
    let datacenters = plan.cluster.datacenters.iter().map(|dc| dc.name.clone());
    let clients = plan.clients.iter().map(|client| client.name.clone());
    plan.cluster.node_names().into_iter().chain(datacenters).chain(clients).collect()
}

fn jobs_of(plan: &Plan) -> BTreeSet<String> {
    plan.clients.iter().flat_map(|client| &client.jobs).map(|job| job.name.clone()).collect()
}

fn walk(value: &Value, path: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
    let steps: Vec<(Step, &Value)> = match value {
        Value::Table(table) => table.iter().map(|(key, value)| (Step::Key(key.clone()), value)).collect(),
        Value::Array(values) => {
            values.iter().enumerate().map(|(place, value)| (Step::Place(place), value)).collect()
        }
        _ => return,
    };
    for (step, inner) in steps {
        path.push(step);
        out.push(path.clone());
        walk(inner, path, out);
        path.pop();
    }
}

/// Renames every text of a document; one that has no new name is taken out of its container, and so is what is said of
/// a name that is gone.
fn rename(value: &mut Value, name: &impl Fn(&str) -> Option<String>) {
    let keep = |inner: &mut Value| match inner {
        Value::String(text) => match name(text) {
            Some(new) => {
                *text = new;
                true
            }
            None => false,
        },
        other => {
            rename(other, name);
            true
        }
    };
    match value {
        Value::Table(table) => {
            table.retain(|key, inner| name(key).is_some_and(|kept| kept == *key) && keep(inner));
        }
        Value::Array(values) => values.retain_mut(keep),
        _ => {}
    }
}

/// What a text names now: itself, or another of its kind where that is gone.
fn replacement(text: &str, missing: &BTreeSet<&String>, plan: &Plan) -> Option<String> {
    let gone = |name: &str| missing.iter().any(|missing| *missing == name);
    let (head, dc) = text.split_once('@').map_or((text, None), |(head, dc)| (head, Some(dc)));
    let head = match head.split_once(':') {
        Some((what @ ("owner" | "worker"), job)) if gone(job) => {
            let other = plan.clients.iter().flat_map(|client| &client.jobs).next()?;
            format!("{what}:{}", other.name)
        }
        Some(("client", name)) if gone(name) => format!("client:{}", plan.clients.first()?.name),
        _ if dc.is_none() && gone(head) => other_node(head, plan)?,
        _ => head.to_string(),
    };
    match dc {
        Some(dc) if gone(dc) => Some(format!("{head}@{}", plan.cluster.datacenters.first()?.name)),
        Some(dc) => Some(format!("{head}@{dc}")),
        None => Some(head),
    }
}

/// The last node that is left of a node's kind, in its datacenter if there is one.
fn other_node(name: &str, plan: &Plan) -> Option<String> {
    let nodes = plan.cluster.node_names();
    let Some((dc, place)) = name.split_once('/') else {
        let is_gate = name.starts_with('g') && name[1..].parse::<u16>().is_ok();
        return nodes.into_iter().rfind(|node| is_gate && !node.contains('/'));
    };
    let kind = place.chars().next()?;
    let fits = |node: &&String| node.split_once('/').is_some_and(|(_, place)| place.starts_with(kind));
    let here = nodes.iter().rfind(|node| fits(node) && node.starts_with(&format!("{dc}/")));
    here.or_else(|| nodes.iter().rfind(fits)).cloned()
}
