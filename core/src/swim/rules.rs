//! The knobs of the machine. Plain SWIM, each part of Lifeguard, memberlist's defaults and our own set are values of
//! one struct, so that they can be compared in one world.

use crate::time::Duration;

/// How the machine behaves. [`Rules::ours`] is what nodes run with; the others are there to be compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// One round of asking; not zero.
    pub period: Duration,
    /// Wait for a direct answer before proxies are asked; shorter than the period.
    pub probe_timeout: Duration,
    /// Members asked to ask in our place.
    pub proxies: usize,
    /// While there are rumours, they are sent this often beside the questions and answers that they ride on; zero:
    /// they only ride.
    pub gossip_period: Duration,
    /// To so many members.
    pub gossip_fanout: usize,
    /// Only rumours that were sent fewer times than this are worth packets of their own; the others ride.
    pub gossip_sends: usize,
    /// A fact is sent `lambda x ln(n + 1)` times.
    pub lambda: f64,
    /// Most facts in a packet; at most [`super::FACTS_MAX`] where packets are encoded.
    pub packet_facts: usize,
    /// Most bytes of them, the sender's word on itself among them; at most [`super::FACTS_BYTES_MAX`] likewise.
    pub packet_bytes: usize,
    /// Shortest suspicion: `alpha x max(1, log10 n)` periods, but never under `floor`.
    pub alpha: f64,
    /// Periods that no suspicion is shorter than, however small the group.
    pub floor: f64,
    /// Longest suspicion, in shortest ones.
    pub beta: f64,
    /// Confirmations that bring the longest down to the shortest (Lifeguard's K, at most 3); 0: always the shortest.
    pub confirmations: usize,
    /// Lifeguard's LHA-Probe: rounds grow with the node's doubt in itself, and proxies answer with nacks.
    pub local_health: bool,
    /// Lifeguard's buddy system: whatever goes to a suspect says first what it is suspected of.
    pub buddy: bool,
    /// Silence awareness: who hears nobody lets no suspicion run out; whom most do not answer, none that is its alone.
    pub silence: bool,
    /// Rounds that ended late, or before queued packets were read, prove nothing.
    pub lateness: bool,
    /// A death told by others counts from this many witnesses on, the teller among them; below, it is an accusation.
    pub witnesses: usize,
    /// Every packet states its sender's incarnation, and whoever tells old news is answered with the newer.
    pub own_word: bool,
    /// Rounds grow with the measured round trips.
    pub measured: bool,
    /// Periods between exchanges of views with a random member.
    pub exchange_periods: u64,
    /// Exchanges compare digests first, and carry what differs.
    pub digest: bool,
    /// Periods between questions to one of the dead; 0: never.
    pub second_chance_periods: u64,
}

impl Rules {
    /// The rules of a node.
    pub fn ours(period: Duration, probe_timeout: Duration) -> Self {
        Self {
            period,
            probe_timeout,
            proxies: 3,
            gossip_period: period.scale(1, 5),
            gossip_fanout: 3,
            gossip_sends: 6,
            lambda: 3.0,
            packet_facts: super::FACTS_MAX,
            packet_bytes: super::FACTS_BYTES_MAX,
            alpha: 1.7,
            floor: 5.0,
            beta: 6.0,
            confirmations: 2,
            local_health: true,
            buddy: true,
            silence: true,
            lateness: true,
            witnesses: 2,
            own_word: true,
            measured: true,
            exchange_periods: 30,
            digest: true,
            second_chance_periods: 10,
        }
    }

    /// SWIM with suspicion as memberlist has it (Lifeguard paper, table I, first row): 1 s rounds, 200 ms gossip to
    /// three, whole views every 90 s.
    pub fn swim() -> Self {
        Self {
            gossip_sends: usize::MAX,
            lambda: 2.5,
            packet_facts: 100,
            packet_bytes: usize::MAX,
            alpha: 5.0,
            floor: 0.0,
            beta: 1.0,
            confirmations: 0,
            local_health: false,
            buddy: false,
            silence: false,
            lateness: false,
            witnesses: 1,
            own_word: false,
            measured: false,
            exchange_periods: 90,
            digest: false,
            second_chance_periods: 0,
            ..Self::ours(Duration::from_secs(1), Duration::from_millis(500))
        }
    }

    /// SWIM and all three parts of Lifeguard (table I, last row).
    pub fn lifeguard() -> Self {
        Self { beta: 6.0, confirmations: 3, local_health: true, buddy: true, ..Self::swim() }
    }

    /// Lifeguard with memberlist's LAN defaults of 2025: alpha 4, and so two confirmations.
    pub fn memberlist() -> Self {
        Self { alpha: 4.0, confirmations: 2, ..Self::lifeguard() }
    }

    /// The shortest suspicion in a group of `members`, this node included.
    pub fn shortest(&self, members: usize) -> Duration {
        let periods = self.alpha * libm::log10(members as f64).max(1.0);
        let micro = 1e6 * periods.max(self.floor);
        self.period.scale(micro as u64, 1_000_000)
    }
}
