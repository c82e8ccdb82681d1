//! The grammar of thresholds, as k6 users know it:
//!
//! ```text
//! threshold = [ "latency" | "service" ] figure comparison number [ unit ]
//! figure    = "p(" number ")" | "p" number | "avg" | "med" | "min" | "max"       of latency or service time
//!           | "rate" | "error_rate" | "requests" | "dropped"
//! comparison= "<" | "<=" | ">" | ">=" | "==" | "!="
//! unit      = "us" | "ms" | "s" | "m"  of times (ms where none is written)  |  "%" of error_rate  |  "/s" of rate
//! ```

use tidegate_core::id::WorkflowIx;
use tidegate_core::jobs::{Comparison, Metric, Statistic, Threshold};

use super::problem::closest;
use super::scalar::decimal_millionths;

/// What is wrong, and what would be right.
pub type Wrong = (String, String);

const FIGURES: [&str; 10] =
    ["p(99)", "avg", "med", "min", "max", "rate", "error_rate", "requests", "dropped", "service"];

/// Reads one threshold. `workflow` names the workflow that it is about.
pub fn parse(text: &str, workflow: Option<(WorkflowIx, &str)>) -> Result<Threshold, Wrong> {
    let (left, comparison, right) = divide(text)?;
    let (metric, statistic) = figure(left)?;
    let value_micro = value(right, metric)?;
    let label = match workflow {
        Some((_, name)) => format!("{name}: {}", text.trim()),
        None => text.trim().to_string(),
    };
    Ok(Threshold {
        text: label,
        workflow: workflow.map(|(ix, _)| ix),
        metric,
        statistic,
        comparison,
        value_micro,
    })
}

fn divide(text: &str) -> Result<(&str, Comparison, &str), Wrong> {
    let signs = text.find(['<', '>', '=', '!']).ok_or_else(|| {
        (
            format!("{text:?} compares nothing"),
            "write a figure, a comparison and a number, as in \"p(99) < 250\"".to_string(),
        )
    })?;
    let (left, rest) = text.split_at(signs);
    let length = rest.find(|c: char| !matches!(c, '<' | '>' | '=' | '!')).unwrap_or(rest.len());
    let (sign, right) = rest.split_at(length);
    let comparison = match sign {
        "<" => Comparison::Below,
        "<=" => Comparison::AtMost,
        ">" => Comparison::Above,
        ">=" => Comparison::AtLeast,
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "=" => return Err(("`=` is no comparison".into(), "for equality write `==`".into())),
        other => return Err((format!("`{other}` is no comparison"), "use <, <=, >, >=, == or !=".into())),
    };
    Ok((left.trim(), comparison, right.trim()))
}

fn figure(text: &str) -> Result<(Metric, Statistic), Wrong> {
    let (metric, name) = match text.split_once(char::is_whitespace) {
        Some(("service", rest)) => (Metric::Service, rest.trim()),
        Some(("latency", rest)) => (Metric::Latency, rest.trim()),
        _ => (Metric::Latency, text),
    };
    let counter = match name {
        "rate" => Some(Metric::Rate),
        "error_rate" => Some(Metric::ErrorRate),
        "requests" => Some(Metric::Requests),
        "dropped" => Some(Metric::Dropped),
        _ => None,
    };
    if let Some(counter) = counter {
        return if name == text {
            Ok((counter, Statistic::Value))
        } else {
            Err((format!("{name} is no figure of a time"), format!("write {name} alone")))
        };
    }
    match name {
        "avg" => return Ok((metric, Statistic::Mean)),
        "med" => return Ok((metric, Statistic::Quantile(500_000))),
        "min" => return Ok((metric, Statistic::Min)),
        "max" => return Ok((metric, Statistic::Max)),
        _ => {}
    }
    match name
        .strip_prefix('p')
        .filter(|rest| rest.starts_with(['(', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']))
    {
        Some(percent) => quantile(percent).map(|micro| (metric, Statistic::Quantile(micro))),
        None => Err(unknown(text, name)),
    }
}

fn unknown(text: &str, name: &str) -> Wrong {
    let help = if name.starts_with("http_req_duration") {
        "thresholds here name the figure alone: \"p(99) < 250\"".to_string()
    } else if name.starts_with("http_req_failed") {
        "the share of failed requests is error_rate: \"error_rate < 0.01\"".to_string()
    } else if text.is_empty() {
        format!("name a figure first: {}", FIGURES.join(", "))
    } else {
        match closest(name, FIGURES) {
            Some("service") => "service time needs a figure: \"service p(99) < 100\"".to_string(),
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known are {}", FIGURES.join(", ")),
        }
    };
    (format!("unknown figure `{text}`"), help)
}

/// `(99.9)` or `99.9`, in millionths of 1.
fn quantile(text: &str) -> Result<u32, Wrong> {
    let wrong = || {
        (
            format!("`p{text}` is no percentile"),
            "write p(50), p(95), p(99.9): 0 to 100, at most 4 decimals".to_string(),
        )
    };
    let number = match text.strip_prefix('(') {
        Some(rest) => rest.strip_suffix(')').ok_or_else(wrong)?,
        None => text,
    };
    let millionths = decimal_millionths(number.trim()).ok_or_else(wrong)?;
    if millionths > 100_000_000 || millionths % 100 != 0 {
        return Err(wrong());
    }
    Ok((millionths / 100) as u32)
}

/// The number on the right, in millionths of the metric's unit.
fn value(text: &str, metric: Metric) -> Result<u64, Wrong> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let parsed = decimal_millionths(number).ok_or_else(|| {
        (
            format!("`{text}` is not a number that can be compared with"),
            "write digits, as in 250 or 0.01".to_string(),
        )
    })?;
    let (numerator, denominator) = match (metric, unit) {
        (Metric::Latency | Metric::Service, "ms" | "") => (1, 1),
        (Metric::Latency | Metric::Service, "us") => (1, 1_000),
        (Metric::Latency | Metric::Service, "s") => (1_000, 1),
        (Metric::Latency | Metric::Service, "m") => (60_000, 1),
        (Metric::Rate, "" | "/s") => (1, 1),
        (Metric::ErrorRate, "") => (1, 1),
        (Metric::ErrorRate, "%") => (1, 100),
        (Metric::Requests | Metric::Dropped, "") => (1, 1),
        (Metric::Latency | Metric::Service, _) => {
            return Err((
                format!("`{unit}` is no unit of time"),
                "times are in us, ms, s or m; ms without one".into(),
            ));
        }
        (Metric::Rate, _) => {
            return Err((
                format!("`{unit}` is no unit of a rate"),
                "rate is in requests a second: 500 or 500/s".into(),
            ));
        }
        (Metric::ErrorRate, _) => {
            return Err((format!("`{unit}` is no unit of error_rate"), "write 0.01 or 1%".into()));
        }
        (Metric::Requests | Metric::Dropped, _) => {
            return Err((format!("`{unit}` after a count"), "counts have no unit".into()));
        }
    };
    let micro = parsed.saturating_mul(numerator) / denominator;
    if metric == Metric::ErrorRate && micro > 1_000_000 {
        return Err((
            format!("error_rate is never over 1, and `{text}` is"),
            format!("for percent write {number}%"),
        ));
    }
    Ok(micro)
}
