//! The `sleep` executor: nothing but time.

use std::time::Duration;

use tidegate_core::jobs::Outcome;

use super::run::{Context, Ended, Execution, single, stop_outcome, unfinished};

/// Waits for the shard's duration, a stop or the limit.
pub(super) async fn run(context: &Context, execution: &mut Execution) -> Ended {
    if let Err(mode) = execution.begin(context).await {
        return Ended::before_it_began(mode);
    }
    let (run, begin) = (execution.run, execution.begin);
    let duration = Duration::from_millis(execution.shard.load.duration_ms.into());
    let limit = Duration::from_millis(execution.shard.run_limit_ms.into());
    let (outcome, totals) = tokio::select! {
        biased;
        () = tokio::time::sleep_until((begin + duration.min(limit)).into()) => {
            if duration <= limit {
                (Outcome::Completed, single(begin.elapsed(), Ok(())))
            } else {
                (Outcome::TimedOut, single(begin.elapsed(), Err("timeout")))
            }
        }
        mode = execution.stopped() => (stop_outcome(mode), unfinished(begin.elapsed())),
        () = Execution::report_time(run, begin, context) => unreachable!("it reports for ever"),
    };
    Ended { outcome, totals, windows: Vec::new(), why: String::new() }
}
