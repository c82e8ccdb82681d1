//! `coverage`: how each catalogue id is covered; with `--seen`, whether runs came to everything that they can come to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::run::DEFAULT_PATH;
use super::{Outcome, Trouble};
use crate::coverage::{self, Counts, Exceptions, UNSEEN};
use crate::scenario::catalogue::{self, Cover, Line};
use crate::scenario::scenarios;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder with `catalogue/` and the cases.
    #[arg(default_value = DEFAULT_PATH)]
    folder: PathBuf,
    /// What `run --coverage` and `swarm --coverage` wrote: fails where a kind of thing never happened, and
    /// `catalogue/unseen.toml` does not say why it cannot.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    seen: Vec<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let catalogue = args.folder.join("catalogue");
    let entries = catalogue::load(&catalogue)?;
    let root = args.folder.parent().unwrap_or(&args.folder);
    let tests = catalogue::tests(&catalogue.join(catalogue::TESTS), root)?;
    let cases = scenarios(std::slice::from_ref(&args.folder))?;
    let claims = cases.iter().map(|case| (case.id.as_str(), case.file.as_path(), case.covers.as_slice()));
    let lines = catalogue::coverage(&entries, claims, &tests).map_err(Trouble)?;
    if !args.seen.is_empty() {
        return seen(args, &catalogue, &lines);
    }
    if args.json {
        for line in &lines {
            println!("{}", serde_json::to_string(line).map_err(|why| Trouble(why.to_string()))?);
        }
    } else {
        table(&lines);
    }
    Ok(true)
}

/// Judges what runs came to.
fn seen(args: &Args, catalogue: &Path, lines: &[Line]) -> Outcome {
    let read = |file: &Path| {
        std::fs::read_to_string(file).map_err(|why| Trouble(format!("{}: {why}", file.display())))
    };
    let mut counts = Counts::zero();
    let of_cases = lines.iter().filter(|line| line.covered == Some(Cover::Case));
    counts.ids.extend(of_cases.map(|line| (line.id.clone(), 0)));
    for file in &args.seen {
        let more = serde_json::from_str(&read(file)?);
        counts.add(&more.map_err(|why| Trouble(format!("{}: {why}", file.display())))?);
    }
    let file = catalogue.join(UNSEEN);
    let exceptions: Exceptions =
        toml::from_str(&read(&file)?).map_err(|why| Trouble(format!("{}: {why}", file.display())))?;
    let mut missing = coverage::missing(&counts, &exceptions);
    let open = lines.iter().filter(|line| line.covered.is_none()).count();
    if open != exceptions.ids_without_a_case {
        let kept = exceptions.ids_without_a_case;
        missing.push(format!("ids: {open} have no case, and {UNSEEN} says {kept}"));
    }
    for (group, kinds) in counts.groups() {
        let happened = kinds.values().filter(|count| **count > 0).count();
        println!("{group:<13} {happened:>4} of {:>4} kinds happened", kinds.len());
    }
    println!("{open} catalogue ids have no case yet");
    missing.iter().for_each(|line| println!("MISSING {line}"));
    Ok(missing.is_empty())
}

fn table(lines: &[Line]) {
    let mut groups: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for line in lines {
        let group = line.id.split('-').next().unwrap_or_default();
        let column = match line.covered {
            Some(Cover::Case) => 1,
            Some(Cover::Property) => 2,
            Some(Cover::Transcript) => 3,
            None => continue,
        };
        groups.entry(group).or_default()[column] += 1;
    }
    for line in lines {
        groups.entry(line.id.split('-').next().unwrap_or_default()).or_default()[0] += 1;
    }
    println!("group   ids  cases  properties  transcripts");
    for (group, [all, cases, properties, transcripts]) in groups {
        println!("{group:<5} {all:>5} {cases:>6} {properties:>11} {transcripts:>12}");
    }
    let amended = lines.iter().filter(|line| line.amended).count();
    let covered = lines.iter().filter(|line| line.covered.is_some()).count();
    println!("{covered} of {} ids are covered; {amended} entries are amended", lines.len());
}
