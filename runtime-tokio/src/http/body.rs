//! The body of a submission.

use axum::http::{HeaderMap, header};
use tidegate_core::fault::FaultCode;
use tidegate_core::jobs::{ExecutorKind, JobSpec};

use super::Refusal;
use crate::jobfile::{self, Plan, Problem, Report, Surroundings, Target};

/// The media type of a compiled specification: what `tidegate run` sends, since only the submitter's machine knows its
/// environment and its target.
pub const COMPILED: &str = "application/cbor";

/// Reads a job from a body by its content type: a job file as TOML or JSON, or a compiled specification.
pub fn spec(headers: &HeaderMap, body: &[u8]) -> Result<JobSpec, Refusal> {
    let media =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    match media.split(';').next().unwrap_or_default().trim() {
        COMPILED => compiled(body),
        "application/toml" => {
            let text = std::str::from_utf8(body).map_err(|error| bad(format!("not UTF-8: {error}")))?;
            parse(text).map_err(|report| invalid(positions(&report, text, Written::ByClient)))
        }
        "application/json" => {
            let value: toml::Value =
                serde_json::from_slice(body).map_err(|error| bad(format!("bad JSON: {error}")))?;
            let text =
                toml::to_string(&value).map_err(|error| bad(format!("this JSON is no job file: {error}")))?;
            parse(&text).map_err(|report| invalid(positions(&report, &text, Written::Here)))
        }
        other => {
            Err(bad(format!("content type {other:?}: send application/json, application/toml or {COMPILED}")))
        }
    }
}

fn bad(why: String) -> Refusal {
    Refusal::new(FaultCode::BadBody, why)
}

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::new(FaultCode::Invalid, why)
}

/// A gate has no environment and no target to offer to other people's jobs.
fn parse(text: &str) -> Result<JobSpec, Report> {
    let around = Surroundings { env: &|_| None, target: &Target::Missing };
    jobfile::parse("the body", text, &around).map(|job| job.spec)
}

/// Who wrote the text that was parsed.
enum Written {
    /// The client: lines and columns are those of the body.
    ByClient,
    /// This API, from JSON: the client never saw its lines.
    Here,
}

/// Most problems that one refusal tells; its detail is short.
const MAX_TOLD: usize = 3;

/// What is wrong and where, in a few lines.
fn positions(report: &Report, text: &str, written: Written) -> String {
    let tell = |problem: &Problem| {
        let place = match (report.position(problem), &written) {
            (None, _) => String::new(),
            (Some((line, column)), Written::ByClient) => format!("line {line}, column {column}: "),
            (Some((line, _)), Written::Here) => {
                format!("at `{:.60}`: ", text.lines().nth(line - 1).unwrap_or_default().trim())
            }
        };
        let help = problem.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
        format!("{place}{}{help}", problem.message)
    };
    let problems = report.problems();
    let mut told: Vec<_> = problems.iter().take(MAX_TOLD).map(tell).collect();
    if problems.len() > MAX_TOLD {
        told.push(format!("and {} more", problems.len() - MAX_TOLD));
    }
    told.join("\n")
}

fn compiled(body: &[u8]) -> Result<JobSpec, Refusal> {
    let mut decoder = minicbor::Decoder::new(body);
    let spec: JobSpec = decoder.decode().map_err(|error| bad(format!("bad CBOR: {error}")))?;
    if decoder.position() != body.len() {
        return Err(bad("bytes after the end of the specification".to_owned()));
    }
    spec.validate().map_err(|error| invalid(error.to_string()))?;
    for workflow in &spec.workflows {
        let plan = Plan::decode(&workflow.payload)
            .map_err(|error| invalid(format!("workflow {:?}: {error}", workflow.name)))?;
        let executor = match plan {
            Plan::Http(_) => ExecutorKind::Http,
            Plan::Command(_) => ExecutorKind::Command,
            Plan::Sleep => ExecutorKind::Sleep,
        };
        if executor != workflow.executor {
            return Err(invalid(format!(
                "workflow {:?}: its payload is for another executor",
                workflow.name
            )));
        }
    }
    Ok(spec)
}
