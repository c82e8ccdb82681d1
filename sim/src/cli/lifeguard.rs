//! `lifeguard`: the paper's experiments and other trials of the membership machine.

use std::time::Instant;

use super::{Outcome, use_threads};
use crate::lifeguard::scenes::{self, Scene};
use crate::lifeguard::tables::{Line, heading};
use crate::lifeguard::world::Anomaly;
use crate::lifeguard::{Config, Task, interval, threshold};

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Experiment {
    /// The paper's table II: how soon one anomaly is found.
    Threshold,
    /// The paper's table III: false positives and messages while anomalies come and go.
    Interval,
    /// One crash: who finds it when.
    Crash,
    /// A member that reaches one other only, for 300 s.
    Island,
    /// Halves cut from each other, for --span seconds.
    Heal,
    /// All restart within 10 s at 5 % loss.
    Restart,
    /// All join through one seed.
    Join,
    /// Ten minutes in which one member a second restarts.
    Churn,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to run; threshold and interval where absent.
    #[arg(long, value_enum)]
    experiment: Option<Experiment>,
    /// Groups, each with the whole grid; the paper has 10.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repetitions: u64,
    /// The configuration; the paper's five and ours where absent.
    #[arg(long, value_enum)]
    config: Vec<Config>,
    /// Shortest suspicion, in periods per log10 of the members.
    #[arg(long)]
    alpha: Option<f64>,
    /// Longest suspicion, in shortest ones.
    #[arg(long)]
    beta: Option<f64>,
    /// How members are blocked.
    #[arg(long, value_enum, default_value = "loops")]
    anomaly: Anomaly,
    /// Only one run in so many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// Members, where the paper does not say.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..100_000))]
    nodes: u32,
    /// Seconds, where the experiment takes some.
    #[arg(long, default_value_t = 60)]
    span: u64,
    /// Moves every draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; one for each core where absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// One JSON object a row.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(args.jobs)?;
    let scene = match args.experiment {
        None => return Ok(grid(args, threshold, "threshold") & grid(args, interval, "interval")),
        Some(Experiment::Threshold) => return Ok(grid(args, threshold, "threshold")),
        Some(Experiment::Interval) => return Ok(grid(args, interval, "interval")),
        Some(Experiment::Crash) => Scene::Crash,
        Some(Experiment::Island) => Scene::Island,
        Some(Experiment::Heal) => Scene::Heal,
        Some(Experiment::Restart) => Scene::Restart,
        Some(Experiment::Join) => Scene::Join,
        Some(Experiment::Churn) => Scene::Churn,
    };
    let configs = if args.config.is_empty() { vec![Config::Ours] } else { args.config.clone() };
    for config in configs {
        let rules = config.rules(args.alpha, args.beta);
        let begin = Instant::now();
        let found = scenes::run(scene, rules, args.nodes, args.span, args.repetitions, args.seed);
        let wall = begin.elapsed().as_secs_f64();
        match args.json {
            true => println!("{}", found.json(config, args.nodes, wall)),
            false => println!("{}", found.text(config, args.nodes, wall)),
        }
    }
    Ok(true)
}

/// One experiment of the paper, a line for each configuration.
fn grid(args: &Args, experiment: fn(&Task) -> crate::lifeguard::Sum, name: &'static str) -> bool {
    if !args.json {
        println!("{}", heading(name));
    }
    let configs = if args.config.is_empty() { Config::ALL.to_vec() } else { args.config.clone() };
    let mut swim = None;
    for config in configs {
        // The plain row is what the others are measured by: the paper has it at alpha 5 whatever theirs is.
        let alpha = args.alpha.filter(|_| config != Config::Swim);
        let rules = config.rules(alpha, args.beta);
        let begin = Instant::now();
        let task = Task {
            rules,
            anomaly: args.anomaly,
            repetitions: args.repetitions,
            sample: args.sample,
            seed: args.seed,
        };
        let sum = experiment(&task);
        let wall_s = begin.elapsed().as_secs_f64();
        let line = Line { experiment: name, config, alpha: rules.alpha, beta: rules.beta, sum, wall_s };
        match args.json {
            true => println!("{}", line.json()),
            false => println!("{}", line.text(swim.as_ref().or((config == Config::Swim).then_some(&line)))),
        }
        if config == Config::Swim {
            swim = Some(line);
        }
    }
    true
}
