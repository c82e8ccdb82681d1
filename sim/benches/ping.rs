//! Simulated events per second on the ping workload (DESIGN 11): timers fired and messages received, one core.
//!
//! Arguments: numbers of nodes; 16, 128 and 1,024 where there are none.

#[path = "../../benches/cpu.rs"]
mod cpu;

use tidegate_sim::ping::{Ping, plan};
use tidegate_sim::world::World;

/// Steps to measure, about.
const STEPS: u64 = 20_000_000;
const SECOND: u64 = 1_000_000_000;

fn main() {
    let mut sizes: Vec<u16> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![16, 128, 1_024];
    }
    println!(
        "{:>6} {:>10} {:>8} {:>12} {:>8} {:>8}  digest",
        "nodes", "steps", "cpu s", "steps/s", "of 10 M", "rtt us"
    );
    let rates: Vec<f64> = sizes.into_iter().map(row).collect();
    let (least, most) =
        rates.iter().fold((f64::MAX, 0f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
    println!("fastest to slowest: {:.2}x", most / least);
}

fn row(nodes: u16) -> f64 {
    let mut world = World::<Ping>::new(plan(nodes), Vec::new()).expect("the plan is valid");
    let warm = world.run_until(SECOND);
    let seconds = STEPS / (u64::from(nodes) * 300) + 1;
    let (cpu, steps) = cpu::seconds(|| world.run_until((1 + seconds) * SECOND) - warm);
    let rate = steps as f64 / cpu;
    println!(
        "{nodes:>6} {steps:>10} {cpu:>8.3} {rate:>12.0} {:>7.2}x {:>8.0}  {:016x}",
        rate / 1e7,
        round_trip_us(&world, usize::from(nodes)),
        world.digest()
    );
    rate
}

/// The mean over all nodes: whether it is the same work as elsewhere.
fn round_trip_us(world: &World<Ping>, nodes: usize) -> f64 {
    let nodes = (0..nodes).filter_map(|host| world.node(host));
    let (answers, nanos) =
        nodes.fold((0, 0), |(answers, nanos), node| (answers + node.answers, nanos + node.round_trips_ns));
    nanos as f64 / answers as f64 / 1e3
}
