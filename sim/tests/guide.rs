//! The guide says what is so: its example runs and proves itself, and its table has every oracle.

use std::collections::BTreeSet;
use std::path::Path;

use tidegate_sim::runner::{self, Extras};
use tidegate_sim::scenario::{self, Case as _};
use tidegate_sim::world::NO_PANIC;
use tidegate_sim::world::Verdict;
use tidegate_sim::{oracles, plan::Plan};

const GUIDE: &str = include_str!("../../docs/simulation.md");

fn example() -> scenario::Scenario {
    let (_, rest) = GUIDE.split_once("```toml\n").expect("the guide has an example");
    let (text, _) = rest.split_once("```").expect("it ends");
    assert!(text.lines().count() <= 10, "{} lines", text.lines().count());
    let mut cases = scenario::parse(Path::new("docs/simulation.md"), text).expect("it is sound");
    cases.pop().expect("one case")
}

fn run(plan: Plan, spectators: Vec<Box<dyn tidegate_sim::world::Spectator>>) -> Verdict {
    runner::run(plan, Extras { spectators, ..Extras::default() }).expect("a sound plan")
}

#[test]
fn the_example_passes() {
    let case = example();
    for seed in 0..5 {
        let verdict = run(case.plan(seed), case.spectators());
        assert_eq!(verdict.violation, None, "seed {seed}");
        assert_eq!(verdict.fired.get("crash"), Some(&1), "seed {seed}");
    }
}

#[test]
fn the_example_can_fail() {
    let case = example();
    let idle = run(case.without_workload(0), case.spectators());
    assert!(idle.violation.is_some(), "it passes without its workload");
    let calm = run(case.without_faults(0), vec![case.reached()]);
    assert!(calm.violation.is_some(), "its point is reached without its faults");
}

/// The first cells of the oracles' table, each of which stands there once.
fn documented() -> BTreeSet<String> {
    let (_, rest) = GUIDE.split_once("| oracle |").expect("the guide has the table");
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut names = BTreeSet::new();
    for name in rows.filter_map(|row| Some(row.split('|').nth(1)?.trim().to_string())) {
        assert!(names.insert(name.clone()), "{name} stands in the table twice");
    }
    names
}

/// Every name under which this program reports a violation.
fn reported() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = oracles::all().iter().map(|oracle| oracle.name().to_string()).collect();
    names.extend(["expectation", "comparison", NO_PANIC].map(str::to_string));
    // What the world itself sees broken is named where it says so.
    let world = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/world");
    for entry in std::fs::read_dir(world).expect("the world has sources") {
        let source = std::fs::read_to_string(entry.expect("it can be read").path()).expect("text");
        let said = source.split("violate(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        names.extend(said.filter_map(|rest| Some(rest.split_once('"')?.0.to_string())));
    }
    assert!(names.contains("liveness") && names.contains("no panic"), "{names:?}");
    names
}

#[test]
fn every_oracle_is_in_the_table_and_no_other() {
    assert_eq!(documented(), reported());
}
