//! A load thread: virtual users on a runtime of their own, which no node ever runs on.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::arrivals::Arrivals;
use super::prepare::SharedPlan;
use super::tally::{Book, Sample};
use super::timer::Timer;
use super::user;

/// How far a shard is allowed to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Start requests.
    Run,
    /// Finish those in flight.
    Finish,
    /// Nothing more.
    Kill,
}

/// What a load thread tells.
#[derive(Debug)]
pub(super) enum News {
    /// Its users have begun, so much after the shared begin.
    Begun(Duration),
    /// It cannot go on.
    Failed(String),
    /// Nothing of it runs any more.
    Ended,
}

/// What the users of one load thread share.
pub(super) struct LoadThread {
    /// What they send.
    pub plan: SharedPlan,
    /// When the shard begins.
    pub begin: Instant,
    /// How long it starts requests.
    pub planned: Duration,
    /// The open model's arrivals; `None` in the closed model.
    pub arrivals: Option<Arrivals>,
    /// The worker's limit.
    pub cap: Option<Arc<RateCap>>,
    /// Numbers of its users in the job.
    pub users: Range<u32>,
    book: Mutex<Book>,
    stopping: AtomicBool,
}

impl LoadThread {
    pub(super) fn new(
        plan: SharedPlan,
        begin: Instant,
        planned: Duration,
        (arrivals, cap): (Option<Arrivals>, Option<Arc<RateCap>>),
        users: Range<u32>,
        book: Book,
    ) -> Self {
        let (book, stopping) = (Mutex::new(book), AtomicBool::new(false));
        Self { plan, begin, planned, arrivals, cap, users, book, stopping }
    }

    /// The numbers so far. Held for a copy or a record, never across a wait.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open_model(&self) -> bool {
        self.arrivals.is_some()
    }

    /// Whether nothing new may start: it is being stopped, or the closed model's time is over.
    pub(super) fn is_over(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
            || (!self.is_open_model() && self.begin.elapsed() >= self.planned)
    }

    /// When the user's next iteration was to start; `None` when it has nothing left to do.
    pub(super) async fn next_start(&self, place: usize) -> Option<Instant> {
        match &self.arrivals {
            Some(arrivals) => arrivals.next(place).await,
            None => (!self.is_over()).then(Instant::now),
        }
    }

    /// Waits; false where it was stopped meanwhile.
    pub(super) async fn nap_until(&self, at: Instant) -> bool {
        /// A stop is noticed at least this often.
        const LONGEST_NAP: Duration = Duration::from_millis(50);
        loop {
            if self.stopping.load(Ordering::Relaxed) {
                return false;
            }
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            tokio::time::sleep(left.min(LONGEST_NAP)).await;
        }
    }

    /// An iteration ends before the request at this place was sent. An arrival of which nothing was sent is dropped.
    pub(super) fn give_up(&self, at: usize) {
        if at == 0 && self.is_open_model() {
            self.book().tally.drop_arrivals(1);
        }
    }

    pub(super) fn record(&self, sample: &Sample) {
        self.book().record(sample);
    }

    pub(super) fn user_ends(&self) {
        self.book().tally.user_ends(self.begin.elapsed(), self.planned);
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(arrivals) = &self.arrivals {
            arrivals.close(Instant::now());
        }
    }

    /// Begins at the shared moment on a thread of its own; the last news is always `Ended`.
    pub(super) fn spawn(
        self: Arc<Self>,
        phase: watch::Receiver<Phase>,
        news: mpsc::UnboundedSender<News>,
    ) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("load".to_string()).spawn(move || {
            let _ended = SayEnded(news.clone());
            if let Err(error) = self.run(phase, &news) {
                // The receiver lives until it has heard `Ended`.
                let _ = news.send(News::Failed(error));
            }
        })
    }

    fn run(
        self: Arc<Self>,
        phase: watch::Receiver<Phase>,
        news: &mpsc::UnboundedSender<News>,
    ) -> Result<(), String> {
        let io = |error: io::Error| format!("a load thread cannot run: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let outcome = runtime.block_on(self.clone().drive(phase, news));
        // A kill leaves users behind: they go with their runtime, before anybody is told that it has ended.
        drop(runtime);
        self.stop();
        outcome
    }

    async fn drive(
        self: Arc<Self>,
        mut phase: watch::Receiver<Phase>,
        news: &mpsc::UnboundedSender<News>,
    ) -> Result<(), String> {
        let io = |error: io::Error| format!("a load thread cannot wait: {error}");
        let timer = Timer::new().map_err(io)?;
        tokio::select! {
            slept = timer.sleep_until(self.begin) => slept.map_err(io)?,
            _ = phase.wait_for(|phase| *phase > Phase::Run) => return Ok(()),
        }
        let _ = news.send(News::Begun(self.begin.elapsed()));
        self.book().tally.users_begin(self.users.len() as u32);
        let mut tasks = JoinSet::new();
        for (place, vu) in self.users.clone().enumerate() {
            let thread = self.clone();
            tasks.spawn(async move {
                user::run(&thread, place, vu).await;
                Ok(())
            });
        }
        if self.is_open_model() {
            let thread = self.clone();
            tasks.spawn(async move {
                match &thread.arrivals {
                    Some(arrivals) => arrivals.run(&timer).await.map_err(io),
                    None => Ok(()),
                }
            });
        }
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap_or_else(|error| Err(format!("a virtual user broke: {error}")))?;
            }
            Ok(())
        };
        let stopped = async {
            // An error means that the executor is gone, which ends everything.
            if phase.wait_for(|phase| *phase > Phase::Run).await.is_ok() {
                self.stop();
                let _ = phase.wait_for(|phase| *phase == Phase::Kill).await;
            }
        };
        tokio::select! {
            outcome = all => outcome,
            () = stopped => Ok(()),
        }
    }
}

/// Tells that a load thread has ended, however it did.
struct SayEnded(mpsc::UnboundedSender<News>);

impl Drop for SayEnded {
    fn drop(&mut self) {
        let _ = self.0.send(News::Ended);
    }
}

/// The most requests a second that a worker sends, over all its shards.
pub(in crate::exec) struct RateCap {
    base: Instant,
    interval_nanos: u64,
    next_nanos: AtomicU64,
}

impl RateCap {
    pub(in crate::exec) fn new(per_second: u32) -> Self {
        let interval_nanos = 1_000_000_000 / u64::from(per_second.max(1));
        Self { base: Instant::now(), interval_nanos, next_nanos: AtomicU64::new(0) }
    }

    /// When the next request may be sent.
    pub(super) fn reserve(&self) -> Instant {
        let now = self.base.elapsed().as_nanos() as u64;
        let slot = |next: u64| Some(next.max(now) + self.interval_nanos);
        let next = self.next_nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, slot);
        let (Ok(next) | Err(next)) = next;
        self.base + Duration::from_nanos(next.max(now))
    }
}
