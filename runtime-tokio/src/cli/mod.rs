//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tidegate_core::id::Role;

use crate::init::{InitOptions, init};
use crate::record::{ReplayError, replay};
use crate::{config, exec, roles};

/// Exit code for wrong usage and bad files.
const USAGE: u8 = 2;

/// Runs load tests and other bounded jobs across many datacenters, and goes on when they fail.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make authority, certificates, keys and configuration files of a new cluster on this machine
    Init(InitArgs),
    /// Run a gate
    Gate(NodeArgs),
    /// Run a manager
    Manager(NodeArgs),
    /// Run a worker
    Worker(NodeArgs),
    /// Run a recorded life of a node again, and compare what comes out
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// The folder to make; must not exist, or be empty
    dir: PathBuf,
    /// The cluster's name
    #[arg(long, default_value = "local")]
    cluster: String,
    /// Gates: 1, or 3 to survive the loss of one
    #[arg(long, default_value_t = 1)]
    gates: u16,
    /// Datacenters
    #[arg(long, default_value_t = 2)]
    datacenters: u16,
    /// Managers in each datacenter: 1, or 3 to survive the loss of one
    #[arg(long, default_value_t = 1)]
    managers: u16,
    /// Workers in each datacenter
    #[arg(long, default_value_t = 2)]
    workers: u16,
    /// First port on loopback; each node takes the next, each gate one more for its API
    #[arg(long, default_value_t = 7600)]
    first_port: u16,
}

#[derive(Debug, Args)]
struct NodeArgs {
    /// The node's configuration (docs/configuration.md)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Record the node's life into this new file, for replay
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// What `--record` has written
    file: PathBuf,
    /// Print every step: its time, its event, its effects
    #[arg(long)]
    trace: bool,
}

/// Parses the arguments, does what they say, and returns the exit code: 0 done, 2 wrong usage or a bad file, others as
/// the command's help says.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(cli) => match cli.command {
            Command::Init(args) => run_init(args),
            Command::Gate(args) => run_node(args, Role::Gate),
            Command::Manager(args) => run_node(args, Role::Manager),
            Command::Worker(args) => run_node(args, Role::Worker),
            Command::Replay(args) => run_replay(&args),
        },
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
        }
    }
}

fn run_init(args: InitArgs) -> ExitCode {
    let InitArgs { dir, cluster, gates, datacenters, managers, workers, first_port } = args;
    let options = InitOptions { cluster, gates, datacenters, managers, workers, first_port };
    match init(&dir, &options) {
        Ok(made) => {
            println!(
                "Made a cluster of {} nodes. Start them, each in a terminal of its own:\n",
                made.nodes.len()
            );
            for (role, path) in &made.nodes {
                println!("  tidegate {} --config {}", role.as_str(), path.display());
            }
            println!("\nGates: {}\nAPI token: {}", made.gate_urls.join(","), made.token_file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::from(USAGE)
        }
    }
}

fn run_node(args: NodeArgs, role: Role) -> ExitCode {
    match config::load(&args.config, role) {
        Ok(file) => roles::serve(file, args.record, exec::of_node),
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::from(USAGE)
        }
    }
}

/// 0 where the effects are the recorded ones, 1 where they differ, 2 where the file is no recording.
fn run_replay(args: &ReplayArgs) -> ExitCode {
    let replayed = replay(&args.file, |now, event, effects| {
        if args.trace {
            println!("{:?} {event:?}", now.mono);
            effects.iter().for_each(|effect| println!("    {effect:?}"));
        }
    });
    match replayed {
        Ok(replayed) => {
            println!("{} steps gave the recorded effects, digest {:016x}", replayed.steps, replayed.digest);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tidegate: {}: {error}", args.file.display());
            ExitCode::from(if matches!(error, ReplayError::File(_)) { USAGE } else { 1 })
        }
    }
}
