//! `tidegate status|events|cancel|result`: ask a gate about a job.

use std::path::PathBuf;

use clap::Args;
use http::{HeaderMap, Method};
use tidegate_core::api::{ClientEvent, JobView};
use tidegate_core::client::{Done, Goal, Notice};
use tidegate_core::id::JobId;
use tidegate_core::time::Duration as Span;
use tokio::sync::mpsc;

use super::exit::Exit;
use super::follow::{Audience, follow};
use super::remote::{CallError, Gate};
use super::run::{parse_patience, print_json, write_report};
use super::{Gates, failure};
use crate::http::sse;
use crate::report::{Figures, Live, Report, duration, grouped, summary};

/// One job at one of these gates.
#[derive(Debug, Args)]
pub struct OfJob {
    /// The job's id.
    #[arg(value_parser = parse_job)]
    job: JobId,
    #[command(flatten)]
    gates: Gates,
}

/// `tidegate events`
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tidegate events 019a... --gate http://127.0.0.1:7080 --json --after 3.1.0")]
pub struct Events {
    #[command(flatten)]
    of: OfJob,
    /// Print JSON lines.
    #[arg(long)]
    json: bool,
    /// Only what follows this event.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Give up when no gate has answered for so long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_patience)]
    patience: Span,
}

/// `tidegate result`
#[derive(Debug, Args)]
pub struct Outcome {
    #[command(flatten)]
    of: OfJob,
    /// Write it as JSON to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// `tidegate cancel`
#[derive(Debug, Args)]
pub struct Cancel {
    #[command(flatten)]
    of: OfJob,
    /// For the people who read the job's history.
    #[arg(long, default_value = "cancelled from the command line")]
    reason: String,
}

/// `tidegate status`
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    of: OfJob,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_job(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "a job id has 32 hexadecimal digits".to_owned())
}

fn call_failure(error: &CallError) -> Exit {
    let exit = match error {
        CallError::Refused(fault) => Exit::refused(fault),
        CallError::Unreachable(_) | CallError::Strange(_) => Exit::Unreachable,
    };
    failure(exit, &error.to_string())
}

impl OfJob {
    /// Asks one gate after the other until one answers; a refusal that another gate would give too ends it.
    async fn ask<T: serde::de::DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, Exit> {
        let gates = self.gates.required().map_err(|why| failure(Exit::Usage, &why))?;
        let mut last = None;
        for gate in &gates {
            match gate.json(method.clone(), path, HeaderMap::new(), Vec::new()).await {
                Ok(answer) => return Ok(answer),
                Err(CallError::Refused(fault)) if !fault.is_retryable() => {
                    return Err(call_failure(&CallError::Refused(fault)));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(Exit::Unreachable, |error| call_failure(&error)))
    }
}

impl Status {
    /// Does it.
    pub async fn run(self) -> Exit {
        let path = format!("/v1/jobs/{}", self.of.job);
        let view: JobView = match self.of.ask(Method::GET, &path).await {
            Ok(view) => view,
            Err(exit) => return exit,
        };
        if self.json {
            println!("{}", serde_json::to_string(&view).unwrap_or_default());
            return Exit::Ok;
        }
        println!(
            "job {} ({}): {} after {}",
            view.job,
            view.name,
            view.status.as_str(),
            duration(view.elapsed_ms.into())
        );
        if !view.resolution.is_empty() {
            println!("  {}", view.resolution);
        }
        for dc in &view.per_dc {
            let figures = Figures::from_totals(&dc.totals);
            println!(
                "  {}: {}, {} requests, {:.1}/s, {} errors ({} ago)",
                dc.dc,
                dc.status.as_str(),
                grouped(figures.requests),
                figures.rate_per_s,
                grouped(figures.errors),
                duration(dc.age_ms.into())
            );
        }
        Exit::Ok
    }
}

impl Cancel {
    /// Does it.
    pub async fn run(self) -> Exit {
        let query = serde_urlencoded::to_string([("reason", &self.reason)]).unwrap_or_default();
        let path = format!("/v1/jobs/{}?{query}", self.of.job);
        match self.of.ask::<serde_json::Value>(Method::DELETE, &path).await {
            Ok(answer) if answer["state"] == "requested" => println!("the cancel is recorded"),
            Ok(_) => println!("a cancel had been recorded before"),
            Err(exit) => return exit,
        }
        Exit::Ok
    }
}

impl Outcome {
    /// Does it.
    pub async fn run(self) -> Exit {
        let path = format!("/v1/jobs/{}/result", self.of.job);
        let report: Report = match self.of.ask(Method::GET, &path).await {
            Ok(report) => report,
            Err(exit) => return exit,
        };
        if self.json {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
        } else {
            print!("{}", summary(&report));
        }
        if let Some(out) = &self.out
            && let Err(error) = write_report(out, &report)
        {
            return failure(Exit::Failed, &format!("{}: {error}", out.display()));
        }
        Exit::of(&report)
    }
}

impl Events {
    /// Does it.
    pub async fn run(self) -> Exit {
        let gates = match self.of.gates.required() {
            Ok(gates) => gates,
            Err(why) => return failure(Exit::Usage, &why),
        };
        let after = match self.after.as_deref().map(|text| sse::parse_id(text).ok_or(text)) {
            None => None,
            Some(Ok(pos)) => Some(pos),
            Some(Err(text)) => {
                return failure(
                    Exit::Usage,
                    &format!("--after {text:?}: an event's id has the form KEPT.EPOCH.VOL"),
                );
            }
        };
        let mut audience = Follower { live: Live::new(self.json, None, Vec::new()), json: self.json };
        let (_keep, mut cancels) = mpsc::unbounded_channel();
        let done = follow(
            &gates,
            Goal::Follow { job: self.of.job, after },
            self.patience,
            &mut audience,
            &mut cancels,
        )
        .await;
        audience.live.finish();
        match done {
            Ok(Done::Final(result)) => Exit::of(&Report::new(&result)),
            Ok(Done::Known) => {
                eprintln!(
                    "nothing follows: the job ended with that event; see `tidegate result {}`",
                    self.of.job
                );
                Exit::Ok
            }
            Ok(Done::Refused(fault)) => failure(Exit::refused(&fault), &fault.to_string()),
            Ok(Done::Unreachable { why, .. }) => failure(Exit::Unreachable, &why),
            Err(why) => failure(Exit::Failed, &why),
        }
    }
}

struct Follower {
    live: Live,
    json: bool,
}

impl Audience for Follower {
    fn tell(&mut self, event: &ClientEvent) {
        if self.json {
            print_json(event);
        }
        self.live.event(event);
    }

    fn notice(&mut self, notice: &Notice, gates: &[Gate]) {
        if let Notice::Retry { gate, why } = notice {
            self.live.retry(*gate, &gates[*gate], why);
        }
    }
}
