//! The open model: arrivals on a schedule that knows nothing of responses.
//!
//! Each load thread has its share of the schedule and its own virtual users. An arrival goes to the user that became
//! free last, so that no more connections are open than the load needs. With no user free it waits, and its latency
//! counts from its moment on the schedule all the same; one that waited too long is dropped and counted.

use std::future::poll_fn;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::timer::Timer;

/// When the arrivals of one load thread are.
#[derive(Clone, Copy)]
pub(super) struct Schedule {
    /// When the shard begins.
    pub begin: Instant,
    /// For how long there are arrivals.
    pub planned: Duration,
    /// Arrivals of the whole shard in 1,000 s.
    pub rate_milli: u64,
    /// Which arrival of the shard is the first of this thread.
    pub first: u64,
    /// How many threads share the schedule: this one has every so-manyeth arrival.
    pub step: u64,
}

impl Schedule {
    /// Nanoseconds in the 1,000 s of a rate.
    const RATE_NANOS: u128 = 1_000_000_000_000;

    /// When this thread's n-th arrival is; `None` behind the last.
    fn at(&self, n: u64) -> Option<Instant> {
        let place = u128::from(self.first) + u128::from(n) * u128::from(self.step);
        let nanos = place * Self::RATE_NANOS / u128::from(self.rate_milli);
        (nanos < self.planned.as_nanos()).then(|| self.begin + Duration::from_nanos(nanos as u64))
    }

    /// How many of this thread's arrivals lie before a moment.
    fn count_before(&self, moment: Instant) -> u64 {
        let nanos = moment.saturating_duration_since(self.begin).min(self.planned).as_nanos();
        let places = (nanos * u128::from(self.rate_milli)).div_ceil(Self::RATE_NANOS);
        // At most 10 million a second for a day.
        (places as u64).saturating_sub(self.first).div_ceil(self.step)
    }
}

/// The arrivals of one load thread, and who takes them.
pub(super) struct Arrivals {
    schedule: Schedule,
    start_within: Duration,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// The first arrival that is neither given to a user nor dropped.
    next: u64,
    dropped: u64,
    closed: bool,
    /// Users without work; the last one became free last.
    idle: Vec<usize>,
    users: Vec<Slot>,
}

#[derive(Default)]
struct Slot {
    given: Option<Instant>,
    is_idle: bool,
    waker: Option<Waker>,
}

impl Arrivals {
    pub(super) fn new(schedule: Schedule, start_within: Duration, users: usize) -> Self {
        let users = std::iter::repeat_with(Slot::default).take(users).collect();
        let state = State { next: 0, dropped: 0, closed: false, idle: Vec::new(), users };
        Self { schedule, start_within, state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The moment that the user's next iteration was to start at; `None` when there is no more to do.
    pub(super) async fn next(&self, user: usize) -> Option<Instant> {
        poll_fn(|cx| {
            let mut state = self.lock();
            if let Some(at) = state.users[user].given.take() {
                return Poll::Ready(Some(at));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            let now = Instant::now();
            self.drop_late(&mut state, now);
            if let Some(at) = self.schedule.at(state.next).filter(|at| *at <= now) {
                state.next += 1;
                return Poll::Ready(Some(at));
            }
            let slot = &mut state.users[user];
            slot.waker = Some(cx.waker().clone());
            if !std::mem::replace(&mut slot.is_idle, true) {
                state.idle.push(user);
                if state.idle.len() == 1 {
                    self.changed.notify_one();
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Hands out arrivals at their moments, until the planned time is over and none is left, or it is closed.
    pub(super) async fn run(&self, timer: &Timer) -> io::Result<()> {
        let end = self.schedule.begin + self.schedule.planned;
        loop {
            let now = Instant::now();
            let wake_at = {
                let mut state = self.lock();
                self.drop_late(&mut state, now);
                self.hand_out(&mut state, now);
                match self.schedule.at(state.next) {
                    _ if state.closed => return Ok(()),
                    Some(at) if state.idle.is_empty() => at + self.start_within + Duration::from_nanos(1),
                    Some(at) => at,
                    None if now >= end => break,
                    None => end,
                }
            };
            tokio::select! {
                slept = timer.sleep_until(wake_at) => slept?,
                () = self.changed.notified() => {}
            }
        }
        self.close(end);
        Ok(())
    }

    fn hand_out(&self, state: &mut State, now: Instant) {
        while let Some(at) = self.schedule.at(state.next).filter(|at| *at <= now) {
            let Some(user) = state.idle.pop() else { return };
            state.next += 1;
            let slot = &mut state.users[user];
            (slot.given, slot.is_idle) = (Some(at), false);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    fn drop_late(&self, state: &mut State, now: Instant) {
        if let Some(oldest) = now.checked_sub(self.start_within) {
            let started_by = self.schedule.count_before(oldest);
            state.dropped += started_by.saturating_sub(state.next);
            state.next = state.next.max(started_by);
        }
    }

    /// Ends it: what should have started by this moment and has not is dropped, and users without work are told.
    pub(super) fn close(&self, now: Instant) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.closed, true) {
            let due = self.schedule.count_before(now + Duration::from_nanos(1));
            state.dropped += due.saturating_sub(state.next);
            state.next = state.next.max(due);
        }
        state.idle.clear();
        for slot in &mut state.users {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
        self.changed.notify_one();
    }

    /// How many were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Threads divide the schedule without a gap or a repeat, and counting agrees with the moments.
        #[test]
        fn threads_share_the_schedule_exactly(
            rate_milli in 1u64..5_000_000, planned_ms in 1u64..3_000, step in 1u64..5, moment_ms in 0u64..4_000,
        ) {
            let begin = Instant::now();
            let planned = Duration::from_millis(planned_ms);
            let share = |first| Schedule { begin, planned, rate_milli, first, step };
            let moment = begin + Duration::from_millis(moment_ms);
            let (mut all, mut counted) = (Vec::new(), 0);
            for first in 0..step {
                let moments: Vec<_> = (0..).map_while(|n| share(first).at(n)).collect();
                prop_assert_eq!(
                    share(first).count_before(moment),
                    moments.iter().filter(|at| **at < moment).count() as u64
                );
                counted += share(first).count_before(begin + planned);
                all.extend(moments);
            }
            all.sort();
            let whole = Schedule { begin, planned, rate_milli, first: 0, step: 1 };
            let expected: Vec<_> = (0..).map_while(|n| whole.at(n)).collect();
            prop_assert_eq!(counted, expected.len() as u64);
            prop_assert_eq!(all, expected);
        }
    }
}
