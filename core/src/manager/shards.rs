//! A workflow's shards from plan to result: reserve all or none, start together, replace what is lost.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::command::{At, Command, Loss, LossKind};
use super::context::Context;
use super::job::{Abort, DcJob, Duty, ShardPhase, Workflow};
use super::retry::backoff;
use crate::fault::{Fault, FaultCode};
use crate::id::{Attempt, NodeId, WorkflowIx};
use crate::jobs::{ShardRun, WorkflowStatus};
use crate::time::{Duration, Instant};
use crate::wire::{Message, ReserveShard};

/// How often a reservation is sent before its worker counts as not answering.
const RESERVE_TRIES: u64 = 2;

impl DcJob {
    /// Does what a workflow needs now.
    pub(super) fn workflow_duties(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx) {
        if !self.is_planning(workflow) {
            self.workflows[usize::from(workflow.0)].live.planning.clear();
        }
        let stopping = self.facts.verdict.is_some() || self.known(workflow).facts.failing;
        match self.known(workflow).facts.status {
            WorkflowStatus::Ready => cx.wants_cores |= !self.waits_for_a_gate(cx),
            WorkflowStatus::RetryWait => self.wait_to_retry(cx, workflow),
            _ if stopping => self.stop_shards(cx, workflow),
            WorkflowStatus::Dispatching if self.waits_for_a_gate(cx) => {}
            WorkflowStatus::Dispatching => self.gather(cx, workflow),
            WorkflowStatus::Running => self.keep_running(cx, workflow),
            _ => {}
        }
    }

    /// A workflow of the record; `workflow` must be one of the job's.
    pub(super) fn known(&self, workflow: WorkflowIx) -> &Workflow {
        &self.workflows[usize::from(workflow.0)]
    }

    fn known_mut(&mut self, workflow: WorkflowIx) -> &mut Workflow {
        &mut self.workflows[usize::from(workflow.0)]
    }

    /// Whether a plan of the workflow is proposed and undecided.
    pub(super) fn is_planning(&self, workflow: WorkflowIx) -> bool {
        let range = Duty::Plan(workflow, 0)..=Duty::Plan(workflow, u16::MAX);
        self.live.proposed.range(range).next().is_some()
    }

    /// Whose workflow a command speaks of.
    pub(super) fn at_workflow(&self, cx: &Context<'_>, workflow: WorkflowIx) -> At {
        At {
            job: self.accepted.job,
            dc_epoch: self.facts.dc_epoch,
            workflow,
            elapsed_ms: self.elapsed_ms(cx.now),
        }
    }

    /// The numbers of the workflow's shards that a worker may hold.
    pub(super) fn live_shards(&self, workflow: WorkflowIx) -> Vec<u16> {
        let live = |(_, shard): &(u16, &super::job::Shard)| shard.facts.phase.is_live();
        self.known(workflow).plan().filter(live).map(|(no, _)| no).collect()
    }

    fn wait_to_retry(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx) {
        let (now, timing) = (cx.now.mono, &cx.config.timing);
        let live = &mut self.workflows[usize::from(workflow.0)].live;
        live.aborting = None;
        live.start_at = None;
        let tries = live.tries;
        let at = *live
            .retry_at
            .get_or_insert_with(|| now + backoff(timing.backoff_base, timing.backoff_cap, tries, cx.rng));
        if at <= now {
            cx.wants_cores |= !self.waits_for_a_gate(cx);
        } else {
            cx.wake_at(at);
        }
    }

    /// Reserves every shard of a plan; when all hold, the workflow may begin; when one does not, all are given up.
    fn gather(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx) {
        if !self.known(workflow).plan_is_whole() {
            // A part of the plan did not get into the log with its owner.
            if !self.is_planning(workflow) {
                self.known_mut(workflow).live.aborting.get_or_insert(Abort::Refused);
                self.abandon(cx, workflow);
            }
            return;
        }
        let live = &mut self.known_mut(workflow).live;
        live.retry_at = None;
        for no in self.live_shards(workflow) {
            if self.known(workflow).live.aborting.is_some() {
                break;
            }
            if let Some(abort) = self.reserve_one(cx, workflow, no) {
                self.known_mut(workflow).live.aborting = Some(abort);
            }
        }
        if self.known(workflow).live.aborting.is_some() {
            return self.abandon(cx, workflow);
        }
        if self.known(workflow).plan().all(|(_, shard)| shard.live.reserved) {
            self.begin(cx, workflow, None);
        }
    }

    /// Gives up every reservation of a plan: once no worker holds one any more, that is logged.
    fn abandon(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx) {
        if self.is_proposed(Duty::Begin(workflow, None)) {
            return;
        }
        let shards = self.live_shards(workflow);
        let mut held = false;
        for no in &shards {
            held |= !self.free_one(cx, workflow, *no);
        }
        if held {
            return;
        }
        let paid = self.known(workflow).live.aborting == Some(Abort::Paid);
        let losses = shards.iter().enumerate().map(|(place, no)| Loss {
            no: *no,
            attempt: self.known(workflow).shards[no].facts.attempt,
            // One retry for the whole plan.
            kind: LossKind::Policy { paid: paid && place == 0 },
            totals: None,
            numbers: None,
        });
        let losses: Vec<Loss> = losses.collect();
        let at = self.at_workflow(cx, workflow);
        let why = "a worker did not keep its cores".to_string();
        self.propose(cx, Duty::Lose(workflow, None), Command::ShardsLost { at, shards: losses, why });
    }

    /// Asks for one reservation until it is answered. `Some` where it must be given up.
    fn reserve_one(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx, no: u16) -> Option<Abort> {
        let (now, timing) = (cx.now, &cx.config.timing);
        let message = self.reservation(cx, workflow, no);
        let shard = self.known_mut(workflow).shards.get_mut(&no)?;
        let worker = shard.facts.worker;
        if let Some(abort) = shard.live.aborting {
            return Some(abort);
        }
        if cx.pool.is_gone(now, timing, worker) {
            shard.live.absent = true;
            return Some(Abort::Paid);
        }
        if shard.live.reserved {
            return None;
        }
        let asked = *shard.live.asked.get_or_insert(now.mono);
        let patience = timing.request_timeout.scale(RESERVE_TRIES, 1);
        if now.mono.since(asked) >= patience {
            // Of one that could not be asked the silence means nothing.
            if shard.live.reserve.tries > 0 && cx.pool.is_reachable(worker) {
                cx.unanswered.push(worker);
            }
            return Some(Abort::Paid);
        }
        cx.wake_at(asked + patience);
        if cx.pool.is_reachable(worker) {
            if shard.live.reserve.is_due(now) {
                shard.live.reserve.sent(now, timing.request_timeout);
                cx.send(worker, message);
            }
            cx.wake_for(&shard.live.reserve);
        }
        None
    }

    fn reservation(&self, cx: &Context<'_>, workflow: WorkflowIx, no: u16) -> Message {
        let (spec, facts) = (self.spec(workflow), &self.known(workflow).shards[&no].facts);
        let run_limit_ms = self.remaining(cx.now).as_wire_millis().max(1);
        Message::ReserveShard(Box::new(ReserveShard {
            run: self.run_id(cx.config.dc, workflow, no, facts.attempt),
            dc_epoch: self.facts.dc_epoch,
            owner: self.facts.owner,
            boot: facts.boot,
            shard: ShardRun {
                executor: spec.executor,
                payload: spec.payload.clone(),
                load: facts.load,
                first_vu: facts.first_vu,
                elapsed_before_ms: facts.elapsed_before_ms,
                cores: spec.cores,
                run_limit_ms,
                workflow,
            },
        }))
    }

    /// Frees one reservation: true once its worker holds nothing of it, and never will.
    pub(super) fn free_one(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx, no: u16) -> bool {
        let Some(shard) = self.known(workflow).shards.get(&no) else { return true };
        if shard.live.absent || cx.pool.is_gone(cx.now, &cx.config.timing, shard.facts.worker) {
            return true;
        }
        self.ask_to_stop(cx, workflow, no, crate::jobs::StopMode::Kill);
        false
    }

    /// All reservations hold: logs that they are told to begin. `only` is a replaced shard.
    fn begin(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx, only: Option<u16>) {
        let known = self.known(workflow);
        let chosen = known.plan().filter(|(no, _)| only.is_none_or(|only| only == *no));
        let shards: Vec<(u16, Attempt)> = chosen.map(|(no, shard)| (no, shard.facts.attempt)).collect();
        let start_bound_us = self.start_bound_us(cx, workflow);
        let at = self.at_workflow(cx, workflow);
        let command = Command::ShardsStarted { at, shards, start_bound_us };
        self.propose(cx, Duty::Begin(workflow, only), command);
    }

    /// Without clocks, a start is known to half a round trip: two shards may differ by the sum of the two largest.
    fn start_bound_us(&self, cx: &Context<'_>, workflow: WorkflowIx) -> u32 {
        let (mut first, mut second) = (Duration::ZERO, Duration::ZERO);
        for (_, shard) in self.known(workflow).plan() {
            let half = half_rtt(cx, shard.facts.worker);
            if half > first {
                (first, second) = (half, first);
            } else {
                second = second.max(half);
            }
        }
        u32::try_from((first + second).as_micros()).unwrap_or(u32::MAX)
    }

    /// A running workflow: starts what is reserved, replaces what is lost.
    fn keep_running(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx) {
        let shards: Vec<(u16, ShardPhase)> =
            self.known(workflow).plan().map(|(no, shard)| (no, shard.facts.phase)).collect();
        for (no, phase) in shards {
            match phase {
                ShardPhase::Running => self.keep_one_running(cx, workflow, no),
                ShardPhase::Reserved if self.waits_for_a_gate(cx) => {}
                ShardPhase::Reserved => self.reserve_replacement(cx, workflow, no),
                ShardPhase::Lost => self.want_replacement(cx, workflow, no),
                ShardPhase::GivenUp | ShardPhase::Done(_) => {}
            }
        }
    }

    fn keep_one_running(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx, no: u16) {
        let (now, timing) = (cx.now, &cx.config.timing);
        let shard = &self.known(workflow).shards[&no];
        let worker = shard.facts.worker;
        let gone = cx.pool.is_gone(now, timing, worker);
        if gone || shard.live.absent {
            let paid = gone || shard.live.aborting != Some(Abort::Refused);
            let why = if gone { "its worker is dead" } else { "its worker does not run it" };
            return self.lose(cx, workflow, no, LossKind::Policy { paid }, why);
        }
        if let Some(at) = cx.pool.gone_at(timing, worker) {
            cx.wake_at(at);
        }
        if shard.live.started {
            return self.watch_run(cx, workflow, no);
        }
        if self.is_unheard(worker) || !cx.pool.is_reachable(worker) {
            return;
        }
        if shard.live.start.is_due(now) {
            self.send_start(cx, workflow, no);
        }
        cx.wake_for(&self.known(workflow).shards[&no].live.start);
    }

    fn send_start(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx, no: u16) {
        let first = self.known(workflow).shards[&no].facts.elapsed_before_ms == 0;
        let at = if first { self.start_at(cx, workflow) } else { cx.now.mono };
        let (now, dc, dc_epoch) = (cx.now, cx.config.dc, self.facts.dc_epoch);
        let attempt = self.known(workflow).shards[&no].facts.attempt;
        let run = self.run_id(dc, workflow, no, attempt);
        let period = cx.config.timing.request_timeout;
        let Some(shard) = self.known_mut(workflow).shards.get_mut(&no) else { return };
        let arrives = now.mono + half_rtt(cx, shard.facts.worker);
        let micros = |wait: Duration| u32::try_from(wait.as_micros()).unwrap_or(u32::MAX);
        shard.live.start_extra_us = if first { micros(arrives.since(at)) } else { 0 };
        shard.live.start.sent(now, period);
        let start_in_us = micros(at.since(arrives));
        cx.send(shard.facts.worker, Message::StartShard { run, dc_epoch, start_in_us });
    }

    /// The instant at which the workflow's shards begin. Datacenters that were asked at the same time and take equally
    /// long begin together: the way of the request is taken off where it is known.
    fn start_at(&mut self, cx: &Context<'_>, workflow: WorkflowIx) -> Instant {
        let lead = cx.config.timing.start_lead;
        let way = match self.spec(workflow).needs.is_empty() {
            true => Duration::from_micros(self.accepted.half_rtt_us.into()),
            false => Duration::ZERO,
        };
        *self.known_mut(workflow).live.start_at.get_or_insert(cx.now.mono + lead.saturating_sub(way))
    }

    fn reserve_replacement(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx, no: u16) {
        let Some(abort) = self.reserve_one(cx, workflow, no) else {
            if self.known(workflow).shards[&no].live.reserved {
                self.begin(cx, workflow, Some(no));
            }
            return;
        };
        if self.is_proposed(Duty::Begin(workflow, Some(no))) {
            return;
        }
        if let Some(shard) = self.known_mut(workflow).shards.get_mut(&no) {
            shard.live.aborting = Some(abort);
        }
        if self.free_one(cx, workflow, no) {
            let paid = abort == Abort::Paid;
            self.lose(cx, workflow, no, LossKind::Policy { paid }, "a worker did not keep its cores");
        }
    }

    fn want_replacement(&mut self, cx: &mut Context<'_>, workflow: WorkflowIx, no: u16) {
        let spec = self.spec(workflow);
        let over = self.known(workflow).elapsed_ms(cx.now) >= spec.load.duration_ms;
        if spec.executor.attempts_add_up() && over {
            return self.lose(cx, workflow, no, LossKind::GiveUp, "nothing of its time remains");
        }
        let (now, timing) = (cx.now.mono, &cx.config.timing);
        let Some(shard) = self.known_mut(workflow).shards.get_mut(&no) else { return };
        let tries = shard.facts.attempt.0 - 1;
        let at = *shard
            .live
            .retry_at
            .get_or_insert_with(|| now + backoff(timing.backoff_base, timing.backoff_cap, tries, cx.rng));
        if at <= now {
            cx.wants_cores |= !self.waits_for_a_gate(cx);
        } else {
            cx.wake_at(at);
        }
    }

    /// Proposes that an attempt is over without a result, with its numbers where they count.
    pub(super) fn lose(
        &mut self,
        cx: &mut Context<'_>,
        workflow: WorkflowIx,
        no: u16,
        kind: LossKind,
        why: &str,
    ) {
        // A result that is on its way into the log decides.
        if self.is_proposed(Duty::Done(workflow, no)) || self.is_proposed(Duty::Lose(workflow, Some(no))) {
            return;
        }
        let adds_up = self.spec(workflow).executor.attempts_add_up();
        let shard = &self.known(workflow).shards[&no];
        let mut totals = shard.live.totals.clone().filter(|_| adds_up && shard.facts.phase.is_live());
        let attempt = shard.facts.attempt;
        let run = self.run_id(cx.config.dc, workflow, no, attempt);
        let numbers = totals.as_mut().and_then(|totals| self.propose_parts(cx, run, totals));
        let shards = alloc::vec![Loss { no, attempt, kind, totals, numbers }];
        let at = self.at_workflow(cx, workflow);
        let command = Command::ShardsLost { at, shards, why: String::from(why) };
        self.propose(cx, Duty::Lose(workflow, Some(no)), command);
    }

    /// Takes a worker's answer to a reservation.
    pub(super) fn reservation_answered(
        &mut self,
        workflow: WorkflowIx,
        no: u16,
        reserved: Result<(), Fault>,
    ) {
        let known = self.known_mut(workflow);
        let Some(shard) = known.shards.get_mut(&no) else { return };
        match reserved {
            Ok(()) => shard.live.reserved = true,
            Err(fault) => {
                shard.live.absent = true;
                shard.live.aborting = Some(abort_for(&fault));
                let worker = shard.facts.worker;
                if !known.live.refused_by.contains(&worker) {
                    known.live.refused_by.push(worker);
                }
            }
        }
    }
}

/// Whether a refused reservation costs a retry: one that the same worker will always give does.
fn abort_for(fault: &Fault) -> Abort {
    if fault.is_retryable() || fault.code == FaultCode::StaleEpoch { Abort::Refused } else { Abort::Paid }
}

/// Half the least recent round trip to a worker: what a message to it takes, as far as that can be known.
fn half_rtt(cx: &Context<'_>, worker: NodeId) -> Duration {
    cx.links.rtt(worker).unwrap_or(Duration::ZERO).scale(1, 2)
}
