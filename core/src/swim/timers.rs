//! The machine's deadlines. Those that there is one of each lie in a row inside the machine, where looking for the
//! earliest reads a line of memory; those of members and of others' questions lie in a wheel.

use super::Timer;
use crate::time::Instant;
use crate::wheel::Wheel;

/// The timers that there is one of, in their order: of two at one moment the first comes first.
const SINGLE: [Timer; 7] = [
    Timer::Period,
    Timer::Direct,
    Timer::Gossip,
    Timer::Refute,
    Timer::Page,
    Timer::Exchange,
    Timer::SecondChance,
];
/// Stands for no deadline: none is ever reached there.
const NEVER: Instant = Instant::FAR_FUTURE;

/// Deadlines by timer, taken out in order of (time, timer).
#[derive(Clone, Debug)]
pub struct Timers {
    single: [Instant; SINGLE.len()],
    many: Wheel<Timer>,
}

impl Default for Timers {
    fn default() -> Self {
        Self { single: [NEVER; SINGLE.len()], many: Wheel::default() }
    }
}

impl Timers {
    /// Sets a deadline, replacing an earlier one of this timer.
    #[inline]
    pub fn arm(&mut self, timer: Timer, at: Instant) {
        match place(timer) {
            Some(place) => self.single[place] = at,
            None => self.many.arm(timer, at),
        }
    }

    /// Removes a deadline.
    #[inline]
    pub fn disarm(&mut self, timer: Timer) {
        match place(timer) {
            Some(place) => self.single[place] = NEVER,
            None => {
                self.many.disarm(timer);
            }
        }
    }

    /// A timer's deadline.
    #[cfg(test)]
    pub fn deadline(&self, timer: Timer) -> Option<Instant> {
        match place(timer) {
            Some(place) => Some(self.single[place]).filter(|at| *at < NEVER),
            None => self.many.deadline(timer),
        }
    }

    /// The earliest deadline and its timer.
    #[inline]
    pub fn peek(&self) -> Option<(Instant, Timer)> {
        let (mut first, mut earliest) = (0, self.single[0]);
        for (place, at) in self.single.iter().enumerate().skip(1) {
            if *at < earliest {
                (first, earliest) = (place, *at);
            }
        }
        let single = (earliest < NEVER).then(|| (earliest, SINGLE[first]));
        match (single, self.many.peek()) {
            (Some(single), Some(many)) => Some(single.min(many)),
            (single, many) => single.or(many),
        }
    }

    /// Takes out the next timer whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        let (at, timer) = self.peek().filter(|(at, _)| *at <= now)?;
        self.disarm(timer);
        Some((at, timer))
    }
}

#[inline]
const fn place(timer: Timer) -> Option<usize> {
    Some(match timer {
        Timer::Period => 0,
        Timer::Direct => 1,
        Timer::Gossip => 2,
        Timer::Refute => 3,
        Timer::Page => 4,
        Timer::Exchange => 5,
        Timer::SecondChance => 6,
        Timer::Relay(_) | Timer::Suspicion(_) | Timer::Forget(_) => return None,
    })
}
