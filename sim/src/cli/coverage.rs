//! `coverage`: how each catalogue id is covered.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::run::DEFAULT_PATH;
use super::{Outcome, Trouble};
use crate::scenario::catalogue::{self, Cover, Line};
use crate::scenario::scenarios;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder with `catalogue/` and the cases.
    #[arg(default_value = DEFAULT_PATH)]
    folder: PathBuf,
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
    if args.json {
        for line in &lines {
            println!("{}", serde_json::to_string(line).map_err(|why| Trouble(why.to_string()))?);
        }
    } else {
        table(&lines);
    }
    Ok(true)
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
