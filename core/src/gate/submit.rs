//! Submissions and cancels: calls that are answered when their entry is applied.
//!
//! A submission becomes exactly one job or one typed refusal. The idempotency key is judged by the log: whichever gate
//! a repeat reaches, the entry that came first decides.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use sha2::{Digest as _, Sha256};

use super::command::{Accept, GateCommand};
use super::job::Origin;
use super::{About, Gate, Timer};
use crate::api::{Answer, Identity, Request, Submitted};
use crate::effect::Effects;
use crate::fault::{Fault, FaultCode};
use crate::id::{CallId, DcId, JobId, Tenant};
use crate::jobs::{JobSpec, JobStatus, Placement};
use crate::ledger::ProposalId;
use crate::observe::Observation;
use crate::rng::NodeRng;
use crate::routing::{self, needed_cores};
use crate::time::{Now, WallTime};

/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 128;
/// Longest tenant, in bytes.
const MAX_TENANT: usize = 64;
/// Longest reason of a cancel, in bytes.
const MAX_REASON: usize = 256;

/// A call that waits for its entry.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    /// A submission: the job that it proposed, and what a key is judged by.
    Submit { job: JobId, tenant: Tenant, key: Option<String>, digest: [u8; 32] },
    /// A cancel.
    Cancel { job: JobId },
    /// A question about a job that this replica does not know, or knows less of than the caller.
    Question { job: JobId, identity: Identity, request: Box<Request> },
}

impl Waiting {
    /// The job that the call is about.
    pub fn job(&self) -> JobId {
        match self {
            Self::Submit { job, .. } | Self::Cancel { job } | Self::Question { job, .. } => *job,
        }
    }
}

/// Makes job ids: wall milliseconds (48 bit), a counter (16), random (64), big endian. They sort by creation; should
/// the wall clock jump back, the counter goes on from the newest id, so none is made twice.
#[derive(Clone, Debug)]
pub(super) struct JobIds {
    newest: u64,
    rng: NodeRng,
}

impl JobIds {
    /// The stream of its own for the random part.
    const STREAM: u64 = 0x4a4f_4249;

    pub fn new(seed: [u8; 32]) -> Self {
        Self { newest: 0, rng: NodeRng::new(seed, Self::STREAM) }
    }

    pub fn next(&mut self, wall: WallTime) -> JobId {
        // The counter carries into the milliseconds when a millisecond has more than 65,536 jobs.
        self.newest = (wall.0 << 16).max(self.newest + 1);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.newest.to_be_bytes());
        id[8..].copy_from_slice(&self.rng.u64().to_be_bytes());
        JobId(id)
    }
}

impl Gate {
    /// A client submits. Answered now, or when the entry is applied.
    pub(super) fn submit(
        &mut self,
        now: Now,
        call: CallId,
        identity: Identity,
        key: Option<String>,
        spec: Box<JobSpec>,
        out: &mut Effects,
    ) -> Option<Result<Answer, Fault>> {
        if let Err(fault) = check_submission(&identity, key.as_deref(), &spec) {
            return Some(Err(fault));
        }
        let encoded = minicbor::to_vec(&spec).expect("encoding into memory");
        let digest: [u8; 32] = Sha256::digest(&encoded).into();
        let origin = Origin { tenant: identity.tenant, key, digest, spec };
        if let Some(answer) = self.known_submission(&origin, out) {
            return Some(answer);
        }
        let proposed =
            self.check_room(now, &origin.tenant).and_then(|()| self.choose_targets(now, &origin.spec));
        let (targets, fallbacks) = match proposed {
            Ok(chosen) => chosen,
            Err(fault) => return Some(Err(fault)),
        };
        let job = self.job_ids.next(now.wall);
        let waiting = Waiting::Submit { job, tenant: origin.tenant.clone(), key: origin.key.clone(), digest };
        let accept = Accept { job, origin, owner: self.me(), targets, fallbacks };
        let command = GateCommand::JobAccepted(Box::new(accept));
        match self.propose(now, command, About::Call(call), out) {
            Ok(_) => self.wait_for_entry(now, call, waiting),
            Err(fault) if fault.code == FaultCode::TooLarge => {
                let why = format!("the job takes {} bytes; one log entry has room for 64 KiB", encoded.len());
                return Some(Err(Fault::new(FaultCode::TooLarge, why)));
            }
            Err(fault) => return Some(Err(fault)),
        }
        None
    }

    pub(super) fn wait_for_entry(&mut self, now: Now, call: CallId, waiting: Waiting) {
        self.calls.insert(call, waiting);
        self.wheel.arm(Timer::Call(call), now.mono + self.boot.config.timing.request_timeout);
    }

    /// The answer to a submission whose key is known.
    fn known_submission(&self, origin: &Origin, out: &mut Effects) -> Option<Result<Answer, Fault>> {
        let job = *self.ledger.state().keys.get(&origin.key_of_tenant()?)?;
        out.push(crate::effect::Effect::Observe(Observation::SubmitRepeated(job)));
        Some(self.submitted(job, &origin.digest, true))
    }

    /// The answer that names an accepted job, if it is the one that was asked for.
    fn submitted(&self, job: JobId, digest: &[u8; 32], repeated: bool) -> Result<Answer, Fault> {
        let state = self.ledger.state();
        let (known, owner, gate_epoch) = match (state.jobs.get(&job), state.tombstones.get(&job)) {
            (Some(record), _) => (record.origin.digest, record.row.owner, record.row.gate_epoch),
            (None, Some(tombstone)) => (tombstone.digest, tombstone.owner, tombstone.gate_epoch),
            (None, None) => return Err(Fault::new(FaultCode::Internal, "an accepted job has no record")),
        };
        if known != *digest {
            let why = format!("this idempotency key was used for another specification, job {job}");
            return Err(Fault::new(FaultCode::Conflict, why));
        }
        Ok(Answer::Submitted(Submitted { job, owner, gate_epoch, repeated }))
    }

    /// Whether this gate can take one more job of this tenant.
    fn check_room(&self, now: Now, tenant: &Tenant) -> Result<(), Fault> {
        if self.drain.is_some() {
            let other = self.ledger.holders().find(|node| *node != self.me());
            return Err(Fault::new(FaultCode::Draining, "this gate is shutting down").at(other));
        }
        self.check_active(now)?;
        let (state, limits) = (self.ledger.state(), &self.boot.config.limits);
        let under_way =
            self.calls.values().filter(|waiting| matches!(waiting, Waiting::Submit { .. })).count();
        if state.jobs.len() + under_way >= limits.jobs as usize {
            return Err(Fault::new(FaultCode::Overloaded, format!("{} jobs are live", state.jobs.len())));
        }
        let own_under_way = self
            .calls
            .values()
            .filter(|waiting| matches!(waiting, Waiting::Submit { tenant: of, .. } if of == tenant))
            .count();
        let own = state.per_tenant.get(tenant).map_or(0, |count| *count as usize);
        if own + own_under_way >= limits.jobs_per_tenant as usize {
            return Err(Fault::new(FaultCode::Overloaded, format!("{own} jobs of this tenant are live")));
        }
        Ok(())
    }

    /// Refuses what needs the log while this gate cannot use it.
    pub(super) fn check_active(&self, now: Now) -> Result<(), Fault> {
        if self.ledger.lease_holds(now) {
            return Ok(());
        }
        Err(match self.was_active {
            false => Fault::new(FaultCode::NotReady, "this gate is starting"),
            true => Fault::new(FaultCode::NoQuorum, "this gate's lease does not hold"),
        })
    }

    /// Targets and fallbacks, best first (`nodes-and-protocol` 3.1).
    fn choose_targets(&self, now: Now, spec: &JobSpec) -> Result<(Vec<DcId>, Vec<DcId>), Fault> {
        let wanted: Vec<DcId> = match &spec.placement {
            Placement::Only(dcs) => dcs.clone(),
            Placement::Any | Placement::Count(_) => self.federation.names().collect(),
        };
        if let Some(unknown) = wanted.iter().find(|dc| !self.federation.is_known(**dc)) {
            let known: Vec<String> = self.federation.names().map(|dc| dc.to_string()).collect();
            let why = format!("there is no datacenter {unknown:?}; there are: {}", known.join(", "));
            return Err(Fault::new(FaultCode::Invalid, why));
        }
        let count = match &spec.placement {
            Placement::Any => 1,
            Placement::Count(count) => usize::from(*count).min(wanted.len()),
            Placement::Only(dcs) => dcs.len(),
        };
        let needed = needed_cores(spec, count as u16);
        let usable = |dc: &DcId| {
            let mut candidate = self.federation.candidate(now.mono, *dc, needed, &self.links)?;
            // Whoever leads takes the job, or nobody does.
            let leader = self.federation.leader(now.mono, *dc, &self.links);
            candidate.degraded |= leader.is_some_and(|leader| !self.breakers.allows(now.mono, leader));
            Some(candidate)
        };
        let mut candidates: Vec<_> = wanted.iter().filter_map(usable).collect();
        if candidates.is_empty() {
            let never = self.federation.is_infeasible(now.mono, wanted.iter().copied(), needed, &self.links);
            return Err(match never {
                true => Fault::new(
                    FaultCode::Infeasible,
                    format!("no datacenter has the {needed} cores that the widest workflow takes"),
                ),
                false => Fault::new(FaultCode::NoDatacenter, "no datacenter is usable now"),
            });
        }
        routing::rank(&mut candidates);
        let mut order = routing::names(&candidates);
        if let Placement::Only(dcs) = &spec.placement {
            // All of them and no other: those that are not usable yet are waited for.
            order.extend(dcs.iter().filter(|dc| !candidates.iter().any(|it| it.dc == **dc)));
        }
        let fallbacks = order.split_off(count.min(order.len()));
        Ok((order, fallbacks.into_iter().take(JobSpec::MAX_TARGETS).collect()))
    }

    /// A client cancels. Answered now, or when the entry is applied.
    pub(super) fn cancel(
        &mut self,
        now: Now,
        call: CallId,
        identity: &Identity,
        job: JobId,
        reason: String,
        out: &mut Effects,
    ) -> Option<Result<Answer, Fault>> {
        if reason.len() > MAX_REASON {
            return Some(Err(Fault::new(FaultCode::Invalid, "a reason has at most 256 bytes")));
        }
        let record = match self.visible(identity, job) {
            Ok(record) => record,
            Err(fault) => return Some(Err(fault)),
        };
        if record.row.stop_verdict() == Some(JobStatus::Cancelled) {
            return Some(Ok(Answer::CancelRecorded { job, first: false }));
        }
        if record.row.status.is_final() {
            let code = FaultCode::AlreadyTerminal(record.row.status);
            return Some(Err(Fault::new(code, format!("the job is {}", record.row.status.as_str()))));
        }
        if let Err(fault) = self.check_active(now) {
            return Some(Err(fault));
        }
        let elapsed_ms = record.elapsed_ms(now.mono);
        let verdict = JobStatus::Cancelled;
        let reason = if reason.is_empty() { "cancelled by a client".to_string() } else { reason };
        let command = GateCommand::StopRecorded { job, gate_epoch: None, verdict, reason, elapsed_ms };
        match self.propose(now, command, About::Call(call), out) {
            Ok(_) => self.wait_for_entry(now, call, Waiting::Cancel { job }),
            Err(fault) => return Some(Err(fault)),
        }
        None
    }

    /// A replica that is behind must not say that a job does not exist: it first catches up to the present, which is
    /// where an entry of its own that is proposed now is applied. A lone voter is never behind.
    pub(super) fn ask_the_log(
        &mut self,
        now: Now,
        call: CallId,
        job: JobId,
        identity: Identity,
        request: Box<Request>,
        out: &mut Effects,
    ) {
        match self.propose(now, GateCommand::Barrier, About::Call(call), out) {
            Ok(_) => self.wait_for_entry(now, call, Waiting::Question { job, identity, request }),
            Err(fault) => self.answer(call, Err(fault), out),
        }
    }

    /// The job of a question that this replica may be too far behind to answer.
    pub(super) fn beyond_me(&self, request: &Request) -> Option<JobId> {
        let (job, cursor) = match request {
            Request::Events { job, after, .. } => (*job, after.unwrap_or_default().kept),
            Request::Status { job } | Request::Cancel { job, .. } | Request::Result { job } => (*job, 0),
            Request::Submit { .. } | Request::List { .. } | Request::Datacenters | Request::Members => {
                return None;
            }
        };
        let state = self.ledger.state();
        let known = match state.jobs.get(&job) {
            Some(record) => cursor <= record.newest_kept(),
            None => state.tombstones.contains_key(&job),
        };
        (!known && self.boot.config.roster.gates.len() > 1).then_some(job)
    }

    /// The entry of a waiting call is decided: answers it by what the log says now.
    pub(super) fn decided_call(&mut self, now: Now, call: CallId, n: u64, out: &mut Effects) {
        self.wheel.disarm(Timer::Call(call));
        let answer = match self.calls.remove(&call) {
            // It was answered before: its time was over, or the caller went away.
            None => return,
            Some(Waiting::Submit { job, tenant, key, digest }) => {
                let by_key = key.and_then(|key| self.ledger.state().keys.get(&(tenant, key)).copied());
                let accepted = by_key.unwrap_or(job);
                self.submitted(accepted, &digest, accepted != job)
            }
            Some(Waiting::Cancel { job }) => self.cancelled(job, n),
            Some(Waiting::Question { identity, request, .. }) => {
                return self.serve_now(now, call, identity, *request, out);
            }
        };
        self.answer(call, answer, out);
    }

    fn cancelled(&self, job: JobId, n: u64) -> Result<Answer, Fault> {
        let state = self.ledger.state();
        let mine = ProposalId { node: self.me(), boot: self.boot.boot, n };
        match state.jobs.get(&job) {
            Some(record) => match &record.row.stop {
                Some(stop) if stop.verdict == JobStatus::Cancelled => {
                    Ok(Answer::CancelRecorded { job, first: stop.proposal == mine })
                }
                // It ended before the cancel came into the log.
                _ => Err(Fault::new(FaultCode::AlreadyTerminal(record.row.status), "the job has ended")),
            },
            None => Err(self.unknown(job)),
        }
    }

    /// A call has waited for too long. Its entry may still be applied: a repeat with the same key finds out.
    pub(super) fn call_timed_out(&mut self, call: CallId, out: &mut Effects) {
        if self.calls.remove(&call).is_some() {
            let fault = Fault::new(
                FaultCode::NoQuorum,
                "the gates have not decided in time; repeat with the same key",
            );
            self.answer(call, Err(fault), out);
        }
    }
}

fn check_submission(identity: &Identity, key: Option<&str>, spec: &JobSpec) -> Result<(), Fault> {
    let invalid = |why: String| Err(Fault::new(FaultCode::Invalid, why));
    if identity.tenant.is_empty() || identity.tenant.len() > MAX_TENANT {
        return invalid("a tenant has 1 to 64 bytes".to_string());
    }
    if key.is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
        return invalid("an idempotency key has 1 to 128 bytes".to_string());
    }
    spec.validate().or_else(|error| invalid(error.0))
}
