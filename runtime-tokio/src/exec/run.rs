//! One execution: what it is asked, how it is stopped, how it reports.

use std::time::{Duration, Instant};

use tidegate_core::id::RunId;
use tidegate_core::jobs::{ExecEvent, ExecutorKind, Outcome, ShardRun, StopMode, Totals, Window};
use tidegate_core::stats::Recorder;
use tokio::sync::watch;

use super::http::RateCap;
use super::policy::Policy;
use super::{command, http, sleep};
use crate::jobfile::Plan;

/// What all executions of a worker share.
pub(super) struct Context {
    pub policy: Policy,
    pub cap: Option<std::sync::Arc<RateCap>>,
    pub tell: Box<dyn Fn(ExecEvent) + Send + Sync>,
}

impl Context {
    pub(super) fn report(&self, event: ExecEvent) {
        (self.tell)(event);
    }
}

/// One execution.
pub(super) struct Execution {
    pub run: RunId,
    pub shard: ShardRun,
    /// When it is to begin.
    pub begin: Instant,
    pub stop: watch::Receiver<Option<StopMode>>,
}

/// How an execution ended.
pub(super) struct Ended {
    pub outcome: Outcome,
    pub totals: Totals,
    pub windows: Vec<Window>,
    pub why: String,
}

impl Ended {
    /// Longest explanation, in bytes.
    const MAX_WHY: usize = 512;

    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, totals: Totals::default(), windows: Vec::new(), why: why.into() }
    }

    pub(super) fn before_it_began(mode: StopMode) -> Self {
        Self {
            outcome: stop_outcome(mode),
            totals: Totals::default(),
            windows: Vec::new(),
            why: String::new(),
        }
    }
}

/// How an execution ends that was stopped so.
pub(super) const fn stop_outcome(mode: StopMode) -> Outcome {
    match mode {
        StopMode::Graceful => Outcome::Cancelled,
        StopMode::Kill => Outcome::Killed,
    }
}

impl Execution {
    /// Waits for any stop.
    pub(super) async fn stopped(&mut self) -> StopMode {
        self.stopped_beyond(None).await
    }

    /// Waits for a stop that goes further than the last one. An executor that is dropped kills.
    pub(super) async fn stopped_beyond(&mut self, last: Option<StopMode>) -> StopMode {
        let further = self.stop.wait_for(|mode| *mode > last).await.map(|mode| *mode);
        match further {
            Ok(mode) => mode.unwrap_or(StopMode::Kill),
            Err(_) if last == Some(StopMode::Kill) => std::future::pending().await,
            Err(_) => StopMode::Kill,
        }
    }

    pub(super) fn tell_started(&self, context: &Context, late: Duration) {
        let late = tidegate_core::Duration::from_nanos(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        context.report(ExecEvent::Started { run: self.run, late });
    }

    /// Waits for the begin and says so; the stop that came before it otherwise.
    pub(super) async fn begin(&mut self, context: &Context) -> Result<(), StopMode> {
        tokio::select! {
            () = tokio::time::sleep_until(self.begin.into()) => {}
            mode = self.stopped() => return Err(mode),
        }
        self.tell_started(context, self.begin.elapsed());
        Ok(())
    }

    /// Reports how long it has run, at each sample, for ever.
    pub(super) async fn report_time(run: RunId, begin: Instant, context: &Context) {
        let mut ticks =
            tokio::time::interval_at((begin + context.policy.sample).into(), context.policy.sample);
        loop {
            ticks.tick().await;
            let totals = Totals { elapsed_ms: millis(begin.elapsed()), ..Totals::default() };
            context.report(ExecEvent::Progress { run, totals: Box::new(totals), windows: Vec::new() });
        }
    }
}

/// The numbers of an execution that is one whole: it ended well, or with an error of this kind.
pub(super) fn single(elapsed: Duration, result: Result<(), &str>) -> Totals {
    let mut recorder = Recorder::<3>::default();
    recorder.record(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
    let sketch = recorder.sketch();
    let mut totals = Totals {
        ok: u64::from(result.is_ok()),
        err: u64::from(result.is_err()),
        elapsed_ms: millis(elapsed),
        latency: sketch.clone(),
        service: sketch,
        ..Totals::default()
    };
    if let Err(kind) = result {
        totals.count_error(kind, 1);
    }
    totals
}

/// The numbers of an execution that was stopped before it was a whole.
pub(super) fn unfinished(elapsed: Duration) -> Totals {
    Totals { elapsed_ms: millis(elapsed), ..Totals::default() }
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// Runs an execution to its end and reports it.
pub(super) async fn run(context: &Context, mut execution: Execution) {
    let run = execution.run;
    let ended = perform(context, &mut execution).await;
    context.report(finished(run, ended));
}

/// The last event of an execution.
pub(super) fn finished(run: RunId, ended: Ended) -> ExecEvent {
    let Ended { outcome, totals, windows, mut why } = ended;
    if why.len() > Ended::MAX_WHY {
        let cut = (0..=Ended::MAX_WHY).rev().find(|&at| why.is_char_boundary(at)).unwrap_or(0);
        why.truncate(cut);
    }
    ExecEvent::Finished { run, outcome, totals: Box::new(totals), windows, why }
}

async fn perform(context: &Context, execution: &mut Execution) -> Ended {
    let kind = execution.shard.executor;
    if !context.policy.executors.contains(&kind) {
        return Ended::failed(format!(
            "this worker's configuration does not allow the executor {}",
            kind.as_str()
        ));
    }
    match (kind, Plan::decode(&execution.shard.payload)) {
        (_, Err(why)) => Ended::failed(why),
        (ExecutorKind::Http, Ok(Plan::Http(plan))) => http::run(context, execution, &plan).await,
        (ExecutorKind::Command, Ok(Plan::Command(plan))) => command::run(context, execution, &plan).await,
        (ExecutorKind::Sleep, Ok(Plan::Sleep)) => sleep::run(context, execution).await,
        (_, Ok(_)) => Ended::failed(format!("the payload is no plan for the executor {}", kind.as_str())),
    }
}
