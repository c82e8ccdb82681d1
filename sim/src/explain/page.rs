//! One page with everything in it: no server, no network, no other file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::cone::cone;
use super::nearest::Nearest;
use super::record::{Kind, Record};
use crate::plan::Plan;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Events of one run in a page at most: all of the cone, then the newest. Keeps the file under 5 MB.
const EVENTS_MAX: usize = 16_000;
/// Longest text of one event.
const TEXT_MAX: usize = 160;
/// In this order in the page's data.
const KINDS: &[Kind] = &[
    Kind::Send,
    Kind::Receive,
    Kind::Observe,
    Kind::Client,
    Kind::Run,
    Kind::Write,
    Kind::Process,
    Kind::Fault,
];

/// The page of a run, and beside it the nearest one that passes.
pub fn page(plan: &Plan, record: &Record, nearest: Option<&Nearest>) -> String {
    let mut texts = Texts::default();
    let mut runs = vec![run(&mut texts, record, "failing run", None)];
    if let Some(nearest) = nearest {
        let label = format!("without {}", nearest.without);
        runs.push(run(&mut texts, &nearest.record, &label, None));
        runs[0] = run(&mut texts, record, "failing run", Some(nearest.differs_at));
    }
    let jobs: BTreeSet<&str> = record.events.iter().filter_map(|event| event.job.as_deref()).collect();
    let violation = record.violation.as_ref();
    let data = json!({
        "oracle": violation.map(|violation| violation.oracle.as_str()),
        "message": violation.map(|violation| violation.message.as_str()),
        "seed": plan.seed,
        "faults": plan.faults.len(),
        "hosts": record.hosts,
        "nodes": record.nodes,
        "kinds": KINDS,
        "jobs": jobs,
        "texts": texts.all,
        "runs": runs,
    });
    let title = violation.map_or("a run that passes", |violation| violation.oracle.as_str());
    HTML.replacen("{{title}}", &escape(title), 1)
        .replacen("{{style}}", STYLE, 1)
        .replacen("{{data}}", &data.to_string().replace("</", "<\\/"), 1)
        .replacen("{{script}}", SCRIPT, 1)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Texts that many events share.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    places: HashMap<String, usize>,
}

impl Texts {
    fn place(&mut self, text: &str) -> usize {
        let text: String = text.chars().take(TEXT_MAX).collect();
        let next = self.all.len();
        *self.places.entry(text.clone()).or_insert_with(|| {
            self.all.push(text);
            next
        })
    }
}

fn run(texts: &mut Texts, record: &Record, label: &str, differs_at: Option<usize>) -> Value {
    let cone = cone(record);
    let others = (0..record.events.len()).rev().filter(|place| !cone.contains(place));
    let room = EVENTS_MAX.saturating_sub(cone.len());
    let kept: BTreeSet<usize> = cone.iter().copied().chain(others.take(room)).collect();
    let places: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    let new_place = |old: Option<usize>| old.and_then(|old| places.get(&old).copied());
    let mut events = Vec::with_capacity(kept.len());
    for &old in &kept {
        let event = &record.events[old];
        let (key, value) = match &event.state {
            Some((key, value)) => (json!(texts.place(key)), value.as_ref().map(|value| texts.place(value))),
            None => (json!(-1), None),
        };
        events.push(json!([
            event.at / 1_000,
            event.host,
            KINDS.iter().position(|kind| *kind == event.kind),
            texts.place(&event.name),
            texts.place(&event.detail),
            event.job.as_deref().map(|job| texts.place(job)),
            new_place(event.cause),
            event.peer,
            key,
            value,
            i32::from(cone.contains(&old)),
        ]));
    }
    let faults: Vec<Value> = record
        .faults
        .iter()
        .map(|span| json!([span.kind, span.host, span.from / 1_000, span.to / 1_000]))
        .collect();
    json!({
        "label": label,
        "events": events,
        "all": record.events.len(),
        "faults": faults,
        "violated": record.violation.is_some(),
        "differs": differs_at.map(|at| places.range(at..).next().map_or(events.len(), |(_, new)| *new)),
    })
}
