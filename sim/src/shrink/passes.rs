//! The passes of the shrinker: each offers smaller plans, the boldest first.

use std::ops::Range;

use toml::Value;

use super::document::{Document, Step};
use crate::plan::{DiskPlan, NetworkPlan, Plan, When};

/// A smaller plan, and the name of what was done to it: while a pass goes on, the same is not tried twice.
pub(super) type Candidate = (String, Plan);
/// Offers smaller plans.
pub(super) type Pass = fn(&Plan) -> Vec<Candidate>;

/// What a person reads first, and what costs most: these until none of them has anything left to offer, in this order.
pub(super) const STRUCTURE: &[(&str, Pass)] = &[
    ("faults", faults),
    ("noise", noise),
    ("datacenters", |plan| elements(plan, "datacenter")),
    ("gates and managers", tiers),
    ("workers", |plan| elements(plan, "worker")),
    ("clients", |plan| elements(plan, "client")),
    ("jobs", |plan| elements(plan, "job")),
    ("workflows", |plan| elements(plan, "workflow")),
    ("followers", |plan| elements(plan, "follower")),
];

/// And then these: many candidates, each of which saves a line.
pub(super) const DETAILS: &[(&str, Pass)] = &[("defaults", defaults), ("times", times), ("numbers", numbers)];

/// Without all, halves, quarters, ... and single ones (Zeller's ddmin, complements first).
fn faults(plan: &Plan) -> Vec<Candidate> {
    let count = plan.faults.len();
    let without = |range: Range<usize>| {
        let mut smaller = plan.clone();
        let name = format!("{range:?} of {count}");
        smaller.faults.drain(range);
        (name, smaller)
    };
    ranges(count).into_iter().map(without).collect()
}

/// Each of these, and where faults wait for the n-th of something, also with the first of it: there are fewer of it in
/// what is smaller.
fn or_sooner(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let sooner = |(name, plan): &Candidate| {
        let mut first = plan.clone();
        for fault in &mut first.faults {
            if let When::Seen(seen) = &mut fault.when {
                seen.nth = 1;
            }
        }
        (first != *plan).then(|| (format!("{name}, the first"), first))
    };
    candidates.into_iter().flat_map(|one| [sooner(&one), Some(one)].into_iter().rev().flatten()).collect()
}

/// Sets a part of a plan to what it is by default.
type Quieten = fn(&mut Plan);

/// What goes wrong a little all the time, and settings that are not the usual ones.
const NOISE: &[(&str, Quieten)] = &[
    ("drivers", |plan| plan.driver.clear()),
    ("network", |plan| plan.network = NetworkPlan::default()),
    ("timing", |plan| plan.cluster.timing_ms.clear()),
    ("limits", |plan| plan.cluster.limits.clear()),
    ("core", |plan| plan.run.core.clear()),
    ("regions", |plan| plan.cluster.gate_regions.clear()),
    ("machines", |plan| {
        let cluster = &mut plan.cluster;
        (cluster.start_stagger_ms, cluster.timer_late_us, cluster.mono_ppm) = (0, 0, 0);
        cluster.disk = DiskPlan::default();
    }),
];

/// Without noise: all of it, then each part. Early, for what fails by a rare draw of a noisy world costs many runs, and
/// what does not need it fails sooner, and with more streams. What is left in a part goes entry by entry, later.
fn noise(plan: &Plan) -> Vec<Candidate> {
    let mut calm = plan.clone();
    NOISE.iter().for_each(|(_, quieten)| quieten(&mut calm));
    let parts = NOISE.iter().map(|(name, quieten)| {
        let mut quieter = plan.clone();
        quieten(&mut quieter);
        ((*name).to_string(), quieter)
    });
    let all = std::iter::once(("all".to_string(), calm)).chain(parts);
    all.filter(|(_, quieter)| quieter != plan && quieter.check().is_ok()).collect()
}

/// Without all, halves, quarters, ... and single elements of each array of this name.
fn elements(plan: &Plan, name: &str) -> Vec<Candidate> {
    let document = Document::of(plan);
    let mut out = Vec::new();
    for path in document.places() {
        let Some(Value::Array(values)) = document.get(&path) else { continue };
        if !matches!(path.last(), Some(Step::Key(key)) if key == name) {
            continue;
        }
        let ranges = ranges(values.len()).into_iter();
        out.extend(ranges.filter_map(|range| {
            Some((format!("{path:?} {range:?}"), document.without_range(&path, range)?))
        }));
    }
    or_sooner(out)
}

/// All of so many, halves, quarters, ... and single ones.
fn ranges(count: usize) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut size = count;
    while size > 0 {
        out.extend((0..count).step_by(size).map(|begin| begin..(begin + size).min(count)));
        size /= 2;
    }
    out
}

/// Fewer gates and managers: one, three, two less.
fn tiers(plan: &Plan) -> Vec<Candidate> {
    let document = Document::of(plan);
    let is_tier = |path: &&Vec<Step>| matches!(path.last(), Some(Step::Key(key)) if key == "gates" || key == "managers");
    let mut out = Vec::new();
    for path in document.places().iter().filter(is_tier) {
        let Some(&Value::Integer(count)) = document.get(path) else { continue };
        let fewer = [0, 1, 3, count - 2].into_iter().filter(|&fewer| fewer < count && fewer >= 0);
        out.extend(fewer.filter_map(|fewer| set(&document, path, fewer)));
    }
    or_sooner(out)
}

fn set(document: &Document, path: &[Step], number: i64) -> Option<Candidate> {
    Some((format!("{path:?} {number}"), document.with(path, Value::Integer(number))?))
}

/// Without an entry: what is not said is so by default. Whole tables first.
fn defaults(plan: &Plan) -> Vec<Candidate> {
    let document = Document::of(plan);
    let entries = said(&document, plan).into_iter().filter(|path| matches!(path.last(), Some(Step::Key(_))));
    let smaller = |path: Vec<Step>| Some((format!("{path:?}"), document.without(&path)?));
    entries.filter_map(smaller).collect()
}

/// Every place that is not so by default, as a whole or as a part of something. What is so is not written, and there is
/// nothing smaller: a change of it would be undone by the next round, and so on.
fn said(document: &Document, plan: &Plan) -> Vec<Vec<Step>> {
    let mut said: Vec<Vec<Step>> = Vec::new();
    let mut default: Option<Vec<Step>> = None;
    for path in document.places() {
        let within = default.as_ref().is_some_and(|whole| path.starts_with(whole));
        if !within && document.without(&path).is_some_and(|same| same == *plan) {
            default = Some(path);
        } else if !within {
            said.push(path);
        }
    }
    said
}

/// Everything sooner: all together, so that what comes after what stays so.
fn times(plan: &Plan) -> Vec<Candidate> {
    let document = Document::of(plan);
    let time = |path: &Vec<Step>| match (path.last(), document.get(path)) {
        (Some(Step::Key(key)), Some(&Value::Integer(at))) if key == "at_ms" => Some(at),
        _ => None,
    };
    let first = document.places().iter().filter_map(time).filter(|&at| at > 0).min().unwrap_or(0);
    let steps = [first - 1_000, first - 3_000, first / 2, first / 4];
    let steps = steps.into_iter().filter(|&step| step >= 100);
    steps.filter_map(|step| Some((step.to_string(), document.earlier(step)?))).collect()
}

/// Smaller and rounder numbers.
fn numbers(plan: &Plan) -> Vec<Candidate> {
    let document = Document::of(plan);
    let mut out = Vec::new();
    for path in said(&document, plan) {
        // How long the world runs is cut last, and its seed is a name.
        let own_rule = matches!(path.first(), Some(Step::Key(key)) if key == "run" || key == "seed")
            || matches!(path.last(), Some(Step::Key(key)) if key == "gates" || key == "managers");
        if own_rule {
            continue;
        }
        let Some(&Value::Integer(number)) = document.get(&path) else { continue };
        let smaller = rounder(number.abs()).into_iter();
        out.extend(smaller.filter_map(|smaller| set(&document, &path, number.signum() * smaller)));
    }
    out
}

/// One, a power of ten, half, and one or two digits of it; smallest first.
fn rounder(number: i64) -> Vec<i64> {
    let power = 10_i64.pow(number.max(1).ilog10());
    let finer = (power / 10).max(1);
    let mut out = vec![1, power, number / 2 / finer * finer, number / power * power, number / finer * finer];
    out.retain(|&smaller| smaller < number && smaller > 0);
    out.sort_unstable();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::draw;

    #[test]
    fn every_pass_offers_sound_plans_that_differ() {
        for seed in 0..30 {
            let plan = draw(seed);
            for (name, pass) in STRUCTURE.iter().chain(DETAILS) {
                for (_, smaller) in pass(&plan) {
                    assert_ne!(smaller, plan, "seed {seed}, {name}");
                    smaller.check().unwrap_or_else(|why| panic!("seed {seed}, {name}: {why}"));
                }
            }
        }
    }

    #[test]
    fn what_named_a_node_that_is_gone_names_another() {
        let named = |plan: &Plan| {
            plan.cluster.datacenters.len() > 1
                && plan.faults.iter().any(|fault| fault.target.to_string().contains("dc-b"))
        };
        let plans: Vec<Plan> = (0..100).map(draw).filter(named).collect();
        assert!(plans.len() > 5, "{} of 100 plans have such a fault", plans.len());
        for plan in plans {
            let fewer = elements(&plan, "datacenter");
            let renamed = |one: &Plan| !one.cluster.has_dc("dc-b") && one.faults.len() == plan.faults.len();
            assert!(fewer.iter().any(|(_, one)| renamed(one)), "seed {} does not keep its faults", plan.seed);
        }
    }

    #[test]
    fn what_is_so_by_default_is_left_alone() {
        let mut plan = draw(1);
        NOISE.iter().for_each(|(_, quieten)| quieten(&mut plan));
        for (name, smaller) in defaults(&plan).into_iter().chain(numbers(&plan)) {
            assert_eq!(smaller.network, plan.network, "{name}");
            assert_eq!(smaller.driver, plan.driver, "{name}");
        }
    }

    #[test]
    fn numbers_become_rounder() {
        assert_eq!(rounder(32_869), [1, 10_000, 16_000, 30_000, 32_000]);
        assert_eq!(rounder(7), [1, 3]);
        assert!(rounder(1).is_empty());
    }
}
