//! Figures from merged counters and histograms.

use serde::{Deserialize, Serialize};
use tidegate_core::jobs::{ErrorCount, Totals, WorkflowReport};
use tidegate_core::stats::Sketch;

/// Requested and delivered load, counts, rates and latencies of one or more workflows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Requests that ended, well or not (for `sleep` and `command`: executions).
    pub requests: u64,
    /// Those that ended well.
    pub ok: u64,
    /// Those that did not.
    pub errors: u64,
    /// Open model: arrivals that could not be started in time.
    pub dropped: u64,
    /// Requests per second of the measured time.
    pub rate_per_s: f64,
    /// Failed over all requests; 0 where there were none.
    pub error_rate: f64,
    /// The load that was asked for and the load that was there.
    pub load: Delivered,
    /// Latency from the intended start.
    pub latency: Option<Distribution>,
    /// Service time: from the actual start.
    pub service: Option<Distribution>,
    /// Errors by kind, most frequent first.
    pub errors_by_kind: Vec<ErrorCount>,
    /// Bytes received in bodies.
    pub bytes_in: u64,
    /// Bytes sent in bodies.
    pub bytes_out: u64,
    /// Measured time; of several sources, the longest.
    pub measured_ms: u32,
}

/// Requested and delivered load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delivered {
    /// Closed model: requested seconds of virtual users.
    pub requested_vu_s: f64,
    /// Closed model: delivered seconds of virtual users.
    pub delivered_vu_s: f64,
    /// Of these, seconds that were lost with workers and that no number covers.
    pub uncovered_vu_s: f64,
    /// Open model: requested arrivals.
    pub requested_arrivals: u64,
    /// Open model: arrivals that were started.
    pub started_arrivals: u64,
}

/// A distribution in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Distribution {
    /// Samples.
    pub count: u64,
    /// The least.
    pub min_us: u64,
    /// The mean.
    pub mean_us: u64,
    /// The median.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 95th percentile.
    pub p95_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// The greatest.
    pub max_us: u64,
}

impl Distribution {
    /// The figures of a histogram; `None` where it is empty.
    pub fn of(sketch: &Sketch) -> Option<Self> {
        let at = |ppm| sketch.value_at_quantile_micro(ppm);
        Some(Self {
            count: sketch.count(),
            min_us: sketch.min_us()?,
            mean_us: sketch.mean_ns()? / 1_000,
            p50_us: at(500_000)?,
            p90_us: at(900_000)?,
            p95_us: at(950_000)?,
            p99_us: at(990_000)?,
            p999_us: at(999_000)?,
            max_us: sketch.max_us()?,
        })
    }
}

impl Figures {
    /// The figures of these workflow reports, merged.
    pub fn of<'a>(reports: impl IntoIterator<Item = &'a WorkflowReport>) -> Self {
        let mut totals = Totals::default();
        let mut load = Delivered::default();
        for report in reports {
            totals.merge(&report.totals);
            let asked = report.requested;
            if asked.rate_milli > 0 {
                load.requested_arrivals +=
                    asked.rate_milli.saturating_mul(u64::from(asked.duration_ms)) / 1_000_000;
                load.started_arrivals += report.totals.requests();
            } else {
                load.requested_vu_s += f64::from(asked.vus) * f64::from(asked.duration_ms) / 1e3;
                load.delivered_vu_s += report.totals.vu_ms as f64 / 1e3;
                load.uncovered_vu_s += report.uncovered_vu_ms as f64 / 1e3;
            }
        }
        Self { load, ..Self::from_totals(&totals) }
    }

    /// The figures of totals alone, without the load that was asked for.
    pub fn from_totals(totals: &Totals) -> Self {
        let requests = totals.requests();
        let mut errors_by_kind = totals.errors.clone();
        errors_by_kind.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
        Self {
            requests,
            ok: totals.ok,
            errors: totals.err,
            dropped: totals.dropped,
            rate_per_s: if totals.elapsed_ms == 0 {
                0.0
            } else {
                requests as f64 * 1e3 / f64::from(totals.elapsed_ms)
            },
            error_rate: if requests == 0 { 0.0 } else { totals.err as f64 / requests as f64 },
            load: Delivered::default(),
            latency: Distribution::of(&totals.latency),
            service: Distribution::of(&totals.service),
            errors_by_kind,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            measured_ms: totals.elapsed_ms,
        }
    }
}
