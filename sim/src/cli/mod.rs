//! The command line. Exit codes: 0 all passed, 1 something failed, 2 usage or a bad file.

mod blame;
mod check;
mod coverage;
mod diff;
mod golden;
mod junit;
mod lifeguard;
mod mutants;
mod progress;
mod replay;
mod report;
mod run;
mod search;
mod shard;
mod shrink;
mod subject;
mod swarm;
mod table;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::shard::Shard;
use crate::scenario::BadFile;

/// Tidegate in a seeded, simulated world.
#[derive(Debug, Parser)]
#[command(name = "tidegate-sim", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  tidegate-sim run                                  every case in scenarios/, 200 seeds each
  tidegate-sim run scenarios/G --filter 6.2 --seeds 20
  tidegate-sim replay scenarios/G/06.toml --case G-6.2 --seed 17 --trace
  tidegate-sim swarm --seeds 1000                   random clusters, workloads and faults
  tidegate-sim shrink 17                            seed 17 of the swarm, as small as it still fails
  tidegate-sim verify --seeds 5                     the same seed in two processes, step by step")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the cases of files and folders with many seeds.
    Run(run::Args),
    /// Runs one case with one seed again, and tells its story.
    Replay(replay::Args),
    /// The first step in which two runs differ, with what the nodes last said on both sides.
    Diff(diff::Args),
    /// From which moment on a failure was likely: repeats the run up to there, then lets chance decide otherwise.
    Blame(blame::Args),
    /// Makes a failing run small, and writes it as a file.
    Shrink(shrink::Args),
    /// Runs each seed in two processes and compares them step by step.
    Verify(verify::Args),
    /// Compares the digests of some runs with those that are kept; with --write, keeps them.
    Golden(golden::Args),
    /// Runs random clusters, workloads and faults.
    Swarm(swarm::Args),
    /// Runs that go on, with other faults, from where something new was seen.
    Search(search::Args),
    /// Says what is wrong in scenario files; with --vacuous, that each case can fail.
    Check(check::Args),
    /// Writes the JSON Schema of scenario files, for editors.
    Schema,
    /// Says of each catalogue id how it is covered.
    Coverage(coverage::Args),
    /// Repeats the Lifeguard paper's evaluation on the membership machine, and tries it in other ways.
    Lifeguard(lifeguard::Args),
    /// Plants each defect of mutants/ and says how soon the swarm finds it.
    Mutants(mutants::Args),
    /// Writes the digest after each step of one run: what `verify` reads.
    #[command(hide = true)]
    Steps(verify::StepsArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    crate::runner::catch_panics_quietly();
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Blame(args) => blame::run(&args),
        Command::Shrink(args) => shrink::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Golden(args) => golden::run(&args),
        Command::Swarm(args) => swarm::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Schema => {
            print!("{}", crate::scenario::schema());
            Ok(true)
        }
        Command::Coverage(args) => coverage::run(&args),
        Command::Lifeguard(args) => lifeguard::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Steps(args) => verify::steps(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

/// Why a command could not do its work: usage, or a bad file.
struct Trouble(String);

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<BadFile> for Trouble {
    fn from(bad: BadFile) -> Self {
        Self(bad.to_string())
    }
}
impl From<crate::plan::BadPlan> for Trouble {
    fn from(bad: crate::plan::BadPlan) -> Self {
        Self(bad.0)
    }
}
impl From<std::io::Error> for Trouble {
    fn from(bad: std::io::Error) -> Self {
        Self(bad.to_string())
    }
}

/// All passed, or not.
type Outcome = Result<bool, Trouble>;

/// Uses so many threads, or one for each core.
fn use_threads(jobs: Option<usize>) -> Result<(), Trouble> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(jobs.unwrap_or(0));
    threads.build_global().map_err(|why| Trouble(why.to_string()))
}
