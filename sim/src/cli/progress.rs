//! A line on a terminal that says how far a long command is.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::world::Verdict;

/// Characters of the bar.
const WIDTH: u64 = 24;
/// The line is written again after this long at the earliest.
const PAUSE: Duration = Duration::from_millis(150);

/// Counts what is done; shared by all threads. It writes to the standard error, and only to a terminal.
pub(super) struct Progress {
    what: String,
    all: u64,
    begin: Instant,
    seeds: AtomicU64,
    failed: AtomicU64,
    steps: AtomicU64,
    /// When the line was last written; `None` where nobody would see it.
    told: Option<Mutex<Instant>>,
}

impl Progress {
    pub(super) fn new(what: &str, all: u64) -> Self {
        let begin = Instant::now();
        let told = std::io::stderr().is_terminal().then(|| Mutex::new(begin));
        let zero = || AtomicU64::new(0);
        Self { what: what.into(), all, begin, seeds: zero(), failed: zero(), steps: zero(), told }
    }

    /// A run is over.
    pub(super) fn add(&self, verdict: &Verdict) {
        let seeds = self.seeds.fetch_add(1, Ordering::Relaxed) + 1;
        let failed = u64::from(verdict.violation.is_some());
        let failed = self.failed.fetch_add(failed, Ordering::Relaxed) + failed;
        let steps = self.steps.fetch_add(verdict.steps, Ordering::Relaxed) + verdict.steps;
        // Whoever is late leaves the line to the other.
        let Some(Ok(mut told)) = self.told.as_ref().map(Mutex::try_lock) else { return };
        if told.elapsed() >= PAUSE {
            *told = Instant::now();
            let line = line(&self.what, (seeds, self.all), failed, steps, self.begin.elapsed());
            let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
        }
    }

    /// Wipes the line.
    pub(super) fn end(&self) {
        if self.told.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, (seeds, all): (u64, u64), failed: u64, steps: u64, passed: Duration) -> String {
    let full = (seeds * WIDTH / all.max(1)).min(WIDTH) as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(WIDTH as usize - full));
    let a_second = |count: u64| count as f64 / passed.as_secs_f64().max(1e-9);
    format!(
        "{what} {bar} {seeds}/{all} seeds, {failed} failed, {:.0} seeds/s, {:.0} k events/s",
        a_second(seeds),
        a_second(steps) / 1e3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        let line = line("swarm", (50, 200), 1, 2_000_000, Duration::from_secs(2));
        assert_eq!(
            line,
            "swarm ██████░░░░░░░░░░░░░░░░░░ 50/200 seeds, 1 failed, 25 seeds/s, 1000 k events/s"
        );
    }
}
