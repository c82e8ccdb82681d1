//! Requests to the datacenters of a job: run it, stop it, I own it now.
//!
//! A [`Courier`] carries one request to one datacenter until it is answered: to the manager that seems right, on a
//! redirect to the one that is named, on silence or refusal to the next. What is asked for follows from the record
//! ([`ask_of`]); who gets a target's place when it does not answer is decided here and written to the log first.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::command::{DcAt, GateCommand};
use super::duties::{Context, Plan};
use super::job::{GateJob, Target, TargetState, Topic};
use super::{Gate, verdict};
use crate::effect::{Effect, Effects};
use crate::fault::{Fault, FaultCode};
use crate::id::{DcId, GateEpoch, JobId, NodeId};
use crate::jobs::JobStatus;
use crate::observe::{Observation, Stale};
use crate::routing::needed_cores;
use crate::time::{Duration, Instant, Now};
use crate::wire::{DispatchAccepted, Feature, Message, Reconciled};

/// Redirects that are followed at once; later ones wait like any refusal.
const MAX_REDIRECTS: u8 = 3;
/// A target without a usable datacenter is looked at again this often.
const RECHECK: Duration = Duration::from_secs(1);

/// What a datacenter is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To run the job.
    Dispatch,
    /// To stop it.
    Stop,
    /// To send to this gate from now on.
    Owner,
}

/// One request to one datacenter, until it is answered.
#[derive(Clone, Debug)]
pub struct Courier {
    ask: Ask,
    /// Since when this is asked for.
    since: Instant,
    /// The manager that was asked last.
    last: Option<NodeId>,
    /// When it was asked, while its answer is awaited.
    sent: Option<Instant>,
    /// Not before this.
    not_before: Instant,
    /// The manager that a refusal named.
    hint: Option<NodeId>,
    redirects: u8,
    /// The newest refusal.
    pub refusal: Option<Fault>,
    /// Answered: nothing to do until this moment.
    answered_until: Option<Instant>,
    /// A request to run the job left this process.
    pub sent_job: bool,
    /// One of those had no answer, or one that leaves open what happens: the datacenter may run the job.
    ambiguous: bool,
    /// It said that it has the job.
    has_job: bool,
    /// The datacenter knows this gate as the owner.
    told: bool,
    /// The datacenter says that it does not know the job that it had accepted.
    forgotten: bool,
}

impl Courier {
    fn new(ask: Ask, now: Instant) -> Self {
        Self {
            ask,
            since: now,
            last: None,
            sent: None,
            not_before: now,
            hint: None,
            redirects: 0,
            refusal: None,
            answered_until: None,
            sent_job: false,
            ambiguous: false,
            has_job: false,
            told: false,
            forgotten: false,
        }
    }

    /// Turns to another question; what is known of the datacenter stays.
    fn turn_to(&mut self, ask: Ask, now: Instant) {
        if self.ask != ask {
            self.missed();
            let fresh = Self::new(ask, now);
            let Self { sent_job, ambiguous, has_job, told, forgotten, .. } = *self;
            *self = Self { sent_job, ambiguous, has_job, told, forgotten, ..fresh };
        }
    }

    /// The answer to the last request will not come.
    fn missed(&mut self) {
        if self.sent.take().is_some() && self.ask == Ask::Dispatch {
            self.ambiguous = true;
        }
    }

    /// The datacenter has refused: whom to ask next, and when.
    fn refused(&mut self, now: Instant, from: NodeId, fault: Fault) {
        self.sent = None;
        self.last = Some(from);
        self.ambiguous |= self.ask == Ask::Dispatch
            && matches!(fault.code, FaultCode::NoQuorum | FaultCode::DeadlineExceeded | FaultCode::Internal);
        let redirect = matches!(fault.code, FaultCode::NotLeader | FaultCode::NotOwner);
        self.hint = fault.owner.filter(|owner| redirect && *owner != from);
        let at_once = self.hint.is_some() && self.redirects < MAX_REDIRECTS;
        let wait = match fault.retry_after_ms {
            _ if at_once => 0,
            0 => RECHECK.as_wire_millis(),
            ms => ms,
        };
        self.redirects = if at_once { self.redirects + 1 } else { 0 };
        self.not_before = now + Duration::from_millis(u64::from(wait));
        self.refusal = Some(fault);
    }

    /// Asks nothing more for a while.
    fn answered(&mut self, until: Instant) {
        self.sent = None;
        self.refusal = None;
        self.answered_until = Some(until);
    }

    /// The datacenter does not know the job that it had accepted: it is to be asked again.
    fn is_forgotten(&mut self, now: Instant) {
        let fresh = Self::new(Ask::Dispatch, now);
        let Self { sent_job, ambiguous, told, .. } = *self;
        *self = Self { sent_job, ambiguous, told, forgotten: true, ..fresh };
    }

    /// Whether the datacenter provably does not run the job.
    pub fn is_clear(&self) -> bool {
        !self.ambiguous && !self.has_job && self.sent.is_none()
    }

    /// Moves on: whom to ask now, if anybody. `plan` hears when to look again.
    fn advance(
        &mut self,
        dc: DcId,
        owner: Option<NodeId>,
        context: &Context<'_>,
        plan: &mut Plan,
    ) -> Option<NodeId> {
        let now = context.now.mono;
        if let Some(until) = self.answered_until {
            if now < until {
                plan.look_at(until);
                return None;
            }
            self.answered_until = None;
        }
        if let (Some(sent), Some(last)) = (self.sent, self.last) {
            let due = sent + context.timing.request_timeout;
            if now < due && context.links.is_connected(last) {
                plan.look_at(due);
                return None;
            }
            if self.ask == Ask::Dispatch && context.links.is_connected(last) {
                plan.silent.push(last);
            }
            self.missed();
        }
        if now < self.not_before {
            plan.look_at(self.not_before);
            return None;
        }
        let manager = self.choose(dc, owner, context, plan)?;
        self.last = Some(manager);
        self.sent = Some(now);
        plan.look_at(now + context.timing.request_timeout);
        Some(manager)
    }

    /// The named manager; else the owner or the believed leader; after one that did not help, the next. To run a job is
    /// asked of nobody whose circuit is open; what ends or moves one is asked of everybody.
    fn choose(
        &mut self,
        dc: DcId,
        owner: Option<NodeId>,
        context: &Context<'_>,
        plan: &mut Plan,
    ) -> Option<NodeId> {
        let now = context.now.mono;
        let ask = self.ask;
        let may_be_asked = |manager: &NodeId| ask != Ask::Dispatch || context.breakers.allows(now, *manager);
        let hint = self.hint.take().filter(|hint| context.links.is_connected(*hint));
        // Where the one that takes jobs is let alone, it is of no use to ask others for its name again and again.
        let order = hint.map_or_else(|| self.in_turn(dc, owner, context), |hint| alloc::vec![hint]);
        let chosen = order.iter().copied().find(may_be_asked);
        if chosen.is_none() && !order.is_empty() {
            self.not_before = now + RECHECK;
            plan.look_at(self.not_before);
        }
        chosen
    }

    /// The connected managers in the order in which they are asked.
    fn in_turn(&self, dc: DcId, owner: Option<NodeId>, context: &Context<'_>) -> Vec<NodeId> {
        let mut order = context.federation.managers(context.now.mono, dc, context.links);
        if let Some(place) = order.iter().position(|manager| Some(*manager) == owner) {
            order[..=place].rotate_right(1);
        }
        let next = order.iter().position(|manager| Some(*manager) == self.last).map_or(0, |place| place + 1);
        let turn = next % order.len().max(1);
        order.rotate_left(turn);
        order
    }
}

/// What a datacenter is to be asked for now.
fn ask_of(record: &GateJob, target: &Target, courier: Option<&Courier>) -> Option<Ask> {
    if target.is_owed_a_stop() {
        return Some(Ask::Stop);
    }
    if !target.is_open() || record.row.status.is_final() {
        return None;
    }
    let told = courier.is_some_and(|courier| courier.told);
    if record.row.stop.is_some() {
        // A datacenter that does not know this owner would send its final to the former one.
        let known = told || record.live.fresh;
        return Some(if known { Ask::Stop } else { Ask::Owner });
    }
    let forgotten = courier.is_some_and(|courier| courier.forgotten);
    match target.state {
        TargetState::Planned => Some(Ask::Dispatch),
        _ if forgotten => Some(Ask::Dispatch),
        _ if !told => Some(Ask::Owner),
        _ => None,
    }
}

impl GateJob {
    /// Asks each datacenter for what the record says.
    pub(super) fn send_couriers(
        &mut self,
        job: JobId,
        context: &Context<'_>,
        plan: &mut Plan,
        out: &mut Effects,
    ) {
        for place in 0..self.row.targets.len() {
            let target = &self.row.targets[place];
            let (dc, owner) = (target.dc, target.owner);
            let ask = ask_of(self, target, self.live.couriers.get(&dc));
            let Some(ask) = ask else { continue };
            let now = context.now.mono;
            let courier = self.live.couriers.entry(dc).or_insert_with(|| Courier::new(ask, now));
            courier.turn_to(ask, now);
            if ask == Ask::Stop && self.live.fresh && !courier.sent_job {
                // Nobody was asked to run it, so nobody has to be asked to stop it.
                self.decide_clear(job, dc, "it was not asked to run the job", context, plan);
                continue;
            }
            if let Some(manager) = courier.advance(dc, owner, context, plan) {
                courier.sent_job |= ask == Ask::Dispatch;
                plan.asked.extend((ask == Ask::Dispatch).then_some(manager));
                let message = self.request(job, place, ask, manager, context);
                if ask == Ask::Dispatch {
                    out.push(Effect::Observe(Observation::Dispatched { job, dc }));
                }
                out.push(Effect::Send { to: manager, message: Box::new(message) });
            }
        }
    }

    fn request(&self, job: JobId, place: usize, ask: Ask, manager: NodeId, context: &Context<'_>) -> Message {
        let (gate_epoch, owner) = (self.row.gate_epoch, context.me);
        match ask {
            Ask::Owner => Message::GateOwnerChanged { job, gate_epoch, owner },
            Ask::Stop => {
                let verdict = match self.row.stop_verdict() {
                    Some(verdict) if self.row.targets[place].counts() => verdict,
                    _ => JobStatus::Failed,
                };
                Message::StopInDc { job, gate_epoch, verdict }
            }
            Ask::Dispatch => Message::Dispatch {
                job,
                gate_epoch,
                owner,
                spec: self.origin.spec.clone(),
                slot: self.row.targets[place].slot,
                slots: self.row.slots,
                remaining_ms: self.origin.spec.timeout_ms.saturating_sub(self.elapsed_ms(context.now.mono)),
                half_rtt_us: context
                    .links
                    .rtt(manager)
                    .map_or(0, |rtt| u32::try_from(rtt.as_micros() / 2).unwrap_or(u32::MAX)),
            },
        }
    }

    /// Decides about targets that no datacenter has taken yet.
    pub(super) fn place(&mut self, job: JobId, context: &Context<'_>, plan: &mut Plan) {
        let planned = |target: &&Target| target.state == TargetState::Planned;
        if self.row.stop.is_some() || !self.row.targets.iter().any(|target| planned(&target)) {
            self.live.unplaced = None;
            return;
        }
        let now = context.now.mono;
        let deadline = *self.live.unplaced.get_or_insert(now) + context.timing.queue_deadline;
        let waiting: alloc::vec::Vec<DcId> =
            self.row.targets.iter().filter(planned).map(|target| target.dc).collect();
        if now >= deadline {
            self.give_up(job, &waiting, context, plan);
            return;
        }
        plan.look_at(deadline);
        for dc in &waiting {
            self.replace_if_needed(job, *dc, context, plan);
        }
        let nowhere = |dc: &DcId| {
            self.live
                .couriers
                .get(dc)
                .is_none_or(|courier| courier.refusal.is_some() || courier.last.is_none())
        };
        let all_wait = self.row.targets.iter().filter(|target| target.counts()).count() == waiting.len();
        let shown = matches!(self.row.status, JobStatus::Submitted | JobStatus::Dispatching);
        let has_queue = context.minor >= Feature::QueuedJobs.since();
        if shown && all_wait && has_queue && waiting.iter().all(nowhere) {
            let why = self.why_waiting(&waiting);
            plan.decide(Topic::Queue, GateCommand::JobQueued { by: self.by(job, now), why });
        }
    }

    /// Gives a target to the next usable fallback, when its datacenter has no room or has not answered for too long.
    fn replace_if_needed(&mut self, job: JobId, dc: DcId, context: &Context<'_>, plan: &mut Plan) {
        let now = context.now.mono;
        let Some(courier) = self.live.couriers.get(&dc).filter(|courier| !courier.has_job) else { return };
        let code = courier.refusal.as_ref().map(|refusal| refusal.code);
        let no_fallback = self.row.fallbacks.is_empty();
        if code.is_some_and(|code| is_permanent(code) || (code == FaultCode::Infeasible && no_fallback)) {
            let reason = self.why_waiting(&[dc]);
            self.decide_stop(job, JobStatus::Failed, reason, context, plan);
            return;
        }
        let no_room = matches!(code, Some(FaultCode::NoCapacity | FaultCode::Infeasible));
        let patience_ends = courier.since + context.timing.abandon_target;
        if !no_room && now < patience_ends {
            plan.look_at(patience_ends);
            return;
        }
        let needed = needed_cores(&self.origin.spec, self.row.slots);
        let usable = |dc: &&DcId| context.federation.candidate(now, **dc, needed, context.links).is_some();
        let clear = courier.is_clear();
        match self.row.fallbacks.iter().find(usable).copied() {
            Some(instead) => {
                let why = self.why_waiting(&[dc]);
                let by = self.by(job, now);
                plan.decide(
                    Topic::Choose(dc),
                    GateCommand::TargetsChosen { by, dc, clear, why, instead: Some(instead) },
                );
            }
            None => plan.look_at(now + RECHECK),
        }
    }

    /// The time for finding datacenters is over: go on with those that took the job, or fail.
    fn give_up(&mut self, job: JobId, waiting: &[DcId], context: &Context<'_>, plan: &mut Plan) {
        let now = context.now.mono;
        let runs = |target: &Target| matches!(target.state, TargetState::Accepted | TargetState::Ended(_));
        if !self.origin.spec.partial_results || !self.row.targets.iter().any(runs) {
            let reason = format!("no datacenter took the job in time: {}", self.why_waiting(waiting));
            self.decide_stop(job, JobStatus::Failed, verdict::cut(reason), context, plan);
            return;
        }
        for dc in waiting {
            let clear = self.live.couriers.get(dc).is_none_or(Courier::is_clear);
            let (by, why) = (self.by(job, now), self.why_waiting(&[*dc]));
            let command = GateCommand::TargetsChosen { by, dc: *dc, clear, why, instead: None };
            plan.decide(Topic::Choose(*dc), command);
        }
    }

    /// Why these datacenters have not taken the job, for a person.
    fn why_waiting(&self, dcs: &[DcId]) -> String {
        let mut text = String::new();
        for dc in dcs {
            let why = match self.live.couriers.get(dc) {
                Some(Courier { refusal: Some(fault), .. }) => fault.to_string(),
                Some(Courier { last: Some(_), .. }) => "no answer".to_string(),
                _ => "no manager is connected".to_string(),
            };
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(&format!("{dc}: {why}"));
            if text.len() > Fault::MAX_DETAIL {
                break;
            }
        }
        verdict::cut(text)
    }

    /// A datacenter has the job in its log: what is to be decided, if that is news.
    pub(super) fn seen_at(&self, job: JobId, at: DcAt, now: Instant) -> Option<(Topic, GateCommand)> {
        let target = self.row.target(at.dc).filter(|target| target.is_open())?;
        let news = target.state == TargetState::Planned || at.dc_epoch > target.dc_epoch;
        news.then(|| (Topic::DcOwner(at.dc), GateCommand::DcOwnerSeen { by: self.by(job, now), at }))
    }
}

/// Refusals that no other datacenter and no later moment would take back.
const fn is_permanent(code: FaultCode) -> bool {
    matches!(
        code,
        FaultCode::Invalid | FaultCode::UnsupportedVersion | FaultCode::TooLarge | FaultCode::RoleDenied
    )
}

impl Gate {
    /// A datacenter answers `Dispatch` or `GateOwnerChanged`.
    pub(super) fn receive_accepted(
        &mut self,
        now: Now,
        from: NodeId,
        job: JobId,
        gate_epoch: GateEpoch,
        reply: Result<DispatchAccepted, Fault>,
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let again = now.mono + self.boot.config.timing.reconcile;
        if self.breakers.answered(from) {
            out.push(Effect::Observe(Observation::CircuitClosed(from)));
        }
        let (dc, record) = self.asked(now, from, job, gate_epoch)?;
        let courier = record.live.couriers.get_mut(&dc).ok_or(Stale::Duplicate)?;
        match reply {
            Ok(at) => {
                courier.told = true;
                courier.has_job = true;
                courier.forgotten = false;
                if courier.ask != Ask::Stop {
                    // The log's word comes next.
                    courier.answered(again);
                }
                self.seen(now, from, job, DcAt { dc, dc_epoch: at.dc_epoch, owner: at.owner }, out);
            }
            Err(fault) if fault.code == FaultCode::UnknownJob && courier.ask == Ask::Owner => {
                courier.is_forgotten(now.mono);
                if record.row.stop.is_some() {
                    let (by, why) = (record.by(job, now.mono), "it does not know the job".to_string());
                    let command = GateCommand::DcClear { by, dc, why };
                    self.propose_for(now, job, Some((Topic::Clear(dc), command)), out);
                }
            }
            Err(fault) if matches!(fault.code, FaultCode::AlreadyTerminal(_) | FaultCode::Expired) => {
                // Its final is on the way; should it be lost, this is asked again.
                courier.told = true;
                courier.has_job = true;
                courier.answered(again);
            }
            Err(_) if courier.ask == Ask::Stop => return Err(Stale::Duplicate),
            Err(fault) => courier.refused(now.mono, from, fault),
        }
        self.touched.insert(job);
        Ok(())
    }

    /// A datacenter has the job: that goes to the log, or, where it was counted as clear, the job is to stop there.
    fn seen(&mut self, now: Now, from: NodeId, job: JobId, at: DcAt, out: &mut Effects) {
        let Some(record) = self.owned(now, job) else { return };
        let Some(target) = record.row.target(at.dc) else { return };
        match target.state {
            TargetState::Missing { clear: true } | TargetState::Replaced { clear: true } => {
                let (gate_epoch, verdict) = (record.row.gate_epoch, JobStatus::Failed);
                let message = Message::StopInDc { job, gate_epoch, verdict };
                out.push(Effect::Send { to: from, message: Box::new(message) });
            }
            _ => {
                let news = record.seen_at(job, at, now.mono);
                self.propose_for(now, job, news, out);
            }
        }
    }

    /// A datacenter answers `StopInDc`.
    pub(super) fn receive_stop_reply(
        &mut self,
        now: Now,
        from: NodeId,
        job: JobId,
        gate_epoch: GateEpoch,
        recorded: Result<(), Fault>,
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let again = now.mono + self.boot.config.timing.reconcile;
        let (dc, record) = self.asked(now, from, job, gate_epoch)?;
        let waits = record.row.target(dc).is_some_and(Target::is_open);
        let courier =
            record.live.couriers.get_mut(&dc).filter(|it| it.ask == Ask::Stop).ok_or(Stale::Duplicate)?;
        let code = recorded.as_ref().err().map(|fault| fault.code);
        let gone = matches!(code, Some(FaultCode::UnknownJob | FaultCode::Expired));
        let over = matches!(code, None | Some(FaultCode::AlreadyTerminal(_)));
        if gone || (over && !waits) {
            courier.answered(again);
            let why = if gone { "it does not know the job" } else { "stopped" };
            let command = GateCommand::DcClear { by: record.by(job, now.mono), dc, why: why.to_string() };
            self.propose_for(now, job, Some((Topic::Clear(dc), command)), out);
        } else if over {
            // Its final is on the way; should it be lost, this is asked again.
            courier.answered(again);
        } else if let Err(fault) = recorded {
            courier.refused(now.mono, from, fault);
        }
        self.touched.insert(job);
        Ok(())
    }

    /// A datacenter says what its log knows of jobs that this gate owns.
    pub(super) fn receive_reconciled(
        &mut self,
        now: Now,
        from: NodeId,
        jobs: alloc::vec::Vec<(JobId, Reconciled)>,
        out: &mut Effects,
    ) -> Result<(), Stale> {
        let dc = self.federation.home(from).ok_or(Stale::Sender)?;
        for (job, known) in jobs.into_iter().take(MAX_RECONCILED) {
            let Some(record) = self.owned(now, job) else { continue };
            let Some(target) = record.row.target(dc) else { continue };
            let (state, owed) = (target.state, target.is_owed_a_stop());
            match known {
                Reconciled::Known { at, .. } => {
                    self.seen(now, from, job, DcAt { dc, dc_epoch: at.dc_epoch, owner: at.owner }, out)
                }
                // To ask again does no harm: a datacenter takes a job once.
                Reconciled::Unknown if state == TargetState::Accepted => {
                    let new = || Courier::new(Ask::Dispatch, now.mono);
                    record.live.couriers.entry(dc).or_insert_with(new).is_forgotten(now.mono);
                }
                Reconciled::Dropped { status } if owed || state == TargetState::Accepted => {
                    let by = record.by(job, now.mono);
                    let why = format!("it dropped the job ({}) and its result", status.as_str());
                    let command = GateCommand::DcClear { by, dc, why };
                    self.propose_for(now, job, Some((Topic::Clear(dc), command)), out);
                }
                Reconciled::Unknown | Reconciled::Dropped { .. } => {}
            }
            self.touched.insert(job);
        }
        Ok(())
    }
}

/// Most jobs of one `Reconcile` and of its answer.
pub(super) const MAX_RECONCILED: usize = 256;
