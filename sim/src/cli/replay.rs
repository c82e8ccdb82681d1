//! `replay`: one run again, with its story.

use std::path::{Path, PathBuf};

use super::shrink::write;
use super::subject::Subject;
use super::{Outcome, Trouble};
use crate::explain::{self, Record, Recorder};
use crate::runner::{self, Extras};
use crate::scenario::Repro;
use crate::schedule::{self, Notes};
use crate::world::{Trace, Verdict};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// The causal story: what led to the violation, in fewer than 60 lines.
    #[arg(long)]
    trace: bool,
    /// Every event, in words.
    #[arg(long)]
    all: bool,
    /// Writes a page to look at: nodes, messages, faults and states, and beside it the nearest run that passes.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Other random streams in the nodes; 0 is the plan's own.
    #[arg(long, default_value_t = 0)]
    streams: u32,
    /// Print the plan instead of running it.
    #[arg(long)]
    plan: bool,
    /// Writes the schedule: the plan with the faults that really happened, and no others.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let repro = args.subject.repro()?;
    if let Some(options) = args.subject.options() {
        println!("# {options}");
    }
    if args.plan {
        print!("{}", repro.plan.to_readable());
        return Ok(true);
    }
    let notes = Notes::default();
    let mut spectators = repro.spectators();
    spectators.push(Box::new(notes.clone()));
    let recorder = (args.trace || args.html.is_some()).then(Recorder::default);
    let first = recorder.clone().map(|recorder| Box::new(recorder) as _);
    let extras =
        Extras { spectators, first, trace: trace(args.all), streams: args.streams, ..Extras::default() };
    let verdict = runner::run(repro.plan.clone(), extras)?;
    if let Some(out) = &args.out {
        write_schedule(out, &repro, &verdict, &notes)?;
    }
    if let Some(recorder) = recorder {
        let record = recorder.take(verdict.violation.clone());
        if args.trace {
            print!("{}", explain::story(&record));
        }
        if let Some(file) = &args.html {
            write_page(file, &repro, &record)?;
        }
    }
    Ok(tell(&verdict))
}

fn write_page(file: &Path, repro: &Repro, record: &Record) -> Result<(), Trouble> {
    let nearest = match record.violation {
        Some(_) => explain::nearest_passing(repro, record)?,
        None => None,
    };
    write(file, &explain::page(&repro.plan, record, nearest.as_ref()))
}

fn write_schedule(out: &Path, repro: &Repro, verdict: &Verdict, notes: &Notes) -> Result<(), Trouble> {
    let fired = notes.take();
    let found = verdict
        .violation
        .as_ref()
        .map(|violation| crate::fingerprint::Fingerprint::of(&repro.plan, violation));
    let comments = schedule::describe(&repro.plan, &fired);
    let plan = schedule::schedule(&repro.plan, &fired);
    write(out, &Repro { plan, found, ..repro.clone() }.to_toml(&comments))
}

/// The story goes to the standard output.
fn trace(wanted: bool) -> Option<Trace> {
    wanted.then(|| Trace::new(Box::new(std::io::BufWriter::new(std::io::stdout()))))
}

/// Tells how a run ended; whether it passed.
fn tell(verdict: &Verdict) -> bool {
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
