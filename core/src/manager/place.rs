//! Which worker runs which shard.
//!
//! Pure: seats and a workflow in, reservations out. `http` runs one shard on each worker that has room, since a worker's
//! executor uses its cores by itself; `sleep` and `command` run one shard for each instance, on the least loaded worker
//! first. A plan is whole or there is none. Virtual users, arrivals and instances are divided exactly and numbered
//! without gaps over the whole job.

use alloc::vec::Vec;

use super::command::Reservation;
use super::job::DcJob;
use crate::guard::Condition;
use crate::id::{Attempt, BootNo, NodeId, WorkflowIx};
use crate::jobs::{ExecutorKind, JobSpec, Load};

/// A worker with the cores that may be given away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The worker.
    pub worker: NodeId,
    /// Its process.
    pub boot: BootNo,
    /// Cores that are free.
    pub free: u16,
    /// All its cores.
    pub total: u16,
    /// How loaded it is.
    pub condition: Condition,
    /// Executors it may run.
    pub executors: Vec<ExecutorKind>,
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All shards have a place; their cores are taken from the seats.
    Whole(Vec<Reservation>),
    /// There is no room now, but there would be if nothing ran: later workflows wait behind it.
    Wait,
    /// The workers that are here now could never hold it.
    TooLarge,
}

impl Seat {
    fn can_run(&self, kind: ExecutorKind) -> bool {
        self.executors.contains(&kind)
    }
}

/// Takes `cores` of the least loaded seat that suits, of several the one with the most free ones; unwanted workers come
/// last.
fn take_seat(
    seats: &mut [Seat],
    kind: ExecutorKind,
    cores: u16,
    unwanted: &[NodeId],
) -> Option<(NodeId, BootNo)> {
    let suits = |seat: &&mut Seat| seat.can_run(kind) && seat.free >= cores;
    let rank = |seat: &&mut Seat| {
        (unwanted.contains(&seat.worker), seat.condition, core::cmp::Reverse(seat.free), seat.worker)
    };
    let seat = seats.iter_mut().filter(suits).min_by_key(rank)?;
    seat.free -= cores;
    Some((seat.worker, seat.boot))
}

impl DcJob {
    /// Plans all shards of a workflow that has none.
    pub(super) fn plan_all(&self, workflow: WorkflowIx, seats: &mut [Seat]) -> Plan {
        let spec = self.spec(workflow);
        let (kind, cores) = (spec.executor, spec.cores);
        let load = self.load(workflow);
        let unwanted = &self.known(workflow).live.refused_by;
        let mut left: Vec<Seat> = seats.to_vec();
        let mut chosen = Vec::new();
        match kind {
            ExecutorKind::Http => {
                let most = shards_of_http(spec.load, load);
                while chosen.len() < most {
                    let Some(worker) = take_seat(&mut left, kind, cores, unwanted) else { break };
                    left.retain(|seat| seat.worker != worker.0);
                    chosen.push(worker);
                }
            }
            ExecutorKind::Sleep | ExecutorKind::Command => {
                while chosen.len() < usize::from(load.instances) {
                    let Some(worker) = take_seat(&mut left, kind, cores, unwanted) else { break };
                    chosen.push(worker);
                }
            }
        }
        let enough = match kind {
            ExecutorKind::Http => !chosen.is_empty(),
            ExecutorKind::Sleep | ExecutorKind::Command => chosen.len() == usize::from(load.instances),
        };
        if !enough {
            return if fits_empty(seats, kind, cores, load) { Plan::Wait } else { Plan::TooLarge };
        }
        for (worker, _) in &chosen {
            if let Some(seat) = seats.iter_mut().find(|seat| seat.worker == *worker) {
                seat.free -= cores;
            }
        }
        Plan::Whole(self.divide(workflow, &chosen))
    }

    /// The workflow's load divided over the chosen workers.
    fn divide(&self, workflow: WorkflowIx, chosen: &[(NodeId, BootNo)]) -> Vec<Reservation> {
        let (spec, load) = (self.spec(workflow), self.load(workflow));
        let (slot, slots, count) = (self.accepted.slot, self.accepted.slots, chosen.len() as u16);
        let mut first = match spec.executor {
            ExecutorKind::Http => spec.load.vus_before(slot, slots),
            _ => (0..slot).map(|place| u32::from(spec.load.part(place, slots).instances)).sum(),
        };
        let mut reservations = Vec::with_capacity(chosen.len());
        for (no, (worker, boot)) in (0..count).zip(chosen) {
            let (part, users) = match spec.executor {
                ExecutorKind::Http => (load.part(no, count), load.part(no, count).vus),
                _ => (Load { instances: 1, ..load }, 1),
            };
            let before = self.known(workflow).shards.get(&no).map_or(Attempt(0), |shard| shard.facts.attempt);
            reservations.push(Reservation {
                no,
                attempt: before.next(),
                worker: *worker,
                boot: *boot,
                load: part,
                first_vu: first,
                elapsed_before_ms: 0,
            });
            first += users;
        }
        reservations
    }

    /// Plans the replacement of a lost shard: what remains of it where attempts add up, else all of it again.
    pub(super) fn plan_one(
        &self,
        workflow: WorkflowIx,
        no: u16,
        elapsed_ms: u32,
        seats: &mut [Seat],
    ) -> Option<Reservation> {
        let spec = self.spec(workflow);
        let known = self.known(workflow);
        let before = &known.shards.get(&no)?.facts;
        let (worker, boot) = take_seat(seats, spec.executor, spec.cores, &known.live.refused_by)?;
        let elapsed_before_ms = if spec.executor.attempts_add_up() { elapsed_ms } else { 0 };
        let duration_ms = spec.load.duration_ms.saturating_sub(elapsed_before_ms).max(1);
        Some(Reservation {
            no,
            attempt: before.attempt.next(),
            worker,
            boot,
            load: Load { duration_ms, ..before.load },
            first_vu: before.first_vu,
            elapsed_before_ms,
        })
    }
}

/// The most shards that a load can be divided into: each gets a virtual user, and in the open model some arrivals (none
/// would mean the closed model).
fn shards_of_http(whole: Load, part: Load) -> usize {
    let open = if whole.rate_milli > 0 { part.rate_milli } else { u64::MAX };
    u64::from(part.vus).min(open).min(u64::from(JobSpec::MAX_SHARDS)) as usize
}

/// Whether a load would have room if nothing ran on these workers.
pub fn fits_empty(seats: &[Seat], kind: ExecutorKind, cores: u16, load: Load) -> bool {
    let room =
        seats.iter().filter(|seat| seat.can_run(kind)).map(|seat| u32::from(seat.total / cores.max(1)));
    let needed = if kind == ExecutorKind::Http { 1 } else { u32::from(load.instances) };
    room.sum::<u32>() >= needed
}
