//! The summary for a person.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use tidegate_core::jobs::JobStatus;

use super::{Distribution, Figures, Report};

/// Microseconds as a person reads them: `870 us`, `12.3 ms`, `1.25 s`.
pub fn latency(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// A number with its thousands apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds as a person reads them: `850 ms`, `12.5 s`, `3 min 20 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// `error: ...` with what to do next where that is known.
pub fn error_text(what: &str, hint: &str) -> String {
    if hint.is_empty() { format!("error: {what}") } else { format!("error: {what}\n  {hint}") }
}

/// The summary at the end of a run.
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    let verdict = match (report.status, report.thresholds_ok) {
        (JobStatus::Completed, true) => "PASSED",
        (JobStatus::Completed, false) => "FAILED thresholds",
        (JobStatus::Partial, _) => "PARTIAL",
        (JobStatus::Cancelled, _) => "CANCELLED",
        (JobStatus::TimedOut, _) => "TIMED OUT",
        _ => "FAILED",
    };
    let _ = writeln!(
        text,
        "{verdict}: {} in {} (job {})",
        report.name,
        duration(report.elapsed_ms.into()),
        report.result.job
    );
    if !report.resolution.is_empty() {
        let _ = writeln!(text, "  {}", report.resolution);
    }
    for (dc, why) in &report.result.missing {
        let _ = writeln!(text, "  no result from {dc}: {why}");
    }
    thresholds(report, &mut text);
    load(&report.total, &mut text);
    let _ = writeln!(text, "\n{}", table(report));
    if let Some(service) = &report.total.service {
        let _ = writeln!(
            text,
            "latency counts from the intended start; service time alone: p50 {}, p99 {}, max {}",
            latency(service.p50_us),
            latency(service.p99_us),
            latency(service.max_us)
        );
    }
    if let Some((spread, bound)) = start_spread(report) {
        let late = if spread > bound { "; a busy machine began late" } else { "" };
        let _ = writeln!(
            text,
            "shards started within {} of each other (the network explains {}{late})",
            latency(spread),
            latency(bound)
        );
    }
    if !report.total.errors_by_kind.is_empty() {
        let _ = writeln!(text, "\nerrors");
        for error in report.total.errors_by_kind.iter().take(10) {
            let _ = writeln!(text, "  {:>12}  {}", grouped(error.count), error.kind);
        }
    }
    text
}

fn thresholds(report: &Report, text: &mut String) {
    if !report.result.verdicts.is_empty() {
        let _ = writeln!(text, "\nthresholds");
    }
    for verdict in &report.result.verdicts {
        let measured = match verdict.measured_micro {
            Some(micro) => format!("measured {}{}", micro as f64 / 1e6, unit_of(&verdict.text)),
            None => "nothing was measured".to_owned(),
        };
        let _ =
            writeln!(text, "  {} {}  ({measured})", if verdict.ok { "ok  " } else { "FAIL" }, verdict.text);
    }
}

/// The unit of what a threshold measures, by its figure.
fn unit_of(threshold: &str) -> &'static str {
    let figure = threshold.trim_start_matches("service").trim_start();
    match figure {
        _ if figure.starts_with("rate") => "/s",
        _ if ["error_rate", "requests", "dropped"].iter().any(|count| figure.starts_with(count)) => "",
        _ => " ms",
    }
}

fn load(total: &Figures, text: &mut String) {
    let load = &total.load;
    if load.requested_vu_s > 0.0 {
        let share = load.delivered_vu_s * 100.0 / load.requested_vu_s;
        let _ = write!(
            text,
            "\nload: requested {:.1} VU-seconds, delivered {:.1} ({share:.1} %)",
            load.requested_vu_s, load.delivered_vu_s
        );
        if load.uncovered_vu_s > 0.0 {
            let _ = write!(text, ", {:.1} lost with workers", load.uncovered_vu_s);
        }
        text.push('\n');
    }
    if load.requested_arrivals > 0 {
        let _ = writeln!(
            text,
            "\nload: requested {} arrivals, started {}, could not start {}",
            grouped(load.requested_arrivals),
            grouped(load.started_arrivals),
            grouped(total.dropped)
        );
    }
}

fn start_spread(report: &Report) -> Option<(u64, u64)> {
    let reports =
        || report.result.per_dc.iter().flat_map(|dc| &dc.workflows).filter(|workflow| workflow.shards > 1);
    let spread = reports().map(|workflow| workflow.start_spread_us).max()?;
    let bound = reports().map(|workflow| workflow.start_bound_us).max()?;
    Some((spread.into(), bound.into()))
}

fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "", "status", "requests", "req/s", "errors", "min", "p50", "p90", "p95", "p99", "p99.9", "max",
    ]);
    for dc in &report.datacenters {
        table.add_row(row(&dc.dc.to_string(), dc.status.as_str(), &dc.figures));
    }
    table.add_row(row("all", report.status.as_str(), &report.total));
    for column in 2..12 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn row(name: &str, status: &str, figures: &Figures) -> Vec<String> {
    let mut cells = vec![
        name.to_owned(),
        status.to_owned(),
        grouped(figures.requests),
        format!("{:.1}", figures.rate_per_s),
        format!("{} ({:.2} %)", grouped(figures.errors), figures.error_rate * 100.0),
    ];
    let columns: [fn(&Distribution) -> u64; 7] =
        [|d| d.min_us, |d| d.p50_us, |d| d.p90_us, |d| d.p95_us, |d| d.p99_us, |d| d.p999_us, |d| d.max_us];
    for column in columns {
        cells.push(
            figures.latency.as_ref().map_or_else(|| "-".to_owned(), |latencies| latency(column(latencies))),
        );
    }
    cells
}
