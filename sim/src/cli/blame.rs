//! `blame`: from which moment was the failure likely?
//!
//! The run is repeated up to S - t, and from there chance decides otherwise: latencies, losses, timers, disks. Where
//! nearly every such run still fails, the cause lies before; where hardly one does, it lies after. The moment between
//! is where to look.

use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use super::subject::Subject;
use super::{Outcome, Trouble, use_threads};
use crate::explain;
use crate::fingerprint::Fingerprint;
use crate::plan::BadPlan;
use crate::runner::{self, Extras};
use crate::scenario::Repro;

/// Observations told before the moment.
const TOLD: usize = 6;
/// Characters of the longest bar.
const BAR: f64 = 40.0;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Moments that are tried.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(2..))]
    moments: u64,
    /// Runs from each moment.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Threads; one for each core where absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// One JSON object a moment.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Moment {
    at_ms: u64,
    failed: u64,
    runs: u64,
}

impl Moment {
    fn share(self) -> f64 {
        self.failed as f64 / self.runs as f64
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    use_threads(args.jobs)?;
    let repro = args.subject.repro()?;
    let begin = Instant::now();
    let (verdict, record) = explain::record(&repro)?;
    let Some(violation) = verdict.violation else {
        return Err(Trouble("this run passes; there is nothing to blame".into()));
    };
    let wanted = Fingerprint::of(&repro.plan, &violation);
    let mut moments = try_all(&repro, &wanted, spread(0, violation.at_ms, args.moments), args.runs)?;
    // Once more, between the two moments where it rises most.
    if let Some([low, high]) = steepest(&moments) {
        let between = spread(low.at_ms, high.at_ms, args.moments / 2);
        let inner = between.into_iter().filter(|&at| at > low.at_ms && at < high.at_ms).collect();
        moments.extend(try_all(&repro, &wanted, inner, args.runs)?);
        moments.sort_by_key(|moment| moment.at_ms);
    }
    if args.json {
        for moment in &moments {
            println!("{}", serde_json::to_string(moment).map_err(|why| Trouble(why.to_string()))?);
        }
        return Ok(true);
    }
    println!(
        "{wanted}\nat {} ms; with fresh chance from a moment on it fails in so many of {} runs:",
        violation.at_ms, args.runs
    );
    for moment in &moments {
        let bar = "#".repeat((moment.share() * BAR) as usize);
        println!("{:>9.3} s  {:>3.0} %  {bar}", moment.at_ms as f64 / 1e3, moment.share() * 100.0);
    }
    match steepest(&moments) {
        Some([low, high]) => tell(&record, low, high),
        None => println!("it is as likely from every moment on: look at the plan, not at the run"),
    }
    println!("{} runs in {:.1} s", moments.len() as u64 * args.runs, begin.elapsed().as_secs_f64());
    Ok(true)
}

/// So many instants, both ends included.
fn spread(from: u64, to: u64, count: u64) -> Vec<u64> {
    (0..count.max(2)).map(|n| from + (to - from) * n / (count.max(2) - 1)).collect()
}

fn try_all(
    repro: &Repro,
    wanted: &Fingerprint,
    moments: Vec<u64>,
    runs: u64,
) -> Result<Vec<Moment>, BadPlan> {
    let one = |at_ms: u64| {
        let mut failed = 0;
        for salt in 1..=runs {
            let extras =
                Extras { spectators: repro.spectators(), reroll: Some((at_ms, salt)), ..Extras::default() };
            let verdict = runner::run(repro.plan.clone(), extras)?;
            let found = verdict.violation.map(|violation| Fingerprint::of(&repro.plan, &violation));
            failed += u64::from(found.as_ref() == Some(wanted));
        }
        Ok(Moment { at_ms, failed, runs })
    };
    moments.into_par_iter().map(one).collect()
}

/// The neighbours between which it becomes likely; `None` where it never does.
fn steepest(moments: &[Moment]) -> Option<[Moment; 2]> {
    let pairs = moments.windows(2).map(|pair| [pair[0], pair[1]]);
    let rise = |pair: &[Moment; 2]| pair[1].failed.saturating_sub(pair[0].failed);
    pairs.rev().max_by_key(rise).filter(|pair| rise(pair) > 0)
}

fn tell(record: &explain::Record, low: Moment, high: Moment) {
    println!(
        "it becomes likely between {:.3} s ({:.0} %) and {:.3} s ({:.0} %); there:",
        low.at_ms as f64 / 1e3,
        low.share() * 100.0,
        high.at_ms as f64 / 1e3,
        high.share() * 100.0
    );
    let cone = explain::cone(record);
    let inside = |place: &&usize| {
        let event = &record.events[**place];
        let tells =
            !matches!(event.kind, explain::Kind::Send | explain::Kind::Receive | explain::Kind::Write);
        tells && (low.at_ms..=high.at_ms).contains(&(event.at / 1_000_000))
    };
    let places: Vec<usize> = cone.iter().filter(inside).copied().collect();
    let (first, rest) = (places.len().saturating_sub(TOLD), places.len());
    if first > 0 {
        println!("  ({first} earlier ones)");
    }
    for place in &places[first..rest] {
        let event = &record.events[*place];
        let (at, host) = (event.at as f64 / 1e9, &record.hosts[event.host]);
        println!("  {at:>11.6}s  {host}: {} {}", event.name, event.detail);
    }
}
