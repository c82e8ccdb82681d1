//! `replay`: one case with one seed, with its story.

use std::path::PathBuf;

use super::{Outcome, Trouble};
use crate::plan::Plan;
use crate::runner::{self, Extras};
use crate::scenario::{Case, load};
use crate::world::{Trace, Verdict};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file with the case.
    file: PathBuf,
    /// Which case; may be left out where the file has only one.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Which seed.
    #[arg(long)]
    seed: u64,
    /// The causal story, in words.
    #[arg(long)]
    trace: bool,
    /// Print the plan instead of running it.
    #[arg(long)]
    plan: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let case = find(&args.file, args.case.as_deref())?;
    let plan = case.plan(args.seed);
    if args.plan {
        print!("{}", plan.to_toml());
        return Ok(true);
    }
    let extras = Extras { spectators: case.spectators(), trace: trace(args.trace), each_step: None };
    let verdict = runner::run(plan, extras)?;
    Ok(tell(&verdict))
}

/// The case of this name in a file.
pub(super) fn find(file: &PathBuf, id: Option<&str>) -> Result<Box<dyn Case>, Trouble> {
    let mut cases = load(std::slice::from_ref(file))?;
    let known: Vec<String> = cases.iter().map(|case| case.id().to_string()).collect();
    let place = match id {
        Some(id) => known.iter().position(|case| case == id),
        None if known.len() == 1 => Some(0),
        None => None,
    };
    match place {
        Some(place) => Ok(cases.swap_remove(place)),
        None => Err(Trouble(format!("--case: {} has {}", file.display(), known.join(", ")))),
    }
}

/// The story goes to the standard output.
pub(super) fn trace(wanted: bool) -> Option<Trace> {
    wanted.then(|| Trace::new(Box::new(std::io::BufWriter::new(std::io::stdout()))))
}

/// Tells how a run ended; whether it passed.
pub(super) fn tell(verdict: &Verdict) -> bool {
    let fired: Vec<String> = verdict.fired.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("steps {}, simulated {} ms, faults: {}", verdict.steps, verdict.simulated_ms, fired.join(", "));
    println!("digest {:016x}", verdict.digest);
    match &verdict.violation {
        None => {
            println!("passed");
            true
        }
        Some(violation) => {
            println!("FAILED at {} ms: {}\n  {}", violation.at_ms, violation.oracle, violation.message);
            false
        }
    }
}

/// Runs a plan that no file has.
pub(super) fn run_plan(plan: Plan, with_trace: bool) -> Outcome {
    let verdict = runner::run(plan, Extras { trace: trace(with_trace), ..Extras::default() })?;
    Ok(tell(&verdict))
}
