//! Cases: what `tidegate-sim run` runs.
//!
//! A case gives a plan for each seed, and spectators that judge it beside the oracles. A scenario file holds cases with
//! what must be seen in each. The simplest case is a plan in a file: a run that once failed, or one that somebody wants
//! to look at. Its own seed is number 0 of its seeds.

mod answer;
pub mod catalogue;
mod expect;
mod file;
mod message;
mod repro;
mod same;
mod sight;
#[cfg(test)]
mod tests;

pub use expect::{Expect, Judge, Pattern, Times, Wanted};
pub use file::{Scenario, parse, schema};
pub use repro::Repro;

use std::path::{Path, PathBuf};

use crate::plan::Plan;
use crate::world::Spectator;

/// The folder of runs that once failed.
pub const REGRESSIONS: &str = "regressions";

/// Something that can be run with a seed.
pub trait Case: Sync {
    /// Its name: unique in its file.
    fn id(&self) -> &str;
    /// The catalogue ids that it covers.
    fn covers(&self) -> &[String] {
        &[]
    }
    /// Where it was read.
    fn file(&self) -> &Path;
    /// The plan for a seed.
    fn plan(&self, seed: u64) -> Plan;
    /// Who judges it beside the oracles.
    fn spectators(&self) -> Vec<Box<dyn Spectator>>;
    /// One run of it, by itself.
    fn repro(&self, seed: u64) -> Repro;
}

/// A file that cannot be used, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// Which.
    pub file: PathBuf,
    /// Why; with line and column where it does not parse.
    pub why: String,
}

impl std::fmt::Display for BadFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.why)
    }
}

/// One run in a file.
struct ReproFile {
    id: String,
    file: PathBuf,
    repro: Repro,
}

impl Case for ReproFile {
    fn id(&self) -> &str {
        &self.id
    }
    fn file(&self) -> &Path {
        &self.file
    }
    fn plan(&self, seed: u64) -> Plan {
        Plan { seed: self.repro.plan.seed.wrapping_add(seed), ..self.repro.plan.clone() }
    }
    fn spectators(&self) -> Vec<Box<dyn Spectator>> {
        self.repro.spectators()
    }
    fn repro(&self, seed: u64) -> Repro {
        Repro { plan: self.plan(seed), ..self.repro.clone() }
    }
}

/// All cases of these files and folders, in the order of their names. Folders named `catalogue` hold no cases.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Box<dyn Case>>, BadFile> {
    let mut files = Vec::new();
    for path in paths {
        find(path, &mut files)?;
    }
    // What once failed is the likeliest to fail again.
    files.sort_by_key(|file| !file.components().any(|part| part.as_os_str() == REGRESSIONS));
    let mut cases = Vec::new();
    for file in &files {
        cases.extend(read(file)?);
    }
    Ok(cases)
}

/// All scenarios among these files and folders.
pub fn scenarios(paths: &[PathBuf]) -> Result<Vec<Scenario>, BadFile> {
    let mut files = Vec::new();
    for path in paths {
        find(path, &mut files)?;
    }
    let mut scenarios = Vec::new();
    for file in files {
        if !is_plan(&text_of(&file)?) {
            scenarios.extend(file::read(&file)?);
        }
    }
    Ok(scenarios)
}

fn text_of(file: &Path) -> Result<String, BadFile> {
    std::fs::read_to_string(file).map_err(|why| BadFile { file: file.to_path_buf(), why: why.to_string() })
}

/// A plan has a seed of its own; scenarios are given theirs.
fn is_plan(text: &str) -> bool {
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("seed") && !table.contains_key("case"))
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), BadFile> {
    let bad = |why: std::io::Error| BadFile { file: path.to_path_buf(), why: why.to_string() };
    if !path.is_dir() {
        std::fs::metadata(path).map_err(bad)?;
        files.push(path.to_path_buf());
        return Ok(());
    }
    let entries: Result<Vec<_>, _> = std::fs::read_dir(path).map_err(bad)?.collect();
    let mut inside: Vec<PathBuf> = entries.map_err(bad)?.into_iter().map(|entry| entry.path()).collect();
    inside.sort();
    for path in inside {
        let is_cases = path.file_name().is_some_and(|name| name != "catalogue");
        if path.is_dir() && is_cases {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<Box<dyn Case>>, BadFile> {
    let text = text_of(file)?;
    if !is_plan(&text) {
        return Ok(file::read(file)?.into_iter().map(|case| Box::new(case) as Box<dyn Case>).collect());
    }
    let repro = Repro::from_toml(&text).map_err(|why| BadFile { file: file.to_path_buf(), why: why.0 })?;
    let id = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    Ok(vec![Box::new(ReproFile { id, file: file.to_path_buf(), repro })])
}
