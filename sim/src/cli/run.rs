//! `run`: the cases of files and folders, with many seeds.

use std::path::{Path, PathBuf};

use super::progress::Progress;
use super::report::{Report, Wanted};
use super::{Outcome, Shard, Trouble, use_threads};
use crate::coverage::Coverage;
use crate::runner::run_seeds;
use crate::scenario::{Case, load};
use crate::world::Verdict;

/// Where the cases are, if nobody says otherwise.
pub(super) const DEFAULT_PATH: &str = "scenarios";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and folders with cases.
    #[arg(default_value = DEFAULT_PATH)]
    paths: Vec<PathBuf>,
    /// How many seeds each case is run with.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only cases whose id contains this.
    #[arg(long, value_name = "ID")]
    filter: Option<String>,
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
    let mut cases = load(&args.paths)?;
    if let Some(filter) = &args.filter {
        cases.retain(|case| case.id().contains(filter.as_str()));
    }
    if cases.is_empty() {
        return Err(Trouble("there is no such case".into()));
    }
    let seeds = Shard::seeds(args.shard, args.seed, args.seeds);
    let coverage = args.coverage.as_ref().map(|_| Coverage::default());
    for case in &cases {
        let progress = Progress::new(case.id(), seeds.len() as u64);
        let seen = |verdict: &Verdict| {
            progress.add(verdict);
            coverage.iter().for_each(|coverage| coverage.ran(verdict));
        };
        let sum = run_seeds(&seeds, &seen, |seed| {
            let watches = coverage.iter().map(Coverage::watch);
            (case.plan(seed), case.spectators().into_iter().chain(watches).collect())
        })?;
        coverage.iter().for_each(|coverage| coverage.passed(case.covers(), sum.passed()));
        progress.end();
        let file = case.file().display().to_string();
        report.case(case.id(), &file, &sum, |seed| replay_command(case.as_ref(), seed));
    }
    write_coverage(args.coverage.as_deref(), coverage.as_ref())?;
    report.end()
}

/// Writes the counts, where somebody wants them.
pub(super) fn write_coverage(file: Option<&Path>, coverage: Option<&Coverage>) -> Result<(), Trouble> {
    let Some((file, coverage)) = file.zip(coverage) else { return Ok(()) };
    let text = serde_json::to_string_pretty(&coverage.counts()).map_err(|why| Trouble(why.to_string()))?;
    std::fs::write(file, text + "\n").map_err(|why| Trouble(format!("{}: {why}", file.display())))
}

/// The command that runs one seed of a case again.
pub(super) fn replay_command(case: &dyn Case, seed: u64) -> String {
    format!("tidegate-sim replay {} --case {} --seed {seed} --trace", case.file().display(), case.id())
}
