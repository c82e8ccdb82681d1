//! Finding a place by the hash of an id: one look-up reads one line of memory here, and the row that it names.
//!
//! An open table, at most seven eighths full. An entry holds 16 bits of the hash and a place; where it belongs follows
//! from those bits, so growing and removing read no row.

use alloc::vec::Vec;

/// A place in the owner's list, below 65,535.
pub type Ix = u32;
/// Fewest entries of a table that has any.
const LEAST: usize = 16;

/// Places by hash. Nothing follows the order of the entries.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// A power of two of entries: `bits << 16 | place + 1`; 0 is free.
    entries: Vec<u32>,
    used: usize,
}

impl Index {
    /// How many places there are.
    pub fn len(&self) -> usize {
        self.used
    }

    /// The place with this hash that is the one.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(Ix) -> bool) -> Option<Ix> {
        let bits = bits_of(hash);
        let mut at = self.home(bits);
        loop {
            let entry = *self.entries.get(at)?;
            if entry == 0 {
                return None;
            }
            if entry >> 16 == bits && is_it(place_of(entry)) {
                return Some(place_of(entry));
            }
            at = (at + 1) & (self.entries.len() - 1);
        }
    }

    /// Adds a place that is not there.
    pub fn insert(&mut self, hash: u64, ix: Ix) {
        if 8 * (self.used + 1) > 7 * self.entries.len() {
            let double = alloc::vec![0; LEAST.max(2 * self.entries.len())];
            for entry in core::mem::replace(&mut self.entries, double) {
                if entry != 0 {
                    self.put(entry);
                }
            }
        }
        self.put(bits_of(hash) << 16 | (ix + 1));
        self.used += 1;
    }

    /// Removes a place.
    pub fn remove(&mut self, hash: u64, ix: Ix) {
        let gone = bits_of(hash) << 16 | (ix + 1);
        let mut hole = self.home(gone >> 16);
        while self.entries[hole] != gone {
            assert!(self.entries[hole] != 0, "only what was inserted is removed");
            hole = self.after(hole);
        }
        // Whoever stands behind and would be found from the hole on moves into it.
        let mut at = hole;
        loop {
            at = self.after(at);
            let entry = self.entries[at];
            if entry == 0 {
                break;
            }
            if self.steps(self.home(entry >> 16), at) >= self.steps(hole, at) {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = 0;
        self.used -= 1;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<u32>()
    }

    fn put(&mut self, entry: u32) {
        let mut at = self.home(entry >> 16);
        while self.entries[at] != 0 {
            at = self.after(at);
        }
        self.entries[at] = entry;
    }

    /// Where an entry with these bits belongs.
    #[inline]
    fn home(&self, bits: u32) -> usize {
        // An empty table has no entry at 0 either.
        (bits as usize * self.entries.len()) >> 16
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.entries.len() - 1)
    }

    fn steps(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.entries.len() - 1)
    }
}

#[inline]
const fn bits_of(hash: u64) -> u32 {
    (hash >> 48) as u32
}

#[inline]
const fn place_of(entry: u32) -> Ix {
    (entry & 0xffff) - 1
}

/// The hash of an id: two words folded by one wide multiplication (as in wyhash); the same on every platform. With a
/// salt that nobody knows, nobody can choose ids that collide.
#[inline]
pub fn hash(salt: u64, id: &[u8; 16]) -> u64 {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&id[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        wide as u64 ^ (wide >> 64) as u64
    };
    let first = fold(word(0) ^ salt ^ 0xa076_1d64_78bd_642f, word(8) ^ 0xe703_7ed1_a0b4_28db);
    fold(first ^ salt.rotate_left(32), 0x8ebc_6af0_9c88_c6e3)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Hashes of few values, so that many share a home and the end of the table runs over into its beginning.
        #[test]
        fn it_does_what_a_map_does(ops in vec((0u32..60, any::<bool>()), 0..400), bits in 0u64..5, high: bool) {
            let hash = |key: u32| {
                let bits = u64::from(key) % (1 << bits);
                if high { (u64::MAX - bits) << 48 } else { bits << 48 }
            };
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            let mut places: Vec<Ix> = (0..60).collect();
            for (key, remove) in ops {
                match (model.get(&key).copied(), remove) {
                    (Some(ix), true) => {
                        index.remove(hash(key), ix);
                        model.remove(&key);
                        places.push(ix);
                    }
                    (None, false) => {
                        let ix = places.pop().expect("there are as many as keys");
                        index.insert(hash(key), ix);
                        model.insert(key, ix);
                    }
                    _ => {}
                }
                prop_assert_eq!(index.len(), model.len());
                prop_assert!(8 * index.len() <= 7 * index.entries.len());
                for key in 0..60 {
                    let known = model.get(&key).copied();
                    prop_assert_eq!(index.find(hash(key), |ix| Some(ix) == known), known);
                }
            }
        }
    }
}
