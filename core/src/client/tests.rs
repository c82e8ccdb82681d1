//! Transcripts of the client.

use super::*;
use crate::api::Submitted;
use crate::id::GateEpoch;
use crate::jobs::{JobStatus, OnWorkerLoss, Placement};
use alloc::string::ToString;
use alloc::vec;

const JOB: JobId = JobId([7; 16]);

fn spec() -> Box<JobSpec> {
    Box::new(JobSpec {
        name: "j".to_string(),
        placement: Placement::Any,
        timeout_ms: 1_000,
        on_worker_loss: OnWorkerLoss::Replace,
        partial_results: false,
        retries: 0,
        workflow_retries: 0,
        thresholds: vec![],
        workflows: vec![],
    })
}

fn client() -> Client {
    let goal = Goal::Run { key: "k".to_string(), spec: spec() };
    Client::new(ClientConfig::new(vec![None, Some(NodeId([2; 16])), None], goal, [1; 32]))
}

fn at(ms: u64) -> Now {
    Now { mono: Instant::ZERO + Duration::from_millis(ms), ..Now::default() }
}

fn step(client: &mut Client, ms: u64, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    client.step(at(ms), input, &mut out);
    out
}

fn call_of(out: &[Output]) -> (usize, CallId, &Request) {
    out.iter()
        .find_map(|output| match output {
            Output::Call { gate, call, request } => Some((*gate, *call, &**request)),
            _ => None,
        })
        .expect("a call")
}

fn event(kept: u64, epoch: u64, vol: u32, kind: ClientEventKind) -> Box<ClientEvent> {
    Box::new(ClientEvent { job: JOB, pos: EventPos { kept, epoch: GateEpoch(epoch), vol }, kind })
}

fn status() -> ClientEventKind {
    ClientEventKind::Status { status: JobStatus::Running, message: String::new() }
}

fn progress() -> ClientEventKind {
    ClientEventKind::Progress { elapsed_ms: 1, per_dc: vec![] }
}

fn submitted() -> Box<Answer> {
    Box::new(Answer::Submitted(Submitted {
        job: JOB,
        owner: NodeId([2; 16]),
        gate_epoch: GateEpoch(1),
        repeated: false,
    }))
}

fn result() -> Box<JobResult> {
    Box::new(JobResult {
        job: JOB,
        name: "j".to_string(),
        status: JobStatus::Completed,
        resolution: String::new(),
        per_dc: vec![],
        missing: vec![],
        verdicts: vec![],
        elapsed_ms: 5,
        workflow_names: vec![],
    })
}

/// Brings a client to the point where its stream is open; returns the stream's call.
fn following(client: &mut Client) -> CallId {
    let (_, submit, _) = call_of(&step(client, 0, Input::Start));
    let out = step(client, 10, Input::Answered { call: submit, answer: submitted() });
    let (_, stream, _) = call_of(&out);
    assert_eq!(step(client, 20, Input::Answered { call: stream, answer: Box::new(Answer::Stream) }), vec![]);
    stream
}

#[test]
fn a_job_from_submission_to_its_result() {
    let mut client = client();
    let out = step(&mut client, 0, Input::Start);
    let (gate, submit, request) = call_of(&out);
    assert_eq!(gate, 0);
    assert!(matches!(request, Request::Submit { key: Some(key), .. } if key == "k"));

    let out = step(&mut client, 10, Input::Answered { call: submit, answer: submitted() });
    assert_eq!(out[0], Output::Notice(Notice::Submitted { job: JOB, repeated: false }));
    let (gate, stream, request) = call_of(&out);
    assert_eq!(gate, 0, "the gate that accepted it is asked first");
    assert_eq!(*request, Request::Events { job: JOB, after: None, credit: Client::CREDIT });

    step(&mut client, 20, Input::Answered { call: stream, answer: Box::new(Answer::Stream) });
    let news = event(1, 1, 0, status());
    assert_eq!(
        step(&mut client, 30, Input::Pushed { call: stream, event: news.clone() }),
        vec![Output::Tell(news)]
    );
    let end = event(2, 1, 0, ClientEventKind::Final(result()));
    let after_the_end = Request::Events { job: JOB, after: Some(end.pos), credit: Client::CREDIT };
    let acknowledge = stream.next();
    assert_eq!(
        step(&mut client, 40, Input::Pushed { call: stream, event: end.clone() }),
        vec![
            Output::Hangup { call: stream },
            Output::Tell(end.clone()),
            Output::Call { gate: 0, call: acknowledge, request: Box::new(after_the_end.clone()) }
        ]
    );
    let out = step(
        &mut client,
        50,
        Input::Answered { call: acknowledge, answer: Box::new(Answer::NothingFollows) },
    );
    assert_eq!(out, vec![Output::Done(Done::Final(result()))]);
    assert_eq!(client.wake_at(), None);
    assert_eq!(step(&mut client, 60, Input::Wake), vec![], "nothing follows the end");
}

#[test]
fn an_acknowledgement_is_tried_elsewhere_and_does_not_keep_the_user_waiting() {
    let end = || event(2, 1, 0, ClientEventKind::Final(result()));
    let mut client = client();
    let stream = following(&mut client);
    let (_, first, _) = call_of(&step(&mut client, 40, Input::Pushed { call: stream, event: end() }));
    assert_eq!(step(&mut client, 50, Input::Lost { call: stream, why: "late".to_string() }), vec![]);
    assert_eq!(step(&mut client, 60, Input::Lost { call: first, why: "reset".to_string() }), vec![]);
    let (gate, second, _) = call_of(&step(&mut client, 600, Input::Wake));
    assert_eq!(gate, 1);
    assert_eq!(step(&mut client, 2_600, Input::Wake), vec![Output::Hangup { call: second }]);
    let (gate, third, _) = call_of(&step(&mut client, 4_000, Input::Wake));
    assert_eq!(gate, 2);
    assert!(client.wake_at().is_some_and(|at_last| at_last <= at(5_040).mono));
    let out = step(&mut client, 5_040, Input::Wake);
    assert_eq!(out, vec![Output::Hangup { call: third }, Output::Done(Done::Final(result()))]);
}

#[test]
fn who_asks_for_what_follows_the_end_is_told_that_nothing_does() {
    let after = Some(EventPos { kept: 2, ..EventPos::default() });
    let goal = Goal::Follow { job: JOB, after };
    let mut client = Client::new(ClientConfig::new(vec![None], goal, [1; 32]));
    let (_, call, _) = call_of(&step(&mut client, 0, Input::Start));
    let out = step(&mut client, 5, Input::Answered { call, answer: Box::new(Answer::NothingFollows) });
    assert_eq!(out.last(), Some(&Output::Done(Done::Known)));
}

#[test]
fn a_lost_gate_is_left_and_the_stream_resumed_after_the_cursor() {
    let mut client = client();
    let stream = following(&mut client);
    step(&mut client, 30, Input::Pushed { call: stream, event: event(3, 1, 0, status()) });
    step(&mut client, 31, Input::Pushed { call: stream, event: event(3, 1, 4, progress()) });
    let out = step(&mut client, 40, Input::Lost { call: stream, why: "reset".to_string() });
    assert_eq!(out[0], Output::Notice(Notice::Retry { gate: 0, why: "reset".to_string() }));
    let later = client.wake_at().expect("a pause").as_nanos() / 1_000_000 + 1;
    assert!(later <= 541, "the first pause is at most 0.5 s");
    let out = step(&mut client, later, Input::Wake);
    let (gate, second, request) = call_of(&out);
    let cursor = EventPos { kept: 3, epoch: GateEpoch(1), vol: 4 };
    assert_eq!(
        (gate, request),
        (1, &Request::Events { job: JOB, after: Some(cursor), credit: Client::CREDIT })
    );

    // A new owner repeats what this client has, numbers its volatile events anew, and goes on.
    step(&mut client, later, Input::Answered { call: second, answer: Box::new(Answer::Stream) });
    let mut tell =
        |event: Box<ClientEvent>| step(&mut client, later, Input::Pushed { call: second, event }).len();
    assert_eq!(tell(event(3, 1, 0, status())), 0, "told before");
    assert_eq!(tell(event(3, 1, 4, progress())), 0, "told before");
    assert_eq!(tell(event(3, 2, 1, progress())), 1, "of a newer owner");
    assert_eq!(tell(event(4, 2, 0, status())), 1);
    assert_eq!(tell(event(3, 2, 9, progress())), 0, "older than the newest kept event");
}

#[test]
fn a_gate_that_names_the_owner_is_followed_at_once() {
    let mut client = client();
    let (_, call, _) = call_of(&step(&mut client, 0, Input::Start));
    let fault = Fault::new(FaultCode::NotOwner, "elsewhere").at(Some(NodeId([2; 16])));
    let out = step(&mut client, 5, Input::Answered { call, answer: Box::new(Answer::Fault(fault)) });
    assert_eq!(call_of(&out).0, 1);
}

#[test]
fn a_gate_that_names_a_dead_owner_again_and_again_is_left() {
    let mut client = client();
    let mut out = step(&mut client, 0, Input::Start);
    let (mut asked, mut now) = (Vec::new(), 0);
    for _ in 0..4 {
        let (gate, call, _) = call_of(&out);
        asked.push(gate);
        // The last gate lags behind: it names the second one, which is down, as the first one is.
        let stale = || Fault::new(FaultCode::NotOwner, "elsewhere").at(Some(NodeId([2; 16])));
        let input = match gate {
            2 => Input::Answered { call, answer: Box::new(Answer::Fault(stale())) },
            _ => Input::Lost { call, why: "reset".to_string() },
        };
        now += 5;
        out = step(&mut client, now, input);
        if !out.iter().any(|output| matches!(output, Output::Call { .. })) {
            now = client.wake_at().expect("a pause").as_nanos() / 1_000_000 + 1;
            out = step(&mut client, now, Input::Wake);
        }
    }
    asked.push(call_of(&out).0);
    assert_eq!(asked, [0, 1, 2, 1, 0], "not the last one once more");
}

#[test]
fn a_final_refusal_ends_it_and_a_retryable_one_does_not() {
    let mut client = client();
    let (_, call, _) = call_of(&step(&mut client, 0, Input::Start));
    let busy = Fault::new(FaultCode::Overloaded, "full");
    let out = step(&mut client, 5, Input::Answered { call, answer: Box::new(Answer::Fault(busy)) });
    assert!(matches!(&out[..], [Output::Notice(Notice::Retry { gate: 0, .. })]));
    assert!(client.wake_at().expect("a pause") >= at(1_005).mono, "the gate's hint is kept");
    let (_, call, _) = call_of(&step(&mut client, 5_100, Input::Wake));
    let wrong = Fault::new(FaultCode::Invalid, "no workflows");
    let out =
        step(&mut client, 5_200, Input::Answered { call, answer: Box::new(Answer::Fault(wrong.clone())) });
    assert_eq!(out.last(), Some(&Output::Done(Done::Refused(wrong))));
}

#[test]
fn a_cancel_waits_for_the_job_and_is_repeated_until_recorded() {
    let mut client = client();
    let (_, submit, _) = call_of(&step(&mut client, 0, Input::Start));
    assert_eq!(step(&mut client, 1, Input::Cancel { reason: "stop".to_string() }), vec![]);
    let out = step(&mut client, 10, Input::Answered { call: submit, answer: submitted() });
    let cancel = out.iter().find_map(|output| match output {
        Output::Call { call, request, .. } if matches!(**request, Request::Cancel { .. }) => Some(*call),
        _ => None,
    });
    let cancel = cancel.expect("a cancel beside the stream");
    step(&mut client, 20, Input::Lost { call: cancel, why: "reset".to_string() });
    let out = step(&mut client, 600, Input::Wake);
    let (gate, again, request) = call_of(&out);
    assert!(matches!(request, Request::Cancel { .. }));
    assert_eq!(gate, 1);
    let answer = Box::new(Answer::CancelRecorded { job: JOB, first: true });
    let out = step(&mut client, 610, Input::Answered { call: again, answer });
    assert_eq!(out, vec![Output::Notice(Notice::CancelRecorded)]);
    assert!(!step(&mut client, 700, Input::Wake).iter().any(|output| matches!(output, Output::Call { .. })));
}

/// A cancel that failed waits for its next try; the final result comes first, and then nothing may be due in the past.
#[test]
fn a_result_ends_the_pause_of_a_cancel_that_failed() {
    let mut client = client();
    let stream = following(&mut client);
    let out = step(&mut client, 30, Input::Cancel { reason: "stop".to_string() });
    let (_, cancel, request) = call_of(&out);
    assert!(matches!(request, Request::Cancel { .. }));
    step(&mut client, 40, Input::Lost { call: cancel, why: "reset".to_string() });
    let last = event(1, 1, 0, ClientEventKind::Final(result()));
    step(&mut client, 41, Input::Pushed { call: stream, event: last });
    // Long after the pause, and before the acknowledgement's own end.
    step(&mut client, 1_500, Input::Wake);
    assert!(client.wake_at().is_none_or(|wake| wake > at(1_500).mono), "{:?}", client.wake_at());
}

#[test]
fn a_silent_stream_is_opened_elsewhere() {
    let mut client = client();
    let stream = following(&mut client);
    step(&mut client, 100, Input::Pushed { call: stream, event: event(1, 1, 0, status()) });
    assert_eq!(step(&mut client, 15_000, Input::Wake), vec![]);
    assert_eq!(step(&mut client, 15_101, Input::Wake), vec![Output::Hangup { call: stream }]);
    let out = step(&mut client, 15_700, Input::Wake);
    assert_eq!(call_of(&out).0, 1);
}

#[test]
fn without_any_answer_it_gives_up_and_says_so() {
    let mut client = client();
    let mut out = step(&mut client, 0, Input::Start);
    let mut calls = 0;
    let mut now = 0;
    while !matches!(out.last(), Some(Output::Done(_))) {
        if let Some(Output::Call { call, .. }) = out.last() {
            calls += 1;
            step(&mut client, now, Input::Lost { call: *call, why: "refused".to_string() });
        }
        now = client.wake_at().expect("a deadline").as_nanos().div_ceil(1_000_000);
        out = step(&mut client, now, Input::Wake);
    }
    assert_eq!(now, 60_000);
    assert!((10..200).contains(&calls), "{calls} calls in a minute");
    let why = "refused".to_string();
    assert_eq!(out.last(), Some(&Output::Done(Done::Unreachable { job: None, why })));
}
