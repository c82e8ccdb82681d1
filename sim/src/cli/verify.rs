//! `verify`: is a run a function of its plan?
//!
//! Each seed runs in two processes of this program: see [`twice`].

use std::path::PathBuf;
use std::process::Command;

use tidegate_core::Node;

use super::run::DEFAULT_PATH;
use super::{Outcome, Trouble, subject};
use crate::runner::{self, Extras};
use crate::scenario::load;
use crate::swarm::draw;
use crate::twice::{self, Compared, Side};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and folders with cases; without any, those in `scenarios`, and as many seeds of the swarm.
    paths: Vec<PathBuf>,
    /// How many seeds of each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, clap::Args)]
pub(super) struct StepsArgs {
    /// The file with the case; the swarm where absent.
    file: Option<PathBuf>,
    /// Which case.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Which seed.
    #[arg(long)]
    seed: u64,
    /// Tell what happened in this step, from 0, instead of writing digests.
    #[arg(long)]
    tell: Option<u64>,
    /// Be the process that differs in what must not matter.
    #[arg(long)]
    other: bool,
}

/// What is run twice.
struct Subject {
    name: String,
    args: Vec<String>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let default = [PathBuf::from(DEFAULT_PATH)];
    let given = !args.paths.is_empty();
    let paths: &[PathBuf] = match () {
        () if given => &args.paths,
        () if default[0].is_dir() => &default,
        () => &[],
    };
    let mut subjects = Vec::new();
    let seeds = args.seed..args.seed.saturating_add(args.seeds);
    for case in load(paths)? {
        for seed in seeds.clone() {
            let file = case.file().display().to_string();
            let words = [file, "--case".into(), case.id().into(), "--seed".into(), seed.to_string()];
            subjects.push(Subject { name: format!("{} seed {seed}", case.id()), args: words.to_vec() });
        }
    }
    for seed in seeds.filter(|_| !given) {
        subjects.push(Subject {
            name: format!("swarm seed {seed}"),
            args: vec!["--seed".into(), seed.to_string()],
        });
    }
    let mut same = true;
    for subject in &subjects {
        same &= compare(subject)?;
    }
    println!("{} runs, each in two processes: {}", subjects.len(), if same { "equal" } else { "DIFFERENT" });
    Ok(same)
}

fn compare(subject: &Subject) -> Result<bool, Trouble> {
    let program = std::env::current_exe()?;
    let command = |side, tell: Option<u64>| {
        let mut command = Command::new(&program);
        command.arg("steps").args(&subject.args);
        if side == Side::Other {
            command.arg("--other");
        }
        if let Some(step) = tell {
            command.args(["--tell", &step.to_string()]);
        }
        command
    };
    match twice::compare(&command).map_err(|why| Trouble(format!("{}: {why}", subject.name)))? {
        Compared::Equal(steps) => {
            println!("{}: {steps} steps, equal", subject.name);
            Ok(true)
        }
        Compared::Different { step, told } => {
            println!("{}: step {step} differs", subject.name);
            told.iter().for_each(|told| print!("{told}"));
            Ok(false)
        }
    }
}

/// One run, with its digests or the story of one step on the standard output.
pub(super) fn steps(args: &StepsArgs) -> Outcome {
    let case = args.file.as_ref().map(|file| subject::find(file, args.case.as_deref())).transpose()?;
    let plan = case.as_ref().map_or_else(|| draw(args.seed), |case| case.plan(args.seed));
    let side = if args.other { Side::Other } else { Side::Plain };
    twice::on_side::<Node, _>(side, &plan, || {
        let spectators = case.as_ref().map_or_else(Vec::new, |case| case.spectators());
        let mut extras = Extras { spectators, ..Extras::default() };
        match args.tell {
            Some(step) => {
                let (trace, each_step) = twice::teller(step);
                (extras.trace, extras.each_step) = (Some(trace), Some(each_step));
            }
            None => extras.each_step = Some(twice::digests()),
        }
        // That the run was a success or not is no matter here.
        runner::run(plan.clone(), extras).map(|_| true).map_err(Trouble::from)
    })
}
