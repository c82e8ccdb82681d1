//! `swarm`: plans drawn from seeds.

use std::path::PathBuf;

use super::progress::Progress;
use super::report::{Report, Wanted};
use super::run::write_coverage;
use super::{Outcome, Shard, use_threads};
use crate::coverage::Coverage;
use crate::runner::run_seeds;
use crate::swarm::{Options, draw};
use crate::world::Verdict;

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
    /// Writes how often each kind of thing happened, as JSON: for `coverage --seen`.
    #[arg(long, value_name = "FILE")]
    coverage: Option<PathBuf>,
    #[command(flatten)]
    report: Wanted,
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(args.jobs)?;
    let mut report = Report::new(&args.report);
    let seeds = Shard::seeds(args.shard, args.seed, args.seeds);
    let progress = Progress::new("swarm", seeds.len() as u64);
    if let [seed] = seeds[..] {
        // To the side: the output may be JSON.
        eprintln!("{}", Options::draw(seed));
    }
    let coverage = args.coverage.as_ref().map(|_| Coverage::default());
    let seen = |verdict: &Verdict| {
        progress.add(verdict);
        coverage.iter().for_each(|coverage| coverage.ran(verdict));
    };
    let watches = || coverage.iter().map(Coverage::watch).collect();
    let sum = run_seeds(&seeds, &seen, |seed| (draw(seed), watches()))?;
    progress.end();
    write_coverage(args.coverage.as_deref(), coverage.as_ref())?;
    report.case("swarm", "", &sum, |seed| format!("tidegate-sim replay {seed} --trace"));
    report.end()
}
