//! The `http` executor: virtual users against a target, measured from the intended start.
//!
//! One shard is a few load threads, each with a single-threaded runtime, its share of the virtual users and its own
//! numbers. This module divides the load, samples the threads and ends them. In the *closed model* every user sends its
//! next request when it is ready; a request's latency counts from then, connecting included. In the *open model*
//! arrivals follow a schedule ([`arrivals`]) and latency counts from the moment on the schedule, so a target that
//! stalls shows in every request that should have started meanwhile. Service time counts from the moment that a request
//! is handed to an open connection. Every request that ended has a latency, good or not. What is in flight at a kill is
//! counted nowhere.

mod arrivals;
mod connection;
mod failure;
mod load;
mod prepare;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod timer;
mod user;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate_core::jobs::{ExecEvent, Load, Outcome, StopMode, Totals, Window, split};
use tokio::sync::{mpsc, watch};

pub(super) use load::RateCap;

use super::run::{Context, Ended, Execution};
use crate::jobfile::HttpPlan;
use arrivals::{Arrivals, Schedule};
use load::{LoadThread, News, Phase};
use prepare::{Prepared, SharedPlan};
use tally::{Book, WindowCut, merge_windows};

/// Runs a shard until it has ended by itself, by a stop or by its limit.
pub(super) async fn run(context: &Context, execution: &mut Execution, plan: &HttpPlan) -> Ended {
    let load = execution.shard.load;
    if load.vus == 0 || load.duration_ms == 0 {
        return Ended::failed("the shard has no load");
    }
    if let Some(cap) = context.policy.max_rate
        && load.rate_milli > u64::from(cap) * 1_000
    {
        let asked = load.rate_milli.div_ceil(1_000);
        return Ended::failed(format!(
            "this worker sends at most {cap} requests a second, the shard asks for {asked}"
        ));
    }
    let prepared = tokio::select! {
        prepared = Prepared::new(plan, &context.policy) => prepared,
        mode = execution.stopped() => return Ended::before_it_began(mode),
    };
    let prepared = match prepared {
        Ok(prepared) => Arc::new(prepared),
        Err(why) => return Ended::failed(why),
    };
    match Shard::spawn(context, execution, plan, prepared) {
        Ok(shard) => shard.drive(context, execution).await,
        Err(why) => Ended::failed(why),
    }
}

/// The load threads of a shard and what they have told.
struct Shard {
    threads: Vec<Arc<LoadThread>>,
    handles: Vec<JoinHandle<()>>,
    news: mpsc::UnboundedReceiver<News>,
    phase: watch::Sender<Phase>,
    planned: Duration,
    begin: Instant,
    /// How many threads have begun, and the latest of them.
    begun: usize,
    late: Duration,
    ended: usize,
    failure: Option<String>,
}

impl Shard {
    /// Divides the load and starts the threads; they wait for the begin by themselves.
    fn spawn(
        context: &Context,
        execution: &Execution,
        plan: &HttpPlan,
        prepared: SharedPlan,
    ) -> Result<Self, String> {
        let load = execution.shard.load;
        let count = u32::from(execution.shard.cores.max(1)).min(load.vus);
        let (phase, _) = watch::channel(Phase::Run);
        let (tell, news) = mpsc::unbounded_channel();
        let mut shard = Self {
            threads: Vec::new(),
            handles: Vec::new(),
            news,
            phase,
            planned: Duration::from_millis(load.duration_ms.into()),
            begin: execution.begin,
            begun: 0,
            late: Duration::ZERO,
            ended: 0,
            failure: None,
        };
        for index in 0..count {
            let thread = Arc::new(shard.thread(context, execution, plan, &prepared, (index, count)));
            match thread.clone().spawn(shard.phase.subscribe(), tell.clone()) {
                Ok(handle) => shard.handles.push(handle),
                Err(error) => {
                    shard.kill_and_join();
                    return Err(format!("a load thread cannot be started: {error}"));
                }
            }
            shard.threads.push(thread);
        }
        Ok(shard)
    }

    fn thread(
        &self,
        context: &Context,
        execution: &Execution,
        plan: &HttpPlan,
        prepared: &SharedPlan,
        (index, count): (u32, u32),
    ) -> LoadThread {
        let Load { vus, rate_milli, .. } = execution.shard.load;
        let share = |index: u32| split(vus.into(), index.into(), count.into()) as u32;
        let first = execution.shard.first_vu.saturating_add((0..index).map(share).sum());
        let users = first..first.saturating_add(share(index));
        let arrivals = (rate_milli > 0).then(|| {
            let (first, step) = (index.into(), count.into());
            let schedule = Schedule { begin: self.begin, planned: self.planned, rate_milli, first, step };
            Arrivals::new(schedule, Duration::from_millis(plan.start_within_ms.into()), users.len())
        });
        let before = Duration::from_millis(execution.shard.elapsed_before_ms.into());
        let book = Book::new(WindowCut { before, planned: self.planned });
        LoadThread::new(
            prepared.clone(),
            self.begin,
            self.planned,
            (arrivals, context.cap.clone()),
            users,
            book,
        )
    }

    async fn drive(mut self, context: &Context, execution: &mut Execution) -> Ended {
        let mut ticks =
            tokio::time::interval_at((self.begin + context.policy.sample).into(), context.policy.sample);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let limit = self.begin + Duration::from_millis(execution.shard.run_limit_ms.into());
        let (mut stopped, mut timed_out) = (None, false);
        while self.ended < self.threads.len() {
            tokio::select! {
                Some(news) = self.news.recv() => self.hear(news, context, execution),
                mode = execution.stopped_beyond(stopped) => {
                    stopped = Some(mode);
                    self.phase.send_replace(if mode == StopMode::Kill { Phase::Kill } else { Phase::Finish });
                }
                () = tokio::time::sleep_until(limit.into()), if !timed_out => {
                    timed_out = true;
                    self.phase.send_replace(Phase::Kill);
                }
                _ = ticks.tick(), if self.has_begun() => {
                    let (totals, windows) = self.sample();
                    context.report(ExecEvent::Progress { run: execution.run, totals: Box::new(totals), windows });
                }
            }
        }
        self.kill_and_join();
        if self.begun > 0 && !self.has_begun() {
            execution.tell_started(context, self.late);
        }
        let (totals, windows) = self.last_sample();
        let (outcome, why) = match (self.failure, timed_out, stopped) {
            (Some(why), _, _) => (Outcome::Failed, why),
            (None, true, _) => (Outcome::TimedOut, "its time limit was over".to_string()),
            (None, false, Some(StopMode::Kill)) => (Outcome::Killed, String::new()),
            (None, false, Some(StopMode::Graceful)) => (Outcome::Cancelled, String::new()),
            (None, false, None) => (Outcome::Completed, String::new()),
        };
        Ended { outcome, totals, windows, why }
    }

    fn has_begun(&self) -> bool {
        self.begun == self.threads.len()
    }

    fn hear(&mut self, news: News, context: &Context, execution: &Execution) {
        match news {
            News::Begun(late) => {
                self.begun += 1;
                self.late = self.late.max(late);
                if self.has_begun() {
                    execution.tell_started(context, self.late);
                }
            }
            News::Failed(why) => {
                self.failure.get_or_insert(why);
                self.phase.send_replace(Phase::Kill);
            }
            News::Ended => self.ended += 1,
        }
    }

    /// Cumulative numbers, and the windows that have closed since the last sample.
    fn sample(&self) -> (Totals, Vec<Window>) {
        let elapsed = self.begin.elapsed();
        self.merge(elapsed, |book| book.sample(elapsed))
    }

    fn last_sample(&self) -> (Totals, Vec<Window>) {
        self.merge(self.begin.elapsed(), Book::finish)
    }

    fn merge(
        &self,
        elapsed: Duration,
        take: impl Fn(&mut Book) -> (tally::Tally, Vec<Window>),
    ) -> (Totals, Vec<Window>) {
        let (mut sum, mut merged) = (Totals::default(), BTreeMap::new());
        for thread in &self.threads {
            let (tally, windows) = take(&mut thread.book());
            let mut totals = tally.totals(elapsed, self.planned);
            totals.dropped += thread.arrivals.as_ref().map_or(0, Arrivals::dropped);
            sum.merge(&totals);
            merge_windows(&mut merged, windows);
        }
        (sum, merged.into_values().collect())
    }

    fn kill_and_join(&mut self) {
        self.phase.send_replace(Phase::Kill);
        for handle in self.handles.drain(..) {
            // A panic has been told as a failure, or by the missing news.
            if handle.join().is_err() {
                self.failure.get_or_insert_with(|| "a load thread broke".to_string());
            }
        }
    }
}
