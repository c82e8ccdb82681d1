//! What goes wrong in a plan.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::wire::Kind;

use super::{BadPlan, ClusterPlan, Greets, Seen, Selector, When};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// When.
    pub when: When,
    /// To whom.
    pub target: Selector,
    /// What.
    pub kind: FaultKind,
    /// Undone after this long: the node starts again, the cut heals, the clock rate is right again. Until the healing
    /// of the whole world where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// What can go wrong. Kinds without a way to undo them (a jump, a reset) just happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The machine loses power: what was not synced may be lost. Undone: it starts again.
    Crash,
    /// The process is asked to finish (SIGTERM). Undone: it starts again.
    Drain,
    /// It starts (again) from its disk; a running one is crashed before.
    Restart,
    /// It starts (again) as the version before this one; a running one is crashed before. Undone: it starts again as this
    /// one.
    OldVersion,
    /// It starts (again) as this version; a running one is crashed before.
    NewVersion,
    /// The process stands still while the world goes on. Undone: it sees everything at once.
    Freeze,
    /// Each step takes this long.
    SlowUs(u64),
    /// Its driver samples its machine once a second, and others use this much of it. Undone: nobody does.
    Load(LoadPlan),
    /// Nothing comes through between the target and these.
    Cut {
        /// The other side; everyone else where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Selector>,
        /// Which way.
        #[serde(default)]
        direction: Direction,
    },
    /// Every cut at the target ends.
    Heal,
    /// The target's connections to these break at once; they are dialled again.
    Reset {
        /// The other side; everyone else where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Selector>,
    },
    /// So many of 1,000 datagrams from and to the target are lost, beside what its links lose; connections send again.
    LossPermille(u16),
    /// Everything from and to the target takes this much longer.
    DelayMs(u64),
    /// The target, a client, reads an event of a stream this much after it has come.
    SlowReaderMs(u64),
    /// The wall clock jumps by this much.
    WallJumpMs(i64),
    /// The wall clock runs this much fast (or slow), in parts per million.
    WallDriftPpm(i32),
    /// The monotonic clock runs this much fast (or slow), in parts per million.
    MonoRatePpm(i32),
    /// The next write fails, and nothing of it is on the disk.
    DiskFail,
    /// The next sync fails: the writes are on the disk, and the node is told that they are not.
    DiskSyncFail,
    /// Every write fails. Undone: there is room again, and the node starts.
    DiskFull,
    /// The machine loses power at the moment when its n-th write from now, from 1, is durable and before the process
    /// hears of it. Undone: it starts again.
    CrashWhenStored(u32),
    /// No write comes to an end. Undone: they all do.
    DiskStall,
    /// A write takes this much longer.
    DiskSlowUs(u64),
    /// The machine crashes and comes back with an empty disk.
    DiskWipe,
    /// An image of the disk is taken.
    DiskSave,
    /// The machine crashes and comes back with the image that was taken; nothing where there is none.
    DiskRestore,
    /// Bytes that are no message arrive at the target, on its connection from these.
    Garbage {
        /// The sender.
        from: Selector,
    },
    /// The target's messages of some kind are touched.
    Messages(MessageRule),
    /// The target greets so from now on, and its connections break, so that all hear it. Undone: as it should.
    Greets(Greets),
    /// A node that has no connection to the target greets it, as itself or otherwise; a client calls it.
    Greet {
        /// Who.
        from: Selector,
        /// What differs in its greeting.
        #[serde(default)]
        how: Greets,
    },
    /// A puppet says to the target what was said before: once more, late, altered, or in another's name.
    Say(SayPlan),
}

/// How much of a machine others use, in thousandths of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadPlan {
    /// Of its processors.
    #[serde(default)]
    pub cpu_permille: u16,
    /// Of its memory.
    #[serde(default)]
    pub memory_permille: u16,
}

/// Which way a cut goes, as the target sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// What the target sends is lost.
    Out,
    /// What is sent to the target is lost.
    In,
}

/// Touches messages from the target to `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageRule {
    /// Only to these; to everyone where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Selector>,
    /// Only of this kind, as in `tidegate_core::wire::Kind` (`DcFinalAck`), or `Datagram`; of every kind where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// From the n-th that fits after the rule began, from 1.
    #[serde(default = "MessageRule::first")]
    pub nth: u32,
    /// How many; 0 is all that follow.
    #[serde(default)]
    pub count: u32,
    /// What happens to them.
    pub action: MessageAction,
}

/// What happens to a message that a rule touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageAction {
    /// It never arrives.
    Drop,
    /// It arrives this much later; others overtake it.
    HoldMs(u64),
    /// It arrives twice, the second time this much later.
    RepeatMs(u64),
    /// Its bytes arrive damaged.
    Corrupt,
    /// It arrives without its last field: a message where that may be absent, or damaged.
    Shorten,
}

/// What a puppet says: a message that was really sent in this run, altered or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SayPlan {
    /// On whose connection it arrives: for the target, this node has said it.
    pub from: Selector,
    /// Its kind, as in `tidegate_core::wire::Kind`.
    pub kind: String,
    /// Who sent it first, to whomever; `from` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Selector>,
    /// Only messages about this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Which of those, from 1; the newest where 0.
    #[serde(default)]
    pub nth: u32,
    /// How often it is said.
    #[serde(default = "SayPlan::once")]
    pub times: u32,
    /// What is altered in it.
    #[serde(default)]
    pub alter: Alter,
}

/// What a puppet alters in a message. A message without the part in question is not said at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alter {
    /// Its fence (gate or datacenter epoch).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// Its number in its sequence (progress, heartbeats, requests for more time).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// It speaks of a job that nobody knows.
    pub unknown_job: bool,
    /// It asks for more time with so many items done, of so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_of: Option<[u64; 2]>,
    /// It reports this many more requests, as done well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_ok: Option<u64>,
}

impl SayPlan {
    const fn once() -> u32 {
        1
    }
}

impl MessageRule {
    const fn first() -> u32 {
        1
    }
}

impl FaultKind {
    /// Every name that [`FaultKind::name`] gives.
    pub const NAMES: &[&str] = &[
        "crash",
        "crash_when_stored",
        "drain",
        "restart",
        "old_version",
        "new_version",
        "freeze",
        "slow",
        "load",
        "cut",
        "one_way_cut",
        "heal",
        "reset",
        "loss",
        "delay",
        "slow_reader",
        "wall_jump",
        "wall_drift",
        "mono_rate",
        "disk_fail",
        "disk_sync_fail",
        "disk_full",
        "disk_stall",
        "disk_slow",
        "disk_wipe",
        "disk_save",
        "disk_restore",
        "garbage",
        "message_drop",
        "message_hold",
        "message_repeat",
        "message_corrupt",
        "message_shorten",
        "greets",
        "greet",
        "say",
    ];

    /// The name under which a fired fault is counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashWhenStored(_) => "crash_when_stored",
            Self::Drain => "drain",
            Self::Restart => "restart",
            Self::OldVersion => "old_version",
            Self::NewVersion => "new_version",
            Self::Freeze => "freeze",
            Self::SlowUs(_) => "slow",
            Self::Load(_) => "load",
            Self::Cut { direction: Direction::Both, .. } => "cut",
            Self::Cut { .. } => "one_way_cut",
            Self::Heal => "heal",
            Self::Reset { .. } => "reset",
            Self::LossPermille(_) => "loss",
            Self::DelayMs(_) => "delay",
            Self::SlowReaderMs(_) => "slow_reader",
            Self::WallJumpMs(_) => "wall_jump",
            Self::WallDriftPpm(_) => "wall_drift",
            Self::MonoRatePpm(_) => "mono_rate",
            Self::DiskFail => "disk_fail",
            Self::DiskSyncFail => "disk_sync_fail",
            Self::DiskFull => "disk_full",
            Self::DiskStall => "disk_stall",
            Self::DiskSlowUs(_) => "disk_slow",
            Self::DiskWipe => "disk_wipe",
            Self::DiskSave => "disk_save",
            Self::DiskRestore => "disk_restore",
            Self::Garbage { .. } => "garbage",
            Self::Messages(rule) => match rule.action {
                MessageAction::Drop => "message_drop",
                MessageAction::HoldMs(_) => "message_hold",
                MessageAction::RepeatMs(_) => "message_repeat",
                MessageAction::Corrupt => "message_corrupt",
                MessageAction::Shorten => "message_shorten",
            },
            Self::Greets(_) => "greets",
            Self::Greet { .. } => "greet",
            Self::Say(_) => "say",
        }
    }

    /// The other selectors that it names.
    fn selectors(&self) -> Vec<&Selector> {
        match self {
            Self::Cut { from, .. } | Self::Reset { from } => from.iter().collect(),
            Self::Garbage { from } | Self::Greet { from, .. } => vec![from],
            Self::Messages(rule) => rule.to.iter().collect(),
            Self::Say(say) => say.of.iter().chain([&say.from]).collect(),
            _ => Vec::new(),
        }
    }
}

impl FaultPlan {
    pub(super) fn check(&self, cluster: &ClusterPlan, jobs: &BTreeSet<&str>) -> Result<(), BadPlan> {
        let by = match &self.when {
            When::Seen(Seen { by, .. }) => by.as_ref(),
            When::AtMs(_) => None,
        };
        for selector in self.kind.selectors().into_iter().chain([&self.target]).chain(by) {
            selector
                .check(cluster, jobs)
                .map_err(|why| BadPlan(format!("fault {}: {why}", self.kind.name())))?;
        }
        match &self.kind {
            FaultKind::LossPermille(permille) if *permille > 1_000 => {
                Err(BadPlan("fault loss: permille goes from 0 to 1000".into()))
            }
            FaultKind::Load(load) if load.cpu_permille.max(load.memory_permille) > 1_000 => {
                Err(BadPlan("fault load: permille goes from 0 to 1000".into()))
            }
            FaultKind::MonoRatePpm(ppm) | FaultKind::WallDriftPpm(ppm) if ppm.abs() > 500_000 => {
                Err(BadPlan("a clock runs at most 500000 ppm fast or slow".into()))
            }
            FaultKind::CrashWhenStored(0) => {
                Err(BadPlan("fault crash_when_stored: writes are counted from 1".into()))
            }
            FaultKind::SlowReaderMs(_) if !matches!(self.target, Selector::Client(_)) => {
                Err(BadPlan(format!("fault slow_reader: {} is no client: write client:NAME", self.target)))
            }
            FaultKind::Messages(MessageRule { kind: Some(kind), .. }) if kind != "Datagram" => {
                check_kind(kind)
            }
            FaultKind::Greets(how) | FaultKind::Greet { how, .. } => how.check(),
            FaultKind::Say(say) => say.check(jobs),
            _ => Ok(()),
        }
    }
}

impl SayPlan {
    fn check(&self, jobs: &BTreeSet<&str>) -> Result<(), BadPlan> {
        check_kind(&self.kind)?;
        match &self.job {
            Some(job) if !jobs.contains(job.as_str()) => {
                Err(BadPlan(format!("fault say: there is no job {job:?}")))
            }
            _ if self.times == 0 => Err(BadPlan("fault say: `times` is at least 1".into())),
            _ => Ok(()),
        }
    }
}

fn check_kind(kind: &str) -> Result<(), BadPlan> {
    if Kind::ALL.iter().any(|known| known.as_str() == kind) {
        return Ok(());
    }
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    Err(BadPlan(format!("there is no message of kind {kind:?}; there are: {}", known.join(", "))))
}
