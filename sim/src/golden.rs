//! Digests that are kept: equal in debug and release, on every machine, whatever the processes differ in.
//!
//! The file has a line for each run: its name, its seed, how many steps it took, its digest. It holds the first seeds
//! of the swarm and one case of each folder. Whoever changes what nodes do, or what is drawn for them, writes the file
//! again (`tidegate-sim golden --write`) and shows with its diff that this was meant.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;

use crate::plan::Plan;
use crate::runner::{self, Extras};
use crate::scenario::{BadFile, Case, load};
use crate::swarm::draw;

/// The file in the folder of the cases.
pub const FILE: &str = "golden.txt";
/// How many seeds of the swarm are in it.
pub const SEEDS: u64 = 50;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The case, or `swarm`.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// How many steps it took.
    pub steps: u64,
    /// Its digest.
    pub digest: u64,
}

/// The runs of the file, with the digests of this program: `seeds` of the swarm, and the first case of each folder.
pub fn compute(folder: &Path, seeds: u64) -> Result<Vec<Line>, BadFile> {
    let cases = first_of_each_folder(load(&[folder.to_path_buf()])?);
    let swarm = (0..seeds).map(|seed| ("swarm", draw(seed)));
    let plans: Vec<(&str, Plan)> = swarm.chain(cases.iter().map(|case| (case.id(), case.plan(0)))).collect();
    let line = |(name, plan): &(&str, Plan)| {
        let ran = runner::run(plan.clone(), Extras::default());
        let verdict = ran.map_err(|why| BadFile { file: folder.to_path_buf(), why: why.0 })?;
        Ok(Line { name: (*name).into(), seed: plan.seed, steps: verdict.steps, digest: verdict.digest })
    };
    plans.par_iter().map(line).collect()
}

fn first_of_each_folder(mut cases: Vec<Box<dyn Case>>) -> Vec<Box<dyn Case>> {
    let mut folders = BTreeSet::new();
    cases.retain(|case| folders.insert(case.file().parent().map(Path::to_path_buf)));
    cases
}

/// The file with these lines.
pub fn text(lines: &[Line]) -> String {
    let mut text = String::from("# name seed steps digest; written by: tidegate-sim golden --write\n");
    for Line { name, seed, steps, digest } in lines {
        let _ = writeln!(text, "{name} {seed} {steps} {digest:016x}");
    }
    text
}

/// The lines of a file; `Err` is the first that is none.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let mut next = || words.next();
        let parsed = Line {
            name: next()?.into(),
            seed: next()?.parse().ok()?,
            steps: next()?.parse().ok()?,
            digest: u64::from_str_radix(next()?, 16).ok()?,
        };
        words.next().is_none().then_some(parsed)
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|text| line(text).ok_or_else(|| format!("{text:?} is no line of digests"))).collect()
}

/// How two files differ, a line for each run; nothing where they do not.
pub fn differences(kept: &[Line], now: &[Line]) -> Vec<String> {
    let find = |lines: &[Line], wanted: &Line| {
        lines.iter().find(|line| (&line.name, line.seed) == (&wanted.name, wanted.seed)).cloned()
    };
    let changed = kept.iter().filter_map(|old| match find(now, old) {
        Some(new) if new == *old => None,
        Some(new) => Some(format!(
            "{} seed {}: {} steps, {:016x} are kept; now {} steps, {:016x}",
            old.name, old.seed, old.steps, old.digest, new.steps, new.digest
        )),
        None => Some(format!("{} seed {}: is kept, and no such run is made", old.name, old.seed)),
    });
    let added = now.iter().filter(|new| find(kept, new).is_none());
    changed.chain(added.map(|new| format!("{} seed {}: is not kept", new.name, new.seed))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, digest: u64) -> Line {
        Line { name: name.into(), seed: 3, steps: 7, digest }
    }

    #[test]
    fn a_file_says_what_was_written() {
        let lines = [line("swarm", 1), line("G-1.1", u64::MAX)];
        assert_eq!(parse(&text(&lines)).as_deref(), Ok(&lines[..]));
        for bad in ["swarm 3 7", "swarm 3 7 xyz", "swarm 3 7 00 1", "swarm x 7 00"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_difference_is_named() {
        let kept = [line("same", 1), line("changed", 1), line("gone", 1)];
        let now = [line("same", 1), line("changed", 2), line("new", 1)];
        let told = differences(&kept, &now);
        assert_eq!(told.len(), 3, "{told:?}");
        for name in ["changed seed 3", "gone seed 3", "new seed 3"] {
            assert!(told.iter().any(|told| told.starts_with(name)), "{name} among {told:?}");
        }
        assert!(differences(&kept, &kept).is_empty());
    }
}
