//! What a run prints: lines for people, or one JSON object a line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::Trouble;
use super::junit::{Junit, annotation};
use crate::runner::{Failure, Sum};

/// Failures told in full; the rest are counted.
const TOLD_MAX: usize = 5;

/// One case, as JSON.
#[derive(Serialize)]
struct CaseLine<'a> {
    r#type: &'static str,
    id: &'a str,
    file: &'a str,
    seeds: u64,
    passed: u64,
    failed: usize,
    events: u64,
    simulated_ms: u64,
    fired: &'a BTreeMap<&'static str, u64>,
    failures: Vec<FailureLine<'a>>,
}

#[derive(Serialize)]
struct FailureLine<'a> {
    seed: u64,
    oracle: &'a str,
    at_ms: u64,
    message: &'a str,
    replay: String,
}

#[derive(Serialize)]
struct SummaryLine {
    r#type: &'static str,
    cases: u64,
    seeds: u64,
    passed: u64,
    failed: u64,
    events: u64,
    wall_ms: u64,
    events_per_second: u64,
    seeds_per_second: f64,
    /// With 95 % confidence the share of failing seeds is below this; only where none failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_rate_below: Option<f64>,
    digest: String,
}

/// How a report is told.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Wanted {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Writes a JUnit file as well.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Annotations for GitHub as well; on by itself in its workflows.
    #[arg(long)]
    github: bool,
}

impl Wanted {
    fn annotates(&self) -> bool {
        self.github || std::env::var_os("GITHUB_ACTIONS").is_some()
    }
}

/// Everything that was run so far.
pub(super) struct Report {
    wanted: Wanted,
    junit: Junit,
    /// When the last case was done.
    lap: Instant,
    begin: Instant,
    cases: u64,
    seeds: u64,
    failed: u64,
    events: u64,
    digest: u64,
}

impl Report {
    pub(super) fn new(wanted: &Wanted) -> Self {
        let (wanted, junit, begin) = (wanted.clone(), Junit::default(), Instant::now());
        Self { wanted, junit, lap: begin, begin, cases: 0, seeds: 0, failed: 0, events: 0, digest: 0 }
    }

    /// A case is done. `replay` makes the command that runs a seed of it again.
    pub(super) fn case(&mut self, id: &str, file: &str, sum: &Sum, replay: impl Fn(u64) -> String) {
        self.cases += 1;
        self.seeds += sum.seeds;
        self.failed += sum.failures.len() as u64;
        self.events += sum.steps;
        self.digest = self.digest.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sum.digest;
        let seconds = std::mem::replace(&mut self.lap, Instant::now()).elapsed().as_secs_f64();
        self.junit.case(id, file, seconds, sum, &replay);
        if self.wanted.annotates() {
            for failure in sum.failures.iter().take(TOLD_MAX) {
                let violation = &failure.violation;
                let text = format!("{}\n{}", violation.message, replay(failure.seed));
                eprintln!("{}", annotation(id, file, failure.seed, &violation.oracle, &text));
            }
        }
        if self.wanted.json {
            let line = CaseLine {
                r#type: "case",
                id,
                file,
                seeds: sum.seeds,
                passed: sum.passed(),
                failed: sum.failures.len(),
                events: sum.steps,
                simulated_ms: sum.simulated_ms,
                fired: &sum.fired,
                failures: sum.failures.iter().map(|failure| failure_line(failure, &replay)).collect(),
            };
            println!("{}", serde_json::to_string(&line).expect("a line is plain data"));
            return;
        }
        let verdict = if sum.failures.is_empty() { "ok  " } else { "FAIL" };
        let fired: Vec<String> = sum.fired.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        println!("{verdict} {id:<24} {:>6}/{} seeds  {}", sum.passed(), sum.seeds, fired.join(", "));
        for failure in sum.failures.iter().take(TOLD_MAX) {
            let violation = &failure.violation;
            println!("     seed {} at {} ms: {}", failure.seed, violation.at_ms, violation.oracle);
            println!("       {}", violation.message);
            println!("       {}", replay(failure.seed));
        }
        if sum.failures.len() > TOLD_MAX {
            println!("     and {} more seeds", sum.failures.len() - TOLD_MAX);
        }
    }

    /// The end; whether all passed.
    pub(super) fn end(&self) -> Result<bool, Trouble> {
        let wall = self.begin.elapsed();
        let events_per_second = (self.events as f64 / wall.as_secs_f64().max(1e-9)) as u64;
        let seeds_per_second = self.seeds as f64 / wall.as_secs_f64().max(1e-9);
        let digest = format!("{:016x}", self.digest);
        if let Some(file) = &self.wanted.junit {
            self.junit.write(file)?;
        }
        if self.wanted.json {
            let line = SummaryLine {
                r#type: "summary",
                cases: self.cases,
                seeds: self.seeds,
                passed: self.seeds - self.failed,
                failed: self.failed,
                events: self.events,
                wall_ms: wall.as_millis() as u64,
                events_per_second,
                seeds_per_second,
                failure_rate_below: self.failure_rate_below(),
                digest,
            };
            println!("{}", serde_json::to_string(&line).expect("a line is plain data"));
        } else {
            println!(
                "{} cases, {} seeds: {} passed, {} failed; {} events in {:.1} s \
                 ({events_per_second}/s, {seeds_per_second:.1} seeds/s), digest {digest}",
                self.cases,
                self.seeds,
                self.seeds - self.failed,
                self.failed,
                self.events,
                wall.as_secs_f64()
            );
            if let Some(rate) = self.failure_rate_below() {
                println!("{} clean seeds: failure rate below {:.2} % (95 %)", self.seeds, rate * 100.0);
            }
        }
        Ok(self.failed == 0)
    }

    /// Where n independent runs have all passed, the share of failing ones is below 3 / n with 95 % confidence: else n
    /// clean runs would have had a chance of less than (1 - 3 / n)^n, which is 5 % ("rule of three").
    fn failure_rate_below(&self) -> Option<f64> {
        (self.failed == 0 && self.seeds > 3).then(|| 3.0 / self.seeds as f64)
    }
}

fn failure_line<'a>(failure: &'a Failure, replay: &impl Fn(u64) -> String) -> FailureLine<'a> {
    FailureLine {
        seed: failure.seed,
        oracle: &failure.violation.oracle,
        at_ms: failure.violation.at_ms,
        message: &failure.violation.message,
        replay: replay(failure.seed),
    }
}
