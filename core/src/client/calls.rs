//! The two calls a client can have under way: the main one (submit, then the stream) and the cancel.

use alloc::string::String;
use alloc::vec::Vec;

use alloc::boxed::Box;

use crate::api::Request;
use crate::fault::Fault;
use crate::id::{CallId, NodeId};
use crate::rng::NodeRng;
use crate::time::{Duration, Instant};

use super::{ClientConfig, Output};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Submit, then the stream of events.
    Main,
    /// Cancel.
    Side,
}

/// One line of calls: at most one is under way; after a failure the next gate is tried after a pause.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Whom the next call asks.
    gate: usize,
    /// Whose turn it was last, as gates take turns. One that another gate named is asked out of turn: where it fails, the
    /// turn goes on. Else a gate that lags behind and a dead owner that it names would be asked for ever, by turns.
    turn: usize,
    gates: usize,
    under_way: Option<CallId>,
    /// The call's deadline; of an open stream, when its silence has lasted too long; else the end of the pause.
    until: Instant,
    is_stream: bool,
    failures: u32,
    call_timeout: Duration,
}

impl Line {
    fn new(config: &ClientConfig) -> Self {
        Self {
            gate: 0,
            turn: 0,
            gates: config.gates.len(),
            under_way: None,
            until: Instant::ZERO,
            is_stream: false,
            failures: 0,
            call_timeout: config.call_timeout,
        }
    }

    /// Makes the call, unless one is under way or the pause is not over.
    pub(super) fn begin(&mut self, now: Instant, request: Request, next: &mut CallId, out: &mut Vec<Output>) {
        if self.under_way.is_some() || now < self.until {
            return;
        }
        let call = *next;
        *next = next.next();
        self.under_way = Some(call);
        self.until = now + self.call_timeout;
        out.push(Output::Call { gate: self.gate, call, request: Box::new(request) });
    }

    /// The call has done what it was for; the next one may follow at once, at the same gate.
    pub(super) fn over(&mut self) {
        self.under_way = None;
        self.is_stream = false;
        self.failures = 0;
        self.until = Instant::ZERO;
    }

    /// The call opened a stream.
    pub(super) fn stream_open(&mut self, now: Instant) {
        self.is_stream = true;
        self.until = now + self.call_timeout;
    }

    /// Whether this is the call under way.
    pub(super) fn is(&self, call: CallId) -> bool {
        self.under_way == Some(call)
    }

    /// From now on its calls are given up after this long.
    pub(super) fn answer_within(&mut self, timeout: Duration) {
        self.call_timeout = timeout;
    }

    /// The next call asks the gate that was named, or the next one in turn, but not at once the one that has failed.
    fn fail(&mut self, until: Instant, named: Option<usize>) {
        self.under_way = None;
        self.is_stream = false;
        self.failures = self.failures.saturating_add(1);
        self.until = until;
        self.gate = named.unwrap_or_else(|| {
            let next = |gate: usize| (gate + 1) % self.gates;
            self.turn = next(self.turn);
            if self.turn == self.gate {
                self.turn = next(self.turn);
            }
            self.turn
        });
    }
}

/// Both lines and what they share.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) main: Line,
    pub(super) side: Line,
    /// Names the next call.
    pub(super) next: CallId,
    /// What broke last, for a person.
    pub(super) last_why: String,
    last_answer: Option<Instant>,
    gates: Vec<Option<NodeId>>,
    rng: NodeRng,
    silence: Duration,
    backoff_base: Duration,
    backoff_cap: Duration,
    patience: Duration,
}

impl Calls {
    pub(super) fn new(config: &ClientConfig, rng: NodeRng) -> Self {
        Self {
            main: Line::new(config),
            side: Line::new(config),
            next: CallId(1),
            last_why: String::from("no gate answered"),
            last_answer: None,
            gates: config.gates.clone(),
            rng,
            silence: config.silence,
            backoff_base: config.backoff_base,
            backoff_cap: config.backoff_cap,
            patience: config.patience,
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.last_answer = Some(now);
    }

    fn line(&mut self, which: Attempt) -> &mut Line {
        match which {
            Attempt::Main => &mut self.main,
            Attempt::Side => &mut self.side,
        }
    }

    fn which(&self, call: CallId) -> Option<Attempt> {
        if self.main.under_way == Some(call) {
            Some(Attempt::Main)
        } else if self.side.under_way == Some(call) {
            Some(Attempt::Side)
        } else {
            None
        }
    }

    /// A call has its answer; `None` where it was given up before.
    pub(super) fn answered(&mut self, now: Instant, call: CallId) -> Option<Attempt> {
        let which = self.which(call)?;
        self.last_answer = Some(now);
        Some(which)
    }

    /// An event came; tells whether its stream is the one that is followed.
    pub(super) fn heard(&mut self, now: Instant, call: CallId) -> bool {
        let followed = self.main.under_way == Some(call) && self.main.is_stream;
        if followed {
            self.last_answer = Some(now);
            self.main.until = now + self.silence;
            self.main.failures = 0;
        }
        followed
    }

    /// A call's connection broke: the next gate is tried after a pause. Tells which gate failed.
    pub(super) fn lost(&mut self, now: Instant, call: CallId) -> Option<usize> {
        let which = self.which(call)?;
        Some(self.try_next(now, which, Duration::ZERO, None))
    }

    /// A gate refused for now: it may have named a better one.
    pub(super) fn refused(&mut self, now: Instant, which: Attempt, fault: &Fault) -> usize {
        let named = fault.owner.and_then(|owner| self.gates.iter().position(|gate| *gate == Some(owner)));
        self.last_why = alloc::format!("{fault}");
        self.try_next(now, which, Duration::from_millis(fault.retry_after_ms.into()), named)
    }

    fn try_next(&mut self, now: Instant, which: Attempt, at_least: Duration, named: Option<usize>) -> usize {
        let (base, cap) = (self.backoff_base, self.backoff_cap);
        let failures = self.line(which).failures;
        let ceiling = base.scale(1 << failures.min(16), 1).min(cap).as_nanos();
        let jitter = Duration::from_nanos(self.rng.below(ceiling.max(1)));
        // A gate that was named is asked at once: it is not the one that failed.
        let pause = if named.is_some() { Duration::ZERO } else { jitter.max(at_least.min(cap)) };
        let line = self.line(which);
        let failed = line.gate;
        line.fail(now + pause, named);
        failed
    }

    /// Gives up what has been under way for too long.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<Output>) {
        for which in [Attempt::Main, Attempt::Side] {
            let line = self.line(which);
            let due = line.under_way.filter(|_| line.until <= now);
            if let Some(call) = due {
                self.last_why = String::from("a gate did not answer in time");
                self.try_next(now, which, Duration::ZERO, None);
                out.push(Output::Hangup { call });
            }
        }
    }

    pub(super) fn is_out_of_patience(&self, now: Instant) -> bool {
        self.last_answer.is_some_and(|last| now.since(last) >= self.patience)
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        let last = self.last_answer?;
        // The cancel's line counts only while it has something to wait for.
        let side = (self.side.under_way.is_some() || self.side.failures > 0).then_some(self.side.until);
        [Some(self.main.until), side, Some(last + self.patience)].into_iter().flatten().min()
    }

    pub(super) fn hang_up(&mut self, out: &mut Vec<Output>) {
        for line in [&mut self.main, &mut self.side] {
            out.extend(line.under_way.take().map(|call| Output::Hangup { call }));
        }
    }
}
