//! `lifeguard`: the paper's experiments and other trials of the membership machine.

use std::time::Instant;

use super::{Outcome, use_threads};
use crate::lifeguard::scenes::{self, Scene};
use crate::lifeguard::tables::{Line, heading};
use crate::lifeguard::world::Anomaly;
use crate::lifeguard::{Config, Task, interval, plot, threshold};

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Experiment {
    /// The paper's table II: how soon one anomaly is found.
    Threshold,
    /// The paper's table III: false positives and messages while anomalies come and go.
    Interval,
    /// The interval experiment with loops blocked, the process frozen, and only the network held.
    Anomalies,
    /// Detection time against false positives at several alphas, as an SVG on standard output.
    Plot,
    /// One crash: who finds it when.
    Crash,
    /// The same while everybody still tells of everybody.
    CrashCrowded,
    /// A member that reaches one other only, for 300 s.
    #[value(alias = "island")]
    HalfConnected,
    /// Halves cut from each other.
    Heal,
    /// All restart within 10 s at 5 % loss.
    Restart,
    /// All join through one seed.
    Join,
    /// Members restart, one a second; ten minutes of it.
    Churn,
}

impl Experiment {
    fn scene(self) -> Option<Scene> {
        Some(match self {
            Self::Crash => Scene::Crash,
            Self::CrashCrowded => Scene::CrashCrowded,
            Self::HalfConnected => Scene::HalfConnected,
            Self::Heal => Scene::Heal,
            Self::Restart => Scene::Restart,
            Self::Join => Scene::Join,
            Self::Churn => Scene::Churn,
            Self::Threshold | Self::Interval | Self::Anomalies | Self::Plot => return None,
        })
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to run; threshold and interval where absent.
    #[arg(long, value_enum)]
    experiment: Option<Experiment>,
    /// Groups, each with the whole grid; the paper has 10.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repetitions: u64,
    /// The configurations. Where absent: in the paper's experiments its five, ours at alpha 5 and 2, and the node's;
    /// in others the node's.
    #[arg(long, value_enum)]
    config: Vec<Config>,
    /// Shortest suspicions, in periods per log10 of the members: a row for each.
    #[arg(long)]
    alpha: Vec<f64>,
    /// Longest suspicion, in shortest ones.
    #[arg(long)]
    beta: Option<f64>,
    /// How members are blocked.
    #[arg(long, value_enum, default_value = "loops")]
    anomaly: Anomaly,
    /// Only one run in so many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// Members, where the paper does not say; a row for each. Each experiment has its own default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..100_000))]
    nodes: Vec<u32>,
    /// Seconds of a cut, or of churn; a row for each.
    #[arg(long)]
    span: Vec<u64>,
    /// Moves every draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; one for each core where absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// One JSON object a row.
    #[arg(long)]
    json: bool,
    /// Fail where a row of ours, or the plain one, misses what it is held to.
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(args.jobs)?;
    let held = match args.experiment {
        None => {
            grid(args, threshold, "threshold", args.anomaly) & grid(args, interval, "interval", args.anomaly)
        }
        Some(Experiment::Threshold) => grid(args, threshold, "threshold", args.anomaly),
        Some(Experiment::Interval) => grid(args, interval, "interval", args.anomaly),
        Some(Experiment::Anomalies) => {
            let all = [Anomaly::Loops, Anomaly::Frozen, Anomaly::Io];
            all.map(|anomaly| grid(args, interval, "interval", anomaly)).into_iter().all(|held| held)
        }
        Some(Experiment::Plot) => {
            print!("{}", plot::svg(&plot::points(args.repetitions, args.sample, args.seed)));
            true
        }
        Some(other) => {
            other.scene().into_iter().for_each(|scene| trials(args, scene));
            true
        }
    };
    Ok(held)
}

/// A trial, a line for each configuration, number of members and span.
fn trials(args: &Args, scene: Scene) {
    let configs: &[Config] = if args.config.is_empty() { &[Config::Node] } else { &args.config };
    let nodes = if args.nodes.is_empty() { scene.sizes() } else { &args.nodes };
    let spans = if args.span.is_empty() { scene.spans() } else { &args.span };
    for config in configs {
        for (nodes, span) in nodes.iter().flat_map(|nodes| spans.iter().map(move |span| (*nodes, *span))) {
            let rules = config.rules(args.alpha.first().copied(), args.beta);
            let begin = Instant::now();
            let found = scenes::run(scene, rules, nodes, span, args.repetitions, args.seed);
            let wall = begin.elapsed().as_secs_f64();
            match args.json {
                true => println!("{}", found.json(*config, nodes, wall)),
                false => println!("{}", found.text(*config, nodes, wall)),
            }
        }
    }
}

/// The rows of one of the paper's experiments. The plain one is what the others are measured by: the paper has it at
/// alpha 5 whatever theirs is.
fn rows(args: &Args) -> Vec<(Config, Option<f64>)> {
    if args.config.is_empty() && args.alpha.is_empty() {
        let all = Config::ALL.iter().map(|config| (*config, None));
        return all.chain([(Config::Ours, Some(2.0))]).collect();
    }
    let configs: &[Config] = if args.config.is_empty() { &Config::ALL } else { &args.config };
    let mut rows = Vec::new();
    for config in configs {
        match *config {
            Config::Swim => rows.push((Config::Swim, None)),
            config if args.alpha.is_empty() => rows.push((config, None)),
            config => rows.extend(args.alpha.iter().map(|alpha| (config, Some(*alpha)))),
        }
    }
    rows
}

/// One experiment of the paper, a line for each row; tells whether all that was asked to be checked holds.
fn grid(
    args: &Args,
    experiment: fn(&Task) -> crate::lifeguard::Sum,
    name: &'static str,
    anomaly: Anomaly,
) -> bool {
    if !args.json {
        println!("{}", heading(name, anomaly));
    }
    let (mut swim, mut held) = (None, true);
    for (config, alpha) in rows(args) {
        let rules = config.rules(alpha, args.beta);
        let begin = Instant::now();
        let task =
            Task { rules, anomaly, repetitions: args.repetitions, sample: args.sample, seed: args.seed };
        let sum = experiment(&task);
        let wall_s = begin.elapsed().as_secs_f64();
        let line =
            Line { experiment: name, anomaly, config, alpha: rules.alpha, beta: rules.beta, sum, wall_s };
        let plain = swim.as_ref().or((config == Config::Swim).then_some(&line));
        match args.json {
            true => println!("{}", line.json()),
            false => println!("{}", line.text(plain)),
        }
        for miss in line.misses(plain).iter().filter(|_| args.check) {
            held = false;
            eprintln!("{} at alpha {}: {miss}", config.name(), line.alpha);
        }
        if config == Config::Swim {
            swim = Some(line);
        }
    }
    held
}
