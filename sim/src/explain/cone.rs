//! The causal cone of a violation: what it can have come from.
//!
//! Roots are the fact at which the oracle fired and, for whatever the oracle names, the last thing that each node did
//! about it. From there it goes back along causes, and along what the same node did about the same job. Faults of the
//! nodes in the cone belong to it.

use std::collections::{BTreeSet, HashMap};

use super::record::{Event, Kind, Record};

/// The events of the cone, by place. Of a run without a violation: everything about its jobs.
pub fn cone(record: &Record) -> BTreeSet<usize> {
    let before = before_about_the_same(record);
    let mut open: Vec<usize> = roots(record);
    let mut cone = BTreeSet::new();
    while let Some(place) = open.pop() {
        if cone.insert(place) {
            open.extend(record.events[place].cause);
            open.extend(before[place]);
        }
    }
    let hosts: BTreeSet<usize> = cone.iter().map(|&place| record.events[place].host).collect();
    let end = cone.last().copied().unwrap_or(0);
    let first_beginning = |event: &Event| event.kind == Kind::Process && event.detail == "start 1";
    for (place, event) in record.events.iter().enumerate().take(end + 1) {
        let belongs = matches!(event.kind, Kind::Fault | Kind::Process) && hosts.contains(&event.host);
        if belongs && !first_beginning(event) {
            cone.insert(place);
        }
    }
    cone
}

/// For each event about a job: what the same host did about it before.
fn before_about_the_same(record: &Record) -> Vec<Option<usize>> {
    let mut last: HashMap<(usize, &str), usize> = HashMap::new();
    let mut before = Vec::with_capacity(record.events.len());
    for (place, event) in record.events.iter().enumerate() {
        let earlier = event.job.as_deref().and_then(|job| last.get(&(event.host, job)).copied());
        let tells = !matches!(event.kind, Kind::Send | Kind::Receive);
        before.push(earlier.filter(|_| tells));
        if let (true, Some(job)) = (tells, event.job.as_deref()) {
            last.insert((event.host, job), place);
        }
    }
    before
}

fn roots(record: &Record) -> Vec<usize> {
    let mut roots = Vec::new();
    let message = record.violation.as_ref().map(|violation| violation.message.as_str()).unwrap_or_default();
    let words: BTreeSet<&str> =
        message.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').collect();
    let last_job = record.events.last().and_then(|last| last.job.as_deref());
    let named = |event: &Event| {
        let job = event.job.as_deref();
        job.is_some_and(|name| record.violation.is_none() || words.contains(name) || job == last_job)
    };
    let mut seen = BTreeSet::new();
    for (place, event) in record.events.iter().enumerate().rev() {
        if named(event) && seen.insert((event.host, event.job.as_deref())) {
            roots.push(place);
        }
    }
    // Where the oracle fired at the end of the run, the last event is any: a heartbeat says nothing.
    let last = record.events.len().checked_sub(1);
    let tells = |place: &usize| {
        let last = &record.events[*place];
        roots.is_empty() || last.job.is_some() || !matches!(last.kind, Kind::Send | Kind::Receive)
    };
    roots.extend(last.filter(tells));
    roots
}
