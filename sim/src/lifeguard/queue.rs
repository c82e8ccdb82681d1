//! What is to come, in order of time: a ring of ticks of about a millisecond, unordered until their turn, and a heap for
//! what lies beyond its two seconds, which is little. Whole groups spend less on it than on one heap of everything.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nanoseconds of a tick, as a power of two.
const TICK_BITS: u32 = 20;
/// Ticks of the ring.
const TICKS: u64 = 2_048;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When.
    pub at: u64,
    /// Tells entries of one moment apart, in the order in which they came.
    seq: u32,
    /// What; the owner's.
    pub what: u32,
}

/// Entries by (time, order of coming). Nothing is pushed at a time before that of an entry which was taken.
#[derive(Clone, Debug)]
pub struct Queue {
    seq: u32,
    /// The tick whose entries have their turn, and they and whatever else lies before its end, the last first.
    tick: u64,
    turn: Vec<Entry>,
    /// Entries of the ticks behind it, and which ticks have any.
    ring: Vec<Vec<Entry>>,
    filled: [u64; (TICKS / 64) as usize],
    far: BinaryHeap<Reverse<Entry>>,
}

impl Default for Queue {
    fn default() -> Self {
        let ring = (0..TICKS).map(|_| Vec::new()).collect();
        let filled = [0; (TICKS / 64) as usize];
        Self { seq: 0, tick: 0, turn: Vec::new(), ring, filled, far: BinaryHeap::new() }
    }
}

impl Queue {
    /// Adds an entry.
    pub fn push(&mut self, at: u64, what: u32) {
        self.seq = self.seq.wrapping_add(1);
        let entry = Entry { at, seq: self.seq, what };
        let tick = at >> TICK_BITS;
        if tick <= self.tick {
            let place = self.turn.partition_point(|other| *other > entry);
            self.turn.insert(place, entry);
        } else if tick < self.tick + TICKS {
            let place = tick % TICKS;
            self.ring[place as usize].push(entry);
            self.filled[(place / 64) as usize] |= 1 << (place % 64);
        } else {
            self.far.push(Reverse(entry));
        }
    }

    /// Takes the first entry, if it is not after `end`.
    #[inline]
    pub fn pop_until(&mut self, end: u64) -> Option<Entry> {
        if self.turn.is_empty() {
            self.next_turn();
        }
        self.turn.last().filter(|entry| entry.at <= end)?;
        self.turn.pop()
    }

    /// Goes on to the first tick that has entries, if any has.
    fn next_turn(&mut self) {
        let far = self.far.peek().map(|Reverse(entry)| entry.at >> TICK_BITS);
        let Some(tick) = self.next_in_ring().into_iter().chain(far).min() else { return };
        self.tick = tick;
        // The ring holds less than one round: whatever lies at this place is of this tick.
        let place = tick % TICKS;
        std::mem::swap(&mut self.turn, &mut self.ring[place as usize]);
        self.filled[(place / 64) as usize] &= !(1 << (place % 64));
        while let Some(Reverse(entry)) = self.far.peek().copied().filter(|it| it.0.at >> TICK_BITS <= tick) {
            self.far.pop();
            self.turn.push(entry);
        }
        self.turn.sort_unstable_by(|one, other| other.cmp(one));
    }

    /// The first tick of the ring, after the present one, that has entries.
    fn next_in_ring(&self) -> Option<u64> {
        let first = self.tick + 1;
        let (word, bit) = ((first % TICKS / 64) as usize, first % 64);
        let words = self.filled.len();
        (0..=words).find_map(|step| {
            let at = (word + step) % words;
            let bits = match step {
                0 => self.filled[at] >> bit << bit,
                // Once around: what stands before the first bit of the first word.
                _ if step == words => self.filled[at] & ((1 << bit) - 1),
                _ => self.filled[at],
            };
            let place = at as u64 * 64 + u64::from(bits.trailing_zeros());
            (bits != 0).then(|| first + (place + TICKS - first % TICKS) % TICKS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::mix;
    use super::*;

    /// Whatever is pushed comes out as a heap of all has it.
    #[test]
    fn it_does_what_one_heap_does() {
        for seed in 0..20u64 {
            let (mut queue, mut heap, mut now) = (Queue::default(), BinaryHeap::new(), 0u64);
            for n in 0..20_000u32 {
                let draw = mix(mix(seed) ^ u64::from(n));
                // From the same moment to hours away.
                let wait = (draw >> 16) & ((1 << (draw % 45)) - 1);
                if draw >> 8 & 7 < 4 {
                    queue.push(now + wait, n);
                    heap.push(Reverse((now + wait, n)));
                    continue;
                }
                let end = now + wait;
                let expected = heap.peek().map(|Reverse((at, _))| *at).filter(|at| *at <= end);
                let taken = queue.pop_until(end);
                assert_eq!(taken.map(|entry| entry.at), expected);
                if let Some(entry) = taken {
                    assert_eq!(heap.pop(), Some(Reverse((entry.at, entry.what))));
                    now = entry.at;
                } else {
                    now = end;
                }
            }
            let rest = std::iter::from_fn(|| queue.pop_until(u64::MAX)).map(|entry| (entry.at, entry.what));
            let expected = std::iter::from_fn(|| heap.pop()).map(|Reverse(entry)| entry);
            assert!(rest.eq(expected));
        }
    }
}
