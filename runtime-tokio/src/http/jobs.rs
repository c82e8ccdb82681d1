//! The routes of jobs.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest as _, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tidegate_core::api::{Answer, Request};
use tidegate_core::fault::FaultCode;
use tidegate_core::id::JobId;

use super::{ApiState, MAX_BODY, Refusal, body, gone, sse};
use crate::driver::{NodeGone, Reply};
use crate::report::Report;

/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 128;
/// A body that has not come whole by then is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A comment line keeps an idle stream open.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Events that may wait for a slow reader before its stream is held back.
const CREDIT: u32 = 64;

/// An answer that the machine may not give to this request: a broken promise of the machine, not of the client.
pub(super) fn unexpected(answer: &Answer) -> Refusal {
    Refusal::new(FaultCode::Internal, format!("the gate gave an answer to another question: {answer:.80?}"))
}

fn job_id(text: &str) -> Result<JobId, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(FaultCode::UnknownJob, format!("{text:?} is no job id: ids have 32 hexadecimal digits"))
    })
}

/// The body of a request. Nothing is read of one that says itself that it is too large.
async fn read_body(request: axum::extract::Request) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(FaultCode::TooLarge, format!("the body is over {MAX_BODY} bytes"));
    if request.body().size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let unreadable = || Refusal::new(FaultCode::BadBody, "the body could not be read");
    match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
        Ok(Err(_)) => Err(unreadable()),
        Err(_) => {
            let why = format!("the body did not come whole within {} s", BODY_TIMEOUT.as_secs());
            Err(Refusal::new(FaultCode::BadBody, why))
        }
    }
}

/// `POST /v1/jobs`
pub async fn submit(
    State(state): State<ApiState>,
    request: axum::extract::Request,
) -> Result<Response, Refusal> {
    let headers = request.headers().clone();
    let identity = state.tokens.identify(&headers)?;
    let body = read_body(request).await?;
    let key = headers
        .get("idempotency-key")
        .map(|value| match value.to_str() {
            Ok(key) if !key.is_empty() && key.len() <= MAX_KEY => Ok(key.to_owned()),
            _ => Err(Refusal::new(
                FaultCode::Invalid,
                "Idempotency-Key must have 1 to 128 visible ASCII characters",
            )),
        })
        .transpose()?;
    let spec = body::spec(&headers, &body)?;
    match state.ask(identity, Request::Submit { key, spec: Box::new(spec) }).await? {
        Answer::Submitted(submitted) => Ok((StatusCode::CREATED, Json(submitted)).into_response()),
        Answer::Fault(fault) => Err(Refusal(fault)),
        other => Err(unexpected(&other)),
    }
}

/// The query of `GET /v1/jobs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    after: Option<String>,
    limit: Option<u16>,
}

/// `GET /v1/jobs`
pub async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    query: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refusal> {
    let identity = state.tokens.identify(&headers)?;
    let Query(page) = query.map_err(|rejection| Refusal::new(FaultCode::Invalid, rejection.body_text()))?;
    let after = page.after.as_deref().map(job_id).transpose()?;
    match state.ask(identity, Request::List { after, limit: page.limit.unwrap_or(200).clamp(1, 200) }).await?
    {
        Answer::Jobs { jobs, next } => Ok(Json(json!({ "jobs": jobs, "next": next })).into_response()),
        Answer::Fault(fault) => Err(Refusal(fault)),
        other => Err(unexpected(&other)),
    }
}

/// `GET /v1/jobs/{id}`
pub async fn status(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let identity = state.tokens.identify(&headers)?;
    match state.ask(identity, Request::Status { job: job_id(&id)? }).await? {
        Answer::Status(view) => Ok(Json(view).into_response()),
        Answer::Fault(fault) => Err(Refusal(fault)),
        other => Err(unexpected(&other)),
    }
}

/// The query of `DELETE /v1/jobs/{id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[serde(default)]
    reason: String,
}

/// `DELETE /v1/jobs/{id}`
pub async fn cancel(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<String>,
    query: Result<Query<Reason>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refusal> {
    let identity = state.tokens.identify(&headers)?;
    let Query(Reason { reason }) =
        query.map_err(|rejection| Refusal::new(FaultCode::Invalid, rejection.body_text()))?;
    match state.ask(identity, Request::Cancel { job: job_id(&id)?, reason }).await? {
        Answer::CancelRecorded { job, first } => {
            let state = if first { "requested" } else { "already_cancelling" };
            Ok((StatusCode::ACCEPTED, Json(json!({ "job": job, "state": state }))).into_response())
        }
        Answer::Fault(fault) => Err(Refusal(fault)),
        other => Err(unexpected(&other)),
    }
}

/// `GET /v1/jobs/{id}/result`
pub async fn result(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let identity = state.tokens.identify(&headers)?;
    match state.ask(identity, Request::Result { job: job_id(&id)? }).await? {
        Answer::Result(result) => Ok(Json(Report::new(&result)).into_response()),
        Answer::Fault(fault) => Err(Refusal(fault)),
        other => Err(unexpected(&other)),
    }
}

/// `GET /v1/jobs/{id}/events`
pub async fn events(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let identity = state.tokens.identify(&headers)?;
    let job = job_id(&id)?;
    let after = headers
        .get("last-event-id")
        .map(|value| {
            value.to_str().ok().and_then(sse::parse_id).ok_or_else(|| {
                Refusal::new(FaultCode::Invalid, "Last-Event-ID is not the id of an event of this API")
            })
        })
        .transpose()?;
    let events = match state.gate.call(identity, Request::Events { job, after, credit: CREDIT }).await {
        Ok(Reply::Stream(events)) => events,
        // Whoever goes on after the final event has the result. To a browser this status says: do not ask again.
        Ok(Reply::Answer(Answer::NothingFollows)) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Reply::Answer(Answer::Fault(fault))) => return Err(Refusal(fault)),
        Ok(Reply::Answer(other)) => return Err(unexpected(&other)),
        Err(NodeGone) => return Err(gone()),
    };
    let frames = stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        // An event that is no JSON would be a defect of its type; the reader sees the stream end and asks again.
        let frame = sse::frame(&event).ok()?;
        Some((Ok::<Event, Infallible>(frame), events))
    });
    Ok(Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}
