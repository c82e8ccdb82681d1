//! The first level: what a run may have at all.

use std::collections::BTreeMap;
use std::fmt;

use super::Dice;
use super::faults::KINDS;
use crate::plan::Point;

/// One kind of faults in a run.
#[derive(Clone, Debug)]
pub struct Strain {
    /// Its place in the table of kinds.
    pub(super) kind: usize,
    /// The number of its first fault, among those of its kind.
    pub(super) first: u64,
    /// How many of it.
    pub(super) count: u64,
    /// Each lasts at least this long, and up to twice as long.
    pub(super) least_ms: u64,
    /// At whom.
    pub(super) aim: Aim,
    /// Just after this observation; at any time where absent.
    pub(super) spark: Option<&'static str>,
}

/// Whom the faults of a kind hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Any node, each time another.
    Anyone,
    /// Always the same node.
    Victim,
    /// Whoever leads a log.
    Leaders,
    /// Whoever owns a job.
    Owners,
    /// Whoever runs a shard.
    Workers,
    /// Whoever made the observation.
    Observer,
    /// All nodes of a datacenter at once.
    Datacenter,
}

impl Aim {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Victim => "one victim",
            Self::Leaders => "leaders",
            Self::Owners => "owners",
            Self::Workers => "busy workers",
            Self::Observer => "the observer",
            Self::Datacenter => "a datacenter",
        }
    }
}

/// Observations after which faults come: something has just been decided, and not everybody knows.
const SPARKS: &[&str] = &[
    "JobAccepted",
    "Dispatched",
    "DcJobAccepted",
    "ShardReserved",
    "RunReserved",
    "RunStarted",
    "RunEnded",
    "ShardDone",
    "ShardLost",
    "ResultAcked",
    "Workflow",
    "DcJobFinal",
    "DcFinal",
    "JobFinal",
    "CancelRecorded",
    "BecameLeader",
    "LeaseEnded",
    "JobOwner",
    "DcOwner",
    "WorkerLost",
    "SnapshotInstalled",
    "StateDigest",
    "Isolated",
    "Active",
];

/// How often each point of the drivers fires where it is on: so many of 10,000.
const POINTS: &[(Point, [u16; 2])] = &[
    (Point::StoredLate, [300, 3_000]),
    (Point::WakeLate, [20, 200]),
    (Point::WakeForNothing, [30, 500]),
    (Point::Hiccup, [5, 50]),
    (Point::Reorder, [2_000, 6_000]),
    (Point::ResetAfterSend, [3, 30]),
    (Point::Redeliver, [200, 2_000]),
    (Point::CallClosed, [50, 500]),
];

/// What a run may have at all; drawn before everything else.
#[derive(Clone, Debug)]
pub struct Options {
    seed: u64,
    /// Nothing goes wrong.
    pub(super) calm: bool,
    /// Only a core is healed; the rest stays broken for ever.
    pub(super) core: bool,
    /// A disk is replaced by an older image of it.
    pub(super) old_disk: bool,
    /// So many of 100 nodes begin as the version before this one.
    pub(super) old_version: u16,
    pub(super) strains: Vec<Strain>,
    pub(super) points: BTreeMap<Point, u16>,
}

impl Options {
    /// The options of a seed.
    pub fn draw(seed: u64) -> Self {
        let dice = Dice::new(seed);
        if dice.percent("calm", 0, 5) {
            let (strains, points) = (Vec::new(), BTreeMap::new());
            return Self { seed, calm: true, core: false, old_disk: false, old_version: 0, strains, points };
        }
        let drawn = KINDS.iter().enumerate();
        let drawn = drawn.filter(|(n, (percent, _, _))| dice.percent("kind", *n as u64, *percent));
        let mixed = dice.percent("versions", 0, 20);
        let old_version = if mixed { dice.one_of("old version", 0, &[30, 60, 100]) } else { 0 };
        // Jobs that find no datacenter: what gates decide about them is news to older ones.
        let often = |(percent, _, aim, _): &Trouble| match aim {
            Aim::Datacenter if mixed => 50,
            _ => *percent,
        };
        let trouble = TROUBLES.iter().zip(0..).filter(|(what, n)| dice.percent("trouble", *n, often(what)));
        let trouble: Vec<Strain> = trouble.map(|(what, n)| self::trouble(dice, what, n)).collect();
        // Whoever was absent may find what was said before on its new connections.
        let absent = !trouble.is_empty();
        let often = move |point: Point| if absent && point == Point::Redeliver { 30 } else { 8 };
        let points =
            POINTS.iter().zip(0..).filter(|((point, _), n)| dice.percent("point", *n, often(*point)));
        Self {
            seed,
            calm: false,
            core: dice.percent("core", 0, 50),
            old_disk: dice.percent("old disk", 0, 8),
            old_version,
            strains: drawn.map(|(n, _)| strain(dice, n)).chain(trouble).collect(),
            points: points.map(|((point, often), n)| (*point, dice.one_of("often", n, often))).collect(),
        }
    }

    fn troubles(&self) -> impl Iterator<Item = &Strain> {
        self.strains.iter().filter(|strain| strain.first > 0)
    }

    /// Whether somebody is absent, or silent, for long: what is going on should last longer.
    pub(super) fn has_trouble(&self) -> bool {
        self.troubles().next().is_some()
    }

    /// Whether busy workers are absent for long.
    pub(super) fn busy_are_absent(&self) -> bool {
        self.troubles().any(|strain| {
            strain.spark == Some(BUSY) && strain.aim == Aim::Observer && KINDS[strain.kind].1 != MUTE
        })
    }

    /// Whether managers are absent for long.
    pub(super) fn managers_are_absent(&self) -> bool {
        self.troubles().any(|strain| strain.aim == Aim::Owners || strain.spark == Some(TAKEN))
    }

    /// Whether somebody lives and says nothing.
    pub(super) fn somebody_is_mute(&self) -> bool {
        self.troubles().any(|strain| KINDS[strain.kind].1 == MUTE)
    }

    /// Whether it matters that jobs find no room: where workers come back, cores may be promised that are in use, and
    /// where nodes of two versions run, gates decide what older ones do not know.
    pub(super) fn is_tight(&self) -> bool {
        self.old_version > 0 || self.busy_are_absent()
    }
}

/// How many of 100 runs have it, after what, at whom, and what.
type Trouble = (u16, &'static str, Aim, &'static [&'static str]);

/// Long absences of those who have just taken something on: whoever comes back finds that others have taken over. Or they
/// stay, and say nothing of it.
const TROUBLES: &[Trouble] = &[
    (28, BUSY, Aim::Observer, ABSENT),
    (8, TAKEN, Aim::Observer, ABSENT),
    (6, "JobAccepted", Aim::Observer, ABSENT),
    (8, BUSY, Aim::Owners, ABSENT),
    (10, BUSY, Aim::Observer, &[MUTE]),
    (8, "JobAccepted", Aim::Datacenter, &["crash", "cut"]),
];
/// After this a worker is busy.
const BUSY: &str = "RunStarted";
/// After this a datacenter has a job.
const TAKEN: &str = "DcJobAccepted";
const ABSENT: &[&str] = &["freeze", "cut", "one_way_cut", "half_connected"];
/// The kind of those who are there and say nothing.
pub(super) const MUTE: &str = "mute";

fn trouble(dice: Dice, trouble: &Trouble, n: u64) -> Strain {
    let (_, spark, aim, kinds) = *trouble;
    let name = dice.one_of("absent", n, kinds);
    let kind = KINDS.iter().position(|(_, known, _)| *known == name).unwrap_or(0);
    let least_ms = dice.one_of("absent for", n, &[10_000, 14_000, 20_000, 25_000]);
    Strain { kind, first: 10 * (n + 1), count: 2, least_ms, aim, spark: Some(spark) }
}

fn strain(dice: Dice, kind: usize) -> Strain {
    let n = kind as u64;
    let spark = dice.percent("spark", n, 50).then(|| dice.one_of("sparks", n, SPARKS));
    let aims = [
        Aim::Anyone,
        Aim::Anyone,
        Aim::Victim,
        Aim::Leaders,
        Aim::Leaders,
        Aim::Owners,
        Aim::Owners,
        Aim::Workers,
        Aim::Workers,
        Aim::Datacenter,
    ];
    let aim = match spark {
        Some(_) if dice.percent("observer", n, 50) => Aim::Observer,
        _ => dice.one_of("aim", n, &aims),
    };
    Strain {
        kind,
        first: 0,
        count: dice.one_of("count", n, &[1, 1, 1, 1, 2, 2, 4]),
        least_ms: dice.one_of("least", n, &[100, 500, 2_000, 6_000, 14_000, 25_000]),
        aim,
        spark,
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "options of {}: ", self.seed)?;
        if self.calm {
            return f.write_str("calm");
        }
        let strains = self.strains.iter().map(|strain| {
            let Strain { kind, count, least_ms, aim, spark, .. } = strain;
            let after = spark.map_or(String::new(), |spark| format!(" after {spark}"));
            format!("{} x{count} for {least_ms} ms or more at {}{after}", KINDS[*kind].1, aim.as_str())
        });
        let old = self.old_disk.then(|| "an old disk".to_string());
        let mixed = (self.old_version > 0).then(|| format!("{} % of an older version", self.old_version));
        let faults: Vec<String> = strains.chain(old).chain(mixed).collect();
        f.write_str(if faults.is_empty() { "no faults" } else { "" })?;
        f.write_str(&faults.join(", "))?;
        for (point, often) in &self.points {
            write!(f, "; {} {often} of 10000", point.name())?;
        }
        f.write_str(if self.core { "; then a core is healed" } else { "; then everything is healed" })
    }
}
