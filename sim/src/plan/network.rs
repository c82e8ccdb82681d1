//! The links of a plan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BadPlan;

/// How nodes reach each other. Latency is decided by the regions of the two ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkPlan {
    /// Between nodes of one region.
    pub local: LinkPlan,
    /// Between nodes of different regions.
    pub remote: LinkPlan,
    /// An ordered connection on which nothing comes through for this long breaks.
    pub session_timeout_ms: u64,
    /// A connection that is down is dialled again after up to this long.
    pub redial_ms: u64,
    /// One in so many messages and datagrams goes through the wire codec; 1 is all of them, 0 none.
    pub wire_every: u32,
    /// Datagrams.
    pub datagrams: DatagramPlan,
    /// Pairs of regions that differ.
    #[serde(rename = "pair", skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<PairPlan>,
}

/// One link, one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkPlan {
    /// Least latency.
    pub latency_us: u64,
    /// Up to this much more, for each message by itself.
    #[serde(default)]
    pub jitter_us: u64,
    /// So many of 1,000 datagrams are lost; a segment of an ordered connection is sent again instead, which costs time.
    #[serde(default)]
    pub loss_permille: u16,
    /// So many of 1,000 messages take up to `spike_us` more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spike_permille: u16,
    /// How much a spike takes at most.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spike_us: u64,
    /// So many bytes a millisecond (1,000 are 8 Mbit/s) go through an ordered connection, each way, and others wait
    /// behind them; any number where 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_per_ms: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

/// The link between two regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairPlan {
    /// The regions, in any order.
    pub between: [String; 2],
    /// Their link, each way.
    pub link: LinkPlan,
}

/// What happens to datagrams on every link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DatagramPlan {
    /// So many of 1,000 arrive twice.
    pub duplicate_permille: u16,
    /// So many of 1,000 are held back, and others overtake them.
    pub reorder_permille: u16,
    /// Those are held back for up to this much.
    pub reorder_us: u64,
}

impl Default for NetworkPlan {
    fn default() -> Self {
        Self {
            local: LinkPlan { latency_us: 200, jitter_us: 100, ..LinkPlan::default() },
            remote: LinkPlan { latency_us: 15_000, jitter_us: 5_000, ..LinkPlan::default() },
            session_timeout_ms: 5_000,
            redial_ms: 500,
            wire_every: 64,
            datagrams: DatagramPlan::default(),
            pairs: Vec::new(),
        }
    }
}

impl NetworkPlan {
    /// The link between two regions.
    pub fn link(&self, from: &str, to: &str) -> LinkPlan {
        let pair = |pair: &&PairPlan| {
            let [a, b] = &pair.between;
            (a == from && b == to) || (a == to && b == from)
        };
        match self.pairs.iter().find(pair) {
            Some(pair) => pair.link,
            None if from == to => self.local,
            None => self.remote,
        }
    }

    pub(super) fn check(&self) -> Result<(), BadPlan> {
        let err = |why: &str| Err(BadPlan(why.to_string()));
        let links = self.pairs.iter().map(|pair| pair.link).chain([self.local, self.remote]);
        if links.into_iter().any(|link| link.latency_us == 0) {
            return err("a link has a latency of at least 1 us: nothing arrives in the instant it was sent");
        }
        let datagrams = &self.datagrams;
        if datagrams.duplicate_permille > 1_000 || datagrams.reorder_permille > 1_000 {
            return err("permille goes from 0 to 1000");
        }
        if self.session_timeout_ms == 0 || self.redial_ms == 0 {
            return err("session_timeout_ms and redial_ms are at least 1");
        }
        Ok(())
    }
}
