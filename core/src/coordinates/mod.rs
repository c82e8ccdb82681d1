//! Where a node stands among the others: Vivaldi network coordinates (Dabek, Cox, Kaashoek, Morris, SIGCOMM 2004), with
//! the height of the paper's section 5.4, and the adjustment of Lee et al. (IMC 2006).
//!
//! | in | out |
//! |---|---|
//! | [`Coordinates::sample`]: a round trip to a peer, and where the peer says it stands | this node moves, or a typed refusal |
//! | [`Coordinates::predict`] | the round trip to a peer, as long as its word is not too old |
//! | [`Coordinates::upper_bound`] | a round trip that is seldom exceeded, for timeouts |
//! | [`Coordinates::own`] | what to tell others |
//!
//! It sends nothing and reads no clock. A prediction is never a measurement: those who route keep them apart by type.
//!
//! A peer may lie. It cannot say what is no number, since the wire carries microseconds as integers; what it says lies
//! inside bounds, or is refused; and one sample moves this node by at most [`GAIN`] of the round trip that *this node*
//! measured, whatever the peer claims (the published rule moves it by the claimed distance, which has no bound).

mod point;
#[cfg(test)]
mod tests;

pub use point::{Coordinate, DIMENSIONS};

use alloc::collections::BTreeMap;

use self::point::Point;
use crate::id::NodeId;
use crate::rng::NodeRng;
use crate::time::{Duration, Instant};

/// Share of the difference between prediction and measurement that one sample may correct (the paper's c_c and c_e).
pub const GAIN: f64 = 0.25;
/// The error that a node starts with, and the largest: relative, without unit.
pub const ERROR_MAX: f64 = 1.5;
/// A peer is trusted as if its error were at least this: one that claims to be perfect is not followed blindly.
const PEER_ERROR_MIN: f64 = 0.05;
/// Longest round trip that is a sample.
pub const RTT_MAX: Duration = Duration::from_secs(10);
/// A peer's word is used for this long.
pub const TTL: Duration = Duration::from_secs(300);
/// Most peers that are remembered; the one heard longest ago goes first.
pub const PEERS_MAX: usize = 4_096;
/// Round trips of a peer of which the median counts: one late answer is no distance.
const MEDIAN_OF: usize = 3;
/// Samples whose residual makes the adjustment.
const ADJUSTMENT_WINDOW: usize = 20;
/// Standard deviations that the upper bound lies above the prediction.
const SIGMAS: f64 = 2.0;
/// Bounds of a standard deviation, in seconds.
const SIGMA_SECONDS: (f64, f64) = (0.001, 0.5);
/// The machine's own stream of the node's randomness.
const STREAM: u64 = 0x434f_4f52;

/// Why a sample changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The round trip is zero or longer than [`RTT_MAX`].
    Rtt,
    /// The peer's coordinate lies outside its bounds.
    Coordinate,
}

/// One node's place, and what it knows of others.
#[derive(Clone, Debug)]
pub struct Coordinates {
    rng: NodeRng,
    own: Point,
    /// Seconds by which measurements exceeded raw distances, written in turn.
    residuals: [f64; ADJUSTMENT_WINDOW],
    samples: u32,
    peers: BTreeMap<NodeId, Known>,
}

/// A peer.
#[derive(Clone, Debug)]
struct Known {
    at: Point,
    heard: Instant,
    /// Its newest round trips in seconds, written in turn.
    rtts: [f64; MEDIAN_OF],
    taken: u32,
}

impl Coordinates {
    /// A node that knows nothing: at the origin, with the largest error. Nothing of it is kept over a restart.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            rng: NodeRng::new(seed, STREAM),
            own: Point::origin(),
            residuals: [0.0; ADJUSTMENT_WINDOW],
            samples: 0,
            peers: BTreeMap::new(),
        }
    }

    /// Where this node stands, as others are told.
    pub fn own(&self) -> Coordinate {
        self.own.to_wire()
    }

    /// How wrong its predictions are: relative, from 0 to [`ERROR_MAX`].
    pub fn error(&self) -> f64 {
        self.own.error
    }

    /// A round trip of this node's own, direct and first-hand, to a peer that says it stands there.
    ///
    /// # Errors
    ///
    /// A sample out of bounds changes nothing, not even what is known of the peer.
    pub fn sample(
        &mut self,
        now: Instant,
        peer: NodeId,
        rtt: Duration,
        theirs: Coordinate,
    ) -> Result<(), Refused> {
        if rtt == Duration::ZERO || rtt > RTT_MAX {
            return Err(Refused::Rtt);
        }
        let theirs = theirs.is_legal().then(|| Point::from_wire(theirs)).ok_or(Refused::Coordinate)?;
        let rtt = self.remember(now, peer, seconds(rtt), theirs);
        self.move_by(rtt, &theirs);
        Ok(())
    }

    /// The round trip to a peer, as far as coordinates tell; `None` where nothing (or nothing recent) is known of it.
    pub fn predict(&self, now: Instant, peer: NodeId) -> Option<Duration> {
        let known = self.fresh(now, peer)?;
        Some(duration(self.own.round_trip(&known.at)))
    }

    /// The prediction and [`SIGMAS`] standard deviations: seldom exceeded where both ends know their place. The error
    /// of each end is the relative standard deviation of its share.
    pub fn upper_bound(&self, now: Instant, peer: NodeId) -> Option<Duration> {
        let known = self.fresh(now, peer)?;
        let predicted = self.own.round_trip(&known.at);
        let error = libm::sqrt(self.own.error * self.own.error + known.at.error * known.at.error);
        let sigma = (predicted * error).clamp(SIGMA_SECONDS.0, SIGMA_SECONDS.1);
        Some(duration(predicted + SIGMAS * sigma))
    }

    fn fresh(&self, now: Instant, peer: NodeId) -> Option<&Known> {
        self.peers.get(&peer).filter(|known| now.since(known.heard) <= TTL)
    }

    /// Notes what a peer said; gives the round trip that counts.
    fn remember(&mut self, now: Instant, peer: NodeId, rtt: f64, at: Point) -> f64 {
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_MAX {
            let oldest = self.peers.iter().min_by_key(|(node, known)| (known.heard, **node));
            if let Some(oldest) = oldest.map(|(node, _)| *node) {
                self.peers.remove(&oldest);
            }
        }
        let fresh = || Known { at, heard: now, rtts: [rtt; MEDIAN_OF], taken: 0 };
        let known = self.peers.entry(peer).or_insert_with(fresh);
        known.at = at;
        known.heard = now;
        known.rtts[known.taken as usize % MEDIAN_OF] = rtt;
        known.taken = known.taken.wrapping_add(1);
        let mut sorted = known.rtts;
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[MEDIAN_OF / 2]
    }

    /// The paper's figure 3 with heights; `rtt` in seconds, greater than zero.
    fn move_by(&mut self, rtt: f64, theirs: &Point) {
        let predicted = self.own.raw_round_trip(theirs);
        let weight =
            self.own.error / (self.own.error + theirs.error.max(PEER_ERROR_MIN)).max(f64::MIN_POSITIVE);
        // Bounded by what was measured here: a peer far out of place pulls no harder than one at twice the distance.
        let difference = (rtt - predicted).clamp(-rtt, rtt);
        let relative = (difference / rtt).abs();
        let step = GAIN * weight;
        self.own.error = (relative * step + self.own.error * (1.0 - step)).clamp(0.0, ERROR_MAX);
        self.own.push(GAIN * weight * difference, theirs, &mut self.rng);

        let residual = (rtt - self.own.raw_round_trip(theirs)).clamp(-rtt, rtt);
        self.residuals[self.samples as usize % ADJUSTMENT_WINDOW] = residual;
        self.samples = self.samples.wrapping_add(1);
        self.own.adjustment = self.residuals.iter().sum::<f64>() / (2.0 * ADJUSTMENT_WINDOW as f64);
    }
}

fn seconds(span: Duration) -> f64 {
    span.as_nanos() as f64 / 1e9
}

fn duration(seconds: f64) -> Duration {
    Duration::from_nanos((seconds.max(0.0) * 1e9) as u64).min(RTT_MAX)
}
