//! The real nodes in the simulated world, one core (DESIGN 11): steps and swarm seeds per second, with all oracles and
//! without any, with the drawn faults and without.

#[path = "../../benches/cpu.rs"]
mod cpu;

use tidegate_core::Node;
use tidegate_sim::plan::Plan;
use tidegate_sim::runner::{self, Extras};
use tidegate_sim::swarm::draw;
use tidegate_sim::world::World;

/// Swarm seeds, from 0: 5 to 9 nodes mostly, 60 simulated seconds and more.
const SEEDS: u64 = 100;

fn main() {
    println!(
        "{:<20} {:>9} {:>7} {:>9} {:>8} {:>8} {:>7}",
        "run", "steps", "cpu s", "steps/s", "of 1 M", "seeds/s", "of 50"
    );
    row("swarm, all oracles", judged);
    row("swarm, no oracle", unjudged);
    row("calm, no oracle", |plan| unjudged(Plan { faults: Vec::new(), ..plan }));
}

fn judged(plan: Plan) -> u64 {
    let seed = plan.seed;
    let verdict = runner::run(plan, Extras::default()).expect("a drawn plan is sound");
    assert!(verdict.violation.is_none(), "plan with seed {seed}: {:?}", verdict.violation);
    verdict.steps
}

fn unjudged(plan: Plan) -> u64 {
    World::<Node>::new(plan, Vec::new()).expect("a drawn plan is sound").run().steps
}

fn row(name: &str, run: impl Fn(Plan) -> u64) {
    let (seconds, steps) = cpu::seconds(|| (0..SEEDS).map(|seed| run(draw(seed))).sum::<u64>());
    let (steps_s, seeds_s) = (steps as f64 / seconds, SEEDS as f64 / seconds);
    println!(
        "{name:<20} {steps:>9} {seconds:>7.2} {steps_s:>9.0} {:>7.2}x {seeds_s:>8.1} {:>6.2}x",
        steps_s / 1e6,
        seeds_s / 50.0
    );
}
