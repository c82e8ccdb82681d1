//! `shrink`: the smallest run that fails in the same way, as a file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::subject::Subject;
use super::{Outcome, Trouble, use_threads};
use crate::scenario::REGRESSIONS;
use crate::schedule;
use crate::shrink::{NotShrunk, STREAMS, Shrunk, Size, shrink};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Where the small run is written; a new file in scenarios/regressions where absent.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Threads; one for each core where absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// Stop after so many seconds, with what there is by then.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    within: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    oracle: &'a str,
    key: &'a str,
    before: Size,
    after: Size,
    runs: u64,
    wall_ms: u64,
    fails_with_other_streams: usize,
    of: usize,
    out: String,
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(args.jobs)?;
    let repro = args.subject.repro()?;
    let begin = Instant::now();
    let limit = Duration::from_secs(args.within);
    let shrunk = match shrink(&repro, &|| begin.elapsed() < limit) {
        Ok(shrunk) => shrunk,
        Err(NotShrunk::Bad(bad)) => return Err(bad.into()),
        Err(NotShrunk::Passes) => return Err(Trouble("this run passes; there is nothing to shrink".into())),
    };
    let wall = begin.elapsed();
    let out = args.out.clone().unwrap_or_else(|| default_file(args, &shrunk));
    write(&out, &shrunk.repro.to_toml(&comments(&shrunk)))?;
    tell(args.json, &shrunk, wall, &out)?;
    Ok(true)
}

fn tell(json: bool, shrunk: &Shrunk, wall: Duration, out: &Path) -> Result<(), Trouble> {
    let (before, after) = (&shrunk.before, &shrunk.after);
    if json {
        let line = Line {
            r#type: "shrink",
            oracle: &shrunk.fingerprint.oracle,
            key: &shrunk.fingerprint.key,
            before: *before,
            after: *after,
            runs: shrunk.runs,
            wall_ms: wall.as_millis() as u64,
            fails_with_other_streams: shrunk.stands,
            of: STREAMS.count(),
            out: out.display().to_string(),
        };
        println!("{}", serde_json::to_string(&line).map_err(|why| Trouble(why.to_string()))?);
        return Ok(());
    }
    println!("{}", shrunk.fingerprint);
    println!("           before      after");
    let counts = [
        ("faults", before.faults, after.faults),
        ("nodes", before.nodes, after.nodes),
        ("clients", before.clients, after.clients),
        ("jobs", before.jobs, after.jobs),
        ("events", before.events as usize, after.events as usize),
    ];
    for (what, before, after) in counts {
        println!("{what:<8} {before:>8}   {after:>8}");
    }
    println!("{:<8} {:>8.1}   {:>8.1}", "seconds", before.seconds, after.seconds);
    println!("{} runs in {:.1} s; {}", shrunk.runs, wall.as_secs_f64(), stands(shrunk));
    println!("written to {}", out.display());
    println!("  tidegate-sim replay {} --trace", out.display());
    Ok(())
}

fn stands(shrunk: &Shrunk) -> String {
    format!("it fails with {} of {} other random streams in the nodes", shrunk.stands, STREAMS.count())
}

/// What a person who opens the file wants to know first.
fn comments(shrunk: &Shrunk) -> Vec<String> {
    let (before, after) = (&shrunk.before, &shrunk.after);
    let mut lines = vec![
        shrunk.fingerprint.to_string(),
        format!(
            "Shrunk from {} faults, {} nodes, {} jobs and {} events to {}, {}, {} and {}; {}.",
            before.faults,
            before.nodes,
            before.jobs,
            before.events,
            after.faults,
            after.nodes,
            after.jobs,
            after.events,
            stands(shrunk)
        ),
    ];
    lines.extend(schedule::describe(&shrunk.repro.plan, &shrunk.fired));
    lines
}

/// Named after the oracle and where the run came from.
fn default_file(args: &Args, shrunk: &Shrunk) -> PathBuf {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let oracle: String = shrunk.fingerprint.oracle.chars().map(word).collect();
    PathBuf::from(super::run::DEFAULT_PATH)
        .join(REGRESSIONS)
        .join(format!("{oracle}-{}.toml", args.subject.name()))
}

/// Writes a file, and the folder where there is none.
pub(super) fn write(file: &Path, text: &str) -> Result<(), Trouble> {
    let failed = |why: std::io::Error| Trouble(format!("{}: {why}", file.display()));
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(file, text).map_err(failed)
}
