//! Simulated events per second on the ping workload (DESIGN 11): timers fired and messages received, one core.

use std::time::Instant;

use tidegate_sim::ping::{Ping, plan};
use tidegate_sim::world::World;

/// Steps to measure, about.
const STEPS: u64 = 20_000_000;
const SECOND: u64 = 1_000_000_000;

fn main() {
    println!("{:>6} {:>10} {:>8} {:>14}  digest", "nodes", "steps", "wall s", "steps/s");
    let mut rates = Vec::new();
    for nodes in [16u16, 128, 1_024] {
        let mut world = World::<Ping>::new(plan(nodes), Vec::new()).expect("the plan is valid");
        let warm = world.run_until(SECOND);
        let seconds = STEPS / (u64::from(nodes) * 300) + 1;
        let begin = Instant::now();
        let steps = world.run_until((1 + seconds) * SECOND) - warm;
        let wall = begin.elapsed().as_secs_f64();
        let rate = steps as f64 / wall;
        println!("{nodes:>6} {steps:>10} {wall:>8.3} {rate:>14.0}  {:016x}", world.digest());
        rates.push(rate);
    }
    let (least, most) =
        rates.iter().fold((f64::MAX, 0f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
    println!("from 16 to 1024 nodes: within {:.2}x", most / least);
}
