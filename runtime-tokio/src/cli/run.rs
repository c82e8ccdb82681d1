//! `tidegate run`: submit a job, follow it, report, and exit with what came of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use tidegate_core::api::ClientEvent;
use tidegate_core::client::{Done, Goal, Notice};
use tidegate_core::id::JobId;
use tidegate_core::jobs::JobResult;
use tidegate_core::time::Duration as Span;
use tokio::sync::mpsc;

use super::exit::Exit;
use super::follow::{Audience, follow};
use super::remote::Gate;
use super::{Gates, failure};
use crate::embedded::{Embedded, Shape};
use crate::jobfile::{self, BaseUrl, HumanDuration, Job, Surroundings, Target};
use crate::report::{Live, Report, summary};

/// Run a job and report: on a whole cluster in this process, or on the one behind --gate.
///
/// Exit codes: 0 completed and thresholds met, 99 thresholds failed, 2 wrong usage or a bad job file, 3 failed, 4
/// partial, 5 cancelled, 6 timed out, 7 refused, 8 no gate reachable.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate run examples/hello.toml
  tidegate run examples/hello.toml --target http://127.0.0.1:3000 --out result.json
  tidegate run job.toml --gate https://gate-1:7443,https://gate-2:7443 --ca ca.pem")]
pub struct Run {
    /// The job file.
    file: PathBuf,
    #[command(flatten)]
    gates: Gates,
    /// What {{target}} stands for in the job file; without it, a run in this process aims at a built-in demo server.
    #[arg(long, value_name = "URL")]
    target: Option<BaseUrl>,
    /// Write the result as JSON to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the job's events as JSON lines instead of progress and summary.
    #[arg(long)]
    json: bool,
    /// Print only the summary.
    #[arg(long, short)]
    quiet: bool,
    /// Makes a repeated submission safe: the same key gives the same job. A random one is used without it.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Give up when no gate has answered for so long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_patience)]
    patience: Span,
    #[command(flatten)]
    shape: Shape,
}

/// Reads a duration as a job file has it.
pub fn parse_patience(text: &str) -> Result<Span, String> {
    Ok(Span::from_millis(HumanDuration::parse(text)?.as_millis().into()))
}

impl Run {
    /// Does it.
    pub async fn run(self) -> Exit {
        // The whole file is checked before anything is started.
        if let Err(report) = jobfile::check(&self.file) {
            eprintln!("{report}");
            return Exit::Usage;
        }
        let key = match self.key.clone().map_or_else(random_key, Ok) {
            Ok(key) => key,
            Err(why) => return failure(Exit::Failed, &why),
        };
        if self.gates.is_empty() { self.embedded(key).await } else { self.remote(key).await }
    }

    async fn remote(&self, key: String) -> Exit {
        let gates = match self.gates.parse() {
            Ok(gates) => gates,
            Err(why) => return failure(Exit::Usage, &why),
        };
        let target = self.target.clone().map_or(Target::Missing, Target::Given);
        self.submit(&gates, &target, key).await
    }

    async fn embedded(&self, key: String) -> Exit {
        let cluster = match Embedded::start(&self.shape, self.target.is_none()).await {
            Ok(cluster) => cluster,
            Err(why) => return failure(Exit::Failed, &why),
        };
        let target = match (&self.target, cluster.demo()) {
            (Some(url), _) => Target::Given(url.clone()),
            (None, Some(url)) => {
                if !self.quiet && !self.json {
                    eprintln!("no --target given: {{{{target}}}} is the built-in demo server at {url}");
                }
                Target::Demo(url)
            }
            (None, None) => Target::Missing,
        };
        let exit = self.submit(&cluster.gates(), &target, key).await;
        cluster.stop().await;
        exit
    }

    async fn submit(&self, gates: &[Gate], target: &Target, key: String) -> Exit {
        let around = Surroundings { env: &jobfile::process_env, target };
        let Job { spec, .. } = match jobfile::load(&self.file, &around) {
            Ok(job) => job,
            Err(report) => {
                eprintln!("{report}");
                return Exit::Usage;
            }
        };
        let planned_ms = spec.planned_ms();
        let names = spec.workflows.iter().map(|workflow| workflow.name.clone()).collect();
        let mut audience = Screen {
            live: Live::new(self.quiet || self.json, Some(planned_ms), names),
            json: self.json,
            job: None,
            cancelling: false,
        };
        let goal = Goal::Run { key, spec: Box::new(spec) };
        let mut cancels = interrupts();
        let done = follow(gates, goal, self.patience, &mut audience, &mut cancels).await;
        audience.live.finish();
        match done {
            Ok(done) => self.end(done),
            Err(why) => failure(Exit::Failed, &why),
        }
    }

    fn end(&self, done: Done) -> Exit {
        match done {
            Done::Final(result) => self.report(&result),
            Done::Known => failure(Exit::Failed, "the gate says that the result was read, and it was not"),
            Done::Refused(fault) => failure(Exit::refused(&fault), &format!("the gate refused: {fault}")),
            Done::Unreachable { job: Some(job), why } => failure(
                Exit::Unreachable,
                &format!(
                    "no gate answers any more: {why}\n  job {job} exists and may still run; ask with `tidegate status {job} --gate URL`"
                ),
            ),
            Done::Unreachable { job: None, why } => {
                failure(Exit::Unreachable, &format!("no gate answers: {why}"))
            }
        }
    }

    fn report(&self, result: &JobResult) -> Exit {
        let report = Report::new(result);
        if !self.json {
            print!("{}", summary(&report));
        }
        if let Some(path) = &self.out {
            if let Err(error) = write_report(path, &report) {
                return failure(Exit::Failed, &format!("{}: {error}; the result is above", path.display()));
            }
            if !self.json {
                println!("result written to {}", path.display());
            }
        }
        Exit::of(&report)
    }
}

/// Writes the result beside its place and then moves it there, so that a full disk leaves no half of a file.
pub fn write_report(path: &Path, report: &Report) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, report)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn random_key() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The first Ctrl-C asks for a cancel; the second ends this process at once.
fn interrupts() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("\ncancelling the job; press Ctrl-C again to leave without waiting");
            // Fails only where the run is over.
            let _ = sender.send("interrupted at the terminal".to_owned());
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(Exit::Cancelled as i32);
        }
    });
    receiver
}

/// The terminal, or a pipe.
struct Screen {
    live: Live,
    json: bool,
    job: Option<JobId>,
    cancelling: bool,
}

impl Audience for Screen {
    fn tell(&mut self, event: &ClientEvent) {
        if self.json {
            print_json(event);
        }
        self.live.event(event);
    }

    fn notice(&mut self, notice: &Notice, gates: &[Gate]) {
        match notice {
            Notice::Submitted { job, repeated } => {
                self.job = Some(*job);
                if *repeated {
                    self.live.line(&format!("job {job} had been accepted before under this key"));
                }
            }
            Notice::Retry { gate, why } => self.live.retry(*gate, &gates[*gate], why),
            Notice::CancelRecorded if !self.cancelling => {
                self.cancelling = true;
                self.live.line("the cancel is recorded");
            }
            Notice::CancelRecorded => {}
        }
    }
}

/// One event as a line of JSON.
pub fn print_json(event: &ClientEvent) {
    match serde_json::to_string(event) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("an event that is no JSON: {error}"),
    }
}
