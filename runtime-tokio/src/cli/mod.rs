//! The command line.

mod exit;
pub(crate) mod follow;
mod query;
pub mod remote;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tidegate_core::id::Role;

use crate::init::{InitOptions, init};
use crate::record::{ReplayError, replay};
use crate::{config, exec, jobfile, roles};

use exit::Exit;
use remote::{Access, Gate};

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
    /// Run a job and report: on a whole cluster in this process, or on the one behind --gate
    Run(Box<run::Run>),
    /// Say what is wrong in a job file; starts nothing
    Check {
        /// The job file
        file: PathBuf,
    },
    /// How a job stands
    Status(query::Status),
    /// Follow a job's events to its end
    Events(query::Events),
    /// Record a cancel; the end comes as an event
    Cancel(query::Cancel),
    /// The final result of a job
    Result(query::Outcome),
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

/// The gates that a client command talks to.
#[derive(Clone, Debug, Args)]
struct Gates {
    /// Gates of a running cluster: the next one is tried when one is lost
    #[arg(long = "gate", value_name = "URL", value_delimiter = ',', env = "TIDEGATE_GATE")]
    gate: Vec<String>,
    /// The bearer token for them
    #[arg(long, value_name = "TOKEN", env = "TIDEGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The authority that https gates are checked against
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Gates {
    fn is_empty(&self) -> bool {
        self.gate.is_empty()
    }

    fn parse(&self) -> Result<Vec<Gate>, String> {
        let access = Access::new(self.token.clone(), self.ca.as_deref())?;
        self.gate.iter().map(|url| Gate::parse(url, &access)).collect()
    }

    /// At least one.
    fn required(&self) -> Result<Vec<Gate>, String> {
        if self.is_empty() {
            Err("say which cluster: --gate http://host:port".to_owned())
        } else {
            self.parse()
        }
    }
}

/// Says what went wrong, and gives the exit code on.
fn failure(exit: Exit, why: &str) -> Exit {
    eprintln!("tidegate: {why}");
    exit
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
            Command::Run(args) => client(args.run()),
            Command::Check { file } => check(&file),
            Command::Status(args) => client(args.run()),
            Command::Events(args) => client(args.run()),
            Command::Cancel(args) => client(args.run()),
            Command::Result(args) => client(args.run()),
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

/// Runs a client command to its end.
fn client(work: impl Future<Output = Exit>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(Exit::Failed, &format!("no threads: {error}")).into(),
    };
    let exit = runtime.block_on(work);
    runtime.shutdown_background();
    exit.into()
}

fn check(file: &std::path::Path) -> ExitCode {
    match jobfile::check(file) {
        Ok(job) => {
            println!(
                "{}: job {:?} is good ({} workflows)",
                file.display(),
                job.spec.name,
                job.spec.workflows.len()
            );
            Exit::Ok.into()
        }
        Err(report) => {
            eprintln!("{report}");
            Exit::Usage.into()
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
