//! `golden`: are the digests those that are kept?

use std::path::PathBuf;

use super::run::DEFAULT_PATH;
use super::{Outcome, Trouble, use_threads};
use crate::golden::{self, FILE, SEEDS};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder with the cases and the file of digests.
    #[arg(default_value = DEFAULT_PATH)]
    folder: PathBuf,
    /// Write the file.
    #[arg(long)]
    write: bool,
    /// Threads; one for each core where absent.
    #[arg(long)]
    jobs: Option<usize>,
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(args.jobs)?;
    let file = args.folder.join(FILE);
    let now = golden::compute(&args.folder, SEEDS)?;
    if args.write {
        std::fs::write(&file, golden::text(&now))?;
        println!("{} digests are in {}", now.len(), file.display());
        return Ok(true);
    }
    let about = |why: String| Trouble(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|why| about(why.to_string()))?;
    let differences = golden::differences(&golden::parse(&text).map_err(about)?, &now);
    for difference in &differences {
        println!("{difference}");
    }
    println!("{} digests: {} differ from {}", now.len(), differences.len(), file.display());
    Ok(differences.is_empty())
}
