//! `diff`: the first step in which two runs differ, and what their nodes last said there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Outcome;
use super::subject::repro;
use crate::explain::{self, Event, Record};
use crate::runner::{self, Extras};
use crate::scenario::Repro;

/// Events told on each side before the difference.
const BEFORE: usize = 4;
/// Events told on each side from the difference on.
const AFTER: usize = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file with a run, or a seed of the swarm.
    #[arg(value_name = "A")]
    a: String,
    /// Another.
    #[arg(value_name = "B")]
    b: String,
    /// Which case of the files.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Which seed of A's case.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Which seed of B's case; A's where absent.
    #[arg(long)]
    seed_b: Option<u64>,
}

/// Equal runs are a success.
pub(super) fn run(args: &Args) -> Outcome {
    let one = repro(&args.a, args.case.as_deref(), args.seed)?;
    let two = repro(&args.b, args.case.as_deref(), args.seed_b.unwrap_or(args.seed))?;
    let steps = [digests(&one)?, digests(&two)?];
    let equal = steps[0].iter().zip(&steps[1]).take_while(|(a, b)| a == b).count();
    if equal == steps[0].len() && equal == steps[1].len() {
        println!("equal: {equal} steps");
        return Ok(true);
    }
    let (_, a) = explain::record(&one)?;
    let (_, b) = explain::record(&two)?;
    println!("equal for {equal} steps; A has {}, B has {}", steps[0].len(), steps[1].len());
    for (name, record) in [("A", &a), ("B", &b)] {
        let end = record.violation.as_ref().map(|violation| format!("fails: {}", violation.oracle));
        println!("{name} {}", end.as_deref().unwrap_or("passes"));
    }
    tell(&a, &b);
    Ok(false)
}

/// The digest after each step.
fn digests(repro: &Repro) -> Result<Vec<u64>, super::Trouble> {
    let digests = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&digests);
    let each_step: Box<dyn FnMut(u64)> = Box::new(move |digest| sink.borrow_mut().push(digest));
    let extras = Extras { spectators: repro.spectators(), each_step: Some(each_step), ..Extras::default() };
    runner::run(repro.plan.clone(), extras)?;
    Ok(digests.take())
}

fn tell(a: &Record, b: &Record) {
    let at = explain::first_difference(a, b);
    println!();
    for event in &a.events[at.saturating_sub(BEFORE)..at] {
        println!("   {}", words(a, event));
    }
    for (mark, record) in [("A", a), ("B", b)] {
        let rest = record.events.iter().skip(at).take(AFTER);
        rest.for_each(|event| println!(" {mark} {}", words(record, event)));
    }
    let hosts: Vec<usize> = [a, b].iter().filter_map(|record| Some(record.events.get(at)?.host)).collect();
    for (place, host) in hosts.iter().enumerate() {
        if hosts[..place].contains(host) {
            continue;
        }
        let name = a.hosts.get(*host).or_else(|| b.hosts.get(*host)).cloned().unwrap_or_default();
        println!("\nwhat {name} last said");
        states(&a.state(*host, at), &b.state(*host, at));
    }
}

fn states(a: &BTreeMap<&str, &str>, b: &BTreeMap<&str, &str>) {
    let mut names: Vec<&&str> = a.keys().chain(b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let (mut same, absent) = (0, "-");
    for name in names {
        let (one, two) = (a.get(name).copied().unwrap_or(absent), b.get(name).copied().unwrap_or(absent));
        if one == two {
            same += 1;
        } else {
            println!("   {name}\n     A {one}\n     B {two}");
        }
    }
    println!("   {same} more, equal in both");
}

fn words(record: &Record, event: &Event) -> String {
    let peer = event.peer.map(|peer| format!(" ({})", record.hosts[peer])).unwrap_or_default();
    let job = event.job.as_deref().filter(|job| !event.detail.contains(job)).unwrap_or_default();
    let host = &record.hosts[event.host];
    format!("{:>11.6}s  {host}: {}{peer} {} {job}", event.at as f64 / 1e9, event.name, event.detail)
        .trim_end()
        .to_string()
}
