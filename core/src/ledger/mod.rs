//! The replicated log of a tier: consensus, leases, disk identity and the applied state.
//!
//! In: rows of the boot, messages of the other voters, time, `Stored`, proposals of this node. Out: rows and messages
//! (through [`Store`], so that every message waits for what it rests on), observations, and from [`Ledger::settle`]
//! what was applied. It never reads a clock, never decides from a belief about who leads, and never applies an entry
//! that this node's own disk does not hold.
//!
//! Consensus itself is noraft's: votes, log matching, commitment. Around it, one file each:
//!
//! | file | what |
//! |---|---|
//! | `drive` | what moves it: start, messages, time, the disk |
//! | `raft` | noraft, and the names of the voters in it |
//! | `replicate` | noraft's actions become rows and messages; messages are checked before it sees them |
//! | `log` | payloads beside noraft's entries, what is durable, compaction |
//! | `election` | timers, pre-vote, check-quorum, hand-over |
//! | `proposals` | this node's proposals until applied; each applied once |
//! | `forward` | a proposal's way to the leader |
//! | `lease` | leases as log entries, and the holder's own clock |
//! | `apply` | committed entries into state, rows and digest |
//! | `snapshot` | the image as rows to a follower that lags |
//! | `image` | the state digest and its checkpoints |
//! | `message`, `rows` | the formats |

mod apply;
mod drive;
mod election;
mod forward;
mod image;
mod lease;
mod log;
mod message;
mod proposals;
mod raft;
mod replicate;
mod rows;
mod snapshot;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

pub use message::{Checkpoint, ImageEnd, ImageRow, LogBody, LogMessage, LogPos, LogRecord};
pub use proposals::{MAX_COMMAND, MAX_UNDECIDED};

use crate::bytes::Bytes;
use crate::config::Boot;
use crate::effect::{Effects, HaltReason};
use crate::fault::{Fault, FaultCode};
use crate::id::{BootNo, DiskId, JobId, NodeId, Term};
use crate::observe::Observation;
use crate::rng::NodeRng;
use crate::store::Store;
use crate::time::{Duration, Instant, Now};

use election::Election;
use image::ImageDigest;
use lease::{LeaseClock, Leases};
use log::RetainedLog;
use proposals::{AppliedSet, Command, Kind, Proposal, Proposals, Undecided};
use raft::Raft;
use replicate::CatchUp;
use snapshot::{ROWS_A_PART, Staging, Transfer};

/// The applied state of a tier: a fold over its committed commands.
///
/// The replicated part is the rows. Fields that are not part of a row are the node's own (volatile) and survive as
/// they can when [`State::load_row`] replaces a row.
pub trait State {
    /// What is decided. At most [`MAX_COMMAND`] bytes encoded.
    type Command: Clone + core::fmt::Debug + PartialEq + Encode<()> + for<'b> Decode<'b, ()>;

    /// Applies one committed command. A function of the replicated state and the command alone: no clock, no own
    /// identity, no randomness, so that every replica computes the same rows. A command that no longer fits (an old
    /// fence, an ended job) changes nothing. It changes at most 64 rows.
    fn apply(&mut self, entry: &Entry<Self::Command>, changes: &mut Changes);

    /// The bytes of a row, or `None` where it does not exist (any more).
    fn row(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Every row's key, in order. Keys have at least one byte and do not include the table byte.
    fn keys(&self) -> Vec<Vec<u8>>;

    /// Takes a row from disk or from a snapshot.
    fn load_row(&mut self, key: &[u8], bytes: &[u8]) -> Result<(), BadRow>;

    /// Drops a row, as a snapshot that does not have it demands.
    fn drop_row(&mut self, key: &[u8]);
}

/// A row that does not decode, or is of a newer format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRow;

/// A committed command and who proposed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<C> {
    /// Its place in the log.
    pub index: u64,
    /// Who proposed it.
    pub proposal: ProposalId,
    /// What is decided.
    pub command: C,
}

/// Names a proposal for ever: repeats of it are applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ProposalId {
    /// Who proposes.
    #[n(0)]
    pub node: NodeId,
    /// In which start of its process.
    #[n(1)]
    pub boot: BootNo,
    /// Which of its proposals, from 1.
    #[n(2)]
    pub n: u64,
}

/// What an application changed, collected for the step.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Rows to write; read back through [`State::row`] once per step.
    pub rows: BTreeSet<Vec<u8>>,
    /// Jobs whose duties must be looked at again.
    pub jobs: BTreeSet<JobId>,
    /// Testimony.
    pub observations: Vec<Observation>,
}

/// What happened since the last [`Ledger::settle`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Run the duties of these jobs.
    pub jobs: BTreeSet<JobId>,
    /// This boot's proposals that are decided, by number. True: applied in this step. False: it came inside a
    /// snapshot, so its effects are in the state, though they were not seen to happen.
    pub decided: Vec<(u64, bool)>,
    /// A lease began or ended: ownership must be looked at.
    pub leases: bool,
    /// The state was replaced by a snapshot: run the duties of every record.
    pub reset: bool,
    /// The node must end; nothing may be done after.
    pub halt: Option<HaltReason>,
}

/// The waits that the ledger is told.
#[derive(Clone, Copy, Debug)]
struct Waits {
    tick: Duration,
    lease_renew: Duration,
    /// Applied entries kept for slow followers.
    log_keep: u32,
    /// Rows of one part of an image.
    image_rows: usize,
}

/// One voter of a tier.
#[derive(Clone, Debug)]
pub struct Ledger<S> {
    me: NodeId,
    boot: BootNo,
    disk: DiskId,
    minor: u16,
    waits: Waits,
    raft: Raft,
    /// Term and office as last noticed.
    role: (Term, bool),
    election: Election,
    log: RetainedLog,
    /// As leader: what followers that lag were sent last.
    catching_up: BTreeMap<NodeId, CatchUp>,
    /// As leader: images on their way, and how many there have been.
    images: BTreeMap<NodeId, Transfer>,
    transfers: u64,
    /// As follower: an image that is arriving.
    staging: Option<Staging>,
    /// The last applied entry; the image is the state there.
    applied: LogPos,
    leases: Leases,
    applied_sets: BTreeMap<NodeId, AppliedSet>,
    state: S,
    image: ImageDigest,
    proposals: Proposals,
    lease: LeaseClock,
    /// Committed, durable entries wait for the next step.
    backlog: bool,
    done: Applied,
    /// Why the node must end: nothing moves the ledger any more.
    halted: Option<HaltReason>,
    last_now: Instant,
}

impl<S: State> Ledger<S> {
    /// The ledger as the boot's rows left it.
    ///
    /// # Errors
    ///
    /// `BadRows` where rows do not decode or do not fit together; `OldDisk` where this disk was found to be old, now or
    /// by an earlier process; `OldVersion` where all voters have run a newer version than this node's; `BadVoters`
    /// where this node is not among the voters,
    /// where there are two and `allow_two_voters` is not set, or where this disk has voted in another group.
    pub fn new(boot: &Boot, voters: Vec<NodeId>, state: S) -> Result<Self, HaltReason> {
        let config = &boot.config;
        let loaded = rows::load(&boot.rows).map_err(|BadRow| HaltReason::BadRows)?;
        if loaded.is_old {
            return Err(HaltReason::OldDisk);
        }
        let group: BTreeSet<NodeId> = voters.into_iter().collect();
        let refused = !group.contains(&config.node) || (group.len() == 2 && !config.allow_two_voters);
        let moved = loaded.hard.as_ref().is_some_and(|hard| !hard.voters.iter().eq(group.iter()));
        if refused || moved {
            return Err(HaltReason::BadVoters);
        }
        let timing = &config.timing;
        let rng = NodeRng::new(boot.seed, RNG_PURPOSE);
        let raft = Raft::restored(config.node, &group, &loaded).ok_or(HaltReason::BadVoters)?;
        let applied = loaded.positions.applied;
        let log = RetainedLog::restored(loaded.positions.base, loaded.log);
        let term = log.term(applied).expect("the rows were checked");
        let mut ledger = Self {
            me: config.node,
            boot: boot.boot,
            disk: boot.disk,
            minor: config.minor,
            waits: Waits {
                tick: timing.log_tick,
                lease_renew: timing.lease_renew,
                log_keep: config.limits.log_keep,
                image_rows: usize::from(config.limits.image_rows).clamp(1, ROWS_A_PART),
            },
            role: (raft.term(), false),
            raft,
            election: Election::new(timing.leader_silence, rng),
            log,
            catching_up: BTreeMap::new(),
            images: BTreeMap::new(),
            transfers: 0,
            staging: None,
            applied: LogPos { term, index: applied },
            leases: Leases::default(),
            applied_sets: BTreeMap::new(),
            state,
            image: ImageDigest::default(),
            proposals: Proposals::default(),
            lease: LeaseClock::new(timing.lease_ttl),
            backlog: false,
            done: Applied::default(),
            halted: None,
            last_now: Instant::ZERO,
        };
        for (key, image_key, value) in loaded.image {
            ledger.load_image_row(image_key, value).map_err(|BadRow| HaltReason::BadRows)?;
            ledger.image.set(key, Some(value));
        }
        ledger.check_unapplied().map_err(|BadRow| HaltReason::BadRows)?;
        if ledger.leases.is_old_disk(ledger.me, ledger.boot, ledger.disk) {
            return Err(HaltReason::OldDisk);
        }
        if ledger.minor_in_force() > ledger.minor {
            return Err(HaltReason::OldVersion);
        }
        Ok(ledger)
    }

    /// The minor version that all voters of the tier have run, by the log: commands that came with it may be proposed. It
    /// never falls, and is the same wherever the same entries are applied.
    pub fn minor_in_force(&self) -> u16 {
        self.leases.minor(self.raft.voters())
    }

    /// Queues a command. It is repeated until it is applied here or the process ends; [`Applied::decided`] tells of
    /// it by the returned number.
    ///
    /// # Errors
    ///
    /// `NoQuorum` while [`MAX_UNDECIDED`] are undecided; `TooLarge` above [`MAX_COMMAND`].
    pub fn propose(
        &mut self,
        now: Now,
        command: S::Command,
        store: &mut Store,
        out: &mut Effects,
    ) -> Result<u64, Fault> {
        self.clock(now);
        self.submit(now.mono, Command::Tier(command), Kind::Tier, store, out)
    }

    /// The applied state.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The applied state, for its volatile fields alone: rows change by applied commands only.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Whether this node's own lease holds by its own clock: whether it may act as an owner.
    pub fn lease_holds(&self, now: Now) -> bool {
        self.lease.holds(now.mono)
    }

    /// When this node's right to act ends, unless it is renewed.
    pub fn lease_ends_at(&self) -> Option<Instant> {
        self.lease.ends_at()
    }

    /// Nodes whose lease is not ended by log entry.
    pub fn holders(&self) -> impl Iterator<Item = NodeId> {
        self.leases.holders()
    }

    /// The newest life of every node that the log knows.
    pub fn boots(&self) -> impl Iterator<Item = (NodeId, BootNo)> {
        self.leases.0.iter().map(|(node, lease)| (*node, lease.boot))
    }

    /// Who seems to lead; fit for hints and redirects only.
    pub fn leader(&self) -> Option<NodeId> {
        self.election.leader
    }

    /// Whether this node believes that it leads. Only what it commits proves it.
    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// The log term.
    pub fn term(&self) -> Term {
        self.raft.term()
    }

    /// The index of the last applied entry.
    pub fn applied(&self) -> u64 {
        self.applied.index
    }

    /// How many of this node's proposals are undecided.
    pub fn undecided(&self) -> usize {
        self.proposals.undecided.len()
    }

    /// Makes a proposal of a command, keeps it and hands it to whoever leads.
    fn submit(
        &mut self,
        now: Instant,
        command: Command<S::Command>,
        kind: Kind,
        store: &mut Store,
        out: &mut Effects,
    ) -> Result<u64, Fault> {
        let Some(n) = self.proposals.next(kind) else {
            return Err(Fault::new(FaultCode::NoQuorum, "the tier has not decided the last 1024 proposals"));
        };
        let id = ProposalId { node: self.me, boot: self.boot, n };
        let bytes = Bytes(rows::encode(&Proposal { id, command }));
        if bytes.len() > MAX_COMMAND {
            return Err(Fault::new(FaultCode::TooLarge, "a log entry holds at most 64 KiB"));
        }
        self.proposals.keep(n, Undecided { bytes: bytes.clone(), kind });
        self.hand_to_leader(now, id, bytes, store, out);
        Ok(n)
    }
}

/// The ledger's own random stream in its node's.
const RNG_PURPOSE: u64 = 0x6c65_6467_6572;
