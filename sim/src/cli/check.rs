//! `check`: what is wrong in scenario files, and whether a case can fail at all.

use std::path::PathBuf;

use rayon::prelude::*;

use super::run::DEFAULT_PATH;
use super::{Outcome, use_threads};
use crate::plan::Plan;
use crate::runner::{self, Extras};
use crate::scenario::{Case as _, Scenario, load, scenarios};
use crate::world::Spectator;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and folders.
    #[arg(default_value = DEFAULT_PATH)]
    paths: Vec<PathBuf>,
    /// Prove that each case fails without its workload, and that one with faults does not reach its point without them.
    #[arg(long)]
    vacuous: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(None)?;
    let cases = load(&args.paths)?;
    println!("{} cases are well-formed", cases.len());
    if !args.vacuous {
        return Ok(true);
    }
    let scenarios = scenarios(&args.paths)?;
    let findings: Vec<String> = scenarios.par_iter().flat_map_iter(vacuous).collect();
    for finding in &findings {
        println!("VACUOUS {finding}");
    }
    println!("{} scenarios, {} findings", scenarios.len(), findings.len());
    Ok(findings.is_empty())
}

/// What shows that a case proves nothing.
fn vacuous(case: &Scenario) -> Vec<String> {
    let place = format!("{}:{} {}", case.file.display(), case.line, case.id());
    let mut findings = Vec::new();
    if passes(case.without_workload(0), case.spectators()) {
        findings.push(format!("{place}: it passes without its workload"));
    }
    if case.has_faults() && passes(case.without_faults(0), vec![case.reached()]) {
        findings.push(format!("{place}: it reaches its point without its faults"));
    }
    findings
}

fn passes(plan: Plan, spectators: Vec<Box<dyn Spectator>>) -> bool {
    let extras = Extras { spectators, ..Extras::default() };
    runner::run(plan, extras).is_ok_and(|verdict| verdict.violation.is_none())
}
