//! The job file: TOML in, a checked [`Job`] or everything that is wrong out. It starts nothing and talks to nobody;
//! the environment and the target come in through [`Surroundings`]. Documented for users in `docs/job-file.md`.

mod compile;
mod graph;
mod plan;
mod problem;
mod requests;
mod scalar;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod threshold;
mod types;

use std::path::Path;

use tidegate_core::jobs::JobSpec;

pub use plan::{CommandPlan, HttpPlan, Origin, Plan, RequestPlan};
pub use problem::{Problem, Report};
pub use scalar::HumanDuration;
pub use template::{Piece, Template};
pub use types::JobFile;

/// Largest job file, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// A job as it is submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Whose quota it counts against.
    pub tenant: String,
    /// What the core runs; the payload of each workflow is a [`Plan`].
    pub spec: JobSpec,
}

/// What `{{target}}` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The user's choice: a job that does not use it is an error.
    Given(BaseUrl),
    /// The built-in demo target, for jobs that use it.
    Demo(BaseUrl),
    /// Not known yet: the job is checked and not submitted.
    Later,
    /// There is none: a job that uses it is an error.
    Missing,
}

impl Target {
    /// What the templates get, without a `/` at its end.
    fn url(&self) -> Option<String> {
        match self {
            Self::Given(BaseUrl(url)) | Self::Demo(BaseUrl(url)) => Some(url.clone()),
            Self::Later => Some("http://target.invalid".to_string()),
            Self::Missing => None,
        }
    }
}

/// `http://host[:port][/path]`, without a `/` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for BaseUrl {
    type Err = String;
    /// The error says what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches('/');
        if text.contains(['?', '#']) || text.contains("{{") {
            return Err(format!("{text:?}: a target is http://host:port, perhaps with a path, and no more"));
        }
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let origin = match text[after_scheme..].find('/') {
            Some(at) => &text[..after_scheme + at],
            None => text,
        };
        Origin::parse(origin)?;
        Ok(Self(text.to_string()))
    }
}

/// Where a job file is read: what its templates can refer to.
pub struct Surroundings<'a> {
    /// The submitter's environment, for `{{env.X}}`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// What `{{target}}` stands for.
    pub target: &'a Target,
}

/// Checks a file without anything to aim at: what `tidegate check` does.
pub fn check(path: &Path) -> Result<Job, Report> {
    load(path, &Surroundings { env: &process_env, target: &Target::Later })
}

/// Reads a file to be submitted.
pub fn load(path: &Path, around: &Surroundings<'_>) -> Result<Job, Report> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|error| Report::unreadable(&name, error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(Report::unreadable(&name, format!("{size} bytes: a job file has at most {MAX_FILE}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| Report::unreadable(&name, error.to_string()))?;
    parse(&name, &text, around)
}

/// Reads the text of a file; `name` is only for messages.
pub fn parse(name: &str, text: &str, around: &Surroundings<'_>) -> Result<Job, Report> {
    let report = |problems| Report::new(name, text, problems);
    let source = source::Source::parse(text).map_err(report)?;
    let file = source.read().map_err(report)?;
    compile::compile(&source, &file, around).map_err(report)
}

/// The environment of this process.
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The JSON Schema of a job file, as `docs/job-file.schema.json` holds it.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(JobFile)).expect("a schema is JSON");
    text.push('\n');
    text
}
