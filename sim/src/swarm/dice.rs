//! Draws by name: one more draw changes no other.

use crate::world::{About, Draw, Fate, key};

/// Named draws of one seed.
#[derive(Clone, Copy)]
pub(super) struct Dice(Fate);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(Fate::new(seed))
    }

    fn draw(self, what: &str, number: u64) -> Draw {
        self.0.decide(About::Swarm, key(what), number)
    }

    pub fn below(self, what: &str, number: u64, bound: u64) -> u64 {
        self.draw(what, number).below(bound)
    }

    /// Both ends are in it.
    pub fn range(self, what: &str, number: u64, low: u64, high: u64) -> u64 {
        low + self.below(what, number, high - low + 1)
    }

    pub fn percent(self, what: &str, number: u64, percent: u16) -> bool {
        self.draw(what, number).permille(percent * 10)
    }

    pub fn one_of<T: Clone>(self, what: &str, number: u64, choices: &[T]) -> T {
        choices[self.below(what, number, choices.len() as u64) as usize].clone()
    }
}
