//! `swarm`: plans drawn from seeds.

use super::progress::Progress;
use super::report::{Report, Wanted};
use super::{Outcome, Shard, use_threads};
use crate::runner::run_seeds;
use crate::swarm::{Options, draw};

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
    #[command(flatten)]
    report: Wanted,
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(args.jobs)?;
    let mut report = Report::new(&args.report);
    let seeds: Vec<u64> = (args.seed..args.seed.saturating_add(args.seeds))
        .filter(|seed| args.shard.is_none_or(|shard| shard.has(seed - args.seed)))
        .collect();
    let progress = Progress::new("swarm", seeds.len() as u64);
    if let [seed] = seeds[..] {
        // To the side: the output may be JSON.
        eprintln!("{}", Options::draw(seed));
    }
    let sum = run_seeds(&seeds, &|verdict| progress.add(verdict), |seed| (draw(seed), Vec::new()))?;
    progress.end();
    report.case("swarm", "", &sum, |seed| format!("tidegate-sim replay {seed} --trace"));
    report.end()
}
