//! No promise before its write: what a node says to others rests on what its disk has at that moment.
//!
//! - A vote is given, and asked for, only where term and vote have been on the disk; in one term to one candidate. (A
//!   candidate that follows another leader of its term notes that one: what it asked for itself may still be under way.)
//! - Whoever speaks in a term has that term on the disk.
//! - A follower confirms an entry only where the entry, of that term at that place, has been on its disk.
//! - A worker sends a result only where its disk has had it.
//! - A gate acknowledges a workflow's result only where the result is among the rows of its state, and a datacenter's
//!   final where a gate has it from the log; unless the job is over there and nothing can come of it.
//!
//! A promise that a crash can take back is none: two leaders in one term, a result that nobody has. These rules read
//! the rows as they are written, so they see at once what only a crash at the right moment would bring to light.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Decoder;
use tidegate_core::bytes::Bytes;
use tidegate_core::id::{DcId, JobId, NodeId, Role, RunId, Term, WorkflowIx};
use tidegate_core::ledger::{LogBody, LogPos};
use tidegate_core::observe::Observation;
use tidegate_core::store::{Write, table};
use tidegate_core::wire::Message;

use crate::world::{Fact, HostIx, Interest, Scene, Spectator};

/// Keys of the ledger's own rows and of a gate's reports, as the core writes them.
const HARD_KEY: [u8; 2] = [table::LEDGER, b'h'];
const POSITIONS_KEY: [u8; 2] = [table::LEDGER, b'p'];
const REPORT_KEY: [u8; 2] = [table::STATE, 3];

/// What a disk has, and has had.
#[derive(Default)]
struct Rows {
    term: Term,
    vote: Option<NodeId>,
    /// Every vote that was on it.
    votes: BTreeSet<(Term, NodeId)>,
    /// To whom its node gave its vote, itself included.
    given: BTreeMap<Term, NodeId>,
    /// Every entry that was on it, by index and term.
    entries: BTreeSet<(u64, u64)>,
    /// The highest entry that a snapshot or the cutting of the log stands for.
    base: LogPos,
    results: BTreeSet<Bytes>,
    /// Rows of results of workflows that were given to it, durable or not: their entries are in the log.
    reports: BTreeSet<Bytes>,
    /// An image was put back, and its rows are not known here.
    unknown: bool,
}

impl Rows {
    fn take(&mut self, write: &Write) -> Option<()> {
        let value = write.value.as_ref();
        match &write.key[..] {
            key if key == HARD_KEY => {
                let mut decoder = Decoder::new(value?);
                decoder.array().ok()?;
                self.term = decoder.decode().ok()?;
                self.vote = decoder.decode().ok()?;
                self.votes.extend(self.vote.map(|vote| (self.term, vote)));
            }
            key if key == POSITIONS_KEY => {
                let mut decoder = Decoder::new(value?);
                decoder.array().ok()?;
                let base: LogPos = decoder.decode().ok()?;
                self.base = self.base.max(base);
            }
            [table::LOG, index @ ..] => {
                let mut decoder = Decoder::new(value?);
                decoder.array().ok()?;
                let term: Term = decoder.decode().ok()?;
                self.entries.insert((u64::from_be_bytes(index.try_into().ok()?), term.0));
            }
            [table::OUTBOX, ..] if value.is_some() => drop(self.results.insert(write.key.clone())),
            _ => {}
        }
        Some(())
    }

    fn had(&self, place: LogPos) -> bool {
        place.index <= self.base.index || self.entries.contains(&(place.index, place.term.0))
    }
}

/// A gate's acknowledgement that rests on a row which it has not given to its disk yet: the end of its step shows it.
struct Open {
    host: HostIx,
    key: Bytes,
    what: String,
}

/// See the module.
#[derive(Default)]
pub(super) struct Promises {
    tested: u64,
    disks: BTreeMap<HostIx, Rows>,
    open: Vec<Open>,
    /// Jobs that are over in a datacenter, or everywhere, as some gate has it from its log.
    finals: BTreeSet<(JobId, DcId)>,
    over: BTreeSet<JobId>,
}

impl Promises {
    fn log(&mut self, scene: &Scene, from: HostIx, to: HostIx, body: &LogBody) -> Result<(), String> {
        let rows = self.disks.entry(from).or_default();
        if rows.unknown {
            return Ok(());
        }
        let candidate = match *body {
            LogBody::Vote { term, .. } => Some((term, scene.hosts[from].node)),
            LogBody::VoteReply { term, granted: true } => Some((term, scene.hosts[to].node)),
            _ => None,
        };
        if let Some((term, candidate)) = candidate {
            let first = *rows.given.entry(term).or_insert(candidate);
            if first != candidate {
                let (one, other) = (scene.node_name(first), scene.node_name(candidate));
                return Err(format!(
                    "{} gives its vote of term {term} to {one} and to {other}",
                    scene.name(from)
                ));
            }
        }
        let voted = |term: Term, vote: HostIx| {
            rows.term > term || rows.votes.contains(&(term, scene.hosts[vote].node))
        };
        let (term, kept) = match *body {
            LogBody::Vote { term, .. } => (term, voted(term, from)),
            LogBody::VoteReply { term, granted } => (term, !granted || voted(term, to)),
            LogBody::AppendReply { term, last } => (term, rows.had(last)),
            LogBody::Append { term, .. } | LogBody::Image { term, .. } | LogBody::ImageAck { term, .. } => {
                (term, true)
            }
            _ => return Ok(()),
        };
        self.tested += 1;
        if kept && rows.term >= term {
            return Ok(());
        }
        let (vote, disk) = (rows.vote.map(|vote| scene.node_name(vote)), rows.term);
        Err(format!(
            "{} says {body:?} to {}, and its disk has term {disk}, the vote {vote:?} and no such entry",
            scene.name(from),
            scene.name(to)
        ))
    }

    fn result(&mut self, scene: &Scene, from: HostIx, run: RunId) -> Result<(), String> {
        let rows = self.disks.entry(from).or_default();
        if rows.unknown || rows.results.contains(&outbox_key(run)) {
            return Ok(());
        }
        Err(format!("{} sends the result of {run:?}, which its disk has not had", scene.name(from)))
    }

    /// Whether nothing can come of what a datacenter says of a job.
    fn is_moot(&self, job: JobId, dc: DcId) -> bool {
        self.over.contains(&job) || self.finals.contains(&(job, dc))
    }

    fn final_acked(&self, scene: &Scene, gate: HostIx, to: HostIx, job: JobId) -> Result<(), String> {
        let dc = scene.hosts[to].dc;
        if self.is_moot(job, dc) {
            return Ok(());
        }
        let (gate, job) = (scene.name(gate), scene.job_name(job));
        Err(format!("{gate} acknowledges the final of {job} in {dc}, which is not in the log"))
    }

    fn report_acked(&mut self, scene: &Scene, gate: HostIx, to: HostIx, job: JobId, workflow: WorkflowIx) {
        let dc = scene.hosts[to].dc;
        let key = report_key(job, dc, workflow);
        let moot = self.is_moot(job, dc);
        let rows = self.disks.entry(gate).or_default();
        if !moot && !rows.unknown && !rows.reports.contains(&key) {
            let (gate_name, job) = (scene.name(gate), scene.job_name(job));
            let what = format!(
                "{gate_name} acknowledges workflow {workflow} of {job} in {dc}, which it does not have"
            );
            self.open.push(Open { host: gate, key, what });
        }
    }

    /// The rows that a step gives to the disk come last in it: what is still open after them was promised too early.
    fn step_is_over(&mut self) -> Result<(), String> {
        let disks = &self.disks;
        let has = |open: &Open| disks.get(&open.host).is_some_and(|rows| rows.reports.contains(&open.key));
        match self.open.drain(..).find(|open| !has(open)) {
            Some(open) => Err(open.what),
            None => Ok(()),
        }
    }

    fn left(&mut self, scene: &Scene, from: HostIx, to: HostIx, message: &Message) -> Result<(), String> {
        if self.open.first().is_some_and(|open| open.host != from) {
            self.step_is_over()?;
        }
        match message {
            Message::Log(log) => self.log(scene, from, to, &log.body),
            Message::ShardResult(report) => self.result(scene, from, report.run),
            Message::DcFinalAck { job, stored: Ok(()), .. } => self.final_acked(scene, from, to, *job),
            Message::WorkflowResultAck { job, workflow, stored: Ok(()), .. } => {
                self.report_acked(scene, from, to, *job, *workflow);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn outbox_key(run: RunId) -> Bytes {
    let mut key = vec![table::OUTBOX];
    key.extend(run.shard.job.0);
    key.extend(run.shard.workflow.0.to_be_bytes());
    key.extend(run.shard.shard.to_be_bytes());
    key.extend(run.attempt.0.to_be_bytes());
    Bytes(key)
}

fn report_key(job: JobId, dc: DcId, workflow: WorkflowIx) -> Bytes {
    let mut key = REPORT_KEY.to_vec();
    key.extend(job.0);
    let name = dc.as_str().as_bytes();
    key.extend(name);
    key.resize(key.len() + DcId::MAX_LEN - name.len(), 0);
    key.extend(workflow.0.to_be_bytes());
    Bytes(key)
}

impl Spectator for Promises {
    fn name(&self) -> &'static str {
        "no promise before its write"
    }

    fn tested(&self) -> u64 {
        self.tested
    }

    fn interest(&self) -> Interest {
        Interest::DEPARTURES.and(Interest::WRITES).and(Interest::FAULTS).and(Interest::OBSERVATIONS)
    }

    fn see(&mut self, scene: &Scene, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Left { from, to, message } => return self.left(scene, *from, *to, message),
            Fact::Given { host, writes } => {
                let rows = self.disks.entry(*host).or_default();
                if scene.hosts[*host].role == Some(Role::Gate) {
                    let reports = writes.iter().filter(|write| write.key.starts_with(&REPORT_KEY));
                    rows.reports.extend(reports.map(|write| write.key.clone()));
                }
                return self.step_is_over();
            }
            Fact::Durable { host, writes } => {
                let rows = self.disks.entry(*host).or_default();
                for write in *writes {
                    rows.take(write);
                }
                return self.step_is_over();
            }
            Fact::Fault { kind: "disk_wipe", host, .. } => drop(self.disks.remove(host)),
            Fact::Fault { kind: "disk_restore", host, .. } => {
                self.disks.entry(*host).or_default().unknown = true;
            }
            Fact::Observed { host, observation } if scene.hosts[*host].role == Some(Role::Gate) => {
                match **observation {
                    Observation::DcFinal { job, dc, .. }
                    | Observation::TargetCleared { job, dc }
                    | Observation::TargetReplaced { job, dc } => {
                        self.finals.insert((job, dc));
                    }
                    Observation::JobFinal { job, .. } | Observation::JobDropped(job) => {
                        self.over.insert(job);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}
