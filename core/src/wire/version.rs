//! What came with which minor version, and what two nodes may use between them.
//!
//! Nodes of one major version work together. In the greeting each names its minor version and the features that it has;
//! [`Dialect::common`] is what both may use, the same at both ends: what came later is not sent, and its absence has a
//! meaning. A command of a log is proposed only once every voter of the tier has run a version that knows it
//! ([`crate::ledger`]); from then on a node of an older version cannot start in that tier. Fences belong to the major
//! version.

use alloc::string::String;
use core::fmt;
use minicbor::{Decode, Encode};

use super::message::Message;
use crate::guard::Condition;

/// The minor version of this build, and the highest that it speaks.
pub const MINOR: u16 = 1;

/// What came with a minor version. What belongs to the major version is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// How loaded a node is, in `Pong`, `WorkerHeartbeat` and `DcHeartbeat`.
    Conditions,
    /// Where a node stands, in `Pong`.
    Coordinates,
    /// What a gate reaches, told to other gates: `GateView`.
    GateViews,
    /// Workers ask for more time for a job: `MoreTime`; and how many live on that, in `DcHeartbeat`.
    MoreTime,
    /// The gates' log says that a job waits for cores: `JobQueued`. Used by the version of the log, not by connection.
    QueuedJobs,
}

impl Feature {
    /// Every one, by name.
    pub const ALL: [Self; 5] =
        [Self::Conditions, Self::Coordinates, Self::GateViews, Self::MoreTime, Self::QueuedJobs];

    /// Its name in greetings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conditions => "conditions",
            Self::Coordinates => "coordinates",
            Self::GateViews => "gate_views",
            Self::MoreTime => "more_time",
            Self::QueuedJobs => "queued_jobs",
        }
    }

    /// The lowest minor version that has it.
    pub const fn since(self) -> u16 {
        match self {
            Self::Conditions | Self::Coordinates | Self::GateViews | Self::MoreTime | Self::QueuedJobs => 1,
        }
    }

    /// The feature of this name; `None` where this version knows none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// A set of features: in the order of their names, each once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", from = "String"))]
#[cbor(transparent)]
pub struct Features(#[n(0)] u32);

impl Features {
    /// None.
    pub const NONE: Self = Self(0);

    /// What this version knows of a minor version, later ones included.
    pub const fn of(minor: u16) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < Feature::ALL.len() {
            if Feature::ALL[at].since() <= minor {
                bits |= 1 << Feature::ALL[at] as u32;
            }
            at += 1;
        }
        Self(bits)
    }

    /// Those of these names that this version knows.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let known = names.into_iter().filter_map(Feature::named);
        Self(known.fold(0, |bits, feature| bits | 1 << feature as u32))
    }

    /// All but these.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// This one, where it is wanted.
    pub const fn only(feature: Feature, wanted: bool) -> Self {
        Self((wanted as u32) << feature as u32)
    }

    /// Those in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all are among others.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether it is among them.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 >> feature as u32 & 1 == 1
    }

    /// Those in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Each, by name.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| self.has(*feature))
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, feature) in self.iter().enumerate() {
            f.write_str(if place > 0 { " " } else { "" })?;
            f.write_str(feature.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl From<Features> for String {
    fn from(features: Features) -> Self {
        alloc::format!("{features}")
    }
}

impl From<String> for Features {
    fn from(names: String) -> Self {
        Self::named(names.split(' '))
    }
}

/// What a node speaks, or two of them with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Dialect {
    /// The minor version.
    #[n(0)]
    pub minor: u16,
    /// What may be used.
    #[n(1)]
    pub features: Features,
}

impl Dialect {
    /// What this build speaks.
    pub const OURS: Self = Self::of(MINOR);

    /// All that this version knows of a minor version.
    pub const fn of(minor: u16) -> Self {
        Self { minor, features: Features::of(minor) }
    }

    /// What two nodes speak with each other: the lower minor version, and of it what both have.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        let lower = Self::of(self.minor.min(other.minor));
        Self { features: lower.features.common(self.features).common(other.features), ..lower }
    }

    /// Whether a message may be sent.
    pub fn knows(self, message: &Message) -> bool {
        message.needs().is_within(self.features)
    }
}

/// What a word on the own load needs: healthy is what silence means.
const fn of_condition(condition: Condition) -> Features {
    Features::only(Feature::Conditions, !matches!(condition, Condition::Healthy))
}

impl Message {
    /// The features without which this message may not be sent.
    pub const fn needs(&self) -> Features {
        match self {
            Self::GateView(_) => Features::only(Feature::GateViews, true),
            Self::Pong { coordinate, condition, .. } => {
                Features::only(Feature::Coordinates, coordinate.is_some()).and(of_condition(*condition))
            }
            Self::WorkerHeartbeat { condition, .. } => of_condition(*condition),
            Self::DcHeartbeat(load) => {
                let [a, b, c, d] = load.conditions;
                Features::only(Feature::Conditions, a | b | c | d > 0)
                    .and(Features::only(Feature::MoreTime, load.extended > 0))
            }
            Self::MoreTime { .. } | Self::MoreTimeReply { .. } => Features::only(Feature::MoreTime, true),
            _ => Features::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, NodeConfig, Offer, Roster, Timing};
    use crate::id::{BootNo, DcId, NodeId, Role};
    use crate::swim::Addr;
    use crate::wire::Hello;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn gate(minor: u16) -> NodeConfig {
        NodeConfig {
            cluster: "c".into(),
            role: Role::Gate,
            dc: DcId::NONE,
            name: "g1".into(),
            node: NodeId::derive("c", Role::Gate, "", "g1"),
            addr: Addr { ip: [7; 16], port: 9 },
            roster: Roster::default(),
            offer: Offer::default(),
            timing: Timing::for_role(Role::Gate),
            limits: Limits::default(),
            allow_two_voters: false,
            minor,
        }
    }

    #[test]
    fn a_version_has_what_the_one_before_it_has_and_its_own() {
        let sizes: Vec<usize> = [0, 1, 2, 9].map(|minor| Features::of(minor).iter().count()).to_vec();
        assert_eq!(sizes, [0, 5, 5, 5]);
        for minor in 0..9 {
            let (older, newer) = (Features::of(minor), Features::of(minor + 1));
            assert_eq!(older.common(newer), older, "{minor}");
            assert!(newer.iter().all(|feature| feature.since() <= minor + 1));
        }
        for minor in 0..=MINOR {
            let hello = Hello::of(&gate(minor), BootNo(1), Features::NONE);
            assert_eq!(hello.dialect(), Dialect::of(minor), "it says what its version has");
        }
        assert_eq!(Feature::named("teleport"), None);
        assert_eq!(Features::named(["teleport", "", "Coordinates"]), Features::NONE);
    }

    #[test]
    fn names_are_sorted_and_each_is_there_once() {
        let names: Vec<&str> = Feature::ALL.iter().map(|feature| feature.as_str()).collect();
        assert!(names.is_sorted_by(|one, next| one < next));
        let features = Features::named(["gate_views", "teleport", "coordinates", "gate_views"]);
        assert_eq!(String::from(features), "coordinates gate_views");
        assert_eq!(Features::from(String::from(features)), features);
    }

    fn dialect() -> impl Strategy<Value = Dialect> {
        let names = prop_oneof![
            Just("teleport"),
            Just("conditions"),
            Just("coordinates"),
            Just("gate_views"),
            Just("more_time"),
            Just("queued_jobs")
        ];
        (0..4u16, proptest::collection::vec(names, 0..6))
            .prop_map(|(minor, names)| Dialect { minor, features: Features::named(names) })
    }

    proptest! {
        /// Both ends come to the same, and to nothing that either lacks or that came later.
        #[test]
        fn both_ends_agree_on_what_both_have(one in dialect(), other in dialect()) {
            let common = one.common(other);
            prop_assert_eq!(common, other.common(one));
            prop_assert_eq!(common.minor, one.minor.min(other.minor));
            for feature in Feature::ALL {
                let both = one.features.has(feature) && other.features.has(feature);
                prop_assert_eq!(common.features.has(feature), both && feature.since() <= common.minor);
            }
        }
    }
}
