//! `swarm`: plans drawn from seeds.

use super::report::Report;
use super::{Outcome, Shard, replay, use_threads};
use crate::runner::run_seeds;
use crate::swarm::draw;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only part i of n of the seeds, from 0.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Threads; one for each core where absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// The causal story of the first seed, in words; nothing else is run.
    #[arg(long)]
    trace: bool,
    /// The plan of the first seed, as a file; nothing is run.
    #[arg(long)]
    plan: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    if args.plan {
        print!("{}", draw(args.seed).to_toml());
        return Ok(true);
    }
    if args.trace {
        return replay::run_plan(draw(args.seed), true);
    }
    use_threads(args.jobs)?;
    let mut report = Report::new(args.json);
    let seeds: Vec<u64> = (args.seed..args.seed.saturating_add(args.seeds))
        .filter(|seed| args.shard.is_none_or(|shard| shard.has(seed - args.seed)))
        .collect();
    let sum = run_seeds(&seeds, |seed| (draw(seed), Vec::new()))?;
    report.case("swarm", "", &sum, |seed| format!("tidegate-sim swarm --seed {seed} --seeds 1 --trace"));
    Ok(report.end())
}
