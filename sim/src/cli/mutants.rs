//! `mutants`: are planted defects found, and how soon?
//!
//! Each `mutants/NAME.patch` puts one defect into the core. It is applied to a scratch copy of the sources, built, and the
//! swarm of that build runs until an oracle fires. A run that is kept in `scenarios/regressions/NAME.toml` must fail in
//! that build as well, with the nodes' own random streams and with others. With `--shrink` the build also makes what it
//! found small.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Outcome, Shard, Trouble, table};
use crate::scenario::REGRESSIONS;
use crate::shrink::STREAMS;

/// What a build needs; the rest of the sources is left where it is.
const SOURCES: &[&str] = &["Cargo.toml", "Cargo.lock", "benches/cpu.rs", "core", "sim", "runtime-tokio"];
/// Seeds are run in lots: the first small, for most defects show at once.
const FIRST_LOT: u64 = 16;
const LOT_MAX: u64 = 128;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder of the project's sources.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Only mutants whose name contains this.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Only part i of n of the mutants, from 0.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Seeds of the swarm at most.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where sources are copied to and built; kept, so that the next time is faster.
    #[arg(long, default_value = "target/mutants")]
    scratch: PathBuf,
    /// Keep each mutant's program here, under its name.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Shrink what was found, into files of this folder.
    #[arg(long, value_name = "FOLDER")]
    shrink: Option<PathBuf>,
    /// Bring the rows of this page of the docs up to date.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// One JSON object a mutant.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line {
    mutant: String,
    found_by: Option<String>,
    seeds_to_find: Option<u64>,
    /// The run that is kept for it: with how many of the random streams it fails, and of how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    regression: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shrunk: Option<Small>,
}

impl Line {
    fn row(&self) -> table::Row {
        let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_string());
        let shrunk = |what: fn(Small) -> String| number(self.shrunk.map(what));
        [
            self.mutant.clone(),
            self.found_by.clone().unwrap_or_else(|| "not found".to_string()),
            number(self.seeds_to_find.map(|seeds| seeds.to_string())),
            shrunk(|small| small.faults.to_string()),
            shrunk(|small| small.nodes.to_string()),
            shrunk(|small| format!("{:.1}", small.wall_ms as f64 / 1e3)),
        ]
    }
}

/// What is left of the run that found a mutant.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Small {
    faults: usize,
    nodes: usize,
    jobs: usize,
    /// Steps of nodes up to the violation.
    events: u64,
    /// How long it took to shrink it.
    #[serde(default)]
    wall_ms: u64,
}

impl Small {
    /// The median of each number.
    fn median(all: &[Self]) -> Option<Self> {
        let middle = |number: fn(&Self) -> u64| {
            let mut numbers: Vec<u64> = all.iter().map(number).collect();
            numbers.sort_unstable();
            numbers.get(numbers.len() / 2).copied()
        };
        Some(Self {
            faults: middle(|small| small.faults as u64)? as usize,
            nodes: middle(|small| small.nodes as u64)? as usize,
            jobs: middle(|small| small.jobs as u64)? as usize,
            events: middle(|small| small.events)?,
            wall_ms: middle(|small| small.wall_ms)?,
        })
    }
}

impl std::fmt::Display for Small {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { faults, nodes, jobs, events, wall_ms } = self;
        let seconds = *wall_ms as f64 / 1e3;
        write!(f, "{faults} faults, {nodes} nodes, {jobs} jobs, {events} events, in {seconds:.1} s")
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let names = names(args)?;
    let scratch = Scratch::new(args)?;
    if !args.json {
        println!("{:<36} {:>5}  oracle", "mutant", "seeds");
    }
    let (mut all, mut small) = (true, Vec::new());
    for name in names {
        let line = scratch.judge(args, &name)?;
        small.extend(line.shrunk);
        let kept_fails = line.regression.is_none_or(|[failed, of]| failed == of);
        all &= line.found_by.is_some() && kept_fails;
        if let Some(page) = &args.table {
            table::put(page, line.row())?;
        }
        if args.json {
            println!("{}", serde_json::to_string(&line).map_err(|why| Trouble(why.to_string()))?);
            continue;
        }
        let seeds = line.seeds_to_find.map_or_else(|| "-".to_string(), |seeds| seeds.to_string());
        let oracle = line.found_by.as_deref().unwrap_or("NOT FOUND");
        let kept = line.regression.map(|[failed, of]| format!("; its kept run fails {failed} times of {of}"));
        println!("{:<36} {seeds:>5}  {oracle}{}", line.mutant, kept.unwrap_or_default());
        if let Some(shrunk) = line.shrunk {
            println!("{:<36} {:>5}  shrunk: {shrunk}", "", "");
        }
    }
    if let (Some(median), false) = (Small::median(&small), args.json) {
        println!("median of {} shrunk: {median}", small.len());
    }
    Ok(all)
}

fn names(args: &Args) -> Result<Vec<String>, Trouble> {
    let folder = args.root.join("mutants");
    let entries =
        std::fs::read_dir(&folder).map_err(|why| Trouble(format!("{}: {why}", folder.display())))?;
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    names.retain(|name| args.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())));
    let mut place = 0..;
    names.retain(|_| args.shard.is_none_or(|shard| place.next().is_some_and(|place| shard.has(place))));
    if names.is_empty() {
        return Err(Trouble(format!("{} has no such mutant", folder.display())));
    }
    Ok(names)
}

/// A copy of the sources that may be broken.
struct Scratch {
    root: PathBuf,
    sources: PathBuf,
    /// Seeds with which some mutant failed, and whether this very program passes with them: others find no mutant.
    sound: RefCell<BTreeMap<u64, bool>>,
}

impl Scratch {
    fn new(args: &Args) -> Result<Self, Trouble> {
        let root = std::fs::canonicalize(&args.root)?;
        let sources = args.scratch.join("sources");
        std::fs::create_dir_all(&sources)?;
        for name in SOURCES {
            copy(&root.join(name), &sources.join(name))?;
        }
        Ok(Self { root, sources: std::fs::canonicalize(sources)?, sound: RefCell::default() })
    }

    fn judge(&self, args: &Args, name: &str) -> Result<Line, Trouble> {
        let patch = self.root.join("mutants").join(format!("{name}.patch"));
        self.apply(&patch, false)?;
        let judged = self.judge_applied(args, name);
        self.apply(&patch, true)?;
        judged
    }

    fn judge_applied(&self, args: &Args, name: &str) -> Result<Line, Trouble> {
        let program = self.build(name)?;
        if let Some(keep) = &args.keep {
            std::fs::create_dir_all(keep)?;
            std::fs::copy(&program, keep.join(name))?;
        }
        let found = first_failure(&program, args, &mut self.sound.borrow_mut())?;
        let kept = self.root.join("scenarios").join(REGRESSIONS).join(format!("{name}.toml"));
        let regression = if kept.is_file() { Some(replay(&program, &kept)?) } else { None };
        let shrunk = match (&args.shrink, &found) {
            (Some(folder), Some((_, seeds))) => {
                Some(shrink(&program, args.seed + seeds - 1, &folder.join(format!("{name}.toml")))?)
            }
            _ => None,
        };
        let (found_by, seeds_to_find) = found.unzip();
        Ok(Line { mutant: name.to_string(), found_by, seeds_to_find, regression, shrunk })
    }

    fn apply(&self, patch: &Path, back: bool) -> Result<(), Trouble> {
        let mut command = Command::new("git");
        command.arg("apply").args(back.then_some("--reverse")).arg(patch).current_dir(&self.sources);
        // The scratch copy may lie inside of a working tree, which must not be looked at.
        command.env("GIT_CEILING_DIRECTORIES", self.sources.parent().unwrap_or(&self.sources));
        succeed(command, &format!("{} does not apply", patch.display()))
    }

    fn build(&self, name: &str) -> Result<PathBuf, Trouble> {
        let target = self.sources.join("../build");
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--quiet", "--offline", "-p", "tidegate-sim"]);
        command.current_dir(&self.sources).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "-Awarnings");
        succeed(command, &format!("the mutant {name} does not build"))?;
        Ok(target.join("release/tidegate-sim"))
    }
}

fn succeed(mut command: Command, why: &str) -> Result<(), Trouble> {
    let done = command.stdin(Stdio::null()).output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(Trouble(format!("{why}:\n{}", String::from_utf8_lossy(&done.stderr))))
}

/// Copies what is new or different, so that a build of the copy does only what it must.
fn copy(from: &Path, to: &Path) -> Result<(), Trouble> {
    if from.is_dir() {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let bytes = std::fs::read(from)?;
    if std::fs::read(to).ok().as_ref() != Some(&bytes) {
        std::fs::write(to, bytes)?;
    }
    Ok(())
}

/// The oracle that fires first in the order of the seeds, and how many seeds it takes. Seeds that fail without the mutant
/// are not its.
fn first_failure(
    program: &Path,
    args: &Args,
    sound: &mut BTreeMap<u64, bool>,
) -> Result<Option<(String, u64)>, Trouble> {
    let (mut begin, mut lot) = (0, FIRST_LOT);
    while begin < args.seeds {
        let count = lot.min(args.seeds - begin);
        for (seed, oracle) in failures(program, args.seed + begin, count)? {
            let is_sound = match sound.get(&seed) {
                Some(known) => *known,
                None => failures(&std::env::current_exe()?, seed, 1)?.is_empty(),
            };
            sound.insert(seed, is_sound);
            if is_sound {
                return Ok(Some((oracle, seed - args.seed + 1)));
            }
        }
        (begin, lot) = (begin + count, LOT_MAX.min(lot * 2));
    }
    Ok(None)
}

/// Seeds that fail, in order, with the oracle.
fn failures(program: &Path, first: u64, count: u64) -> Result<Vec<(u64, String)>, Trouble> {
    let done = Command::new(program)
        .args(["swarm", "--json", "--seed", &first.to_string(), "--seeds", &count.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let mut all = Vec::new();
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        let line: Value = serde_json::from_str(line).map_err(|why| Trouble(why.to_string()))?;
        for failure in line["failures"].as_array().into_iter().flatten() {
            let oracle = failure["oracle"].as_str().unwrap_or_default().to_string();
            all.extend(failure["seed"].as_u64().map(|seed| (seed, oracle)));
        }
    }
    all.sort();
    Ok(all)
}

/// What a build makes of a seed with which it fails.
fn shrink(program: &Path, seed: u64, out: &Path) -> Result<Small, Trouble> {
    let mut command = Command::new(program);
    command.args(["shrink", &seed.to_string(), "--json", "--out"]).arg(out);
    let done = command.stdin(Stdio::null()).output()?;
    let bad = |why: serde_json::Error| {
        Trouble(format!("shrinking seed {seed}: {why}\n{}", String::from_utf8_lossy(&done.stderr)))
    };
    let line: Value = serde_json::from_slice(&done.stdout).map_err(bad)?;
    let small = Small::deserialize(&line["after"]).map_err(bad)?;
    Ok(Small { wall_ms: line["wall_ms"].as_u64().unwrap_or_default(), ..small })
}

/// With how many of the random streams a kept run fails, and of how many.
fn replay(program: &Path, kept: &Path) -> Result<[usize; 2], Trouble> {
    let mut failed = 0;
    for streams in std::iter::once(0).chain(STREAMS) {
        let done = Command::new(program)
            .arg("replay")
            .arg(kept)
            .args(["--streams", &streams.to_string()])
            .stdin(Stdio::null())
            .output()?;
        failed += usize::from(done.status.code() == Some(1));
    }
    Ok([failed, STREAMS.count() + 1])
}
