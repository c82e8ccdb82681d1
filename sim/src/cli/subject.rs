//! What a command looks at: one run, by its file or by its seed of the swarm.

use std::path::PathBuf;

use super::Trouble;
use crate::scenario::{Case, Repro, load};
use crate::swarm::{Options, draw};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Subject {
    /// A file with cases or with a run that failed; or a seed of the swarm.
    #[arg(value_name = "FILE|SEED")]
    target: String,
    /// Which case of the file; may be left out where it has only one.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Which seed of the case.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Subject {
    /// The run.
    pub fn repro(&self) -> Result<Repro, Trouble> {
        repro(&self.target, self.case.as_deref(), self.seed)
    }

    /// The options of the run, where it is a seed of the swarm.
    pub fn options(&self) -> Option<Options> {
        self.target.parse().ok().map(Options::draw)
    }

    /// A name for files: of the case, or of the seed.
    pub fn name(&self) -> String {
        match (&self.case, self.target.parse::<u64>()) {
            (Some(case), _) => format!("{case}-{}", self.seed),
            (None, Ok(seed)) => format!("swarm-{seed}"),
            (None, Err(_)) => {
                let stem =
                    PathBuf::from(&self.target).file_stem().map(|stem| stem.to_string_lossy().into_owned());
                stem.unwrap_or_default()
            }
        }
    }
}

/// The run that a word names: a file, or a seed of the swarm.
pub(super) fn repro(target: &str, case: Option<&str>, seed: u64) -> Result<Repro, Trouble> {
    match target.parse::<u64>() {
        Ok(seed) => Ok(draw(seed).into()),
        Err(_) => Ok(find(&PathBuf::from(target), case)?.repro(seed)),
    }
}

/// The case of this name in a file.
pub(super) fn find(file: &PathBuf, id: Option<&str>) -> Result<Box<dyn Case>, Trouble> {
    let mut cases = load(std::slice::from_ref(file))?;
    let known: Vec<String> = cases.iter().map(|case| case.id().to_string()).collect();
    let place = match id {
        Some(id) => known.iter().position(|case| case == id),
        None if known.len() == 1 => Some(0),
        None => None,
    };
    match place {
        Some(place) => Ok(cases.swap_remove(place)),
        None => Err(Trouble(format!("--case: {} has {}", file.display(), known.join(", ")))),
    }
}
