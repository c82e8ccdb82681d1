//! `search`: runs that go on from where something rare was seen.

use std::path::PathBuf;

use super::shrink::write;
use super::{Outcome, use_threads};
use crate::fingerprint::Fingerprint;
use crate::scenario::Repro;
use crate::search::{Found, search};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many runs.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop when something is found.
    #[arg(long)]
    first: bool,
    /// Write what fails into this folder, a file each, for `replay` and `shrink`.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Threads; one for each core where absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// One JSON object a run that failed, and one for all.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(args.jobs)?;
    let outcome = search(args.seed, args.runs, args.first)?;
    for found in &outcome.found {
        tell(args, found);
        if let Some(folder) = &args.out {
            std::fs::create_dir_all(folder)?;
            let violation = found.verdict.violation.as_ref();
            let found_by = violation.map(|violation| Fingerprint::of(&found.plan, violation));
            let repro = Repro { found: found_by, ..Repro::from(found.plan.clone()) };
            write(&folder.join(format!("search-{}-{}.toml", args.seed, found.run)), &repro.to_toml(&[]))?;
        }
    }
    let (runs, marks, kept, failed) = (outcome.runs, outcome.marks, outcome.kept, outcome.found.len());
    if args.json {
        println!("{}", serde_json::json!({"type": "search", "runs": runs, "marks": marks, "failed": failed}));
    } else {
        println!("{runs} runs, {marks} marks, {kept} kept: {failed} failed");
    }
    Ok(failed == 0)
}

fn tell(args: &Args, found: &Found) {
    let Some(violation) = &found.verdict.violation else { return };
    let (run, oracle, at_ms) = (found.run, &violation.oracle, violation.at_ms);
    if args.json {
        let line = serde_json::json!({
            "type": "found", "run": run, "branch": found.is_branch, "oracle": oracle, "at_ms": at_ms,
            "message": violation.message,
        });
        println!("{line}");
        return;
    }
    let how = if found.is_branch { "made from another" } else { "fresh" };
    println!("FAILED run {run} ({how}) at {at_ms} ms: {oracle}\n  {}", violation.message);
}
