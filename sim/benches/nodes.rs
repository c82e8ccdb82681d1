//! The real nodes in the simulated world, with all oracles and the digest: steps and swarm seeds per second of one core.

#[path = "../../benches/cpu.rs"]
mod cpu;

use tidegate_sim::runner::{self, Extras};
use tidegate_sim::swarm::draw;

/// Swarm seeds: 5 to 9 nodes mostly, 60 simulated seconds and more, with faults.
const SEEDS: u64 = 200;

fn main() {
    let (seconds, steps) = cpu::seconds(|| {
        (0..SEEDS)
            .map(|seed| {
                let verdict = runner::run(draw(seed), Extras::default()).expect("a drawn plan is sound");
                assert!(verdict.violation.is_none(), "seed {seed}: {:?}", verdict.violation);
                verdict.steps
            })
            .sum::<u64>()
    });
    let (steps_s, seeds_s) = (steps as f64 / seconds, SEEDS as f64 / seconds);
    println!("steps of real nodes: {steps_s:.0}/s, {:.2}x of 1000000/s", steps_s / 1e6);
    println!("swarm seeds: {seeds_s:.1}/s, {:.2}x of 50/s", seeds_s / 50.0);
}
