//! Clients' calls: each gets exactly one answer, at once or when its entry is applied; a stream lives on in the record
//! of its job until the reader is gone or has everything.

use alloc::boxed::Box;

use super::{Gate, Timer};
use crate::api::{Answer, Identity, Request};
use crate::effect::{Effect, Effects};
use crate::fault::{Fault, FaultCode};
use crate::guard::Condition;
use crate::id::CallId;
use crate::observe::{Observation, Stale};
use crate::time::Now;

impl Gate {
    /// A client's call.
    pub(super) fn serve(
        &mut self,
        now: Now,
        call: CallId,
        identity: Identity,
        request: Request,
        out: &mut Effects,
    ) {
        if self.calls.contains_key(&call) || self.streams.contains_key(&call) {
            out.push(Effect::Observe(Observation::Ignored(Stale::Duplicate)));
            return;
        }
        if self.sheds(&request) {
            let full = Fault::new(FaultCode::Overloaded, "this gate is overloaded; ask another, or later");
            return self.answer(call, Err(full), out);
        }
        let beyond = self.beyond_me(&request);
        let waits = beyond.is_some() || matches!(request, Request::Submit { .. } | Request::Cancel { .. });
        if waits && self.calls.len() >= self.call_bound() {
            let full = Fault::new(FaultCode::Overloaded, "too many calls wait for the log");
            return self.answer(call, Err(full), out);
        }
        match beyond {
            Some(job) => self.ask_the_log(now, call, job, identity, Box::new(request), out),
            None => self.serve_now(now, call, identity, request, out),
        }
    }

    /// Whether the gate is too loaded for a request. What belongs to a job that it has accepted it never refuses for that.
    fn sheds(&self, request: &Request) -> bool {
        let from = match request {
            Request::Submit { .. } => Condition::Overloaded,
            Request::List { .. } | Request::Datacenters | Request::Members => Condition::Stressed,
            Request::Status { .. }
            | Request::Cancel { .. }
            | Request::Result { .. }
            | Request::Events { .. } => return false,
        };
        self.links.condition() >= from
    }

    /// A client's call, by what the log says now.
    pub(super) fn serve_now(
        &mut self,
        now: Now,
        call: CallId,
        identity: Identity,
        request: Request,
        out: &mut Effects,
    ) {
        let answer = match request {
            Request::Submit { key, spec } => self.submit(now, call, identity, key, spec, out),
            Request::Cancel { job, reason } => self.cancel(now, call, &identity, job, reason, out),
            Request::Status { job } => Some(self.status(now, &identity, job)),
            Request::List { after, limit } => Some(Ok(self.list(now, &identity, after, limit))),
            Request::Result { job } => Some(self.result(&identity, job)),
            Request::Events { job, after, credit } => {
                let answer = self.events(call, &identity, job, after, credit);
                if answer == Ok(Answer::NothingFollows) {
                    self.result_read(now, job, out);
                }
                Some(answer)
            }
            Request::Datacenters => {
                Some(Ok(Answer::Datacenters(self.federation.views(now.mono, &self.links))))
            }
            Request::Members => Some(Ok(self.members(now))),
        };
        if let Some(answer) = answer {
            self.answer(call, answer, out);
        }
    }

    pub(super) fn call_bound(&self) -> usize {
        self.boot.config.limits.calls as usize
    }

    /// The one answer to a call.
    pub(super) fn answer(&self, call: CallId, answer: Result<Answer, Fault>, out: &mut Effects) {
        let answer = answer.unwrap_or_else(|fault| {
            out.push(Effect::Observe(Observation::Refused(fault.code)));
            Answer::Fault(fault)
        });
        out.push(Effect::Answer { call, answer: Box::new(answer) });
    }

    /// A reader takes more.
    pub(super) fn writable(&mut self, call: CallId, credit: u32, out: &mut Effects) {
        let job = self.streams.get(&call).copied();
        let record = job.and_then(|job| self.ledger.state_mut().jobs.get_mut(&job));
        match record.and_then(|record| record.live.streams.get_mut(&call)) {
            Some(stream) => {
                stream.credit = stream.credit.saturating_add(credit);
                self.touched.extend(job);
            }
            // The stream ended while the word was under way.
            None => out.push(Effect::Observe(Observation::Ignored(Stale::Unknown))),
        }
    }

    /// A caller is gone. Its proposal goes on: a repeat with the same key finds what it became.
    pub(super) fn closed(&mut self, call: CallId) {
        self.wheel.disarm(Timer::Call(call));
        self.calls.remove(&call);
        if let Some(job) = self.streams.remove(&call)
            && let Some(record) = self.ledger.state_mut().jobs.get_mut(&job)
        {
            record.live.streams.remove(&call);
        }
    }
}
