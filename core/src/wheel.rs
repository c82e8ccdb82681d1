//! The one timer table of a node.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// Deadlines by key. A key has at most one; arming it again moves it. Due keys come out in order of (time, key).
#[derive(Clone, Debug)]
pub struct Wheel<K> {
    due: BTreeSet<(Instant, K)>,
    at: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> Default for Wheel<K> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), at: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Wheel<K> {
    /// Sets the key's deadline, replacing an earlier one.
    pub fn arm(&mut self, key: K, at: Instant) {
        self.disarm(key);
        self.at.insert(key, at);
        self.due.insert((at, key));
    }

    /// Removes the key's deadline; tells whether there was one.
    pub fn disarm(&mut self, key: K) -> bool {
        match self.at.remove(&key) {
            Some(at) => self.due.remove(&(at, key)),
            None => false,
        }
    }

    /// The key's deadline.
    pub fn deadline(&self, key: K) -> Option<Instant> {
        self.at.get(&key).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the next key whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        let (at, key) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        self.at.remove(&key);
        Some((at, key))
    }

    /// All armed keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.at.keys()
    }

    /// How many deadlines are armed.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether none is armed.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}
