//! The body of a submission.

use axum::http::{HeaderMap, header};
use tidegate_core::fault::FaultCode;
use tidegate_core::jobs::{ExecutorKind, JobSpec};

use super::Refusal;
use crate::jobfile::{self, Plan, Surroundings, Target};

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
            text(std::str::from_utf8(body).map_err(|error| bad(format!("not UTF-8: {error}")))?)
        }
        "application/json" => {
            let value: toml::Value =
                serde_json::from_slice(body).map_err(|error| bad(format!("bad JSON: {error}")))?;
            text(
                &toml::to_string(&value)
                    .map_err(|error| bad(format!("this JSON is no job file: {error}")))?,
            )
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
fn text(text: &str) -> Result<JobSpec, Refusal> {
    let around = Surroundings { env: &|_| None, target: &Target::Missing };
    match jobfile::parse("the body", text, &around) {
        Ok(job) => Ok(job.spec),
        Err(report) => Err(invalid(report.to_string())),
    }
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
