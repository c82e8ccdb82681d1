//! The client of one job: submits it at any gate, follows its events, cancels it, and goes on at another gate when one
//! is lost.
//!
//! | input | what it does |
//! |---|---|
//! | `Start` | submits, or follows a job that is known |
//! | `Answered` | ends a call: goes on, tries elsewhere, or is done |
//! | `Pushed` | tells the event, unless it was told before |
//! | `Lost` | the call's connection broke: tries elsewhere |
//! | `Cancel` | records a cancel as soon as the job is known |
//! | `Wake` | deadlines: an unanswered call, a silent stream, a pause that is over |
//!
//! Once it has the result it says so to the gate, by asking for what follows the final event; then it is done.
//!
//! A kept event is told once and in order, whichever gates it came from. The simulator's clients and the command line
//! are both this machine; it never opens a connection and never reads a clock.

mod calls;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::api::{Answer, ClientEvent, ClientEventKind, EventPos, Request};
use crate::fault::{Fault, FaultCode};
use crate::id::{CallId, JobId, NodeId};
use crate::jobs::{JobResult, JobSpec};
use crate::rng::NodeRng;
use crate::time::{Duration, Instant, Now};

use calls::{Attempt, Calls};

/// How long a client with the result tries to tell a gate so, and how long it waits for an answer to one try.
const ACKNOWLEDGE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2));

/// What a client works with.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The gates it may call, in order of preference; each with its id where that is known (for redirects). At least
    /// one.
    pub gates: Vec<Option<NodeId>>,
    /// What it is for.
    pub goal: Goal,
    /// Seeds its jitter.
    pub seed: [u8; 32],
    /// A call without an answer for this long is given up (10 s).
    pub call_timeout: Duration,
    /// A stream without an event for this long is opened again elsewhere (15 s).
    pub silence: Duration,
    /// First pause before another try; doubles up to `backoff_cap`, with full jitter (0.5 s).
    pub backoff_base: Duration,
    /// Longest pause (5 s).
    pub backoff_cap: Duration,
    /// Without any answer from any gate for this long, it gives up (60 s).
    pub patience: Duration,
}

/// What a client is for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// Submit this and follow it to its end.
    Run {
        /// Makes repeats safe; 1 to 128 bytes, chosen once for the job.
        key: String,
        /// The job.
        spec: Box<JobSpec>,
    },
    /// Follow a job to its end.
    Follow {
        /// The job.
        job: JobId,
        /// After this event; from the start where `None`.
        after: Option<EventPos>,
    },
}

impl ClientConfig {
    /// The defaults of `nodes-and-protocol` 7.
    pub fn new(gates: Vec<Option<NodeId>>, goal: Goal, seed: [u8; 32]) -> Self {
        Self {
            gates,
            goal,
            seed,
            call_timeout: Duration::from_secs(10),
            silence: Duration::from_secs(15),
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(5),
            patience: Duration::from_secs(60),
        }
    }
}

/// What the world tells a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin.
    Start,
    /// Time has passed.
    Wake,
    /// The one answer to a call.
    Answered {
        /// The call.
        call: CallId,
        /// The answer.
        answer: Box<Answer>,
    },
    /// An event of a stream.
    Pushed {
        /// The call that opened the stream.
        call: CallId,
        /// The event.
        event: Box<ClientEvent>,
    },
    /// The call's connection broke, or its stream ended: no more will come of it, and whether it took effect is unknown.
    Lost {
        /// The call.
        call: CallId,
        /// What broke, for a person.
        why: String,
    },
    /// The user wants the job to end.
    Cancel {
        /// For people.
        reason: String,
    },
}

/// What a client asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Call this gate (by its place in the configuration).
    Call {
        /// Which gate.
        gate: usize,
        /// Names the call.
        call: CallId,
        /// What to ask.
        request: Box<Request>,
    },
    /// Nothing more is wanted of this call.
    Hangup {
        /// The call.
        call: CallId,
    },
    /// News of the job.
    Tell(Box<ClientEvent>),
    /// News of the client itself.
    Notice(Notice),
    /// The client is done; nothing follows.
    Done(Done),
}

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The job is accepted.
    Submitted {
        /// The job.
        job: JobId,
        /// An earlier try had been accepted.
        repeated: bool,
    },
    /// A try failed; another one follows.
    Retry {
        /// The gate that failed.
        gate: usize,
        /// How.
        why: String,
    },
    /// The cancel is recorded.
    CancelRecorded,
}

/// How a client ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The job has its final result.
    Final(Box<JobResult>),
    /// The job had ended with the event after which it was followed.
    Known,
    /// A gate refused for good.
    Refused(Fault),
    /// No gate answered for the whole patience.
    Unreachable {
        /// The job, where it is known to exist.
        job: Option<JobId>,
        /// What broke last.
        why: String,
    },
}

/// The client of one job.
#[derive(Clone, Debug)]
pub struct Client {
    config: ClientConfig,
    calls: Calls,
    job: Option<JobId>,
    cursor: Option<EventPos>,
    cancel: Option<Cancel>,
    /// It has the result, and tells a gate so, but not beyond this instant.
    result: Option<(Box<JobResult>, Instant)>,
    done: bool,
}

#[derive(Clone, Debug)]
struct Cancel {
    reason: String,
    recorded: bool,
}

impl Client {
    /// Events that a gate may push before more are asked for.
    pub const CREDIT: u32 = 64;

    /// A client that has not begun.
    pub fn new(config: ClientConfig) -> Self {
        assert!(!config.gates.is_empty(), "a client needs a gate to call");
        let (job, cursor) = match &config.goal {
            Goal::Run { .. } => (None, None),
            Goal::Follow { job, after } => (Some(*job), *after),
        };
        let calls = Calls::new(&config, NodeRng::new(config.seed, 0));
        Self { config, calls, job, cursor, cancel: None, result: None, done: false }
    }

    /// The job, once it is known.
    pub fn job(&self) -> Option<JobId> {
        self.job
    }

    /// The newest event that was told.
    pub fn cursor(&self) -> Option<EventPos> {
        self.cursor
    }

    /// The earliest deadline.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.done {
            return None;
        }
        let last = self.result.as_ref().map(|(_, last)| *last);
        [self.calls.wake_at(), last].into_iter().flatten().min()
    }

    /// One step.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        if self.done {
            return;
        }
        let now = now.mono;
        if self.result.is_some() {
            return self.acknowledge(now, input, out);
        }
        match input {
            Input::Start => self.calls.start(now),
            Input::Wake => {}
            Input::Answered { call, answer } => self.answered(now, call, *answer, out),
            Input::Pushed { call, event } => self.pushed(now, call, event, out),
            Input::Lost { call, why } => {
                if let Some(gate) = self.calls.lost(now, call) {
                    out.push(Output::Notice(Notice::Retry { gate, why: why.clone() }));
                    self.calls.last_why = why;
                }
            }
            Input::Cancel { reason } => {
                self.cancel.get_or_insert(Cancel { reason, recorded: false });
            }
        }
        if !self.done {
            self.calls.expire(now, out);
            self.go_on(now, out);
        }
    }

    /// Starts whatever call is wanted and not under way; gives up when nobody answers.
    fn go_on(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.calls.is_out_of_patience(now) {
            let why = core::mem::take(&mut self.calls.last_why);
            return self.finish(Done::Unreachable { job: self.job, why }, out);
        }
        let main = match (self.job, &self.config.goal) {
            (Some(job), _) => Request::Events { job, after: self.cursor, credit: Self::CREDIT },
            (None, Goal::Run { key, spec }) => Request::Submit { key: Some(key.clone()), spec: spec.clone() },
            (None, Goal::Follow { job, after }) => {
                Request::Events { job: *job, after: *after, credit: Self::CREDIT }
            }
        };
        self.calls.main.begin(now, main, &mut self.calls.next, out);
        if let (Some(job), Some(cancel), None) = (self.job, &self.cancel, &self.result)
            && !cancel.recorded
        {
            let request = Request::Cancel { job, reason: cancel.reason.clone() };
            self.calls.side.begin(now, request, &mut self.calls.next, out);
        }
    }

    fn answered(&mut self, now: Instant, call: CallId, answer: Answer, out: &mut Vec<Output>) {
        let Some(which) = self.calls.answered(now, call) else { return };
        match (which, answer) {
            (Attempt::Main, Answer::Submitted(submitted)) => {
                self.job = Some(submitted.job);
                self.calls.main.over();
                out.push(Output::Notice(Notice::Submitted {
                    job: submitted.job,
                    repeated: submitted.repeated,
                }));
            }
            (Attempt::Main, Answer::Stream) => self.calls.main.stream_open(now),
            (Attempt::Main, Answer::NothingFollows) => self.finish(Done::Known, out),
            (Attempt::Side, Answer::CancelRecorded { .. }) => self.cancel_recorded(out),
            // The job has ended by itself; its end comes as an event.
            (Attempt::Side, Answer::Fault(fault)) if matches!(fault.code, FaultCode::AlreadyTerminal(_)) => {
                self.cancel_recorded(out);
            }
            (which, Answer::Fault(fault)) if fault.is_retryable() => {
                let gate = self.calls.refused(now, which, &fault);
                out.push(Output::Notice(Notice::Retry { gate, why: alloc::format!("{fault}") }));
            }
            (_, Answer::Fault(fault)) => self.finish(Done::Refused(fault), out),
            (which, other) => {
                let why = alloc::format!("an answer to another question: {other:.60?}");
                let gate = self.calls.refused(now, which, &Fault::new(FaultCode::Internal, why.clone()));
                out.push(Output::Notice(Notice::Retry { gate, why }));
            }
        }
    }

    fn cancel_recorded(&mut self, out: &mut Vec<Output>) {
        self.calls.side.over();
        if let Some(cancel) = &mut self.cancel {
            cancel.recorded = true;
        }
        out.push(Output::Notice(Notice::CancelRecorded));
    }

    fn pushed(&mut self, now: Instant, call: CallId, event: Box<ClientEvent>, out: &mut Vec<Output>) {
        if !self.calls.heard(now, call) || Some(event.job) != self.job || !self.is_news(&event) {
            return;
        }
        if !matches!(event.kind, ClientEventKind::Gap { .. }) {
            self.cursor = Some(event.pos);
        }
        if let ClientEventKind::Final(result) = &event.kind {
            self.result = Some((result.clone(), now + ACKNOWLEDGE.0));
            self.calls.hang_up(out);
            self.calls.main.over();
            // Whatever a cancel still waited for is over with it: a pause that nobody ends would be due for ever.
            self.calls.side.over();
            self.calls.main.answer_within(ACKNOWLEDGE.1);
        }
        out.push(Output::Tell(event));
    }

    /// Tells a gate that the result is here. Where that fails the gates keep it longer; no reason to keep the user
    /// waiting for long.
    fn acknowledge(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        let known = match input {
            Input::Answered { call, answer } if self.calls.main.is(call) => match *answer {
                Answer::Fault(fault) if fault.is_retryable() => {
                    self.calls.refused(now, Attempt::Main, &fault);
                    false
                }
                _ => {
                    self.calls.main.over();
                    true
                }
            },
            Input::Lost { call, .. } => {
                self.calls.lost(now, call);
                false
            }
            _ => false,
        };
        if known || self.result.as_ref().is_some_and(|(_, last)| now >= *last) {
            if let Some((result, _)) = self.result.take() {
                self.finish(Done::Final(result), out);
            }
        } else {
            self.calls.expire(now, out);
            self.go_on(now, out);
        }
    }

    /// Kept events are ordered by `kept` alone; a volatile one is news if it follows the newest kept event, and the
    /// newest volatile one of the same owner.
    fn is_news(&self, event: &ClientEvent) -> bool {
        let Some(cursor) = self.cursor else { return true };
        if matches!(event.kind, ClientEventKind::Gap { .. }) {
            return true;
        }
        if event.kind.is_kept() {
            return event.pos.kept > cursor.kept;
        }
        event.pos.kept > cursor.kept
            || (event.pos.kept == cursor.kept
                && (event.pos.epoch, event.pos.vol) > (cursor.epoch, cursor.vol))
    }

    fn finish(&mut self, done: Done, out: &mut Vec<Output>) {
        self.done = true;
        self.calls.hang_up(out);
        out.push(Output::Done(done));
    }
}
