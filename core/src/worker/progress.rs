//! Progress of one run: the newest cumulative numbers, and the closed windows that no manager has yet.
//!
//! Numbers only grow and a newer report replaces an older one, so a lost message costs nothing. Windows are kept until
//! their receipt; beyond the bound neighbours are merged, so that a long silence costs resolution and no memory.

use alloc::vec::Vec;

use crate::jobs::{Totals, Window};
use crate::wire::MAX_SHARD_WINDOWS;

/// The progress cell of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Number of the last message.
    pub seq: u64,
    /// The newest numbers.
    pub totals: Totals,
    /// Windows without a receipt, in order.
    windows: Vec<Window>,
    /// Something is new since the last message.
    pub dirty: bool,
}

impl Progress {
    /// Takes a report of the executor in. A report that takes numbers back is refused: `false`, nothing changes.
    pub fn update(&mut self, totals: Totals, windows: Vec<Window>) -> bool {
        if !totals.covers(&self.totals) {
            return false;
        }
        self.totals = totals;
        self.dirty = true;
        for window in windows {
            let follows = self.windows.last().is_none_or(|last| end(last) <= window.no);
            if follows && window.count > 0 {
                self.windows.push(window);
            }
            if self.windows.len() > MAX_SHARD_WINDOWS {
                self.merge_neighbours();
            }
        }
        true
    }

    /// Whether there is something to tell: news, or windows without a receipt.
    pub fn is_due(&self) -> bool {
        self.dirty || !self.windows.is_empty()
    }

    /// The next message's number and windows.
    pub fn next_message(&mut self) -> (u64, Vec<Window>) {
        self.seq += 1;
        self.dirty = false;
        (self.seq, self.windows.clone())
    }

    /// Drops the windows before `through`, which have arrived.
    pub fn acknowledge(&mut self, through: u32) {
        self.windows.retain(|window| end(window) > through);
    }

    /// Merges the two neighbours that cover the least time; the oldest of them, where several do.
    fn merge_neighbours(&mut self) {
        let covered = |at: usize| end(&self.windows[at + 1]).saturating_sub(self.windows[at].no);
        let Some(at) = (0..self.windows.len() - 1).min_by_key(|&at| covered(at)) else { return };
        let span = covered(at);
        let later = self.windows.remove(at + 1);
        let window = &mut self.windows[at];
        window.count = u16::try_from(span).unwrap_or(u16::MAX);
        window.ok = window.ok.saturating_add(later.ok);
        window.err = window.err.saturating_add(later.err);
        window.latency.merge(&later.latency);
    }
}

/// The first second after a window.
fn end(window: &Window) -> u32 {
    window.no.saturating_add(u32::from(window.count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn window(no: u32) -> Window {
        Window { no, count: 1, ok: 1, ..Window::default() }
    }

    fn totals(ok: u64) -> Totals {
        Totals { ok, ..Totals::default() }
    }

    #[test]
    fn windows_stay_until_their_receipt() {
        let mut cell = Progress::default();
        assert!(cell.update(totals(2), vec![window(0), window(1)]));
        assert_eq!(cell.next_message(), (1, vec![window(0), window(1)]));
        assert!(cell.is_due(), "no receipt yet");
        cell.acknowledge(1);
        assert_eq!(cell.next_message(), (2, vec![window(1)]));
        cell.acknowledge(2);
        assert!(!cell.is_due());
    }

    #[test]
    fn numbers_never_go_back() {
        let mut cell = Progress::default();
        assert!(cell.update(totals(5), vec![]));
        assert!(!cell.update(totals(4), vec![window(0)]));
        assert_eq!((cell.totals.ok, cell.next_message()), (5, (1, vec![])));
        assert!(cell.update(totals(5), vec![window(3)]));
        assert!(cell.update(totals(5), vec![window(3), window(2), window(4)]));
        assert_eq!(cell.next_message().1, [window(3), window(4)], "repeated and older windows are dropped");
    }

    proptest! {
        /// However long nothing is acknowledged, memory is bounded and no count is lost or doubled.
        #[test]
        fn a_long_silence_costs_resolution_and_nothing_else(gaps in proptest::collection::vec(1u32..4, 0..300)) {
            let mut cell = Progress::default();
            let mut no = 0;
            for gap in &gaps {
                no += gap;
                prop_assert!(cell.update(totals(0), vec![window(no)]));
            }
            let (_, windows) = cell.next_message();
            prop_assert!(windows.len() <= MAX_SHARD_WINDOWS);
            prop_assert_eq!(windows.iter().map(|window| window.ok).sum::<u64>(), gaps.len() as u64);
            prop_assert!(windows.is_sorted_by(|a, b| end(a) <= b.no));
        }
    }
}
