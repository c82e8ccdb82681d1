//! The job file: any text gives a job or a list of problems, and a job that it gives may be submitted.

use tidegate::jobfile::{Surroundings, Target, parse};

/// The target.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let env = |name: &str| (name == "HOME").then(|| "/home".to_string());
    let targets = [Target::Later, Target::Missing];
    for target in &targets {
        match parse("fuzzed.toml", text, &Surroundings { env: &env, target }) {
            Ok(job) => job.spec.validate().expect("a job file that is accepted is a valid job"),
            Err(report) => assert!(!report.to_string().is_empty(), "a refusal says why"),
        }
    }
}
