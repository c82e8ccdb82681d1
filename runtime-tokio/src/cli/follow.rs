//! Drives the client machine of the core over HTTP.

use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use tidegate_core::api::{Answer, ClientEvent, Request, Submitted};
use tidegate_core::client::{Client, ClientConfig, Done, Goal, Input, Notice, Output};
use tidegate_core::id::CallId;
use tidegate_core::time::{Duration as Span, Instant as CoreInstant, Now, WallTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::remote::{CallError, Gate, collect, refusal};
use crate::http::{COMPILED, sse};

/// Calls that report at once; a reader that is slow holds its streams back.
const INBOX: usize = 256;

/// What a run shows, and when it is asked to end.
pub trait Audience {
    /// News of the job.
    fn tell(&mut self, event: &ClientEvent);
    /// News of the client.
    fn notice(&mut self, notice: &Notice, gates: &[Gate]);
}

/// Follows a job to its end, or until no gate has answered for `patience`. A message in `cancels` records a cancel, with its text as the reason.
pub async fn follow(
    gates: &[Gate],
    goal: Goal,
    patience: Span,
    audience: &mut dyn Audience,
    cancels: &mut mpsc::UnboundedReceiver<String>,
) -> Result<Done, String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| format!("no random numbers: {error}"))?;
    let config = ClientConfig { patience, ..ClientConfig::new(vec![None; gates.len()], goal, seed) };
    let mut client = Client::new(config);
    let started = Instant::now();
    let (inbox, mut inputs) = mpsc::channel(INBOX);
    let mut calls = Tasks::default();
    let mut input = Input::Start;
    loop {
        let mut outputs = Vec::new();
        client.step(now(started), input, &mut outputs);
        for output in outputs {
            match output {
                Output::Call { gate, call, request } => {
                    calls.begin(gates[gate].clone(), call, *request, inbox.clone())
                }
                Output::Hangup { call } => calls.hang_up(call),
                Output::Tell(event) => audience.tell(&event),
                Output::Notice(notice) => audience.notice(&notice, gates),
                Output::Done(done) => return Ok(done),
            }
        }
        let wake = client.wake_at().map(|at| started + std::time::Duration::from_nanos(at.as_nanos()));
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        input = tokio::select! {
            biased;
            Some(reason) = cancels.recv() => Input::Cancel { reason },
            Some(input) = inputs.recv() => input,
            () = sleep => Input::Wake,
        };
    }
}

fn now(started: Instant) -> Now {
    let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Now { mono: CoreInstant::from_nanos(nanos), wall: WallTime(0), ..Now::default() }
}

/// The calls under way, each a task.
#[derive(Default)]
struct Tasks {
    set: JoinSet<()>,
    handles: Vec<(CallId, tokio::task::AbortHandle)>,
}

impl Tasks {
    fn begin(&mut self, gate: Gate, call: CallId, request: Request, inbox: mpsc::Sender<Input>) {
        self.handles.retain(|(_, handle)| !handle.is_finished());
        let handle = self.set.spawn(async move {
            let end = perform(&gate, call, request, &inbox).await;
            // Fails only where the run is over.
            let _ = inbox.send(end).await;
        });
        self.handles.push((call, handle));
    }

    fn hang_up(&mut self, call: CallId) {
        if let Some((_, handle)) = self.handles.iter().find(|(known, _)| *known == call) {
            handle.abort();
        }
    }
}

/// Makes a call and reports its stream, if it opens one; returns what to report last.
async fn perform(gate: &Gate, call: CallId, request: Request, inbox: &mpsc::Sender<Input>) -> Input {
    let answered = match request {
        Request::Submit { key, spec } => submit(gate, key, &spec).await.map(Answer::Submitted),
        Request::Cancel { job, reason } => {
            let query = serde_urlencoded::to_string([("reason", &reason)]).unwrap_or_default();
            let path = format!("/v1/jobs/{job}?{query}");
            let cancelled: Result<serde_json::Value, _> =
                gate.json(Method::DELETE, &path, HeaderMap::new(), Vec::new()).await;
            cancelled.map(|answer| Answer::CancelRecorded { job, first: answer["state"] == "requested" })
        }
        Request::Events { job, after, .. } => {
            let mut headers = HeaderMap::new();
            if let Some(id) = after.and_then(|pos| HeaderValue::from_str(&sse::id_of(pos)).ok()) {
                headers.insert("last-event-id", id);
            }
            match stream(gate, call, &format!("/v1/jobs/{job}/events"), headers, inbox).await {
                Ok(StreamEnd::NothingFollows) => Ok(Answer::NothingFollows),
                Ok(StreamEnd::Broke(why)) => return Input::Lost { call, why },
                Err(error) => Err(error),
            }
        }
        other => Err(CallError::Strange(format!("{other:.40?} is not asked by a client"))),
    };
    match answered {
        Ok(answer) => Input::Answered { call, answer: Box::new(answer) },
        Err(CallError::Refused(fault)) => Input::Answered { call, answer: Box::new(Answer::Fault(*fault)) },
        Err(error) => Input::Lost { call, why: error.to_string() },
    }
}

async fn submit(
    gate: &Gate,
    key: Option<String>,
    spec: &tidegate_core::jobs::JobSpec,
) -> Result<Submitted, CallError> {
    let body = minicbor::to_vec(spec).map_err(|error| CallError::Strange(error.to_string()))?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(COMPILED));
    if let Some(key) = key {
        let key = HeaderValue::from_str(&key)
            .map_err(|_| CallError::Strange("the key is no header value".to_owned()))?;
        headers.insert("idempotency-key", key);
    }
    gate.json(Method::POST, "/v1/jobs", headers, body).await
}

/// How a stream ended.
enum StreamEnd {
    /// There was none: the caller has every event.
    NothingFollows,
    /// In the middle, or after the last event; and why.
    Broke(String),
}

/// Reads a stream to its end.
async fn stream(
    gate: &Gate,
    call: CallId,
    path: &str,
    headers: HeaderMap,
    inbox: &mpsc::Sender<Input>,
) -> Result<StreamEnd, CallError> {
    let answer = gate.send(Method::GET, path, headers, Vec::new()).await?;
    if answer.status() == StatusCode::NO_CONTENT {
        return Ok(StreamEnd::NothingFollows);
    }
    if !answer.status().is_success() {
        let (status, body) = collect(answer).await?;
        return Err(refusal(status, &body));
    }
    let mut reader = sse::Reader::default();
    let mut body = answer.into_body();
    let mut next = Input::Answered { call, answer: Box::new(Answer::Stream) };
    loop {
        if inbox.send(next).await.is_err() {
            return Ok(StreamEnd::Broke("the run is over".to_owned()));
        }
        next = loop {
            match reader.next_event() {
                Some(Ok(event)) => break Input::Pushed { call, event: Box::new(event) },
                Some(Err(why)) => return Ok(StreamEnd::Broke(why)),
                None => {}
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref()
                        && let Err(why) = reader.push(bytes)
                    {
                        return Ok(StreamEnd::Broke(why));
                    }
                }
                Some(Err(error)) => return Ok(StreamEnd::Broke(format!("{gate}: {error}"))),
                None => return Ok(StreamEnd::Broke(format!("{gate}: the stream ended"))),
            }
        };
    }
}
