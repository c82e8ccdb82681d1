//! The catalogue: what must hold, by id. And how each id is covered.
//!
//! An id is covered by a case, or, where a world adds nothing to it, by a property or transcript test that
//! `scenarios/catalogue/tests.toml` names. One that needs two nodes or a fault counts only as a case.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BadFile;
use crate::coverage::UNSEEN;

/// The file beside the groups that names the tests which cover ids.
pub const TESTS: &str = "tests.toml";

/// One entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its id: group, section, number.
    pub id: String,
    /// In a few words.
    pub title: String,
    /// What there is.
    pub given: String,
    /// What happens.
    pub when: String,
    /// What must hold.
    pub then: String,
    /// Who takes part.
    pub roles: Vec<String>,
    /// What it is about.
    pub area: String,
    /// What goes wrong.
    pub faults: Vec<String>,
    /// The defect of the earlier implementation that it shows.
    #[serde(default)]
    pub seed_ref: Option<String>,
    /// How large it is meant.
    #[serde(default)]
    pub scale: Option<String>,
    /// Why the entry was changed, where the design decides otherwise; `was` keeps what it said.
    #[serde(default)]
    pub amended: Option<String>,
    /// What it said before.
    #[serde(default)]
    pub was: Option<String>,
}

impl Entry {
    /// Whether only a case can show it.
    pub fn needs_a_world(&self) -> bool {
        self.roles.len() > 1 || !self.faults.is_empty()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    scenario: Vec<Entry>,
}

/// Every entry of a folder of groups, by id.
pub fn load(folder: &Path) -> Result<BTreeMap<String, Entry>, BadFile> {
    let mut entries = BTreeMap::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|why: std::io::Error| BadFile { file: folder.to_path_buf(), why: why.to_string() })?;
    files.sort();
    let is_group = |file: &&PathBuf| {
        file.extension().is_some_and(|extension| extension == "toml")
            && file.file_name().is_some_and(|name| name != TESTS && name != UNSEEN)
    };
    for file in files.iter().filter(is_group) {
        let bad = |why: String| BadFile { file: file.clone(), why };
        let text = std::fs::read_to_string(file).map_err(|why| bad(why.to_string()))?;
        let group: Group = toml::from_str(&text).map_err(|why| bad(why.to_string()))?;
        for entry in group.scenario {
            if entry.amended.is_some() != entry.was.is_some() {
                return Err(bad(format!("{}: `amended` and `was` go together", entry.id)));
            }
            if let Some(twice) = entries.insert(entry.id.clone(), entry) {
                return Err(bad(format!("two entries are named {}", twice.id)));
            }
        }
    }
    Ok(entries)
}

/// How an id is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cover {
    /// By a runnable case.
    Case,
    /// By a property test.
    Property,
    /// By a test that reads as a transcript.
    Transcript,
}

/// A test that covers ids.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCover {
    /// What it covers.
    pub covers: Vec<String>,
    /// Which kind of test it is; never `case`.
    pub kind: Cover,
    /// The file, from the project's root.
    pub file: PathBuf,
    /// The test function in it.
    pub test: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tests {
    test: Vec<TestCover>,
}

/// The tests that the file names; each must be there.
pub fn tests(file: &Path, root: &Path) -> Result<Vec<TestCover>, BadFile> {
    let bad = |why: String| BadFile { file: file.to_path_buf(), why };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(bad(why.to_string())),
    };
    let tests: Tests = toml::from_str(&text).map_err(|why| bad(why.to_string()))?;
    for test in &tests.test {
        if test.kind == Cover::Case {
            return Err(bad(format!("{}: a test is a property or a transcript, not a case", test.test)));
        }
        let source = std::fs::read_to_string(root.join(&test.file))
            .map_err(|why| bad(format!("{}: {why}", test.file.display())))?;
        if !source.contains(&format!("fn {}(", test.test)) {
            return Err(bad(format!("{} has no test {:?}", test.file.display(), test.test)));
        }
    }
    Ok(tests.test)
}

/// One line of the coverage report.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The catalogue id.
    pub id: String,
    /// How it is covered; `null` where it is not.
    pub covered: Option<Cover>,
    /// Where: `file#case`, or `file::test`.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// Whether the entry was amended.
    pub amended: bool,
}

/// How each id is covered. `Err` names an id that a case or test claims and the catalogue does not have, or that it may
/// not claim.
pub fn coverage<'a>(
    entries: &BTreeMap<String, Entry>,
    cases: impl IntoIterator<Item = (&'a str, &'a Path, &'a [String])>,
    tests: &[TestCover],
) -> Result<Vec<Line>, String> {
    let mut covered: BTreeMap<&str, (Cover, String)> = BTreeMap::new();
    for test in tests {
        for id in &test.covers {
            let place = format!("{}::{}", test.file.display(), test.test);
            let entry = entries.get(id).ok_or_else(|| format!("{place}: the catalogue has no {id}"))?;
            if entry.needs_a_world() {
                return Err(format!("{place}: {id} needs two nodes or a fault, so only a case covers it"));
            }
            covered.insert(entry.id.as_str(), (test.kind, place));
        }
    }
    for (case, file, ids) in cases {
        let place = format!("{}#{case}", file.display());
        let distinct: BTreeSet<_> = ids.iter().collect();
        for id in distinct {
            let entry = entries.get(id).ok_or_else(|| format!("{place}: the catalogue has no {id}"))?;
            let better = covered.get(entry.id.as_str()).is_none_or(|(cover, _)| *cover != Cover::Case);
            if better {
                covered.insert(entry.id.as_str(), (Cover::Case, place.clone()));
            }
        }
    }
    let line = |entry: &Entry| {
        let (cover, place) = covered.get(entry.id.as_str()).cloned().unzip();
        Line { id: entry.id.clone(), covered: cover, place, amended: entry.amended.is_some() }
    };
    Ok(entries.values().map(line).collect())
}
