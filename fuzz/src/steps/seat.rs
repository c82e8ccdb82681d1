//! One node with what its driver keeps for it: disk, calls, executions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidegate_core::api::Answer;
use tidegate_core::bytes::Bytes;
use tidegate_core::config::{Boot, NodeConfig};
use tidegate_core::id::{BootNo, CallId, DiskId, JobId, RunId};
use tidegate_core::jobs::{ExecCommand, ShardRun};
use tidegate_core::store::{RowKey, StoreToken, Write};
use tidegate_core::{Duration, Effect, Effects, Event, Instant, Node, Now, Observation, WallTime};

/// A node and its surroundings.
pub struct Seat {
    pub config: NodeConfig,
    node: Option<Node>,
    boot: u64,
    /// The node's clock when its process began.
    began: u64,
    rows: BTreeMap<RowKey, Bytes>,
    pending: VecDeque<(StoreToken, Vec<Write>)>,
    last_token: StoreToken,
    /// Open calls: not answered (`false`), or streams (`true`).
    calls: BTreeMap<CallId, bool>,
    started: BTreeSet<RunId>,
    /// Jobs that this node has seen end.
    pub ended: usize,
    /// What runs at this worker.
    pub running: Vec<(RunId, Box<ShardRun>)>,
}

impl Seat {
    /// An empty machine.
    pub fn new(config: NodeConfig) -> Self {
        Self {
            config,
            node: None,
            boot: 0,
            began: 0,
            rows: BTreeMap::new(),
            pending: VecDeque::new(),
            last_token: StoreToken(0),
            calls: BTreeMap::new(),
            started: BTreeSet::new(),
            ended: 0,
            running: Vec::new(),
        }
    }

    /// Whether a process runs.
    pub fn runs(&self) -> bool {
        self.node.is_some()
    }

    /// Which start of the disk runs.
    pub fn boot(&self) -> BootNo {
        BootNo(self.boot as _)
    }

    /// The process ends and begins again, with this many of the writes that were under way.
    pub fn restart(&mut self, time: u64, survive: usize) -> Vec<Effect> {
        for _ in 0..survive.min(self.pending.len()) {
            self.commit();
        }
        self.pending.clear();
        self.calls.clear();
        self.running.clear();
        self.started.clear();
        self.last_token = StoreToken(0);
        self.boot += 1;
        self.began = time;
        let boot = Boot {
            config: self.config.clone(),
            boot: self.boot(),
            disk: DiskId(self.config.node.0),
            // Of its own: equal ones would make voters campaign in step for ever.
            seed: [self.config.node.0[0] ^ self.boot as u8; 32],
            rows: self.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        };
        self.node = Some(Node::new(boot).expect("what a node has written, it reads"));
        self.step(time, 0, Event::Start)
    }

    /// The oldest write is durable now; its token.
    fn commit(&mut self) -> Option<StoreToken> {
        let (token, writes) = self.pending.pop_front()?;
        for Write { key, value } in writes {
            match value {
                Some(value) => drop(self.rows.insert(key, value)),
                None => drop(self.rows.remove(&key)),
            }
        }
        Some(token)
    }

    /// So many writes end.
    pub fn store(&mut self, time: u64, count: usize) -> Vec<Effect> {
        let count = count.min(self.pending.len());
        let token = (0..count).filter_map(|_| self.commit()).last();
        token.map_or_else(Vec::new, |token| self.step(time, 0, Event::Stored { token }))
    }

    /// The driver names a token that is none of its own to name: stored long ago, or never issued.
    pub fn store_wrongly(&mut self, time: u64, number: u64) -> Vec<Effect> {
        let token = StoreToken(number);
        let open = self.pending.front().map_or(token > self.last_token, |(first, _)| token < *first);
        if open || token > self.last_token {
            return self.step(time, 0, Event::Stored { token });
        }
        Vec::new()
    }

    /// One step. What comes back is for others: messages and datagrams.
    pub fn step(&mut self, time: u64, waited: u64, event: Event) -> Vec<Effect> {
        let Some(mut node) = self.node.take() else { return Vec::new() };
        let mono = time - self.began;
        let now = Now {
            mono: Instant::from_nanos(mono),
            wall: WallTime(1_700_000_000_000 + time / 1_000_000),
            waited: Duration::from_nanos(waited.min(mono)),
        };
        match &event {
            Event::Api { call, .. } => drop(self.calls.insert(*call, false)),
            Event::ApiClosed { call } => drop(self.calls.remove(call)),
            _ => {}
        }
        let twin = mono.is_multiple_of(16).then(|| node.clone());
        let mut effects = Effects::new();
        node.step_into(now, event.clone(), &mut effects);
        if let Some(mut twin) = twin {
            assert_eq!(twin.step(now, event), effects, "equal nodes make equal steps");
        }
        // A deadline that a step has passed must be gone after a few wakes (a long log is applied piece by piece).
        for _ in 0..16 {
            if node.wake_at().is_none_or(|at| at > now.mono) {
                break;
            }
            node.step_into(now, Event::Wake, &mut effects);
        }
        assert!(
            node.wake_at().is_none_or(|at| at > now.mono),
            "{} at {:?} wants to be woken at {:?}, again and again: {effects:?}",
            self.config.name,
            now.mono,
            node.wake_at()
        );
        let halted = effects.iter().position(|effect| matches!(effect, Effect::Halt(_)));
        assert!(halted.is_none_or(|at| at + 1 == effects.len()), "nothing follows a halt: {effects:?}");
        let dropped = effects.iter().filter_map(|effect| match effect {
            Effect::Observe(Observation::JobDropped(job)) => Some(*job),
            _ => None,
        });
        let dropped: Vec<JobId> = dropped.collect();
        let forgotten = |job: &JobId| node.mentions(*job) == 0;
        assert!(halted.is_some() || dropped.iter().all(forgotten), "a dropped job is still mentioned");
        if halted.is_none() {
            self.node = Some(node);
        }
        effects.into_iter().filter_map(|effect| self.perform(effect)).collect()
    }

    /// Performs one effect; gives it back where it is for others.
    fn perform(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Send { .. } | Effect::SendDatagram { .. } => return Some(effect),
            Effect::Store { token, writes } => {
                assert_eq!(token.0, self.last_token.0 + 1, "tokens follow each other");
                assert!(!writes.is_empty());
                self.last_token = token;
                self.pending.push_back((token, writes));
            }
            Effect::Exec(command) => match *command {
                ExecCommand::Start { run, shard, .. } => {
                    assert!(self.running.iter().all(|(other, _)| *other != run), "an execution runs twice");
                    self.started.insert(run);
                    self.running.push((run, shard));
                }
                ExecCommand::Stop { run, .. } => {
                    assert!(self.started.contains(&run), "a stop of what never ran")
                }
            },
            Effect::Answer { call, answer } => {
                assert_eq!(self.calls.remove(&call), Some(false), "one answer to an open call");
                if matches!(*answer, Answer::Stream) {
                    self.calls.insert(call, true);
                }
            }
            Effect::Push { call, event } => {
                assert_eq!(self.calls.get(&call), Some(&true), "a push to an open stream");
                if event.is_none() {
                    self.calls.remove(&call);
                }
            }
            Effect::Observe(Observation::JobFinal { .. }) => self.ended += 1,
            Effect::Observe(_) | Effect::Halt(_) => {}
        }
        None
    }

    /// When the node wants to be woken, in the world's time.
    pub fn wake_at(&self) -> Option<u64> {
        let at = self.node.as_ref()?.wake_at()?;
        Some(self.began.saturating_add(at.as_nanos()))
    }

    /// Whether a call is open under this number.
    pub fn has_call(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// The durable rows.
    pub fn rows(&self) -> impl Iterator<Item = (&RowKey, &Bytes)> {
        self.rows.iter()
    }
}
