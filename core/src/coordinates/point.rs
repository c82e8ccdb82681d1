//! A place: a vector, a height above it, an adjustment and an error. What the wire carries of it.
//!
//! Seconds and `f64` inside, microseconds and integers outside. Sums run over the dimensions in order, roots are
//! `libm`'s: the same input gives the same bits everywhere.

use minicbor::{Decode, Encode};

use super::ERROR_MAX;
use crate::rng::NodeRng;

/// Dimensions of the vector. More cost bytes, fewer fold the Internet: the paper finds 2 or 3 and a height to do; 8 leave
/// the nodes of equidistant datacenters room to be equidistant.
pub const DIMENSIONS: usize = 8;
/// No component is larger, in microseconds: 10 s.
const REACH_US: i32 = 10_000_000;
/// The least height, in microseconds: an access link takes time.
const HEIGHT_MIN_US: u32 = 10;
/// Gravity (Ledlie, Gardner, Seltzer, NSDI 2007): at this distance from the origin, in seconds, it pulls by as much.
const GRAVITY_SECONDS: f64 = 150.0;
/// Two places nearer than this, in seconds, have no direction.
const COINCIDENT: f64 = 1e-6;
const MICRO: f64 = 1e-6;

/// A place as it is told to others. It has no form for what is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Coordinate {
    /// The vector, in microseconds of round trip; each within 10 s of the origin.
    #[n(0)]
    pub at_us: [i32; DIMENSIONS],
    /// The height, in microseconds; 10 us to 10 s.
    #[n(1)]
    pub height_us: u32,
    /// What measurements exceed predictions by, in microseconds; within 10 s of zero.
    #[n(2)]
    pub adjustment_us: i32,
    /// The relative error in thousandths; at most 1,500.
    #[n(3)]
    pub error_permille: u16,
}

impl Coordinate {
    /// Whether every part lies inside its bounds.
    pub fn is_legal(&self) -> bool {
        let inside = |part: &i32| part.unsigned_abs() <= REACH_US.unsigned_abs();
        self.at_us.iter().all(inside)
            && inside(&self.adjustment_us)
            && (HEIGHT_MIN_US..=REACH_US.unsigned_abs()).contains(&self.height_us)
            && f64::from(self.error_permille) <= ERROR_MAX * 1e3
    }
}

/// A place to count with, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    at: [f64; DIMENSIONS],
    pub height: f64,
    pub adjustment: f64,
    pub error: f64,
}

impl Point {
    pub fn origin() -> Self {
        let height = f64::from(HEIGHT_MIN_US) * MICRO;
        Self { at: [0.0; DIMENSIONS], height, adjustment: 0.0, error: ERROR_MAX }
    }

    pub fn from_wire(wire: Coordinate) -> Self {
        Self {
            at: wire.at_us.map(|part| f64::from(part) * MICRO),
            height: f64::from(wire.height_us) * MICRO,
            adjustment: f64::from(wire.adjustment_us) * MICRO,
            error: f64::from(wire.error_permille) / 1e3,
        }
    }

    pub fn to_wire(self) -> Coordinate {
        let micros = |seconds: f64| libm::round(seconds / MICRO) as i32;
        Coordinate {
            at_us: self.at.map(micros),
            height_us: micros(self.height).unsigned_abs().max(HEIGHT_MIN_US),
            adjustment_us: micros(self.adjustment),
            error_permille: libm::ceil(self.error * 1e3) as u16,
        }
    }

    /// Distance and heights.
    pub fn raw_round_trip(&self, other: &Self) -> f64 {
        length(&self.away_from(other)) + self.height + other.height
    }

    /// The same, adjusted; without the adjustment where that would leave nothing.
    pub fn round_trip(&self, other: &Self) -> f64 {
        let raw = self.raw_round_trip(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }

    /// Moves by `force` seconds away from the other (towards it where negative), and pulls a little to the origin. Places
    /// that coincide part in a random direction: along one axis all nodes would stay on a line.
    pub fn push(&mut self, force: f64, other: &Self, rng: &mut NodeRng) {
        let mut away = self.away_from(other);
        let distance = length(&away);
        if distance > COINCIDENT {
            away = away.map(|part| part / distance);
            let lift = (force * (self.height + other.height) / distance).clamp(-force.abs(), force.abs());
            self.height = bounded(self.height + lift).max(f64::from(HEIGHT_MIN_US) * MICRO);
        } else {
            away = random_direction(rng);
        }
        for (part, direction) in self.at.iter_mut().zip(away) {
            *part += direction * force;
        }
        let from_origin = length(&self.at);
        let pull = from_origin / (GRAVITY_SECONDS * GRAVITY_SECONDS);
        self.at = self.at.map(|part| bounded(part - part * pull));
    }

    fn away_from(&self, other: &Self) -> [f64; DIMENSIONS] {
        let mut difference = self.at;
        for (part, theirs) in difference.iter_mut().zip(other.at) {
            *part -= theirs;
        }
        difference
    }
}

fn bounded(seconds: f64) -> f64 {
    let reach = f64::from(REACH_US) * MICRO;
    seconds.clamp(-reach, reach)
}

fn length(vector: &[f64; DIMENSIONS]) -> f64 {
    libm::sqrt(vector.iter().map(|part| part * part).sum())
}

/// A unit vector in no preferred direction: each part is a sum of uniform draws, which is nearly normal.
fn random_direction(rng: &mut NodeRng) -> [f64; DIMENSIONS] {
    const DRAWS: u64 = 6;
    let drawn = [(); DIMENSIONS]
        .map(|()| (0..DRAWS).map(|_| rng.below(2_000_001)).sum::<u64>() as f64 / 1e6 - DRAWS as f64);
    let drawn_length = length(&drawn);
    if drawn_length > COINCIDENT {
        return drawn.map(|part| part / drawn_length);
    }
    let mut axis = [0.0; DIMENSIONS];
    axis[0] = 1.0;
    axis
}
