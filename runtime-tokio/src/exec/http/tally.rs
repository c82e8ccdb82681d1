//! What one load thread has measured: counters, histograms and the current window.
//!
//! Its own thread writes after each request; the executor's thread copies it at each sample. Nothing is sent for a
//! request, and the lock is nearly never contended.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::jobs::{Totals, Window};
use tidegate_core::stats::{Recorder, WindowRecorder};

use super::failure::Failure;

/// One request that has ended.
pub(super) struct Sample {
    /// When it ended, since the shard began.
    pub ended: Duration,
    /// From the intended start.
    pub latency: Duration,
    /// From the moment it was handed to an open connection; `None` where it never was.
    pub service: Option<Duration>,
    /// Bytes of the body that was sent.
    pub bytes_out: u64,
    /// Bytes of bodies received, or why it failed.
    pub result: Result<u64, Failure>,
}

/// The numbers of one load thread.
#[derive(Clone)]
pub(super) struct Tally {
    ok: u64,
    err: u64,
    dropped: u64,
    bytes_in: u64,
    bytes_out: u64,
    latency: Recorder,
    service: Recorder,
    failures: BTreeMap<Failure, u64>,
    users: Users,
}

/// How long virtual users were active.
#[derive(Clone, Copy, Default)]
pub(super) struct Users {
    active: u32,
    ended_ms: u64,
}

impl Users {
    /// Milliseconds of all users together, when so much of the run is over.
    pub(super) fn active_ms(self, elapsed: Duration) -> u64 {
        self.ended_ms + u64::from(self.active) * elapsed.as_millis() as u64
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            ok: 0,
            err: 0,
            dropped: 0,
            bytes_in: 0,
            bytes_out: 0,
            latency: Recorder::default(),
            service: Recorder::default(),
            failures: BTreeMap::new(),
            users: Users::default(),
        }
    }

    pub(super) fn users_begin(&mut self, count: u32) {
        self.users.active += count;
    }

    /// A user has nothing left to do. What it did after the planned end is not delivered load.
    pub(super) fn user_ends(&mut self, elapsed: Duration, planned: Duration) {
        self.users.active -= 1;
        self.users.ended_ms += elapsed.min(planned).as_millis() as u64;
    }

    pub(super) fn drop_arrivals(&mut self, count: u64) {
        self.dropped += count;
    }

    fn record(&mut self, sample: &Sample) {
        self.latency.record(micros(sample.latency));
        if let Some(service) = sample.service {
            self.service.record(micros(service));
        }
        self.bytes_out += sample.bytes_out;
        match sample.result {
            Ok(bytes) => {
                self.ok += 1;
                self.bytes_in += bytes;
            }
            Err(failure) => {
                self.err += 1;
                *self.failures.entry(failure).or_default() += 1;
            }
        }
    }

    /// As the core counts, when so much of the run is over.
    pub(super) fn totals(&self, elapsed: Duration, planned: Duration) -> Totals {
        let mut totals = Totals {
            ok: self.ok,
            err: self.err,
            dropped: self.dropped,
            vu_ms: self.users.active_ms(elapsed.min(planned)),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            elapsed_ms: u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX),
            latency: self.latency.sketch(),
            service: self.service.sketch(),
            errors: Vec::new(),
        };
        for (failure, count) in &self.failures {
            totals.count_error(&failure.to_string(), *count);
        }
        totals
    }
}

/// A tally and its windows.
pub(super) struct Book {
    pub tally: Tally,
    windows: Windows,
}

impl Book {
    pub(super) fn new(cut: WindowCut) -> Self {
        Self { tally: Tally::new(), windows: Windows::new(cut) }
    }

    /// Counts a request that has ended.
    pub(super) fn record(&mut self, sample: &Sample) {
        self.tally.record(sample);
        self.windows.record(sample);
    }

    /// A copy of the numbers, and the windows that have closed by now.
    pub(super) fn sample(&mut self, elapsed: Duration) -> (Tally, Vec<Window>) {
        self.windows.advance(elapsed);
        (self.tally.clone(), std::mem::take(&mut self.windows.closed))
    }

    /// All that is left at the end.
    pub(super) fn finish(&mut self) -> (Tally, Vec<Window>) {
        self.windows.close();
        (self.tally.clone(), std::mem::take(&mut self.windows.closed))
    }
}

/// Where windows begin and end: by the workflow's own elapsed time.
#[derive(Clone, Copy)]
pub(super) struct WindowCut {
    /// What earlier attempts of the shard have used.
    pub before: Duration,
    /// What this one is planned to take. Whatever ends later belongs to the second after the last.
    pub planned: Duration,
}

impl WindowCut {
    fn number(self, elapsed: Duration) -> u32 {
        let last = (self.before + self.planned).as_millis().div_ceil(1_000);
        // A day has fewer seconds than a u32.
        u128::from((self.before + elapsed).as_secs()).min(last) as u32
    }
}

struct Windows {
    cut: WindowCut,
    no: u32,
    ok: u64,
    err: u64,
    latency: WindowRecorder,
    closed: Vec<Window>,
}

impl Windows {
    fn new(cut: WindowCut) -> Self {
        let no = cut.number(Duration::ZERO);
        Self { cut, no, ok: 0, err: 0, latency: WindowRecorder::default(), closed: Vec::new() }
    }

    fn record(&mut self, sample: &Sample) {
        self.advance(sample.ended);
        self.latency.record(micros(sample.latency));
        match sample.result {
            Ok(_) => self.ok += 1,
            Err(_) => self.err += 1,
        }
    }

    /// Closes the window if this moment is past it.
    fn advance(&mut self, elapsed: Duration) {
        let no = self.cut.number(elapsed);
        if no > self.no {
            self.close();
            self.no = no;
        }
    }

    fn close(&mut self) {
        let (ok, err) = (std::mem::take(&mut self.ok), std::mem::take(&mut self.err));
        if ok + err > 0 {
            self.closed.push(Window { no: self.no, count: 1, ok, err, latency: self.latency.take() });
        }
    }
}

/// Adds the windows of one thread to those of others.
pub(super) fn merge_windows(into: &mut BTreeMap<u32, Window>, windows: Vec<Window>) {
    for window in windows {
        match into.get_mut(&window.no) {
            Some(known) => {
                known.ok += window.ok;
                known.err += window.err;
                known.latency.merge(&window.latency);
            }
            None => drop(into.insert(window.no, window)),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
